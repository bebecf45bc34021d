from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from milvine.errors import (
    AuthenticationError,
    InputError,
    InputTypeError,
    ProviderRequestError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from milvine.model.base import BaseRerankFunction
from milvine.model.reranker.jina import JinaRerankFunction
from milvine.types import RerankResult
from provider_apis.jina import error as jina_error
from provider_server import KEY, REQUEST_ID, ProviderServer, Reply

pytestmark = pytest.mark.usefixtures("bare_environment")

MODEL = "jina-reranker-v2-base-multilingual"
QUERY = "red green blue"
# Shared words over all words: 1/3, 0, 3/3, 2/3, 2/4.
DOCUMENTS = ["red", "black", "blue green red", "green blue", "red blue black"]


def reranker_of(server: ProviderServer, **options: Any) -> JinaRerankFunction:
    return JinaRerankFunction(MODEL, KEY, base_url=server.url_of("jina"), **options)


def test_the_best_come_first_with_their_places_and_scores(server: ProviderServer) -> None:
    with reranker_of(server) as rerank:
        assert isinstance(rerank, BaseRerankFunction)
        results = rerank(QUERY, DOCUMENTS)
    assert [result.index for result in results] == [2, 3, 4, 0, 1]
    assert [result.score for result in results] == [1.0, 2 / 3, 0.5, 1 / 3, 0.0]
    assert [result.text for result in results] == [DOCUMENTS[index] for index in (2, 3, 4, 0, 1)]
    assert {type(result.score) for result in results} == {float}
    assert json.loads(json.dumps(results[0].to_dict())) == {"text": "blue green red", "score": 1.0, "index": 2}


def test_the_request_is_the_documented_one_and_asks_for_no_documents_back(server: ProviderServer) -> None:
    reranker_of(server)(QUERY, DOCUMENTS, top_k=3)
    (request,) = server.requests
    assert request.path == "/jina/v1/rerank"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": MODEL,
        "query": QUERY,
        "documents": DOCUMENTS,
        "top_n": 3,
        "return_documents": False,
    }


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (3, 3), (5, 5), (99, 5)])
def test_top_k_is_honoured(server: ProviderServer, top_k: int, count: int) -> None:
    assert len(reranker_of(server)(QUERY, DOCUMENTS, top_k)) == count


