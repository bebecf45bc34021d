from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pytest
import voyageai

from milvine.errors import AuthenticationError, InputTypeError, ProviderRequestError
from milvine.model.reranker.voyageai import VoyageRerankFunction
from milvine.types import RerankResult
from provider_server import KEY, ProviderServer, Reply, relevance_of

pytestmark = pytest.mark.usefixtures("bare_environment")

MODEL = "rerank-2"
QUERY = "red green blue"
# Shared words over all words: 1/3, 0, 3/3, 2/3, 2/4.
DOCUMENTS = ["red", "black", "blue green red", "green blue", "red blue black"]


def reranker_of(server: ProviderServer, **options: Any) -> VoyageRerankFunction:
    return VoyageRerankFunction(MODEL, KEY, base_url=server.url_of("voyage"), **options)


def test_the_best_come_first_with_their_places_and_scores(server: ProviderServer) -> None:
    with reranker_of(server) as rerank:
        results = rerank(QUERY, DOCUMENTS, top_k=3)
        assert asyncio.run(rerank.acall(QUERY, DOCUMENTS, top_k=3)) == results
        assert rerank.usage.tokens > 0
    assert results == [
        RerankResult("blue green red", 1.0, 2),
        RerankResult("green blue", 2 / 3, 3),
        RerankResult("red blue black", 0.5, 4),
    ]
    json.dumps([result.to_dict() for result in results])
    assert server.requests[0].path == "/voyage/v1/rerank"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].body == {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_k": 3}


def test_the_official_client_sends_the_same_and_gets_the_same(server: ProviderServer) -> None:
    results = reranker_of(server, truncate=True)(QUERY, DOCUMENTS, top_k=2)
    official = voyageai.Client(KEY, base_url=server.url_of("voyage"))
    theirs = official.rerank(QUERY, DOCUMENTS, MODEL, top_k=2, truncation=True)
    assert [RerankResult(one.document, one.relevance_score, one.index) for one in theirs.results] == results
    assert server.requests[0].body == server.requests[1].body
    with pytest.raises(voyageai.error.AuthenticationError):
        voyageai.Client("wrong", base_url=server.url_of("voyage")).rerank(QUERY, DOCUMENTS, MODEL)


def test_more_than_1000_documents_go_in_several_requests(server: ProviderServer) -> None:
    documents = [f"red {number}" for number in range(1_500)]
    documents[1_400] = "red green"
    results = reranker_of(server)(QUERY, documents, top_k=2)
    assert sorted(len(request.body["documents"]) for request in server.requests) == [500, 1000]
    assert results == [
        RerankResult("red green", relevance_of(QUERY, "red green"), 1_400),
        RerankResult("red 0", relevance_of(QUERY, "red 0"), 0),
    ]


def test_more_tokens_than_the_limit_are_split_when_the_server_says_so(server: ProviderServer) -> None:
    # The server counts the query once a document: 100 documents of 9 bytes and a query of 7,000 are 700,900 tokens.
    query = "q" * 7_000
    documents = [f"{number:09d}" for number in range(100)]
    results = reranker_of(server, concurrency=1)(query, documents, top_k=100)
    assert len(results) == 100
    assert server.statuses == [400, 200, 200]
    assert [len(request.body["documents"]) for request in server.requests] == [100, 50, 50]


def test_a_document_that_is_too_long_is_cut_or_named(server: ProviderServer) -> None:
    documents = ["red", "x" * 40_000, "blue"]
    assert len(reranker_of(server)(QUERY, documents)) == 3
    with pytest.raises(ProviderRequestError, match=r"documents\[1\]"):
        reranker_of(server, truncate=False)(QUERY, documents)


def test_errors_carry_what_voyage_says(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="Provided API key is invalid"):
        VoyageRerankFunction(MODEL, "wrong", base_url=server.url_of("voyage"))(QUERY, DOCUMENTS)
    with pytest.raises(ProviderRequestError, match="Model none is not supported"):
        VoyageRerankFunction("none", KEY, base_url=server.url_of("voyage"))(QUERY, DOCUMENTS)
    server.script = [Reply(200, {"results": []})]
    with pytest.raises(Exception, match="no list of objects named 'data'"):
        reranker_of(server)(QUERY, DOCUMENTS)
    with pytest.raises(InputTypeError, match="truncate"):
        VoyageRerankFunction(MODEL, KEY, truncate=1)  # type: ignore[arg-type]


def test_the_signature_is_that_of_pymilvus(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = list(inspect.signature(VoyageRerankFunction).parameters.values())
    assert [(one.name, one.default) for one in parameters[:2]] == [("model_name", MODEL), ("api_key", None)]
    with pytest.raises(AuthenticationError, match="VOYAGE_API_KEY"):
        VoyageRerankFunction()
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    made = VoyageRerankFunction()
    assert made.identity() == {"function": "VoyageRerankFunction", "provider": "voyage", "model": MODEL}
    assert KEY not in repr(made)
