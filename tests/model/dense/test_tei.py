from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from milvine.errors import (
    AuthenticationError,
    InputError,
    InputTypeError,
    ProviderRequestError,
    ProviderResponseError,
    RateLimitError,
)
from milvine.model.dense import TEIEmbeddingFunction
from provider_server import KEY, ProviderServer, Reply, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")


def test_the_request_is_the_documented_one(server: ProviderServer) -> None:
    ef = TEIEmbeddingFunction(server.url_of("tei"))
    found = ef.encode_documents(["a", "b", "a"])
    (request,) = server.requests
    assert request.path == "/tei/embed"
    assert request.body == {"inputs": ["a", "b"]}
    assert "authorization" not in request.headers
    np.testing.assert_allclose(found, [vector_of(text, 384) for text in "aba"], atol=1e-6)
    assert ef.dim == 384


def test_a_server_with_a_key(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{server.url_of('tei')}/private/"
    assert len(TEIEmbeddingFunction(url, api_key=KEY).encode_queries(["a"])) == 1
    monkeypatch.setenv("HF_TOKEN", KEY)
    with pytest.raises(AuthenticationError, match=r"refused the API key \(HTTP 401\): it gave no reason.*TEI_API_KEY"):
        TEIEmbeddingFunction(url).encode_queries(["a"])
    assert "authorization" not in server.requests[-1].headers, "a token for the hub is not for any server"
    monkeypatch.setenv("TEI_API_KEY", KEY)
    assert len(TEIEmbeddingFunction(url).encode_queries(["a"])) == 1


def test_what_a_model_wants_before_queries_and_documents(server: ProviderServer) -> None:
    said = TEIEmbeddingFunction(server.url_of("tei"), query_instruction="query: ", doc_instruction="passage: ")
    named = TEIEmbeddingFunction(f"{server.url_of('tei')}/large", query_prompt_name="query", doc_prompt_name="passage")
    np.testing.assert_allclose(said.encode_queries(["a"]), named.encode_queries(["a"]), atol=1e-6)
    np.testing.assert_allclose(said.encode_documents(["a"]), named.encode_documents(["a"]), atol=1e-6)
    assert [request.body for request in server.requests] == [
        {"inputs": ["query: a"]},
        {"inputs": ["a"], "prompt_name": "query"},
        {"inputs": ["passage: a"]},
        {"inputs": ["a"], "prompt_name": "passage"},
    ]


def test_a_prompt_that_there_is_not(server: ProviderServer) -> None:
    ef = TEIEmbeddingFunction(server.url_of("tei"), query_prompt_name="query")
    with pytest.raises(ProviderRequestError, match="Prompt query not found"):
        ef.encode_queries(["a"])


def test_dimensions_are_asked_of_the_server(server: ProviderServer) -> None:
    ef = TEIEmbeddingFunction(server.url_of("tei"), 64)
    np.testing.assert_allclose(ef(["a"])[0], vector_of("a", 64), atol=1e-6)
    assert server.requests[0].body == {"inputs": ["a"], "dimensions": 64}
    # A server before 1.8 does not know the field, and answers with all dimensions.
    server.script = [Reply(200, [vector_of("b", 384).tolist()])]
    with pytest.raises(ProviderResponseError, match="384 dimensions, not 64"):
        ef(["b"])


@pytest.mark.parametrize(
    ("path", "batch_size", "sizes"),
    [
        ("", None, [6, 32, 32]),
        ("/large", 64, [6, 64]),
        # More than the server takes is refused, and sent again in halves: nothing is lost.
        ("", 70, [17, 17, 18, 18, 35, 35, 70]),
    ],
)
def test_batches_are_of_the_servers_size(
    server: ProviderServer, path: str, batch_size: int | None, sizes: list[int]
) -> None:
    texts = [f"text {number}" for number in range(70)]
    found = TEIEmbeddingFunction(server.url_of("tei") + path, batch_size=batch_size).encode_documents(texts)
    np.testing.assert_allclose(found, [vector_of(text, 384) for text in texts], atol=1e-6)
    assert sorted(len(request.body["inputs"]) for request in server.requests) == sizes


def test_a_text_that_is_too_long(server: ProviderServer) -> None:
    texts = ["a", "word " * 600, "b"]
    with pytest.raises(ProviderRequestError, match=r"texts\[1\] is too long for tei.*less than 512 tokens") as caught:
        TEIEmbeddingFunction(server.url_of("tei")).encode_documents(texts)
    assert caught.value.status == 413
    assert len(TEIEmbeddingFunction(server.url_of("tei"), truncate=True).encode_documents(texts)) == 3
    assert server.requests[-1].body["truncate"] is True


def test_an_overloaded_server_is_asked_again(server: ProviderServer) -> None:
    busy = Reply(429, {"error": "Model is overloaded", "error_type": "Overloaded"})
    ef = TEIEmbeddingFunction(server.url_of("tei"), max_retries=1)
    server.script = [busy]
    assert len(ef.encode_documents(["a"])) == 1
    server.script = [busy, busy]
    with pytest.raises(RateLimitError, match="Model is overloaded"):
        ef.encode_documents(["a"])


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(424, {"error": "Inference failed", "error_type": "Backend"}), r"HTTP 424\): Inference failed"),
        (Reply(422, {"error": "Tokenization error", "error_type": "Tokenizer"}), r"HTTP 422\): Tokenization error"),
    ],
)
def test_a_refusal_has_the_servers_words(server: ProviderServer, reply: Reply, told: str) -> None:
    server.script = [reply]
    with pytest.raises(ProviderRequestError, match=told):
        TEIEmbeddingFunction(server.url_of("tei")).encode_documents(["a"])
    assert len(server.requests) == 1


