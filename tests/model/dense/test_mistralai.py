from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest

from milvine.errors import AuthenticationError, InputError, ProviderRequestError
from milvine.model.dense.mistralai import MistralAIEmbeddingFunction
from provider_server import KEY, ProviderServer, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")


def function_of(server: ProviderServer, model: str = "mistral-embed", **options: Any) -> MistralAIEmbeddingFunction:
    return MistralAIEmbeddingFunction(KEY, model, base_url=server.url_of("mistral"), **options)


def test_the_request_is_the_documented_one_for_queries_and_documents_alike(server: ProviderServer) -> None:
    texts = ["one", "two"]
    function = function_of(server)
    vectors = function.encode_queries(texts)
    function.encode_documents(texts)
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 1024) for text in texts]))
    assert vectors[0].dtype == np.float32
    query, document = server.requests
    assert query.path == "/mistral/v1/embeddings"
    assert query.headers["authorization"] == f"Bearer {KEY}"
    assert query.body == document.body == {"model": "mistral-embed", "input": texts}


@pytest.mark.parametrize("kind", ["float", "int8", "ubinary"])
def test_the_official_client_sends_the_same_and_gets_the_same(server: ProviderServer, kind: str) -> None:
    official = pytest.importorskip("mistralai.client", reason="the official mistralai package is not installed")
    texts = ["one", "two"]
    ours = function_of(server, "codestral-embed", output_dimension=64, output_dtype=kind)(texts)
    with official.Mistral(api_key=KEY, server_url=f"{server.url}/mistral") as client:
        response = client.embeddings.create(
            model="codestral-embed", inputs=texts, output_dimension=64, output_dtype=None if kind == "float" else kind
        )
    np.testing.assert_array_equal(
        np.stack(ours), np.array([item.embedding for item in response.data]).astype(ours[0].dtype)
    )
    assert server.requests[0].body == server.requests[1].body
    assert server.requests[0].headers["authorization"] == server.requests[1].headers["authorization"]


def test_requests_keep_to_what_the_api_was_seen_to_accept(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(600)]
    vectors = function_of(server, concurrency=1)(texts)
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 1024) for text in texts]))
    assert [len(request.body["input"]) for request in server.requests] == [256, 256, 88]
    server.requests.clear()
    function_of(server, concurrency=1)([f"{number}" + "x" * 999 for number in range(10)] * 2 + ["y" * 8000])
    assert set(server.statuses) == {200}
    assert len(server.requests) == 2


@pytest.mark.parametrize(("kind", "output"), [("int8", "int8"), ("binary", "binary"), ("ubinary", "binary")])
def test_small_vectors(server: ProviderServer, kind: str, output: str) -> None:
    function = function_of(server, "codestral-embed", output_dimension=3072, output_dtype=kind)
    (vector,) = function(["a"])
    floats = vector_of("a", 3072)
    assert function.dim == 3072
    if output == "binary":
        assert (vector.dtype, vector.shape) == (np.dtype(np.uint8), (384,))
        np.testing.assert_array_equal(np.unpackbits(vector), floats > 0)
    else:
        assert (vector.dtype, vector.shape) == (np.dtype(np.int8), (3072,))
        np.testing.assert_array_equal(vector, np.round(floats * 1000).clip(-128, 127))


def test_a_dimension_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(InputError, match="at most 3072"):
        MistralAIEmbeddingFunction(KEY, "codestral-embed", output_dimension=3073)
    with pytest.raises(InputError, match=r"cannot shorten.*codestral-embed"):
        MistralAIEmbeddingFunction(KEY, output_dimension=256)
    with pytest.raises(InputError, match="uint8"):
        MistralAIEmbeddingFunction(KEY, "codestral-embed", output_dtype="uint8")


def test_the_signature_is_that_of_pymilvus(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = inspect.signature(MistralAIEmbeddingFunction).parameters
    assert list(parameters)[:2] == ["api_key", "model_name"]
    assert parameters["api_key"].default is inspect.Parameter.empty
    assert parameters["model_name"].default == "mistral-embed"
    with pytest.raises(AuthenticationError, match="MISTRAL_API_KEY or MISTRALAI_API_KEY"):
        MistralAIEmbeddingFunction(None)
    monkeypatch.setenv("MISTRALAI_API_KEY", KEY)
    assert MistralAIEmbeddingFunction(None).dim == 1024


def test_errors_carry_what_mistral_says(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="Unauthorized"):
        MistralAIEmbeddingFunction("wrong", base_url=server.url_of("mistral"))(["a"])
    with pytest.raises(ProviderRequestError, match="Invalid model: none"):
        function_of(server, "none")(["a"])
    with pytest.raises(ProviderRequestError, match="does not support output_dtype int8"):
        function_of(server, output_dtype="int8")(["a"])
    with pytest.raises(ProviderRequestError, match=r"texts\[1\] is too long for mistral.*reads 8,192"):
        function_of(server)(["a", "x" * 20_000])
    with pytest.raises(InputError, match="empty"):
        function_of(server)([""])


def test_a_function_is_rebuilt_from_its_identity(monkeypatch: pytest.MonkeyPatch, server: ProviderServer) -> None:
    made = function_of(server, "codestral-embed", output_dimension=64, output_dtype="binary")
    identity = json.loads(json.dumps(made.identity()))
    assert KEY not in json.dumps(identity)
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    monkeypatch.setenv("MISTRAL_BASE_URL", server.url_of("mistral"))
    rebuilt = MistralAIEmbeddingFunction.from_identity(identity)
    assert rebuilt.identity() == identity
    np.testing.assert_array_equal(rebuilt(["a"])[0], made(["a"])[0])
