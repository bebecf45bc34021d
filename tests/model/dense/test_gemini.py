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
from milvine.model.dense import GeminiEmbeddingFunction
from provider_apis.gemini import exhausted, vector
from provider_server import KEY, ProviderServer, Reply

pytestmark = pytest.mark.usefixtures("bare_environment")

OLD, NEW = "gemini-embedding-001", "gemini-embedding-2"


def function_of(server: ProviderServer, model: str = OLD, **options: Any) -> GeminiEmbeddingFunction:
    return GeminiEmbeddingFunction(model, KEY, base_url=server.url_of("gemini"), **options)


def unit(found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return found / np.linalg.norm(found)


def test_queries_and_documents_have_their_task_types(server: ProviderServer) -> None:
    ef = function_of(server)
    documents, queries = ef.encode_documents(["a b", "c"]), ef.encode_queries(["a b"])
    first, second = server.requests
    assert first.path == f"/gemini/v1beta/models/{OLD}:batchEmbedContents"
    assert first.headers["x-goog-api-key"] == KEY
    assert "authorization" not in first.headers
    assert first.query == {}, "the key must not stand in the URL"
    assert first.body == {
        "requests": [
            {"model": f"models/{OLD}", "content": {"parts": [{"text": text}]}, "taskType": "RETRIEVAL_DOCUMENT"}
            for text in ("a b", "c")
        ]
    }
    assert [part["taskType"] for part in second.body["requests"]] == ["RETRIEVAL_QUERY"]
    np.testing.assert_allclose(documents[1], vector("c", "RETRIEVAL_DOCUMENT", 3072, new=False), atol=1e-6)
    np.testing.assert_allclose(queries[0], vector("a b", "RETRIEVAL_QUERY", 3072, new=False), atol=1e-6)
    assert ef.usage.tokens == 5


def test_the_newer_model_is_told_by_what_stands_before_the_text(server: ProviderServer) -> None:
    ef = function_of(server, NEW)
    ef.encode_documents(["a b"])
    ef.encode_queries(["a b"])
    sent = [request.body["requests"][0] for request in server.requests]
    assert [part["content"]["parts"][0]["text"] for part in sent] == [
        "title: none | text: a b",
        "task: search result | query: a b",
    ]
    assert all("taskType" not in part for part in sent)


@pytest.mark.parametrize(
    ("task", "query", "document"),
    [
        ("RETRIEVAL_QUERY", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT"),
        ("RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT"),
        ("CODE_RETRIEVAL_QUERY", "CODE_RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT"),
        ("FACT_VERIFICATION", "FACT_VERIFICATION", "RETRIEVAL_DOCUMENT"),
        ("CLUSTERING", "CLUSTERING", "CLUSTERING"),
    ],
)
def test_a_task_type_names_what_queries_are(server: ProviderServer, task: str, query: str, document: str) -> None:
    ef = function_of(server, task_type=task)
    ef.encode_queries(["a"])
    ef.encode_documents(["a"])
    assert [request.body["requests"][0]["taskType"] for request in server.requests] == [query, document]


def test_the_newer_models_tasks_are_those_of_its_documentation(server: ProviderServer) -> None:
    ef = function_of(server, NEW, config={"task_type": "QUESTION_ANSWERING", "title": "Turing"})
    ef.encode_queries(["a"])
    ef.encode_documents(["a"])
    texts = [request.body["requests"][0]["content"]["parts"][0]["text"] for request in server.requests]
    assert texts == ["task: question answering | query: a", "title: Turing | text: a"]


@pytest.mark.parametrize("model", [OLD, NEW])
def test_shortened_vectors_have_length_one(server: ProviderServer, model: str) -> None:
    ef = function_of(server, model, config={"output_dimensionality": 768})
    (found,) = ef.encode_documents(["a"])
    assert server.requests[0].body["requests"][0]["outputDimensionality"] == ef.dim == 768
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-6)
    text = "a" if model == OLD else "title: none | text: a"
    raw = vector(text, "RETRIEVAL_DOCUMENT", 768, new=model == NEW)
    assert (np.linalg.norm(raw) < 0.9) == (model == OLD), "the server does not normalise what the older model gives"
    np.testing.assert_allclose(found, unit(raw), atol=1e-6)


def test_a_config_of_the_vendors_client_is_understood(server: ProviderServer) -> None:
    types = pytest.importorskip("google.genai.types", reason="google-genai is not installed")
    config = types.EmbedContentConfig(task_type="CLASSIFICATION", output_dimensionality=256)
    ef = function_of(server, config=config, dimensions=128)
    ef.encode_queries(["a"])
    (part,) = server.requests[0].body["requests"]
    assert (part["taskType"], part["outputDimensionality"]) == ("CLASSIFICATION", 128)
    with pytest.raises(InputError, match="config has 'auto_truncate'"):
        function_of(server, config=types.EmbedContentConfig(auto_truncate=False))


def test_the_vendors_client_gets_the_same_vectors(server: ProviderServer) -> None:
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    client = genai.Client(api_key=KEY, http_options={"base_url": server.url_of("gemini")})
    config = {"task_type": "RETRIEVAL_QUERY", "output_dimensionality": 768}
    answer = client.models.embed_content(model=OLD, contents=["a b", "c"], config=config)
    theirs = [unit(np.array(item.values, np.float32)) for item in answer.embeddings]
    ours = function_of(server, dimensions=768).encode_queries(["a b", "c"])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    first, second = server.requests
    assert first.path.split("/models/") == ["/gemini/v1", f"{OLD}:batchEmbedContents"]
    assert second.path.split("/models/") == ["/gemini/v1beta", f"{OLD}:batchEmbedContents"]
    for part in first.body["requests"]:
        assert part["content"].pop("role") == "user"  # which says nothing here, and stands in no documented request
    assert first.body == second.body
    assert first.headers["x-goog-api-key"] == second.headers["x-goog-api-key"]
    wrong = genai.Client(api_key="wrong", http_options={"base_url": server.url_of("gemini")})
    with pytest.raises(genai.errors.ClientError, match="API key not valid"):
        wrong.models.embed_content(model=OLD, contents="a")


def test_the_default_stands_for_its_successor(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url_of("gemini"))
    ef = GeminiEmbeddingFunction()
    assert (ef.model_name, ef.dim) == (OLD, 3072)
    ef(["a"])
    assert server.requests[0].path.endswith(f"/{OLD}:batchEmbedContents")
    assert GeminiEmbeddingFunction(f"models/{NEW}").model_name == NEW


def test_lists_are_split_to_what_a_request_may_hold(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(250)]
    found = function_of(server, dimensions=8).encode_documents(texts)
    assert sorted(len(request.body["requests"]) for request in server.requests) == [50, 100, 100]
    np.testing.assert_allclose(found[249], unit(vector(texts[249], "RETRIEVAL_DOCUMENT", 8, new=False)), atol=1e-6)


def test_a_wrong_key_is_told_though_it_comes_as_a_bad_request(server: ProviderServer) -> None:
    ef = GeminiEmbeddingFunction(OLD, "wrong-key", base_url=server.url_of("gemini"))
    with pytest.raises(AuthenticationError, match=r"API key not valid.*GEMINI_API_KEY") as caught:
        ef.encode_documents(["a"])
    assert caught.value.status == 400
    assert "wrong-key" not in str(caught.value)
    assert len(server.requests) == 1


def test_an_unknown_model(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match=r"not found.*Check the model's name \(text-embedding-004\)"):
        function_of(server, "text-embedding-004").encode_documents(["a"])


def test_the_wait_that_the_body_of_a_refusal_asks_for(server: ProviderServer) -> None:
    server.script = [exhausted("0.01s")]
    assert len(function_of(server).encode_documents(["a"])) == 1
    server.script = [exhausted("35823s")]
    with pytest.raises(RateLimitError, match="exceeded your current quota") as caught:
        function_of(server).encode_documents(["a"])
    assert caught.value.retry_after == 35823.0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"embeddings": []}, "0 vectors for 1 text"),
        ({"embedding": {"values": [1.0]}}, "no list of objects with values named 'embeddings'"),
        ({"embeddings": [{"values": [float("nan")] * 3072}]}, "not finite"),
        ([1], "no list of objects with values named 'embeddings'"),
    ],
)
def test_a_malformed_answer_is_refused(server: ProviderServer, body: Any, told: str) -> None:
    server.script = [Reply(200, body)]
    with pytest.raises(ProviderResponseError, match=told):
        function_of(server).encode_documents(["a"])


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"task_type": "SEARCH"}, InputError, "task_type must be one of RETRIEVAL_DOCUMENT, .*, not 'SEARCH'"),
        ({"config": {"mime_type": "text/plain"}}, InputError, "config has 'mime_type'; of a config, task_type, title"),
        ({"config": 3}, InputTypeError, "config must be a google.genai.types.EmbedContentConfig or a dict, not int"),
        ({"config": {"title": 3}}, InputTypeError, "title must be a string, not int"),
        ({"dimensions": 4000}, InputError, "at most 3072 dimensions, not 4000"),
        ({"vertexai": True}, InputTypeError, "no argument vertexai"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        GeminiEmbeddingFunction(OLD, KEY, **options)


@pytest.mark.parametrize(
    ("model", "options"),
    [(OLD, {}), (OLD, {"task_type": "CLUSTERING", "dimensions": 8}), (NEW, {"config": {"title": "T"}}), (NEW, {})],
)
def test_an_identity_makes_the_function_again(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, model: str, options: dict[str, Any]
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url_of("gemini"))
    made = function_of(server, model, **options)
    identity = json.loads(json.dumps(made.identity()))
    assert KEY not in json.dumps(identity)
    again = GeminiEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again.encode_documents(["a"]), made.encode_documents(["a"]))
    np.testing.assert_array_equal(again.encode_queries(["a"]), made.encode_queries(["a"]))
