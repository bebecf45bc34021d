"""What all hosted functions share, with rows made for the purpose, against the test server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ProviderRequestError
from milvine.hosted.providers import PROVIDERS
from milvine.hosted.spec import EmbeddingEndpoint, Provider
from milvine.hosted.tasks import TokenEstimate
from milvine.model._hosted import HostedEmbeddingFunction, HostedRerankFunction
from milvine.types import RerankResult
from provider_server import KEY, ProviderServer, Reply, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")

OPENAI, JINA, COHERE, VOYAGE = (PROVIDERS[name] for name in ("openai", "jina", "cohere", "voyage"))


def with_endpoint(row: Provider, **changes: Any) -> Provider:
    assert row.embeddings is not None
    return replace(row, embeddings=replace(row.embeddings, **changes))


def function_of(
    server: ProviderServer, row: Provider = OPENAI, model: str = "tiny", **options: Any
) -> HostedEmbeddingFunction:
    return HostedEmbeddingFunction(row, model, KEY, base_url=server.url_of(row.name), **options)


def reranker_of(server: ProviderServer, row: Provider = JINA, **options: Any) -> HostedRerankFunction:
    model = {"jina": "jina-reranker-v2-base-multilingual"}[row.name]
    return HostedRerankFunction(row, model, KEY, base_url=server.url_of(row.name), **options)


def inputs(server: ProviderServer) -> list[list[str]]:
    """The texts of each request, in the order of their first texts."""
    return sorted(request.body["input"] for request in server.requests)


def endpoint_of(row: Provider) -> EmbeddingEndpoint:
    assert row.embeddings is not None
    return row.embeddings


# Batches


def test_batch_size_bounds_a_request_and_never_raises_the_providers_limit(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(10)]
    vectors = function_of(server, batch_size=4)(texts)
    assert inputs(server) == [texts[:4], texts[4:8], texts[8:]]
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 7) for text in texts]))
    function_of(server, batch_size=9999)([f"{number}" for number in range(2049)])
    assert max(map(len, inputs(server))) == 2048


def test_batches_are_mended_by_what_answers_say_was_spent(server: ProviderServer) -> None:
    # The server counts a token for each byte; the row believes in four bytes a token, and 400 tokens a request.
    row = with_endpoint(OPENAI, bytes_per_token=4.0, max_tokens=400)
    function = function_of(server, row, concurrency=1)
    function([f"{number:03d}" + "x" * 97 for number in range(100)])
    sizes = [len(request.body["input"]) for request in server.requests]
    assert sizes[0] == 16  # 1,600 bytes, taken to be 400 tokens
    assert set(sizes[-5:-1]) == {4}  # 400 bytes, known to be 400 tokens


def test_a_request_that_is_too_long_is_halved_until_it_fits(server: ProviderServer) -> None:
    # 300,000 tokens are allowed; the estimate of ten bytes a token is wrong tenfold.
    row = with_endpoint(OPENAI, bytes_per_token=10.0)
    texts = [f"{number:03d}" + "x" * 7997 for number in range(120)]
    function = function_of(server, row, max_retries=0)
    vectors = function(texts)
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 7) for text in texts]))
    assert 400 in server.statuses
    assert function.usage.retries == 0
    before = len(server.requests)
    function([text + "!" for text in texts])
    assert set(server.statuses[before:]) == {200}  # it has learnt


def test_the_estimate_counts_recent_texts_most_and_never_more_tokens_than_bytes() -> None:
    estimate = TokenEstimate(4.0)
    assert estimate(0) == 1.0
    assert estimate(400) == 100.0
    estimate.learn(1_000_000, 500_000)
    assert estimate.bytes_per_token == pytest.approx(0.9 * 2)
    for _ in range(10):
        estimate.learn(1_000_000, 200_000)
    assert 0.9 * 4.9 < estimate.bytes_per_token < 0.9 * 5
    estimate.learn(1_000_000, 90_000_000)
    assert estimate.bytes_per_token == 1.0
    estimate.learn(0, 0)


def test_documents_that_depend_on_each_other_go_together(server: ProviderServer) -> None:
    function = function_of(server, whole=True, batch_size=2)
    assert len(function(["a", "b", "a", "c"])) == 4
    assert [request.body["input"] for request in server.requests] == [["a", "b", "a", "c"]]
    assert len(function.encode_queries(["a", "b", "a", "c"])) == 4
    assert len(server.requests) == 3
    with pytest.raises(ProviderRequestError, match="The 2 texts must go in one request"):
        function(["a", "x" * 9000])


# What is asked for


def test_roles_prefixes_and_fields_of_the_caller(server: ProviderServer) -> None:
    function = function_of(
        server,
        roles={"query": {"user": "asking"}, "document": {"user": "telling"}},
        prefixes={"query": "Q: "},
        fields={"encoding_format": "float"},
    )
    (query,), (document,) = function.encode_queries(["text"]), function.encode_documents(["text"])
    asked, told = (request.body for request in server.requests)
    assert asked == {"model": "tiny", "input": ["Q: text"], "user": "asking", "encoding_format": "float"}
    assert told == {"model": "tiny", "input": ["text"], "user": "telling", "encoding_format": "float"}
    np.testing.assert_array_equal(query, vector_of("Q: text", 7))
    np.testing.assert_array_equal(document, vector_of("text", 7))


def test_an_empty_text_is_refused_even_where_a_prefix_would_fill_it(server: ProviderServer) -> None:
    with pytest.raises(InputError, match=r"texts\[0\] is an empty string"):
        function_of(server, prefixes={"query": "Q: "}).encode_queries([""])


@pytest.mark.parametrize(("output", "dtype"), [("int8", np.int8), ("binary", np.uint8)])
def test_small_vectors(server: ProviderServer, output: str, dtype: Any) -> None:
    with function_of(server, COHERE, "embed-v4.0", output=output) as function:
        vectors = function(["a", "b"])
        assert function.dim == 1536
    assert vectors[0].dtype == dtype
    assert vectors[0].shape == (1536 if output == "int8" else 192,)
    assert vectors[0].base is vectors[1].base


def test_a_kind_of_vector_that_a_provider_has_not(server: ProviderServer) -> None:
    with pytest.raises(InputError, match="openai gives vectors as 'float32', not 'binary'"):
        function_of(server, output="binary")


def test_vectors_are_brought_to_length_1_where_the_row_says_so(server: ProviderServer) -> None:
    row = with_endpoint(OPENAI, normalize=True)
    server.script = [Reply(200, {"data": [{"index": 0, "embedding": [3.0, 4.0]}, {"index": 1, "embedding": [0, 0]}]})]
    assert [vector.tolist() for vector in function_of(server, row)(["a", "b"])] == [
        pytest.approx([0.6, 0.8]),
        [0.0, 0.0],
    ]


@pytest.mark.parametrize(
    ("dimensions", "told"),
    [(300, "voyage-3-large has 256, 512, 1024, 2048 dimensions, not 300"), (4096, "at most 2048 dimensions, not 4096")],
)
def test_dimensions_that_a_model_has_not(server: ProviderServer, dimensions: int, told: str) -> None:
    with pytest.raises(InputError, match=told):
        function_of(server, VOYAGE, "voyage-3-large", dimensions=dimensions)


# Identity


class Own(HostedEmbeddingFunction):
    """A public function as they are: a signature and nothing else."""

    def __init__(self, provider: Provider, model: str, **options: Any) -> None:
        super().__init__(provider, model, None, **options)


def test_a_function_is_made_again_from_its_identity(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url_of("openai"))
    plain = Own(OPENAI, "text-embedding-3-small")
    assert plain.identity() == {
        "function": "Own",
        "provider": "openai",
        "model": "text-embedding-3-small",
        "dim": 1536,
        "dimensions": None,
    }
    made = Own(OPENAI, "tiny", dimensions=3, prefixes={"query": "Q: "}, roles={"document": {"user": "me"}})
    identity = json.loads(json.dumps(made.identity()))
    again = Own.from_identity(identity)
    assert again.identity() == made.identity()
    np.testing.assert_array_equal(again.encode_queries(["a"])[0], made.encode_queries(["a"])[0])
    for other in ({}, None, {**identity, "provider": "none"}, {**identity, "function": "Other"}):
        with pytest.raises(InputError, match="identity"):
            Own.from_identity(other)  # type: ignore[arg-type]


# Options


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"organization": "x"}, InputTypeError, "has no argument organization; the further arguments .* base_url"),
        ({"concurrency": 0}, InputError, "concurrency must be at least 1, not 0"),
        ({"batch_size": 2.5}, InputTypeError, "batch_size must be an integer"),
        ({"deadline": -1}, InputError, "deadline must be more than 0 seconds, not -1"),
        ({"requests_per_minute": "60"}, InputTypeError, "requests_per_minute must be a number"),
        ({"tokens_per_minute": float("inf")}, InputError, "tokens_per_minute must be more than 0"),
        ({"show_progress": 1}, InputTypeError, "show_progress must be True, False or None"),
        ({"async_http_client": object()}, InputTypeError, r"must be an httpx\.AsyncClient"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        HostedEmbeddingFunction(OPENAI, "tiny", KEY, **options)


def test_a_bar_is_shown_on_request(server: ProviderServer, capsys: pytest.CaptureFixture[str]) -> None:
    function_of(server, batch_size=2, show_progress=True)(["a", "b", "c"])
    assert capsys.readouterr().err
    function_of(server, batch_size=2)(["a", "b", "c"])
    assert not capsys.readouterr().err  # this is no terminal


# Reranking


DOCUMENTS = ["red", "black", "blue green red", "green blue", "red blue black", "red"]


@pytest.mark.parametrize("way", ["threads", "asyncio"])
def test_documents_over_the_limit_are_scored_in_several_requests(server: ProviderServer, way: str) -> None:
    function = reranker_of(server, batch_size=2)
    query = "red green blue"
    results = function(query, DOCUMENTS, 3) if way == "threads" else asyncio.run(function.acall(query, DOCUMENTS, 3))
    assert sorted(len(request.body["documents"]) for request in server.requests) == [1, 2, 2]
    assert results == [
        RerankResult("blue green red", 1.0, 2),
        RerankResult("green blue", 2 / 3, 3),
        RerankResult("red blue black", 0.5, 4),
    ]
    assert function.usage.texts == 5


def test_documents_over_the_limit_are_refused_where_scores_cannot_be_compared(server: ProviderServer) -> None:
    assert JINA.rerank is not None
    row = replace(JINA, rerank=replace(JINA.rerank, comparable=False, max_documents=4))
    with pytest.raises(InputError, match=r"at most 4 documents in one request, not 5, .* cannot be compared"):
        reranker_of(server, row)("red", DOCUMENTS)
    assert len(reranker_of(server, row, batch_size=1)("red", DOCUMENTS[:4])) == 4
    assert len(server.requests) == 1


def test_an_asynchronous_reranker_checks_what_it_is_given(server: ProviderServer) -> None:
    function = reranker_of(server)
    assert asyncio.run(function.acall("red", [])) == []
    with pytest.raises(InputError, match="top_k"):
        asyncio.run(function.acall("red", DOCUMENTS, 0))
    with pytest.raises(InputTypeError):
        asyncio.run(function.acall("red", "a bare string"))
    assert server.requests == []
