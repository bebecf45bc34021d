from __future__ import annotations

from typing import Any

import pytest

from milvine.errors import AuthenticationError, InputTypeError, ProviderRequestError, ProviderResponseError
from milvine.model.reranker import TEIRerankFunction
from milvine.types import RerankResult
from provider_server import KEY, ProviderServer, Reply, relevance_of

pytestmark = pytest.mark.usefixtures("bare_environment")

QUERY = "red green blue"
# Shared words over all words: 1/3, 0, 3/3, 2/3, 2/4.
DOCUMENTS = ["red", "black", "blue green red", "green blue", "red blue black"]


def reranker_of(server: ProviderServer, **options: Any) -> TEIRerankFunction:
    return TEIRerankFunction(f"{server.url_of('tei')}/reranker", **options)


@pytest.mark.parametrize("top_k", [1, 3, 5, 9])
def test_top_k_is_honoured_though_every_document_comes_back(server: ProviderServer, top_k: int) -> None:
    # pymilvus.model 0.3.4 gives five whatever top_k says.
    best = [(2, 1.0), (3, 2 / 3), (4, 0.5), (0, 1 / 3), (1, 0.0)][:top_k]
    assert reranker_of(server)(QUERY, DOCUMENTS, top_k) == [
        RerankResult(DOCUMENTS[index], score, index) for index, score in best
    ]
    (request,) = server.requests
    assert request.path == "/tei/reranker/rerank"
    assert request.body == {"query": QUERY, "texts": DOCUMENTS}


def test_many_documents_go_in_several_requests(server: ProviderServer) -> None:
    documents = [f"red {number}" for number in range(70)] + ["blue green red"]
    best = reranker_of(server)(QUERY, documents, 2)
    assert [(result.index, result.score) for result in best] == [(70, 1.0), (0, relevance_of(QUERY, "red 0"))]
    assert sorted(len(request.body["texts"]) for request in server.requests) == [7, 32, 32]


def test_a_document_that_is_too_long(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match=r"documents\[1\].*less than 512 tokens"):
        reranker_of(server)(QUERY, ["red", "red " * 600, "blue"])
    assert len(reranker_of(server, truncate=True)(QUERY, ["red", "red " * 600, "blue"])) == 3
    assert server.requests[-1].body["truncate"] is True


def test_a_server_that_has_no_reranker(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match="model is not a re-ranker model"):
        TEIRerankFunction(server.url_of("tei"))(QUERY, DOCUMENTS)


def test_a_key_is_sent_if_there_is_one(server: ProviderServer) -> None:
    reranker_of(server)(QUERY, DOCUMENTS)
    reranker_of(server, api_key=KEY)(QUERY, DOCUMENTS)
    assert [request.headers.get("authorization") for request in server.requests] == [None, f"Bearer {KEY}"]
    server.script = [Reply(401, b"", {"Content-Type": "text/plain"})]
    with pytest.raises(AuthenticationError, match="TEI_API_KEY"):
        reranker_of(server)(QUERY, DOCUMENTS)


@pytest.mark.parametrize(
    "body",
    [
        {"results": []},
        [{"index": 0, "score": 0.5}],
        [{"index": index, "score": float("nan")} for index in range(5)],
        [{"index": index + 1, "score": 0.5} for index in range(5)],
    ],
)
def test_an_answer_without_a_score_for_each_document_is_refused(server: ProviderServer, body: Any) -> None:
    server.script = [Reply(200, body)]
    with pytest.raises(ProviderResponseError):
        reranker_of(server)(QUERY, DOCUMENTS, 1)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputTypeError, match="truncate must be True, False or None, not str"):
        TEIRerankFunction("http://localhost:8080", truncate="yes")  # type: ignore[arg-type]


def test_identity_and_repr_hold_no_key(server: ProviderServer) -> None:
    rerank = reranker_of(server, api_key=KEY)
    assert rerank.identity()["base_url"] == f"{server.url_of('tei')}/reranker"
    assert KEY not in f"{rerank!r} {rerank.identity()}"
