from __future__ import annotations

import asyncio
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
from milvine.model.dense import JinaEmbeddingFunction
from provider_apis.jina import error, vector
from provider_server import KEY, REQUEST_ID, ProviderServer, Reply

pytestmark = pytest.mark.usefixtures("bare_environment")

QUERY, PASSAGE = "retrieval.query", "retrieval.passage"


def function_of(server: ProviderServer, model: str = "tiny", **options: Any) -> JinaEmbeddingFunction:
    return JinaEmbeddingFunction(model, KEY, base_url=server.url_of("jina"), **options)


def test_queries_and_documents_reach_the_server_with_their_tasks(server: ProviderServer) -> None:
    ef = function_of(server, "jina-embeddings-v3")
    documents, queries = ef.encode_documents(["a b"]), ef.encode_queries(["a b"])
    first, second = server.requests
    assert first.path == "/jina/v1/embeddings"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.body == {
        "model": "jina-embeddings-v3",
        "input": ["a b"],
        "task": PASSAGE,
        "embedding_type": "base64",
    }
    assert second.body == {**first.body, "task": QUERY}
    # The server's vectors have length 3, as "normalized" is not asked for; those that come out have length 1.
    np.testing.assert_allclose(documents[0], vector("a b", PASSAGE, 1024), atol=1e-6)
    np.testing.assert_allclose(queries[0], vector("a b", QUERY, 1024), atol=1e-6)
    assert documents[0].dtype == np.float32
    assert ef.usage.tokens == 4


@pytest.mark.parametrize(
    ("model", "task", "sent"),
    [
        ("tiny", QUERY, (QUERY, PASSAGE)),
        ("tiny", "text-matching", ("text-matching", "text-matching")),
        ("tiny", None, (None, None)),
        ("jina-embeddings-v4", "code.passage", ("code.query", "code.passage")),
        ("jina-embeddings-v5-text-small", "clustering", ("clustering", "clustering")),
        ("jina-code-embeddings-0.5b", PASSAGE, ("nl2code.query", "nl2code.passage")),
        ("jina-code-embeddings-0.5b", "qa.query", ("qa.query", "qa.passage")),
        ("jina-embeddings-v2-base-en", PASSAGE, (None, None)),
    ],
)
def test_a_task_of_a_pair_stands_for_both_and_another_for_all(
    server: ProviderServer, model: str, task: str | None, sent: tuple[str | None, str | None]
) -> None:
    ef = function_of(server, model, task=task)
    ef.encode_queries(["a"])
    ef.encode_documents(["a"])
    assert tuple(request.body.get("task") for request in server.requests) == sent


@pytest.mark.parametrize(("task", "sent"), [(PASSAGE, PASSAGE), (QUERY, QUERY), ("text-matching", "text-matching")])
def test_calling_it_does_what_was_named(server: ProviderServer, task: str, sent: str) -> None:
    ef = function_of(server, task=task)
    np.testing.assert_allclose(ef(["a"])[0], vector("a", sent, 8), atol=1e-6)
    np.testing.assert_allclose(asyncio.run(ef.acall(["b"]))[0], vector("b", sent, 8), atol=1e-6)


def test_reading_dim_changes_no_later_request(server: ProviderServer) -> None:
    # pymilvus.model 0.3.4 asks for as many dimensions as it found, ever after.
    unlisted = function_of(server)
    assert unlisted.dim == 8
    unlisted.encode_documents(["a"])
    assert "dimensions" not in server.requests[-1].body
    assert JinaEmbeddingFunction(api_key=KEY).dim == 1024


def test_shortened_vectors_have_length_one(server: ProviderServer) -> None:
    ef = function_of(server, "jina-embeddings-v3", dimensions=64)
    (found,) = ef.encode_documents(["a"])
    assert server.requests[0].body["dimensions"] == ef.dim == 64
    np.testing.assert_allclose(found, vector("a", PASSAGE, 64), atol=1e-6)


def test_what_a_model_cannot_do_is_refused_before_anything_is_sent(server: ProviderServer) -> None:
    with pytest.raises(InputError, match="jina-embeddings-v2-base-en cannot shorten its 768 dimensions to 64"):
        function_of(server, "jina-embeddings-v2-base-en", dimensions=64)
    with pytest.raises(InputError, match="jina-embeddings-v3 has at most 1024 dimensions, not 2048"):
        function_of(server, "jina-embeddings-v3", dimensions=2048)
    with pytest.raises(InputError, match="jina gives vectors as 'float32' or 'binary', not 'int8'"):
        function_of(server, output="int8")
    with pytest.raises(InputTypeError, match="task must be a string or None, not int"):
        function_of(server, task=3)
    with pytest.raises(InputTypeError, match="late_chunking must be True or False, not str"):
        function_of(server, late_chunking="yes")
    assert server.requests == []


