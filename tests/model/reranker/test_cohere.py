from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import cohere
import pytest

from milvine.errors import AuthenticationError, InputError, InputTypeError, ProviderRequestError
from milvine.model.reranker.cohere import CohereRerankFunction
from milvine.types import RerankResult
from provider_server import KEY, REQUEST_ID, ProviderServer, Reply, relevance_of

pytestmark = pytest.mark.usefixtures("bare_environment")

MODEL = "rerank-english-v3.0"
QUERY = "red green blue"
# Shared words over all words: 1/3, 0, 3/3, 2/3, 2/4.
DOCUMENTS = ["red", "black", "blue green red", "green blue", "red blue black"]


def reranker_of(server: ProviderServer, **options: Any) -> CohereRerankFunction:
    return CohereRerankFunction(MODEL, KEY, base_url=server.url_of("cohere"), **options)


def test_the_best_come_first_with_their_places_and_scores(server: ProviderServer) -> None:
    with reranker_of(server) as rerank:
        results = rerank(QUERY, DOCUMENTS, top_k=3)
        assert asyncio.run(rerank.acall(QUERY, DOCUMENTS, top_k=3)) == results
    assert results == [
        RerankResult("blue green red", 1.0, 2),
        RerankResult("green blue", 2 / 3, 3),
        RerankResult("red blue black", 0.5, 4),
    ]
    json.dumps([result.to_dict() for result in results])
    assert server.requests[0].path == "/cohere/v2/rerank"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].body == {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_n": 3}


def test_the_official_client_sends_the_same_and_gets_the_same(server: ProviderServer) -> None:
    results = reranker_of(server, max_tokens_per_doc=100)(QUERY, DOCUMENTS, top_k=2)
    official = cohere.ClientV2(KEY, base_url=server.url_of("cohere"))
    theirs = official.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=2, max_tokens_per_doc=100).results
    assert [(one.index, one.relevance_score) for one in theirs] == [(one.index, one.score) for one in results]
    assert server.requests[0].body == server.requests[1].body
    with pytest.raises(cohere.UnauthorizedError):
        cohere.ClientV2("wrong", base_url=server.url_of("cohere")).rerank(model=MODEL, query="a", documents=["a"])


def test_without_return_documents_results_have_no_texts(server: ProviderServer) -> None:
    # As pymilvus.model gives them; the field itself is unknown to version 2 of the API, and never sent.
    rerank = reranker_of(server, return_documents=False)
    expected = [RerankResult("", 1.0, 2), RerankResult("", 2 / 3, 3)]
    assert rerank(QUERY, DOCUMENTS, top_k=2) == expected
    assert asyncio.run(rerank.acall(QUERY, DOCUMENTS, 2)) == expected
    assert "return_documents" not in server.requests[0].body


def test_more_than_1000_documents_go_in_several_requests(server: ProviderServer) -> None:
    documents = [f"red {number}" if number % 7 else f"red green {number}" for number in range(2_500)]
    documents[1_700], documents[2_400] = "red green blue", "red green"
    results = reranker_of(server)(QUERY, documents, top_k=4)
    assert sorted(len(request.body["documents"]) for request in server.requests) == [500, 1000, 1000]
    scored = [relevance_of(QUERY, document) for document in documents]
    best = sorted(range(2_500), key=lambda index: (-scored[index], index))[:4]
    assert [(result.index, result.score) for result in results] == [(index, scored[index]) for index in best]
    assert [result.index for result in results[:2]] == [1_700, 2_400]


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"return_documents": "yes"}, InputTypeError, "return_documents"),
        ({"max_tokens_per_doc": 0}, InputError, "max_tokens_per_doc"),
        ({"top_n": 3}, InputTypeError, "top_n"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        CohereRerankFunction(MODEL, KEY, **options)


def test_errors_carry_what_cohere_says(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="invalid api token") as refused:
        CohereRerankFunction(MODEL, "wrong", base_url=server.url_of("cohere"))(QUERY, DOCUMENTS)
    assert refused.value.request_id == REQUEST_ID
    with pytest.raises(ProviderRequestError, match="model 'none' not found"):
        CohereRerankFunction("none", KEY, base_url=server.url_of("cohere"))(QUERY, DOCUMENTS)
    with pytest.raises(ProviderRequestError, match="query must not be empty"):
        reranker_of(server)("  ", DOCUMENTS)
    server.script = [Reply(200, {"results": [{"index": 9, "relevance_score": 1.0}]})]
    with pytest.raises(Exception, match="no index from 0 to 4"):
        reranker_of(server)(QUERY, DOCUMENTS, top_k=1)


def test_usage_counts_no_searches_as_tokens(server: ProviderServer) -> None:
    rerank = reranker_of(server)
    rerank(QUERY, DOCUMENTS)
    assert (rerank.usage.requests, rerank.usage.texts, rerank.usage.tokens) == (1, 5, 0)


def test_the_signature_is_that_of_pymilvus(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = list(inspect.signature(CohereRerankFunction).parameters.values())
    assert [(one.name, one.default) for one in parameters[:3]] == [
        ("model_name", MODEL),
        ("api_key", None),
        ("return_documents", True),
    ]
    with pytest.raises(AuthenticationError, match="CO_API_KEY or COHERE_API_KEY"):
        CohereRerankFunction()
    monkeypatch.setenv("CO_API_KEY", KEY)
    made = CohereRerankFunction()
    assert made.identity() == {"function": "CohereRerankFunction", "provider": "cohere", "model": MODEL}
    assert KEY not in repr(made)
