from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
import voyageai

from milvine.errors import AuthenticationError, InputError, InputTypeError, ProviderRequestError
from milvine.model.dense.voyageai import VoyageEmbeddingFunction
from provider_apis.voyage import PROMPTS
from provider_server import KEY, ProviderServer, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")

MODEL = "voyage-3-large"


def function_of(server: ProviderServer, model: str = MODEL, **options: Any) -> VoyageEmbeddingFunction:
    return VoyageEmbeddingFunction(model, KEY, base_url=server.url_of("voyage"), **options)


def test_queries_and_documents_go_with_their_input_type(server: ProviderServer) -> None:
    function = function_of(server)
    query, document, called = function.encode_queries(["a"]), function.encode_documents(["a"]), function(["a"])
    common = {"model": MODEL, "input": ["a"], "encoding_format": "base64"}
    assert [request.body for request in server.requests] == [
        {**common, "input_type": "query"},
        {**common, "input_type": "document"},
        {**common, "input_type": "document"},
    ]
    assert server.requests[0].path == "/voyage/v1/embeddings"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    np.testing.assert_array_equal(query[0], vector_of(PROMPTS["query"] + "a", 1024))
    np.testing.assert_array_equal(document[0], vector_of(PROMPTS["document"] + "a", 1024))
    np.testing.assert_array_equal(called[0], document[0])
    assert query[0].dtype == np.float32


@pytest.mark.parametrize("kind", [None, "float", "int8", "binary", "ubinary"])
@pytest.mark.parametrize("role", ["query", "document"])
def test_the_official_client_gets_the_same_from_the_server(server: ProviderServer, kind: str | None, role: str) -> None:
    texts = ["one", "two", "three"]
    function = function_of(server, embedding_type=kind, dimension=256)
    ours = np.stack(function.encode_queries(texts) if role == "query" else function.encode_documents(texts))
    official = voyageai.Client(KEY, base_url=server.url_of("voyage"))
    theirs = np.array(official.embed(texts, MODEL, input_type=role, output_dtype=kind, output_dimension=256).embeddings)
    if kind == "binary":  # theirs are the bits of ubinary less 128
        theirs = theirs + 128
    expected = {None: np.float32, "float": np.float32, "int8": np.int8}.get(kind, np.uint8)
    assert ours.dtype == expected
    assert ours.shape == (3, 32 if expected is np.uint8 else 256)
    assert function.dim == 256
    np.testing.assert_array_equal(ours, theirs.astype(expected))
    # Field by field the same request, but that theirs names the defaults, and "binary" where ours says "ubinary".
    mine, other = (request.body for request in server.requests)
    other = {name: value for name, value in other.items() if value is not None and name != "truncation"}
    if kind == "float":
        other.pop("output_dtype")
    if kind == "binary":
        other["output_dtype"] = "ubinary"
    assert mine == other


def test_the_official_client_understands_the_servers_errors(server: ProviderServer) -> None:
    with pytest.raises(voyageai.error.AuthenticationError):
        voyageai.Client("wrong", base_url=server.url_of("voyage")).embed(["a"], MODEL)
    official = voyageai.Client(KEY, base_url=server.url_of("voyage"))
    for texts, model in ((["a"], "none"), ([""], MODEL), (["a"] * 1001, MODEL), (["a" * 31_000] * 4, MODEL)):
        with pytest.raises(voyageai.error.InvalidRequestError):
            official.embed(texts, model)


def test_requests_keep_to_the_texts_and_tokens_of_the_model(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(2_100)]
    vectors = function_of(server, concurrency=1).encode_documents(texts)
    assert [len(request.body["input"]) for request in server.requests] == [1000, 1000, 100]
    np.testing.assert_array_equal(vectors[2099], vector_of(PROMPTS["document"] + texts[2099], 1024))
    server.requests.clear()
    # 100 texts of 10,000 bytes, a token each on this server: 12 fit into 120,000 tokens, all into 1M.
    long = [f"{number:04d}" + "x" * 9_996 for number in range(100)]
    function_of(server, concurrency=1).encode_documents(long)
    assert {len(request.body["input"]) for request in server.requests} <= set(range(1, 13))
    assert set(server.statuses) == {200}
    server.requests.clear()
    function_of(server, "voyage-4-lite").encode_documents(long)
    assert len(server.requests) == 1


