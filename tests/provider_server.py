"""A real HTTP server on loopback that speaks OpenAI's embeddings and Jina AI's reranking API as they are documented.

It refuses what the real ones refuse, and can be told to misbehave: each entry of `server.script` answers one request
that would otherwise have succeeded. The official `openai` package talks to it in `tests/model/dense/test_openai.py`,
so that it cannot drift from what real clients send and expect.

Documentation, read 2026-11-23: https://developers.openai.com/api/reference/resources/embeddings.md,
https://docs.jina.ai/v13, and the error table of https://api.jina.ai/openapi.json.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

KEY = "sk-test-0123456789abcdefghijklmnopqrstuv"
REQUEST_ID = "req_0123456789"

OPENAI_DIMS = {
    "text-embedding-ada-002": 1536,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "tiny": 7,
}
JINA_MODELS = {"jina-reranker-v2-base-multilingual", "jina-reranker-v3", "jina-reranker-m0", "jina-colbert-v2"}


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
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None


@dataclass
class Request:
    """A request as it arrived; `port` is the client's end of the connection."""

    port: int
    path: str
    headers: dict[str, str]
    body: Any


class RefusalError(Exception):
    """The server refuses a request."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def openai_error(status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> Reply:
    """An error in OpenAI's form."""
    return Reply(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def jina_error(status: int, detail: Any, code: str) -> Reply:
    """An error in Jina AI's form."""
    return Reply(status, {"detail": detail, "code": code, "request_id": REQUEST_ID})


class ProviderServer(ThreadingHTTPServer):
    """The server; `requests` holds what arrived, `script` what to answer first."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.script: list[Reply] = []
        self.encode_as_asked = True
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """The base URL, version included."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


@contextmanager
def provider_server() -> Iterator[ProviderServer]:
    """A running server, stopped at the end."""
    server = ProviderServer()
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
    server: ProviderServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass

    def do_GET(self) -> None:
        self._answer(Reply(405, {"detail": "Method Not Allowed"}), {})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.requests.append(Request(self.client_address[1], self.path, headers, body))
        endpoints = {"/v1/embeddings": self._embeddings, "/v1/rerank": self._rerank}
        try:
            if self.path not in endpoints:
                raise RefusalError(404, {"error": {"message": f"Invalid URL (POST {self.path})", "code": None}})
            if not headers.get("content-type", "").startswith("application/json") or body is None:
                raise RefusalError(400, {"error": {"message": "We could not parse the JSON body of your request."}})
            right = endpoints[self.path](headers, body)
        except RefusalError as refusal:
            self._answer(Reply(refusal.status, refusal.body), {})
            return
        with self.server.lock:
            reply = self.server.script.pop(0) if self.server.script else Reply()
        self._answer(reply, right)

    def _answer(self, reply: Reply, right: Any) -> None:
        if reply.delay:
            self.server.released.wait(reply.delay)
        body = right if reply.body is None else reply.body
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(raw))}
        if self.path != "/v1/rerank":  # Jina AI names the request in the body of an error alone.
            headers["x-request-id"] = REQUEST_ID
        self.send_response(reply.status)
        for name, value in {**headers, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.cut is not None:
            self.wfile.write(raw[: reply.cut])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(raw)

    def _embeddings(self, headers: dict[str, str], body: dict[str, Any]) -> Any:
        def refuse(
            status: int, message: str, code: str | None = None, kind: str = "invalid_request_error"
        ) -> RefusalError:
            return RefusalError(status, openai_error(status, message, code, kind).body)

        if headers.get("authorization") != f"Bearer {KEY}":
            raise refuse(401, "Incorrect API key provided: sk-wrong*****.", "invalid_api_key")
        unknown = set(body) - {"model", "input", "dimensions", "encoding_format", "user"}
        if unknown:
            raise refuse(400, f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}")
        model = body.get("model")
        if model not in OPENAI_DIMS:
            raise refuse(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
        texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
        if (
            not isinstance(texts, list)
            or not 0 < len(texts) <= 2048
            or not all(isinstance(text, str) and text for text in texts)
        ):
            raise refuse(400, "'$.input' is invalid. Please check the API reference.")
        # A tokenizer that merges nothing makes a token of every byte: the most that any byte-level BPE can make.
        tokens = [len(text.encode()) for text in texts]
        for position, count in enumerate(tokens):
            if count > 8192:
                raise refuse(400, f"Invalid 'input[{position}]': maximum input length is 8192 tokens.")
        if sum(tokens) > 300_000:
            message = f"Requested {sum(tokens)} tokens, max 300000 tokens per request"
            raise refuse(400, message, "max_tokens_per_request", "max_tokens_per_request")
        encoding = body.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise refuse(400, f"'{encoding}' is not one of ['float', 'base64'] - 'encoding_format'")
        dim = OPENAI_DIMS[model]
        if "dimensions" in body:
            asked = body["dimensions"]
            if model == "text-embedding-ada-002":
                raise refuse(400, "This model does not support specifying dimensions.")
            if not isinstance(asked, int) or not 1 <= asked <= dim:
                raise refuse(400, f"Invalid value for 'dimensions' = {asked}. Must be less than or equal to {dim}.")
            dim = asked
        vectors = [vector_of(text, dim) for text in texts]
        in_base64 = encoding == "base64" and self.server.encode_as_asked
        return {
            "object": "list",
            "model": model,
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()
                    if in_base64
                    else [float(number) for number in vector],
                }
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)},
        }

    def _rerank(self, headers: dict[str, str], body: dict[str, Any]) -> Any:
        if headers.get("authorization") != f"Bearer {KEY}":
            raise RefusalError(401, jina_error(401, "Invalid API key", "AUTH_INVALID_API_KEY").body)
        wrong = [
            {"loc": ["body", name], "msg": f"Field {name} is wrong", "type": "value_error"}
            for name, right in {
                "model": isinstance(body.get("model"), str),
                "query": isinstance(body.get("query"), str),
                "documents": isinstance(body.get("documents"), list)
                and len(body["documents"]) > 0
                and all(isinstance(document, str) for document in body["documents"]),
                "top_n": type(body.get("top_n", 1)) is int and body.get("top_n", 1) >= 1,
                "return_documents": type(body.get("return_documents", True)) is bool,
            }.items()
            if not right
        ]
        unknown = set(body) - {"model", "query", "documents", "top_n", "return_documents"}
        if wrong or unknown or headers.get("accept") != "application/json":
            raise RefusalError(422, {"detail": wrong or [{"msg": f"unexpected {sorted(unknown)}"}]})
        if body["model"] not in JINA_MODELS:
            raise RefusalError(400, jina_error(400, f"Model '{body['model']}' not found", "INPUT_MODEL_NOT_FOUND").body)
        documents = body["documents"]
        scores = [relevance_of(body["query"], document) for document in documents]
        best = sorted(range(len(documents)), key=lambda index: -scores[index])[: body.get("top_n", len(documents))]
        results = [{"index": index, "relevance_score": scores[index]} for index in best]
        if body.get("return_documents", True):
            for result in results:
                result["document"] = {"text": documents[int(result["index"])]}
        return {"model": body["model"], "object": "list", "usage": {"total_tokens": 1}, "results": results}


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away the keys, base URLs and proxies that the machine may have set."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "JINA_API_KEY", "JINAAI_API_KEY", "JINA_BASE_URL"):
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