def test_the_guides_example_runs(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # https://milvus.io/docs/rerankers-jina.md; the variable alone leads it to the local server.
    monkeypatch.setenv("JINA_BASE_URL", server.url_of("jina"))
    query = "What event in 1956 marked the official birth of artificial intelligence as a discipline?"
    documents = [
        "In 1950, Alan Turing published a paper on artificial intelligence",
        "The Dartmouth Conference in 1956 is the birth of artificial intelligence as a discipline",
        "In 1951, a program played checkers",
        "The Logic Theorist of 1955 is a program",
    ]
    rf = JinaRerankFunction("jina-reranker-v2-base-multilingual", KEY)
    results = rf(query=query, documents=documents, top_k=3)
    for result in results:
        print(f"Index: {result.index}")
        print(f"Score: {result.score:.6f}")
        print(f"Text: {result.text}\n")
    assert capsys.readouterr().out.startswith(f"Index: 1\nScore: 0.500000\nText: {documents[1]}\n")
    assert len(results) == 3


def test_the_defaults_are_those_of_pymilvus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINAAI_API_KEY", KEY)
    assert JinaRerankFunction().model_name == MODEL


def test_duplicates_are_sent_once_and_share_their_score(server: ProviderServer) -> None:
    results = reranker_of(server)(QUERY, ["red", "green blue", "red", "green blue", "black"], top_k=3)
    assert server.requests[0].body["documents"] == ["red", "green blue", "black"]
    assert results == [
        RerankResult("green blue", 2 / 3, 1),
        RerankResult("green blue", 2 / 3, 3),
        RerankResult("red", 1 / 3, 0),
    ]


def test_results_are_placed_by_their_index_whatever_documents_come_back(server: ProviderServer) -> None:
    # Against its promise the server neither sorts nor keeps to top_n, and returns texts that are not ours.
    told = [{"index": index, "relevance_score": index, "document": {"text": "?"}} for index in (1, 0, 4, 2, 3)]
    server.script = [Reply(200, {"results": told})]
    results = reranker_of(server)(QUERY, DOCUMENTS, top_k=2)
    assert results == [RerankResult(DOCUMENTS[4], 4.0, 4), RerankResult(DOCUMENTS[3], 3.0, 3)]


def test_no_documents_ask_for_nothing(server: ProviderServer) -> None:
    assert reranker_of(server)(QUERY, []) == []
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("query", "a bare string"), InputTypeError),
        (("query", ["a", 1]), InputTypeError),
        ((None, ["a"]), InputTypeError),
        (("query", ["a"], 0), InputError),
        (("query", ["a"], 2.0), InputTypeError),
        (("que\udc80ry", ["a"]), InputError),
        (("query", ["a", "\udc80"]), InputError),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(
    server: ProviderServer, arguments: tuple[Any, ...], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        reranker_of(server)(*arguments)
    assert server.requests == []


# Each trouble has its own outcome


def test_a_wrong_key(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match=r"Invalid API key\..*JINA_API_KEY") as caught:
        JinaRerankFunction(MODEL, "wrong", base_url=server.url_of("jina"))(QUERY, DOCUMENTS)
    assert caught.value.status == 401
    assert caught.value.request_id == REQUEST_ID
    assert caught.value.provider == "jina"
    assert len(server.requests) == 1


def test_an_empty_account(server: ProviderServer) -> None:
    server.script = [jina_error(403, "Insufficient account balance.", "AUTHZ_INSUFFICIENT_BALANCE")]
    with pytest.raises(AuthenticationError, match=r"Insufficient account balance\."):
        reranker_of(server)(QUERY, DOCUMENTS)
    assert len(server.requests) == 1


def test_429_with_retry_after_then_success(server: ProviderServer) -> None:
    limited = jina_error(429, "Token rate limit exceeded", "RATE_TOKEN_LIMIT_EXCEEDED")
    server.script = [replace(limited, headers={"Retry-After": "0"})]
    assert len(reranker_of(server)(QUERY, DOCUMENTS)) == 5
    server.script = [replace(limited, headers={"Retry-After": "61"})]
    with pytest.raises(RateLimitError, match="wait 61 seconds") as caught:
        reranker_of(server)(QUERY, DOCUMENTS)
    assert caught.value.retry_after == 61.0


def test_500_then_success_and_500_for_good(server: ProviderServer) -> None:
    server.script = [Reply(500, {"detail": "Internal error"})]
    assert len(reranker_of(server, max_retries=1)(QUERY, DOCUMENTS)) == 5
    server.script = [Reply(500, {"detail": "Internal error"})]
    with pytest.raises(ProviderUnavailableError, match="Internal error"):
        reranker_of(server, max_retries=0)(QUERY, DOCUMENTS)


def test_a_timeout(server: ProviderServer) -> None:
    server.script = [Reply(delay=30.0)]
    with pytest.raises(ProviderTimeoutError, match=r"within 0\.1 seconds"):
        reranker_of(server, timeout=0.1, max_retries=0)(QUERY, DOCUMENTS)


def test_an_unknown_model(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match="Model 'nope' not found"):
        JinaRerankFunction("nope", KEY, base_url=server.url_of("jina"))(QUERY, DOCUMENTS)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>Bad gateway</html>", "no JSON object"),
        ({"detail": "something went wrong"}, "no list of objects named 'results'"),
        ({"results": None}, "no list of objects named 'results'"),
        ({"results": [{"index": 0, "relevance_score": 0.5}]}, "1 results where 2 were asked for"),
        ({"results": [{"index": 0, "relevance_score": 0.5}] * 2}, "two results have the index 0"),
        ({"results": [{"index": index, "relevance_score": 0.5} for index in (0, 5)]}, "no index from 0 to 4"),
        ({"results": [{"index": index, "relevance_score": 0.5} for index in (0, "1")]}, "no index from 0 to 4"),
        ({"results": [{"index": index} for index in (0, 1)]}, "no relevance_score"),
        ({"results": [{"index": index, "relevance_score": "0.5"} for index in (0, 1)]}, "no relevance_score"),
        ({"results": [{"index": index, "relevance_score": True} for index in (0, 1)]}, "no relevance_score"),
        ({"results": [{"index": index, "relevance_score": float("nan")} for index in (0, 1)]}, "no relevance_score"),
        ({"results": [{"index": index, "relevance_score": 10**400} for index in (0, 1)]}, "no relevance_score"),
    ],
)
def test_a_malformed_answer_is_refused_with_the_reason(server: ProviderServer, body: Any, told: str) -> None:
    server.script = [Reply(200, body)]
    with pytest.raises(ProviderResponseError, match=told) as caught:
        reranker_of(server)(QUERY, DOCUMENTS, top_k=2)
    assert caught.value.status == 200
    assert caught.value.body
    assert len(server.requests) == 1


def test_an_unknown_argument_is_named_with_those_allowed() -> None:
    with pytest.raises(InputTypeError, match=r"top_n.*base_url, timeout, max_retries, http_client"):
        JinaRerankFunction(MODEL, KEY, top_n=3)


def test_no_key_is_an_error_that_names_the_variables() -> None:
    with pytest.raises(AuthenticationError, match="JINA_API_KEY or JINAAI_API_KEY"):
        JinaRerankFunction()


def test_identity_and_repr_hold_no_key() -> None:
    function = JinaRerankFunction(MODEL, KEY)
    assert function.identity() == {"function": "JinaRerankFunction", "provider": "jina", "model": MODEL}
    assert KEY not in repr(function)


# Too much for one request


def test_what_is_too_long_is_sent_in_halves(server: ProviderServer) -> None:
    documents = ["red " * 3000, "green blue " * 1500, "black " * 3000, "blue"]
    results = reranker_of(server)(QUERY, documents, 2)
    assert [result.index for result in results] == [1, 0]
    assert server.statuses[0] == 400
    assert set(server.statuses[1:]) == {200}


def test_a_listwise_reranker_is_not_split(server: ProviderServer) -> None:
    rerank = JinaRerankFunction("jina-reranker-v3", KEY, base_url=server.url_of("jina"))
    assert len(rerank(QUERY, DOCUMENTS)) == 5
    with pytest.raises(ProviderRequestError, match="scores of several requests cannot be compared"):
        rerank(QUERY, ["red " * 5000, "blue " * 5000])
    assert len(server.requests) == 2
