from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest

from milvine.errors import (
    AuthenticationError,
    InputError,
    InputTypeError,
    ProviderConnectionError,
    ProviderError,
    ProviderRequestError,
    ProviderTimeoutError,
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
    vector_of,
    wait_for,
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


def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


# What arrives, and what comes back


def test_a_request_carries_the_key_and_json(server: ProviderServer) -> None:
    with client_of(server) as client:
        answer = post(client, {**BODY, "input": ["Füße"]})
    (request,) = server.requests
    assert request.path == "/openai/v1/embeddings"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.body == {"model": "tiny", "input": ["Füße"]}
    assert answer.data["object"] == "list"
    assert answer.request_id == REQUEST_ID


def test_requests_share_a_connection(server: ProviderServer) -> None:
    with client_of(server) as client:
        for _ in range(3):
            post(client, BODY)
    assert len({request.port for request in server.requests}) == 1


def test_threads_share_a_client(server: ProviderServer) -> None:
    answers: list[Any] = []
    with client_of(server) as client:
        texts = [f"text {number}" for number in range(8)]
        bodies = [{**BODY, "input": [text], "encoding_format": "float"} for text in texts]
        threads = [
            threading.Thread(target=lambda body=body: answers.append((body, post(client, body).data)))
            for body in bodies
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 8
    for body, data in answers:
        assert data["data"][0]["embedding"] == vector_of(body["input"][0], 7).tolist()


# What passes is sent again


@pytest.mark.parametrize(
    "trouble",
    [
        openai_error(429, "Rate limit reached.", "rate_limit_exceeded", "requests"),
        replace(openai_error(429, "Rate limit reached."), headers={"Retry-After": "0"}),
        replace(openai_error(429, "Rate limit reached."), headers={"retry-after-ms": "20"}),
        openai_error(500, "The server had an error."),
        Reply(503, b"upstream connect error", {"Content-Type": "text/plain"}),
        openai_error(408, "Timed out."),
        Reply(cut=20),
        Reply(cut=0),
        Reply(reset=True),
        Reply(200, b'{"data": ['),
        openai_error(409, "Being updated."),
        openai_error(425, "Too early."),
    ],
    ids=[
        "429",
        "429-retry-after",
        "429-retry-after-ms",
        "500",
        "503-text",
        "408",
        "half-a-body",
        "no-body",
        "reset",
        "half-json",
        "409",
        "425",
    ],
)
def test_what_may_pass_is_sent_again(server: ProviderServer, trouble: Reply) -> None:
    server.script = [trouble, trouble]
    with client_of(server) as client:
        assert post(client, BODY).data["object"] == "list"
    assert len(server.requests) == 3
    assert server.requests[0].body == server.requests[2].body


def test_retry_after_is_waited_for(server: ProviderServer) -> None:
    server.script = [replace(openai_error(429, "Slow down."), headers={"Retry-After": "0.3"})]
    with client_of(server) as client:
        start = time.monotonic()
        post(client, BODY)
    assert time.monotonic() - start >= 0.3


# When no answer comes


def test_a_timeout(server: ProviderServer) -> None:
    server.script = [Reply(delay=30.0)] * 2
    error = refused(server, ProviderTimeoutError, timeout=0.1, max_retries=1)
    assert "within 0.1 seconds" in str(error)
    assert "after 2 attempts" in str(error)
    assert isinstance(error, TimeoutError)
    assert error.status is None
    assert len(server.requests) == 2


def test_a_timeout_may_pass(server: ProviderServer) -> None:
    server.script = [Reply(delay=30.0)]
    with client_of(server, timeout=0.2) as client:
        assert post(client, BODY).data["object"] == "list"


def test_a_refused_connection() -> None:
    url = unused_url()
    with (
        HostedClient(OPENAI, KEY, base_url=url, max_retries=1, backoff=0.01) as client,
        pytest.raises(ProviderConnectionError, match="Connection refused") as caught,
    ):
        post(client, BODY)
    assert url in str(caught.value)
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.__cause__ is not None


def test_a_host_that_does_not_exist() -> None:
    # RFC 6761, 6.4: names below .invalid never resolve.
    with (
        HostedClient(OPENAI, KEY, base_url="http://api.invalid/v1", max_retries=0) as client,
        pytest.raises(ProviderConnectionError, match=r"api\.invalid"),
    ):
        post(client, BODY)


def test_a_connection_that_breaks_mid_body_for_good(server: ProviderServer) -> None:
    server.script = [Reply(cut=50)] * 2
    error = refused(server, ProviderConnectionError, max_retries=1)
    assert "after 2 attempts" in str(error)


# Keys


def test_the_key_is_in_no_log(server: ProviderServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.script = [openai_error(500, f"You sent {KEY}."), openai_error(400, f"You sent {KEY}.")]
    with client_of(server) as client, pytest.raises(ProviderRequestError):
        post(client, BODY)
    assert "HTTP Request: POST" in caplog.text
    assert KEY not in caplog.text


def test_where_the_key_and_the_base_url_come_from(monkeypatch: pytest.MonkeyPatch, server: ProviderServer) -> None:
    monkeypatch.setenv("JINAAI_API_KEY", "alias")
    assert HostedClient(JINA)._key == "alias"
    monkeypatch.setenv("JINA_API_KEY", " vendor\n")
    assert HostedClient(JINA)._key == "vendor"
    assert HostedClient(JINA, "argument")._key == "argument"
    assert HostedClient(JINA).base_url == "https://api.jina.ai/v1"
    monkeypatch.setenv("JINA_BASE_URL", server.url_of("openai") + "/")
    assert HostedClient(JINA).base_url == server.url_of("openai")
    assert HostedClient(JINA, base_url="http://localhost:1").base_url == "http://localhost:1"


def test_no_key_is_an_error_that_names_the_variables() -> None:
    with pytest.raises(AuthenticationError, match="JINA_API_KEY or JINAAI_API_KEY") as caught:
        HostedClient(JINA)
    assert caught.value.provider == "jina"


@pytest.mark.parametrize("key", ["two words", "with\nnewline", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY holds no API key") as caught:
        HostedClient(OPENAI)
    assert key not in str(caught.value)


# Settings


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"base_url": "api.openai.com"}, InputError, "must be a URL"),
        ({"base_url": "ftp://api.openai.com"}, InputError, "must be a URL"),
        ({"base_url": "http://host:port/"}, InputError, "must be a URL"),
        ({"base_url": "https://user:secret@host/v1"}, InputError, "no user name"),
        ({"base_url": 5}, InputTypeError, "base_url must be a string"),
        ({"timeout": 0}, InputError, "more than 0 seconds, not 0"),
        ({"timeout": float("nan")}, InputError, "more than 0 seconds"),
        ({"timeout": "60"}, InputTypeError, "timeout must be a number"),
        ({"max_retries": -1}, InputError, "at least 0, not -1"),
        ({"max_retries": 1.5}, InputTypeError, "max_retries must be an integer"),
        ({"http_client": object()}, InputTypeError, r"must be an httpx\.Client"),
        ({"api_key": 5}, InputTypeError, "api_key must be a string"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told) as caught:
        HostedClient(OPENAI, **{"api_key": KEY, **options})
    assert "secret" not in str(caught.value)


def test_ones_own_http_client_is_used_and_left_open(server: ProviderServer) -> None:
    with httpx.Client(headers={"X-Team": "search"}, timeout=5.0) as own:
        with client_of(server, http_client=own) as client:
            post(client, BODY)
        assert not own.is_closed
    assert server.requests[0].headers["x-team"] == "search"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    with pytest.raises(ProviderConnectionError, match="closed"):
        post(client_of(server, http_client=own), BODY)


def test_ones_own_http_client_keeps_its_timeout(server: ProviderServer) -> None:
    server.script = [Reply(delay=30.0)]
    with httpx.Client(timeout=0.1) as own:
        refused(server, ProviderTimeoutError, http_client=own, max_retries=0)


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, server: ProviderServer) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    with (
        HostedClient(OPENAI, KEY, base_url="http://api.invalid/v1") as client,
        pytest.raises(ProviderRequestError),
    ):
        post(client, BODY)
    # A proxy gets the whole URL in the request line (RFC 9112, 3.2.2).
    assert server.requests[0].path == "http://api.invalid/v1/embeddings"


# Closing


def test_a_closed_client_says_so(server: ProviderServer) -> None:
    client = client_of(server)
    post(client, BODY)
    http = client._own
    assert http is not None
    client.close()
    client.close()
    assert http.is_closed
    with pytest.raises(ProviderConnectionError, match="is closed"):
        post(client, BODY)


def test_a_client_that_nobody_closed_closes_its_connections(server: ProviderServer) -> None:
    client = client_of(server)
    post(client, BODY)
    http = client._own
    assert http is not None
    del client
    assert http.is_closed


def test_ctrl_c_ends_the_wait_for_a_retry(server: ProviderServer) -> None:
    server.script = [replace(openai_error(429, "Slow down."), headers={"Retry-After": "50"})]

    def interrupt() -> None:
        wait_for(lambda: server.requests)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with client_of(server) as client, pytest.raises(KeyboardInterrupt):
            post(client, BODY)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, handler)


def test_close_ends_the_wait_for_a_retry(server: ProviderServer) -> None:
    server.script = [replace(openai_error(429, "Slow down."), headers={"Retry-After": "50"})]
    client = client_of(server)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            post(client, BODY)
        except ProviderError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_for(lambda: server.requests)
    time.sleep(0.1)  # for the answer to arrive and the wait to begin
    client.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert isinstance(caught[0], ProviderConnectionError)