def test_an_empty_text_is_refused_before_anything_is_sent(server: ProviderServer) -> None:
    with pytest.raises(InputError, match=r"\[1\] is an empty string, which tei refuses"):
        TEIEmbeddingFunction(server.url_of("tei"), doc_instruction="passage: ").encode_documents(["a", ""])
    assert server.requests == []


@pytest.mark.parametrize("body", [{"embeddings": [[1.0]]}, [["a"]], [[1.0], [2.0]], [[float("nan")]]])
def test_a_malformed_answer_is_refused(server: ProviderServer, body: Any) -> None:
    server.script = [Reply(200, body)]
    with pytest.raises(ProviderResponseError):
        TEIEmbeddingFunction(server.url_of("tei")).encode_documents(["a"])


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "told"),
    [
        (("localhost:8080",), {}, InputError, "base_url must be a URL such as"),
        (("",), {}, InputError, "tei has no base URL of its own"),
        (("http://localhost",), {"truncate": "yes"}, InputTypeError, "truncate must be True, False or None"),
        (("http://localhost",), {"query_instruction": None}, InputTypeError, "query_instruction must be one string"),
        (("http://localhost", 0), {}, InputError, "dimensions must be at least 1"),
        (("http://localhost",), {"batch_size": 0}, InputError, "batch_size must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        TEIEmbeddingFunction(*arguments, **options)


def test_an_identity_names_the_model_that_the_server_has(server: ProviderServer) -> None:
    made = TEIEmbeddingFunction(f"{server.url_of('tei')}/private", 64, api_key=KEY, query_instruction="query: ")
    identity = json.loads(json.dumps(made.identity()))
    assert identity == {
        "function": "TEIEmbeddingFunction",
        "provider": "tei",
        "model": "BAAI/bge-small-en-v1.5",
        "revision": "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
        "base_url": f"{server.url_of('tei')}/private",
        "dim": 64,
        "dimensions": 64,
        "prefixes": {"query": "query: ", "document": ""},
    }
    assert made.identity() == identity
    assert [request.path for request in server.requests] == ["/tei/private/info"]


def test_an_identity_makes_the_function_again_if_the_server_has_the_model_still(server: ProviderServer) -> None:
    made = TEIEmbeddingFunction(server.url_of("tei"), truncate=True)
    identity = made.identity()
    again = TEIEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(["a"]), made(["a"]))
    # The server was started again with another model.
    server.script = [Reply(200, {"model_id": "intfloat/e5-small-v2", "model_sha": None})]
    assert TEIEmbeddingFunction.from_identity(identity).identity() != identity


def test_a_server_that_is_something_else(server: ProviderServer) -> None:
    ef = TEIEmbeddingFunction(server.url_of("tei"))
    server.script = [Reply(200, {"status": "ok"})]
    with pytest.raises(ProviderResponseError, match="no string named 'model_id'"):
        ef.identity()
    with pytest.raises(ProviderRequestError, match=r"HTTP 404.*Check base_url"):
        TEIEmbeddingFunction(f"{server.url}/tei/elsewhere").encode_documents(["a"])
