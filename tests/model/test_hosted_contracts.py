"""What goes wrong with every provider in the same ways: each trouble has its own error, which says what to do."""

from __future__ import annotations

import base64
import json
import logging
import math
import pickle
import socket
import traceback
from typing import Any

import numpy as np
import pytest

from milvine.errors import (
    AuthenticationError,
    InputError,
    MilvineError,
    ProviderConnectionError,
    ProviderError,
    ProviderRequestError,
    ProviderResponseError,
)
from milvine.hosted import PROVIDERS
from milvine.model._hosted import HostedEmbeddingFunction, HostedRerankFunction
from provider_models import EMBEDDING_MODELS, RERANK_MODELS
from provider_server import KEY, ProviderServer, Reply

pytestmark = pytest.mark.usefixtures("bare_environment")

TEXTS = ["one text", "a text", "the text"]
WRONG_KEY = "sk-wrong-0123456789abcdefghijklmnop"
# Which servers refuse what is too long; others cut it, as they are asked to or by themselves.
REFUSE_LONG_TEXTS = {"openai", "azure", "jina", "mistral", "tei"}

embedding = pytest.mark.parametrize("name", EMBEDDING_MODELS)
reranking = pytest.mark.parametrize("name", RERANK_MODELS)


def url_of(server: ProviderServer, name: str, *, rerank: bool = False) -> str:
    return server.url_of("tei") + "/reranker" if rerank and name == "tei" else server.url_of(name)


def embedder(server: ProviderServer, name: str, **options: Any) -> HostedEmbeddingFunction:
    settings: dict[str, Any] = {"base_url": url_of(server, name), "max_retries": 0, **options}
    model, key = settings.pop("model", EMBEDDING_MODELS[name]), settings.pop("key", KEY)
    return HostedEmbeddingFunction(PROVIDERS[name], model, key, **settings)


def reranker(server: ProviderServer, name: str, **options: Any) -> HostedRerankFunction:
    settings: dict[str, Any] = {"base_url": url_of(server, name, rerank=True), "max_retries": 0, **options}
    model, key = settings.pop("model", RERANK_MODELS[name]), settings.pop("key", KEY)
    return HostedRerankFunction(PROVIDERS[name], model, key, **settings)


def told(caught: pytest.ExceptionInfo[MilvineError]) -> str:
    """The message, which is one line of help."""
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


# Keys


@pytest.mark.parametrize("name", [name for name in EMBEDDING_MODELS if PROVIDERS[name].needs_key])
def test_a_wrong_key(server: ProviderServer, name: str) -> None:
    with embedder(server, name, key=WRONG_KEY) as function, pytest.raises(AuthenticationError) as caught:
        function(TEXTS)
    message = told(caught)
    assert PROVIDERS[name].key_variables[0] in message
    assert PROVIDERS[name].key_page in message
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", [name for name in RERANK_MODELS if PROVIDERS[name].needs_key])
def test_a_wrong_key_of_a_reranker(server: ProviderServer, name: str) -> None:
    with reranker(server, name, key=WRONG_KEY) as function, pytest.raises(AuthenticationError) as caught:
        function("query", TEXTS)
    assert PROVIDERS[name].key_variables[0] in told(caught)


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if row.needs_key])
def test_no_key_at_all(name: str) -> None:
    kind = HostedEmbeddingFunction if PROVIDERS[name].embeddings else HostedRerankFunction
    with pytest.raises(AuthenticationError) as caught:
        kind(PROVIDERS[name], "a-model", None, base_url="http://127.0.0.1:1")
    assert all(variable in told(caught) for variable in PROVIDERS[name].key_variables)


