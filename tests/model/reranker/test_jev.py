from __future__ import annotations

import asyncio
from typing import Any

import pytest

from milvine.errors import (
    AuthenticationError,
    InputError,
    InputTypeError,
    ProviderRequestError,
    ProviderResponseError,
    RateLimitError,
)
from milvine.model.reranker import JevRerankFunction
from provider_server import KEY, REQUEST_ID, ProviderServer, Reply, relevance_of

pytestmark = pytest.mark.usefixtures("bare_environment")

QUERY = "foxes are red"
DOCUMENTS = ["Dogs bark.", "A study of foxes: they are red", "Red wine"]
PLAIN = {"query_prompt": "{query}", "document_prompt": "{document}"}


def reranker_of(server: ProviderServer, **options: Any) -> JevRerankFunction:
    return JevRerankFunction(api_key=KEY, base_url=server.url_of("typesafe"), **options)


def test_the_request_is_that_of_pymilvus_by_default(server: ProviderServer) -> None:
    results = reranker_of(server)(QUERY, DOCUMENTS, top_k=2)
    (request,) = server.requests
    assert request.path == "/typesafe/v1/systemone"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    # Word for word what pymilvus.model 0.3.4 sends.
    asked = "— Does this document provide evidence relevant to the claim?"
    assert request.body == {
        "model": "jev-latest",
        "state": f"Scientific claim: {QUERY}",
        "questions": {
            f"d{index}": {"type": "noul", "instructions": f"Document: {document} {asked}"}
            for index, document in enumerate(DOCUMENTS)
        },
    }
    state = request.body["state"]
    expected = [relevance_of(state, f"Document: {document} {asked}") for document in DOCUMENTS]
    order = sorted(range(3), key=lambda index: -expected[index])[:2]
    assert [(result.index, result.score) for result in results] == [(index, expected[index]) for index in order]


def test_prompts_may_be_ones_own(server: ProviderServer) -> None:
    rerank = reranker_of(server, query_prompt="Query: {query}", document_prompt="{document} {x} — relevant?")
    rerank("{document}", ["{query}", "b"])
    body = server.requests[0].body
    assert body["state"] == "Query: {document}"
    assert [question["instructions"] for question in body["questions"].values()] == [
        "{query} {x} — relevant?",
        "b {x} — relevant?",
    ]
    assert rerank.identity() == {
        "function": "JevRerankFunction",
        "provider": "typesafe",
        "model": "jev-latest",
        "query_prompt": "Query: {query}",
        "document_prompt": "{document} {x} — relevant?",
    }


def test_many_documents_go_in_several_requests_and_are_placed_right(server: ProviderServer) -> None:
    # The server takes 2,000 words; these are 100 documents of 60.
    documents = [f"{number} " + "word " * 59 for number in range(100)]
    documents[83] = QUERY
    results = reranker_of(server, **PLAIN)(QUERY, documents, top_k=100)
    assert sorted(result.index for result in results) == list(range(100))
    assert (results[0].index, results[0].score) == (83, 1.0)
    assert [request.status for request in server.requests].count(200) >= 4
    assert sum(len(r.body["questions"]) for r in server.requests if r.status == 200) == 100


def test_a_document_that_is_too_long_alone(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match=r"documents\[1\].*max_tokens_exceeded"):
        reranker_of(server)(QUERY, ["a", "word " * 3000, "b"])


@pytest.mark.parametrize(
    "answers",
    [
        {"d0": {"type": "noul", "noul": 0.5}, "d2": {"type": "noul", "noul": 0.1}},
        {f"d{index}": {"type": "noul", "noul": None if index == 1 else 0.5} for index in range(3)},
        {f"d{index}": {"type": "choice", "choice": "yes"} for index in range(3)},
        {f"d{index}": {"type": "noul", "noul": 0.5} for index in range(4)},
        {"x": {"type": "noul", "noul": 0.5}},
        [],
    ],
)
@pytest.mark.parametrize("top_k", [1, 3])
def test_a_document_without_an_answer_does_not_vanish(server: ProviderServer, answers: Any, top_k: int) -> None:
    # pymilvus.model 0.3.4 leaves it out of the list without a word.
    server.script = [Reply(200, {"model": "jev-1.13.0", "answers": answers, "usage": {}})]
    with pytest.raises(ProviderResponseError):
        reranker_of(server)(QUERY, DOCUMENTS, top_k)


def test_duplicates_are_asked_about_once(server: ProviderServer) -> None:
    results = reranker_of(server)(QUERY, ["a", "b", "a"], top_k=3)
    assert len(server.requests[0].body["questions"]) == 2
    assert sorted(result.index for result in results) == [0, 1, 2]


def test_the_vendors_client_gets_the_same_answers(server: ProviderServer) -> None:
    typesafe = pytest.importorskip("typesafe_sdk", reason="typesafe-sdk is not installed")
    questions = {f"d{index}": typesafe.Noul(instructions=document) for index, document in enumerate(DOCUMENTS)}
    with typesafe.TypeSafeClient(api_key=KEY, base_url=server.url_of("typesafe")) as client:
        theirs = client.system_one(QUERY, questions)
    ours = reranker_of(server, **PLAIN)(QUERY, DOCUMENTS)
    assert {f"d{result.index}": result.score for result in ours} == {
        name: answer.noul for name, answer in theirs.nouls.items()
    }
    first, second = server.requests
    assert (first.path, first.body) == (second.path, second.body)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(401, {"detail": "Invalid API key"}), AuthenticationError, "Invalid API key.*TYPESAFE_API_KEY"),
        (Reply(403, {"detail": "Not authenticated"}), AuthenticationError, "Not authenticated"),
        (Reply(422, {"detail": [{"loc": ["body"], "msg": "Field required"}]}), ProviderRequestError, "Field required"),
        (Reply(400, {"detail": "Unknown model: x"}), ProviderRequestError, "Unknown model: x"),
        (Reply(429, {"error": {"message": "Slow down"}}), RateLimitError, "Slow down"),
    ],
)
def test_each_form_of_error_is_read(server: ProviderServer, reply: Reply, kind: type[Any], told: str) -> None:
    server.script = [reply]
    with pytest.raises(kind, match=told) as caught:
        reranker_of(server, max_retries=0)(QUERY, DOCUMENTS)
    assert KEY not in str(caught.value)
    assert caught.value.request_id == REQUEST_ID


def test_a_wrong_key_and_none(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="Invalid API key"):
        JevRerankFunction(api_key="wrong", base_url=server.url_of("typesafe"))(QUERY, DOCUMENTS)
    with pytest.raises(AuthenticationError, match="none is in the environment variable TYPESAFE_API_KEY"):
        JevRerankFunction()


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"query_prompt": "a query"}, InputError, "query_prompt must have {query} in it, .*, not 'a query'"),
        ({"document_prompt": "{query}"}, InputError, "document_prompt must have {document} in it"),
        ({"document_prompt": None}, InputTypeError, "document_prompt must be one string, not NoneType"),
        ({"prompt": "x"}, InputTypeError, "no argument prompt"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        JevRerankFunction(api_key=KEY, **options)


def test_the_coroutine_does_the_same(server: ProviderServer) -> None:
    rerank = reranker_of(server)
    assert asyncio.run(rerank.acall(QUERY, DOCUMENTS, 2)) == rerank(QUERY, DOCUMENTS, 2)
    assert rerank.usage.requests == 2
