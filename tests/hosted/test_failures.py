from __future__ import annotations

import email.utils
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from milvine.errors import (
    AuthenticationError,
    ProviderError,
    ProviderRequestError,
    ProviderResponseError,
    ProviderUnavailableError,
    RateLimitError,
)
from milvine.hosted import HostedClient
from milvine.hosted.answers import Answer
from milvine.hosted.providers import JINA, OPENAI
from provider_apis.openai import error as openai_error
from provider_server import (
    KEY,
    REQUEST_ID,
    ProviderServer,
    Reply,
)
from small_tasks import Post

pytestmark = pytest.mark.usefixtures("bare_environment")

BODY = {"model": "tiny", "input": ["a text"]}


def client_of(server: ProviderServer, **options: Any) -> HostedClient:
    return HostedClient(OPENAI, KEY, base_url=server.url_of("openai"), **{"backoff": 0.01, **options})


def post(client: HostedClient, body: dict[str, Any], path: str = "/embeddings") -> Answer:
    ((_, answer),) = client.run(iter([Post(path, body)]))
    return answer


def refused(server: ProviderServer, kind: type[ProviderError], **options: Any) -> ProviderError:
    with client_of(server, **options) as client, pytest.raises(kind) as caught:
        post(client, BODY)
    assert type(caught.value) is kind
    assert caught.value.provider == "openai"
    return caught.value


def test_retry_after_may_be_a_date(server: ProviderServer) -> None:
    # RFC 9110, 10.2.3. A date in the past means at once; the time zone of HTTP dates is GMT.
    past = email.utils.format_datetime(datetime.now(timezone.utc) - timedelta(hours=1), usegmt=True)
    server.script = [replace(openai_error(429, "Slow down."), headers={"Retry-After": past})]
    with client_of(server) as client:
        post(client, BODY)
    server.script = [replace(openai_error(429, "Slow down."), headers={"Retry-After": past})]
    error = refused(server, RateLimitError, max_retries=0)
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 0.0
    future = email.utils.format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
    server.script = [replace(openai_error(429, "Slow down."), headers={"Retry-After": future})]
    error = refused(server, RateLimitError)
    assert isinstance(error, RateLimitError)
    assert error.retry_after == pytest.approx(3600, abs=5)


@pytest.mark.parametrize("nonsense", ["soon", "nan", "", "Wed, 99 Nov 2026"])
def test_a_retry_after_that_says_nothing_counts_as_not_given(server: ProviderServer, nonsense: str) -> None:
    server.script = [replace(openai_error(429, "Slow down."), headers={"Retry-After": nonsense})]
    error = refused(server, RateLimitError, max_retries=0)
    assert isinstance(error, RateLimitError)
    assert error.retry_after is None


# What does not pass


def test_429_until_the_retries_are_spent(server: ProviderServer) -> None:
    server.script = [replace(openai_error(429, "Rate limit reached."), headers={"Retry-After": "0"})] * 3
    error = refused(server, RateLimitError, max_retries=2)
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 0.0
    assert error.status == 429
    assert "after 3 attempts" in str(error)
    assert "Rate limit reached." in str(error)
    assert len(server.requests) == 3


@pytest.mark.parametrize("wait", ["3600", "1e999"])
def test_a_wait_beyond_the_cap_fails_at_once(server: ProviderServer, wait: str) -> None:
    server.script = [replace(openai_error(429, "Daily limit."), headers={"Retry-After": wait})]
    error = refused(server, RateLimitError)
    assert isinstance(error, RateLimitError)
    assert error.retry_after == float(wait)
    assert f"wait {float(wait):g} seconds" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", ["insufficient_quota", "credit_balance_exhausted"])
def test_an_empty_account_is_not_asked_again(server: ProviderServer, code: str) -> None:
    server.script = [openai_error(429, "You exceeded your current quota.", code, "insufficient_quota")]
    error = refused(server, RateLimitError)
    assert "You exceeded your current quota." in str(error)
    assert len(server.requests) == 1


