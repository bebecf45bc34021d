"""A real HTTP server on loopback behind which every provider lives, each under its own name.

What a provider accepts and answers stands in `provider_apis/NAME.py`: `ROUTES` maps a method and a path pattern, such
as `"POST /openai/v1/embeddings"`, to a handler that takes the `Request` and gives the JSON of the right answer, or
raises a `RefusalError` for whatever the real provider refuses. `BASE_PATH` there, if any, is what base URLs of the
provider end in (`"/v1"`), and `RESPONSE_HEADERS` what each of its answers carries.

The machine here counts, keeps, limits, delays, fails and breaks off: see `ProviderServer`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import numpy.typing as npt
import pytest

from rate_limits import RateLimit

KEY = "sk-test-0123456789abcdefghijklmnopqrstuv"
REQUEST_ID = "req_0123456789"


def vector_of(text: str, dim: int = 1536) -> npt.NDArray[np.float32]:
    """The unit vector that the server gives a text: pseudo-random, the same wherever it is asked for."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def relevance_of(query: str, document: str) -> float:
    """The score that the server gives a document: shared words over all words (Jaccard)."""
    left, right = set(query.lower().split()), set(document.lower().split())
    return len(left & right) / max(1, len(left | right))


@dataclass
class Reply:
    """An answer to send instead of the right one.

    Attributes:
        status: The HTTP status.
        body: JSON to send, or bytes to send as they are; None takes the answer that would have been right.
        headers: Further headers.
        delay: Seconds to wait before answering.
        cut: Bytes of the body to send before the connection is dropped.
        reset: Whether to reset the connection (TCP RST) instead of answering.
        edit: What to make of the answer that would have been right.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    reset: bool = False
    edit: Callable[[Any], Any] | None = None


@dataclass
class Request:
    """A request as it arrived.

    Attributes:
        method: `"POST"` or `"GET"`.
        path: The path, without the query.
        query: The parameters of the URL.
        headers: The headers, names in lower case.
        body: The JSON of the body; None where there is none.
        port: The client's end of the connection.
        status: What was answered; None until it was, or where the connection was reset.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    port: int
    status: int | None = None


class RefusalError(Exception):
    """The server refuses a request."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


Handler = Callable[[Request], Any]

FAILURES = (
    Reply(429, {"error": {"message": "Rate limit reached."}, "detail": "Rate limit reached."}),
    Reply(500, {"error": {"message": "The server had an error."}, "detail": "The server had an error."}),
    Reply(503, b"upstream connect error", {"Content-Type": "text/plain"}),
    Reply(reset=True),
    Reply(cut=60),
)
"""What a share of requests meets where the server is told to fail."""


class ProviderServer(ThreadingHTTPServer):
    """The server.

    Args:
        latency: Seconds before each answer.
        failures: Which share of the requests that would have succeeded fails, by one of `FAILURES`.
        rate_limit: The rate limit that is kept; a request beyond it is answered with HTTP 429.
        seed: What decides which requests fail.

    Attributes:
        requests: What arrived, in that order.
        script: Replies to send, first come first served, to requests that would have succeeded.
        under_way: How many requests are being answered now.
        most_under_way: The most of them at any time.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, *, latency: float = 0.0, failures: float = 0.0, rate_limit: RateLimit | None = None, seed: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.latency = latency
        self.failures = failures
        self.rate_limit = rate_limit
        self.requests: list[Request] = []
        self.script: list[Reply] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.apis = apis()
        self._random = random.Random(seed)  # noqa: S311 - no secret

    @property
    def url(self) -> str:
        """The server's root, under which each provider has its name."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def url_of(self, name: str) -> str:
        """The base URL of a provider."""
        return f"{self.url}/{name}{getattr(self.apis[name], 'BASE_PATH', '')}"

    @property
    def statuses(self) -> list[int | None]:
        """What was answered to each request."""
        return [request.status for request in self.requests]

    def verdict(self) -> tuple[Reply, dict[str, str]]:
        """What befalls the next request that is as it should be, and the headers that tell of the rate limit."""
        told: dict[str, str] = {}
        with self.lock:
            if self.rate_limit:
                now = time.monotonic()
                accepted = self.rate_limit.take(now)
                told = self.rate_limit.told(now)
                if not accepted:
                    if self.rate_limit.retry_after:
                        told["Retry-After"] = f"{self.rate_limit.wait(now):.3f}"
                    return FAILURES[0], told
            if self.script:
                return self.script.pop(0), told
            failing = self.failures and self._random.random() < self.failures
            return (self._random.choice(FAILURES) if failing else Reply()), told

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def apis() -> dict[str, ModuleType]:
    """What each provider accepts, by its name."""
    names = sorted(path.stem for path in (Path(__file__).parent / "provider_apis").glob("[a-z]*.py"))
    return {name: importlib.import_module(f"provider_apis.{name}") for name in names}


@contextmanager
def provider_server(**options: Any) -> Iterator[ProviderServer]:
    """A running server, stopped at the end."""
    server = ProviderServer(**options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ProviderServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            self._serve(json.loads(raw))
        except ValueError:
            self._serve(None)

    def _serve(self, body: Any) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.split("?")[0]
        request = Request(self.command, path, dict(parse_qsl(url.query)), headers, body, self.client_address[1])
        with self.server.lock:
            self.server.requests.append(request)
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        try:
            reply = self._answer(request)
        finally:
            # Before the answer goes out: whoever has it may send the next request at once.
            with self.server.lock:
                self.server.under_way -= 1
        self._send(request, reply)

    def _answer(self, request: Request) -> Reply:
        api = self.server.apis.get(request.path.split("/")[1] if request.path.startswith("/") else "")
        headers = {"Content-Type": "application/json", **getattr(api, "RESPONSE_HEADERS", {"x-request-id": REQUEST_ID})}
        try:
            right = self._handler(api, request)(request)
        except RefusalError as refusal:
            return Reply(refusal.status, refusal.body, {**headers, **refusal.headers})
        reply, told = self.server.verdict()
        self.server.released.wait(reply.delay or self.server.latency)
        body = right if reply.body is None else reply.body
        body = reply.edit(body) if reply.edit else body
        return Reply(reply.status, body, {**headers, **told, **reply.headers}, 0, reply.cut, reply.reset)

    def _handler(self, api: ModuleType | None, request: Request) -> Handler:
        routes: dict[str, Handler] = getattr(api, "ROUTES", {})
        asked = f"{request.method} {request.path}"
        found = next((handler for route, handler in routes.items() if fnmatchcase(asked, route)), None)
        if found is None:
            raise RefusalError(404, {"error": {"message": f"Invalid URL ({asked})"}, "detail": "Not Found"})
        is_json = request.headers.get("content-type", "").startswith("application/json")
        if request.method == "POST" and (not is_json or not isinstance(request.body, dict)):
            said = "We could not parse the JSON body of your request."
            raise RefusalError(400, {"error": {"message": said}, "detail": said})
        return found

    def _send(self, request: Request, reply: Reply) -> None:
        if reply.reset:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        request.status = reply.status
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(raw)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.cut is not None:
            self.close_connection = True
        self.wfile.write(raw[: reply.cut])
        self.wfile.flush()


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away the keys, base URLs and proxies that the machine may have set."""
    from milvine.hosted import PROVIDERS

    for row in PROVIDERS.values():
        for name in (*row.key_variables, *row.base_url_variables):
            monkeypatch.delenv(name, raising=False)
    for name in ("OLLAMA_HOST", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    """Waits until a condition holds; fails when it does not within the time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
