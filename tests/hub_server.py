"""A hub on loopback. It answers for a repository as the Hugging Face hub does: its listing, its tree, its files.

As https://huggingface.co/docs/hub/api and the requests of huggingface_hub have it: a large file (LFS) is served from
another address, to which the hub redirects, and its `X-Linked-Etag` is its sha256; a small one's `ETag` is git's hash.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "89abcdef" * 5
LARGE = (".safetensors", ".bin", ".onnx", ".onnx_data", ".pt", ".h5", ".msgpack")

Answer = tuple[int, dict[str, str], bytes]


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their paths in it, as a repository takes them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Repository:
    name: str
    files: dict[str, bytes]
    commit: str = COMMIT
    branches: tuple[str, ...] = ("main",)
    refusal: tuple[int, str] | None = None
    """The status and the error code with which its files, and with `is_hidden` its listing too, are refused."""
    is_hidden: bool = False
    lies: dict[str, bytes] = field(default_factory=dict)
    """Files whose bytes are not those that the hub states."""

    def listing(self) -> list[dict[str, Any]]:
        listed = []
        for name, data in self.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_hash(data)}
            if name.endswith(LARGE):
                digest = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
            listed.append(entry)
        return listed

    def tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": entry["rfilename"], "oid": entry["blobId"], "size": entry["size"]}
            | ({"lfs": {"oid": entry["lfs"]["sha256"], **entry["lfs"]}} if "lfs" in entry else {})
            for entry in self.listing()
        ]

    def answer(self, address: str, server: str) -> Answer | None:
        """The answer to a request, or `None` if it is for another repository."""
        path = urlsplit(address).path
        if path.startswith("/large/"):
            found = [data for name, data in self.files.items() if path == f"/large/{self.name}/{name}"]
            name = path.removeprefix(f"/large/{self.name}/")
            return (200, {}, self.lies.get(name, found[0])) if found else None
        api = f"/api/models/{self.name}"
        if path == api or path.startswith(f"{api}/"):
            return self._api(path.removeprefix(api).strip("/").split("/"))
        if not path.startswith(f"/{self.name}/resolve/"):
            return None
        revision, _, name = path.removeprefix(f"/{self.name}/resolve/").partition("/")
        revision, name = unquote(revision), unquote(name)  # a branch may have slashes, which are quoted
        if self.refusal:
            return self.refusal[0], {"X-Error-Code": self.refusal[1]}, b""
        if revision not in (self.commit, *self.branches):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        headers = {"X-Repo-Commit": self.commit}
        if name not in self.files:
            return 404, headers | {"X-Error-Code": "EntryNotFound"}, b""
        data = self.files[name]
        headers["ETag"] = f'"{git_hash(data)}"'
        if not name.endswith(LARGE):
            return 200, headers, self.lies.get(name, data)
        headers |= {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
        storage = server.replace("127.0.0.1", "localhost")  # as far as a client can tell, another machine
        return 302, headers | {"Location": f"{storage}/large/{self.name}/{name}"}, b""

    def _api(self, parts: list[str]) -> Answer:
        if self.refusal and self.is_hidden:
            return self.refusal[0], {"X-Error-Code": self.refusal[1]}, b""
        kind, revision = (parts[0], unquote(parts[1])) if len(parts) > 1 else ("revision", self.branches[0])
        if revision not in (self.commit, *self.branches):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        info = {"id": self.name, "modelId": self.name, "sha": self.commit, "private": False, "siblings": self.listing()}
        body = self.tree() if kind == "tree" else info
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


class Hub(http.server.ThreadingHTTPServer):
    """Serves `contents` by path and `repositories` as the hub does; `alter` may change a body of announced length."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents: dict[str, bytes] = {}
        self.repositories: list[Repository] = []
        self.alter: Callable[[str, bytes], bytes] = lambda _, body: body
        self.status = 200
        self.redirect: str | None = None
        self.gate: threading.Event | None = None
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self.gate:
            self.gate.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client hangs up, as the tests make some do."""

    def gets(self) -> list[str]:
        return [path.rsplit("/", 1)[1] for method, path in self.requests if method == "GET"]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def _answer(self, send_body: bool) -> None:
        hub = self.server
        hub.requests.append((self.command, self.path))
        hub.authorizations.append(self.headers.get("Authorization"))
        if hub.redirect:
            self.send_response(302)
            self.send_header("Location", hub.redirect + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = hub.contents.get(self.path)
        status, headers = (404 if body is None else hub.status), {}
        if body is None and hub.repositories:
            answers = (repository.answer(self.path, hub.url) for repository in hub.repositories)
            unknown = (401, {"X-Error-Code": "RepoNotFound"}, b"")  # the hub's answer to a stranger
            status, headers, body = next((answer for answer in answers if answer), unknown)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if body and status == 200 and asked:
            start = int(asked[1])
            headers = headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            status, body = 206, body[start:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("Connection", "close")
        self.end_headers()
        if not send_body or body is None:
            return
        body = hub.alter(self.path, body)
        self.wfile.write(body[: len(body) * 2 // 3])
        self.wfile.flush()
        if hub.gate:
            hub.gate.wait(30)
        self.wfile.write(body[len(body) * 2 // 3 :])

    def log_message(self, *args: Any) -> None:
        pass