def test_500_for_good(server: ProviderServer) -> None:
    server.script = [openai_error(500, "The server had an error.")] * 3
    error = refused(server, ProviderUnavailableError, max_retries=2)
    assert error.status == 500
    assert error.request_id == REQUEST_ID
    assert '"The server had an error."' in error.body
    assert "after 3 attempts" in str(error)
    assert len(server.requests) == 3


def test_a_wrong_key_fails_at_once(server: ProviderServer) -> None:
    wrong = "sk-wrong-key-0123456789"
    with (
        HostedClient(OPENAI, wrong, base_url=server.url_of("openai")) as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        post(client, BODY)
    assert caught.value.status == 401
    assert caught.value.request_id == REQUEST_ID
    assert "Incorrect API key provided" in str(caught.value)
    assert "OPENAI_API_KEY" in str(caught.value)
    assert len(server.requests) == 1


def test_403_fails_at_once_with_the_providers_reason(server: ProviderServer) -> None:
    server.script = [openai_error(403, "You are not allowed to generate embeddings from this model")]
    error = refused(server, AuthenticationError)
    assert "You are not allowed to generate embeddings from this model." in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 402, 404, 413, 422])
def test_another_4xx_fails_at_once_with_the_providers_reason(server: ProviderServer, status: int) -> None:
    server.script = [openai_error(status, "This cannot be done")]
    error = refused(server, ProviderRequestError)
    assert error.status == status
    assert "This cannot be done." in str(error)
    assert isinstance(error, ValueError)
    assert len(server.requests) == 1


def test_a_wrong_path_names_the_base_url(server: ProviderServer) -> None:
    with (
        HostedClient(OPENAI, KEY, base_url=server.url_of("openai") + "/v2") as client,
        pytest.raises(ProviderRequestError, match=f"base_url \\({server.url_of('openai')}/v2\\)"),
    ):
        post(client, BODY)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(200, b"<html><body>Welcome to the\nproxy</body></html>", {"Content-Type": "text/html"}), "text/html"),
        (Reply(200, b"", {}), "it gave no reason"),
        (Reply(200, b"7", {}), "no JSON object"),
        (Reply(302, b"", {"Location": "https://login.example/"}), "redirects to https://login.example/"),
        (Reply(200, b"no gzip", {"Content-Encoding": "gzip"}), "cannot be decoded"),
    ],
    ids=["html", "empty", "number", "redirect", "bad-gzip"],
)
def test_an_answer_that_is_no_json_object_is_not_asked_for_again(
    server: ProviderServer, reply: Reply, told: str
) -> None:
    server.script = [reply]
    error = refused(server, ProviderResponseError)
    assert told in str(error)
    assert "\n" not in str(error)
    assert len(server.requests) == 1


def test_a_list_of_validation_errors_becomes_one_sentence(server: ProviderServer) -> None:
    server.script = [Reply(422, {"detail": [{"loc": ["body"], "msg": "top_n is wrong"}, {"msg": "query is missing"}]})]
    with (
        HostedClient(JINA, KEY, base_url=server.url_of("jina")) as client,
        pytest.raises(ProviderRequestError) as caught,
    ):
        post(client, path="/rerank", body={"model": "jina-reranker-m0", "query": "q", "documents": ["d"]})
    assert "top_n is wrong; query is missing." in str(caught.value)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 408, 429, 500])
def test_the_key_is_in_no_error_though_the_server_echoes_it(server: ProviderServer, status: int) -> None:
    echo = f"You sent {KEY}, and again {KEY}. "
    server.script = [Reply(status, (echo * 60).encode(), {"x-request-id": KEY, "Location": f"/?key={KEY}"})]
    with client_of(server, max_retries=0) as client, pytest.raises(ProviderError) as caught:
        post(client, BODY)
    error = caught.value
    assert KEY not in f"{error} {error!r} {error.body} {error.request_id} {client!r}"
    assert error.body.startswith("You sent [API key], and again [API key]. You sent")
    assert len(error.body) == 2000