@embedding
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500])
def test_the_key_is_in_no_error_though_the_server_echoes_it(server: ProviderServer, name: str, status: int) -> None:
    echo = f"You sent {KEY}, and again {KEY}. " * 40
    headers = {"Location": "/elsewhere", PROVIDERS[name].request_id_header: KEY}
    server.script = [Reply(status, {"error": {"message": echo}, "detail": echo, "message": echo}, headers)]
    if status in (200, 302):
        server.script = [Reply(status, echo.encode(), headers)]
    with embedder(server, name) as function, pytest.raises(ProviderError) as caught:
        function(TEXTS)
    error = caught.value
    assert error.body
    shown = [str(error), repr(error), error.body, str(error.request_id), repr(vars(error)), repr(function)]
    assert KEY not in "".join(shown) + "".join(traceback.format_exception(error))
    assert KEY.encode() not in pickle.dumps(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - what was just pickled


@embedding
def test_the_key_is_in_no_log(server: ProviderServer, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.script = [Reply(500, {"error": {"message": f"You sent {KEY}."}}), Reply()]
    with embedder(server, name, max_retries=1) as function:
        function._client._backoff = 0.01
        function(TEXTS)
        assert KEY not in json.dumps(function.identity())
    assert {"httpx", "httpcore"} <= {record.name.split(".")[0] for record in caplog.records}
    assert KEY not in caplog.text
    # It was sent in a header and nowhere else: neither in a URL nor in a body.
    for request in server.requests:
        assert KEY in request.headers[PROVIDERS[name].key_header.lower()]
        assert KEY not in request.path + json.dumps([request.query, request.body])


@embedding
def test_the_key_is_not_in_the_cause_of_an_error(name: str) -> None:
    with embedder_without_network(name) as function, pytest.raises(ProviderConnectionError) as caught:
        function(TEXTS)
    request = caught.value.__cause__.request  # type: ignore[union-attr]
    assert KEY not in "".join(request.headers.values()) + str(request.url)


# What is asked


@pytest.mark.parametrize("name", sorted(set(EMBEDDING_MODELS) - {"tei"}))  # a server of TEI's has one model
def test_an_unknown_model(server: ProviderServer, name: str) -> None:
    with embedder(server, name, model="no-such-model") as function, pytest.raises(ProviderRequestError) as caught:
        function(TEXTS)
    assert caught.value.status in (400, 404, 422)
    assert told(caught)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", sorted(set(RERANK_MODELS) - {"tei"}))
def test_an_unknown_model_of_a_reranker(server: ProviderServer, name: str) -> None:
    with reranker(server, name, model="no-such-model") as function, pytest.raises(ProviderRequestError) as caught:
        function("query", TEXTS)
    assert told(caught)


@embedding
def test_a_text_over_the_limit(server: ProviderServer, name: str) -> None:
    texts = ["short", "word " * 30_000, "shorter"]
    with embedder(server, name) as function:
        if name not in REFUSE_LONG_TEXTS:
            assert len(function(texts)) == 3
            return
        with pytest.raises(ProviderRequestError) as caught:
            function(texts)
    message = told(caught)
    assert f"texts[1] is too long for {name}: 150,000 characters" in message
    assert "Cut it into passages" in message
    # The others, which came in the same request, were not lost.
    assert set(caught.value.completed) == {0, 2}


@embedding
def test_an_empty_string(server: ProviderServer, name: str) -> None:
    endpoint = PROVIDERS[name].embeddings
    assert endpoint is not None
    with embedder(server, name) as function:
        if endpoint.takes_empty:
            assert len(function(["a", "", " "])) == 3
            return
        with pytest.raises(InputError) as caught:
            function(["a", "", " "])
    assert "texts[1] is an empty string" in told(caught)
    assert "leave it out" in told(caught)
    assert server.requests == []


# What comes back


def embedder_without_network(name: str) -> HostedEmbeddingFunction:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    return HostedEmbeddingFunction(PROVIDERS[name], EMBEDDING_MODELS[name], KEY, base_url=url, max_retries=0)


@embedding
def test_no_network(name: str) -> None:
    with embedder_without_network(name) as function, pytest.raises(ProviderConnectionError) as caught:
        function(TEXTS)
    assert f"{name} could not be reached at http://127.0.0.1" in told(caught)
    assert "Check the network, the proxy settings and base_url" in told(caught)


@embedding
def test_a_proxy_that_answers_html(server: ProviderServer, name: str) -> None:
    page = b"<html><body>Sign in to\nuse the network</body></html>"
    server.script = [Reply(200, page, {"Content-Type": "text/html"})]
    with embedder(server, name, max_retries=5) as function, pytest.raises(ProviderResponseError) as caught:
        function(TEXTS)
    assert "a proxy may have answered in the provider's place" in told(caught)
    assert "Sign in to use the network" in told(caught)
    assert len(server.requests) == 1


@embedding
def test_fewer_vectors_than_texts(server: ProviderServer, name: str) -> None:
    server.script = [Reply(edit=lambda answer: without_the_last(answer, len(TEXTS)))]
    with embedder(server, name, max_retries=5) as function, pytest.raises(ProviderResponseError) as caught:
        function(TEXTS)
    assert "2 vectors for 3 texts" in told(caught)
    assert len(server.requests) == 1


@embedding
def test_a_number_that_is_none(server: ProviderServer, name: str) -> None:
    server.script = [Reply(edit=with_nan)]
    with embedder(server, name) as function, pytest.raises(ProviderResponseError) as caught:
        function(TEXTS)
    assert "vector 0 has a number that is not finite" in told(caught)


@reranking
def test_a_score_that_is_none(server: ProviderServer, name: str) -> None:
    server.script = [Reply(edit=with_nan)]
    with reranker(server, name) as function, pytest.raises(ProviderResponseError) as caught:
        function("query", TEXTS)
    assert "finite number" in told(caught)


@reranking
def test_a_reranker_that_forgets_a_document(server: ProviderServer, name: str) -> None:
    server.script = [Reply(edit=lambda answer: without_the_last(answer, len(TEXTS)))]
    with reranker(server, name) as function, pytest.raises(ProviderResponseError) as caught:
        function("query", TEXTS)
    assert "2 results where 3 were asked for" in told(caught)


def without_the_last(answer: Any, count: int) -> Any:
    """The answer without the last of its `count` vectors or scores."""
    if isinstance(answer, list) and len(answer) == count:
        return answer[:-1]
    if isinstance(answer, dict) and len(answer) == count and all(isinstance(value, dict) for value in answer.values()):
        return dict(list(answer.items())[:-1])
    if isinstance(answer, dict):
        return {key: without_the_last(value, count) for key, value in answer.items()}
    return answer


def with_nan(answer: Any) -> Any:
    """The answer with NaN for the first number of each vector, and for each score."""
    if isinstance(answer, dict):
        return {key: with_nan(value) for key, value in answer.items()}
    if isinstance(answer, list):
        if answer and isinstance(answer[0], float):
            return [math.nan, *answer[1:]]
        return [with_nan(item) for item in answer]
    if isinstance(answer, str) and len(answer) > 1_000:
        numbers = np.frombuffer(base64.b64decode(answer), "<f4").copy()
        numbers[0] = np.nan
        return base64.b64encode(numbers.tobytes()).decode()
    return math.nan if isinstance(answer, float) else answer


def test_every_provider_is_here() -> None:
    assert set(EMBEDDING_MODELS) == {name for name, row in PROVIDERS.items() if row.embeddings}
    assert set(RERANK_MODELS) == {name for name, row in PROVIDERS.items() if row.rerank}