def test_binary_vectors_are_packed_as_milvus_takes_them(server: ProviderServer) -> None:
    ef = function_of(server, "jina-embeddings-v3", output="binary")
    (found,) = ef.encode_documents(["a"])
    assert server.requests[0].body["embedding_type"] == "ubinary"
    assert (found.dtype, found.shape, ef.dim) == (np.uint8, (128,), 1024)
    # Eight dimensions an element, the first highest: by hand, not with packbits.
    bits = [bool(number > 0) for number in vector("a", PASSAGE, 1024)]
    assert found[0] == sum(bit << (7 - place) for place, bit in enumerate(bits[:8]))
    assert [int(element) >> 7 for element in found] == [int(bit) for bit in bits[::8]]


# Late chunking


def test_late_chunking_keeps_the_documents_of_a_call_together(server: ProviderServer) -> None:
    ef = function_of(server, late_chunking=True, batch_size=2)
    texts = ["one", "two", "one", "three"]
    found = ef.encode_documents(texts)
    (request,) = server.requests
    assert request.body["input"] == texts, "duplicates stand at different places of the text"
    assert request.body["late_chunking"] is True
    assert request.body["task"] == PASSAGE
    assert not np.array_equal(found[0], found[2])


def test_queries_are_not_chunked_late(server: ProviderServer) -> None:
    # pymilvus.model 0.3.4 joins all queries of a call to one text.
    ef = function_of(server, late_chunking=True)
    found = ef.encode_queries(["one", "two"])
    assert "late_chunking" not in server.requests[0].body
    np.testing.assert_allclose(found[1], vector("two", QUERY, 8), atol=1e-6)


def test_late_chunking_of_too_much_is_refused_and_not_split(server: ProviderServer) -> None:
    ef = function_of(server, late_chunking=True)
    with pytest.raises(ProviderRequestError, match=r"The 3 texts must go in one request.*8194 tokens"):
        ef.encode_documents([f"{name} " * 3000 for name in "abc"])
    assert len(server.requests) == 1


# Limits and refusals


def test_lists_are_split_to_what_a_request_may_hold(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(1100)]
    found = function_of(server).encode_documents(texts)
    assert sorted(len(request.body["input"]) for request in server.requests) == [76, 512, 512]
    np.testing.assert_allclose(found[-1], vector(texts[-1], PASSAGE, 8), atol=1e-6)


def test_a_text_that_is_too_long_is_named_and_the_others_are_kept(server: ProviderServer) -> None:
    texts = ["a", "b", "word " * 9000, "c"]
    with pytest.raises(
        ProviderRequestError, match=r"texts\[2\] is too long for jina.*maximum of 8194 tokens"
    ) as caught:
        function_of(server).encode_documents(texts)
    assert caught.value.completed
    assert 2 not in caught.value.completed
    assert len(function_of(server, truncate=True).encode_documents(texts)) == 4
    assert server.requests[-1].body["truncate"] is True


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (error(401, "Invalid API key", "AUTH_INVALID_API_KEY"), AuthenticationError, "Invalid API key.*JINA_API_KEY"),
        (
            error(403, "Insufficient account balance.", "AUTHZ_INSUFFICIENT_BALANCE"),
            AuthenticationError,
            "Insufficient account balance",
        ),
        (error(400, "Model 'x' not found", "INPUT_MODEL_NOT_FOUND"), ProviderRequestError, "Model 'x' not found"),
        (error(400, {"message": "no such thing"}, "INPUT_X"), ProviderRequestError, "no such thing"),
        (Reply(422, {"detail": [{"loc": ["body"], "msg": "field required"}]}), ProviderRequestError, "field required"),
        (
            error(429, "Concurrency limit exceeded", "RATE_CONCURRENCY_LIMIT_EXCEEDED"),
            RateLimitError,
            "Concurrency limit exceeded",
        ),
        (Reply(200, {"data": []}), ProviderResponseError, "0 vectors for 1 text"),
        (Reply(200, {"data": [{"index": 0, "embedding": [1.0, float("nan")]}]}), ProviderResponseError, "not finite"),
    ],
)
def test_each_form_of_error_is_read(server: ProviderServer, reply: Reply, kind: type[Exception], told: str) -> None:
    server.script = [reply]
    with pytest.raises(kind, match=told) as caught:
        function_of(server, max_retries=0).encode_documents(["a"])
    assert KEY not in str(caught.value)


def test_the_request_id_of_an_error_is_kept(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError) as caught:
        JinaEmbeddingFunction(api_key="wrong", base_url=server.url_of("jina")).encode_documents(["a"])
    assert (caught.value.request_id, caught.value.status) == (REQUEST_ID, 401)


# Identity


@pytest.mark.parametrize(
    "options",
    [{}, {"task": "text-matching", "dimensions": 4}, {"late_chunking": True, "truncate": True}, {"output": "binary"}],
)
def test_an_identity_makes_the_function_again(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    monkeypatch.setenv("JINA_BASE_URL", server.url_of("jina"))
    made = function_of(server, **options)
    identity = json.loads(json.dumps(made.identity()))
    assert KEY not in json.dumps(identity)
    again = JinaEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again.encode_documents(["a", "b"]), made.encode_documents(["a", "b"]))
    np.testing.assert_array_equal(again.encode_queries(["a", "b"]), made.encode_queries(["a", "b"]))