@pytest.mark.parametrize("truncate", [None, True, False])
def test_truncate_is_sent_as_the_caller_says(server: ProviderServer, truncate: bool | None) -> None:
    function = function_of(server, truncate=truncate)
    function(["a"])
    assert server.requests[0].body.get("truncation") is truncate
    assert ("truncation" in server.requests[0].body) is (truncate is not None)
    texts = ["short", "x" * 40_000]
    if truncate is False:
        with pytest.raises(ProviderRequestError, match=r"documents?\[1\]|texts\[1\]") as caught:
            function(texts)
        assert "32,000" in str(caught.value)
    else:
        assert len(function(texts)) == 2


@pytest.mark.parametrize(
    ("model", "options", "kind", "told"),
    [
        (MODEL, {"dimension": 300}, InputError, "256, 512, 1024, 2048"),
        ("voyage-law-2", {"dimension": 512}, InputError, "cannot shorten"),
        (MODEL, {"embedding_type": "uint8"}, InputError, "no vectors of uint8"),
        (MODEL, {"embedding_type": "fp16"}, InputError, "'fp16'"),
        (MODEL, {"embedding_type": ["float"]}, InputTypeError, "must be a string"),
        (MODEL, {"truncate": "END"}, InputTypeError, "truncate"),
        (MODEL, {"dimensions": 256}, InputTypeError, "dimensions"),
    ],
)
def test_what_cannot_be_is_refused(model: str, options: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        VoyageEmbeddingFunction(model, KEY, **options)


def test_more_dimensions_than_the_models_own_may_be_asked_for(server: ProviderServer) -> None:
    assert VoyageEmbeddingFunction(api_key=KEY).dim == 1024
    function = function_of(server, dimension=2048)
    assert function.dim == 2048
    assert function(["a"])[0].shape == (2048,)


def test_errors_carry_what_voyage_says(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="Provided API key is invalid"):
        VoyageEmbeddingFunction(MODEL, "wrong", base_url=server.url_of("voyage"))(["a"])
    with pytest.raises(ProviderRequestError, match="Model none is not supported"):
        function_of(server, "none")(["a"])
    with pytest.raises(ProviderRequestError, match="Output dtype int8 is not supported by voyage-law-2"):
        function_of(server, "voyage-law-2", embedding_type="int8")(["a"])
    sent = len(server.requests)
    with pytest.raises(InputError, match="empty"):
        function_of(server)(["a", ""])
    assert len(server.requests) == sent


def test_the_signature_is_that_of_pymilvus(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = list(inspect.signature(VoyageEmbeddingFunction).parameters.values())
    assert [(one.name, one.default) for one in parameters[:5]] == [
        ("model_name", MODEL),
        ("api_key", None),
        ("embedding_type", None),
        ("truncate", None),
        ("dimension", None),
    ]
    with pytest.raises(AuthenticationError, match="VOYAGE_API_KEY"):
        VoyageEmbeddingFunction()
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    assert VoyageEmbeddingFunction().dim == 1024


def test_keys_of_mongodb_go_to_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    # As voyageai 0.5.0 decides it.
    urls = [
        (VoyageEmbeddingFunction(api_key=key)._client.base_url, voyageai.Client(key)._params["base_url"])
        for key in ("al-0123", "pa-0123")
    ]
    assert urls == [("https://ai.mongodb.com/v1",) * 2, ("https://api.voyageai.com/v1",) * 2]
    monkeypatch.setenv("VOYAGE_API_KEY", "al-0123")
    assert VoyageEmbeddingFunction()._client.base_url == "https://ai.mongodb.com/v1"
    assert VoyageEmbeddingFunction(api_key="pa-0123")._client.base_url == "https://api.voyageai.com/v1"


def test_a_function_is_rebuilt_from_its_identity(monkeypatch: pytest.MonkeyPatch, server: ProviderServer) -> None:
    made = function_of(server, embedding_type="ubinary", truncate=False, dimension=512)
    identity = json.loads(json.dumps(made.identity()))
    assert KEY not in json.dumps(identity) + repr(made)
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    monkeypatch.setenv("VOYAGE_BASE_URL", server.url_of("voyage"))
    rebuilt = VoyageEmbeddingFunction.from_identity(identity)
    assert rebuilt.identity() == identity
    np.testing.assert_array_equal(rebuilt(["a"])[0], made(["a"])[0])
    assert server.requests[0].body == server.requests[1].body
