"""A hub on loopback, small models, and a cache of the test's own."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from milvine.local.catalogue import ModelRow, read_catalogue

REPO = "someone/small-model"
REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = {"model.safetensors": bytes(range(256)) * 256, "config.json": b'{"hidden_size": 2}', "sub/vocab.txt": b"a\nb\n"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """Serves `contents` by path; `alter` may change the answer's body after its length was announced."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents = {f"/{REPO}/resolve/{REVISION}/{name}": data for name, data in FILES.items()}
        self.alter: Callable[[str, bytes], bytes] = lambda _, body: body
        self.status = 200
        self.redirect: str | None = None
        self.gate: threading.Event | None = None
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

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
        self.send_response(404 if body is None else hub.status)
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


@pytest.fixture
def make_hub() -> Iterator[Callable[[], Hub]]:
    started: list[Hub] = []

    def make() -> Hub:
        hub = Hub()
        threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        started.append(hub)
        return hub

    yield make
    for hub in started:
        if hub.gate:
            hub.gate.set()
        hub.shutdown()
        hub.server_close()


@pytest.fixture
def hub(make_hub: Callable[[], Hub], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub that serves the small model, and is the one that milvine asks."""
    hub = make_hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    return hub


@pytest.fixture
def refused() -> Iterator[str]:
    """The address of a port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> Path:
    """An empty cache of milvine's, an empty Hugging Face cache, a hub that refuses, and a folder for a registry."""
    for name in ("MILVINE_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("cache", "hf", "registry"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("MILVINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", refused)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "registry"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def make_row(tmp_path: Path) -> Callable[..., ModelRow]:
    """Builds a row by way of a catalogue file, `tmp_path / "catalogue.json"`, which other processes can read too."""

    def make(files: dict[str, bytes] = FILES, /, **changes: Any) -> ModelRow:
        raw = {
            "name": "small-model",
            "aliases": [],
            "task": "dense",
            "repo": REPO,
            "revision": REVISION,
            "license": "MIT",
            "dim": 2,
            "max_length": 16,
            "pooling": "mean",
            "normalize": True,
            "query_prefix": "",
            "document_prefix": "",
            "description": "tests",
            "weights": next(iter(files)),
            "files": [{"path": path, "sha256": sha256(data), "size": len(data)} for path, data in files.items()],
            "hub": True,
            "wheels": [],
        }
        path = tmp_path / "catalogue.json"
        path.write_text(json.dumps([raw | changes]), encoding="utf-8")
        (row,) = read_catalogue(path)
        return row

    return make


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Puts a wheel that pip accepts into the registry's folder and returns its entry for a row."""

    def make(members: dict[str, bytes], project: str = "model-wheel") -> dict[str, Any]:
        stem = project.replace("-", "_")
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode()
        tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        path = tmp_path / "registry" / f"{stem}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
            archive.writestr(f"{stem}-1.0.dist-info/METADATA", metadata)
            archive.writestr(f"{stem}-1.0.dist-info/WHEEL", tags)
            archive.writestr(f"{stem}-1.0.dist-info/RECORD", b"")
        data = path.read_bytes()
        return {"project": project, "version": "1.0", "sha256": sha256(data), "size": len(data), "prefix": "data/"}

    return make


@pytest.fixture
def start_fetch(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts another process that fetches the row of the test's catalogue file and prints the weights' path."""
    script = """
import sys
from pathlib import Path
from milvine.local.catalogue import read_catalogue
from milvine.local.files import fetch_model
(row,) = read_catalogue(Path(sys.argv[1]))
print("ready", flush=True)
print(fetch_model(row)[row.weights])
"""

    def start(*prefix: str, before: str = "") -> subprocess.Popen[str]:
        command = [*prefix, sys.executable, "-c", before + script, str(tmp_path / "catalogue.json")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start
