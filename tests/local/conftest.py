"""A hub on loopback, small models, and a cache of the test's own."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from hub_server import Hub
from milvine.local.finding.catalogue import ModelRow, read_catalogue

REPO = "someone/small-model"
REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = {"model.safetensors": bytes(range(256)) * 256, "config.json": b'{"hidden_size": 2}', "sub/vocab.txt": b"a\nb\n"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def make_hub() -> Iterator[Callable[[], Hub]]:
    started: list[Hub] = []

    def make() -> Hub:
        hub = Hub()
        hub.contents = {f"/{REPO}/resolve/{REVISION}/{name}": data for name, data in FILES.items()}
        hub.start()
        started.append(hub)
        return hub

    yield make
    for hub in started:
        hub.stop()


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
            "tasks": ["dense"],
            "architecture": "bert",
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
            "wheels": [],
        }
        if "task" in changes:
            changes["tasks"] = [changes.pop("task")]
        path = tmp_path / "catalogue.json"
        path.write_text(json.dumps([raw | changes]), encoding="utf-8")
        (row,) = read_catalogue(path)
        return row

    return make


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Puts a wheel that pip accepts into the registry's folder and returns its entry for a row."""

    def make(members: dict[str, bytes], project: str = "model-wheel", tag: str = "py3-none-any") -> dict[str, Any]:
        stem = project.replace("-", "_")
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode()
        tags = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
        path = tmp_path / "registry" / f"{stem}-1.0-{tag}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
            archive.writestr(f"{stem}-1.0.dist-info/METADATA", metadata)
            archive.writestr(f"{stem}-1.0.dist-info/WHEEL", tags)
            archive.writestr(f"{stem}-1.0.dist-info/RECORD", b"")
        data = path.read_bytes()
        entry = {"project": project, "version": "1.0", "tag": tag, "prefix": "data/"}
        return entry | {"sha256": sha256(data), "size": len(data)}

    return make


@pytest.fixture
def start_fetch(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts another process that fetches the row of the test's catalogue file and prints the weights' path."""
    script = """
import sys
from pathlib import Path
from milvine.local.finding.catalogue import read_catalogue
from milvine.local.finding.files import fetch_model
(row,) = read_catalogue(Path(sys.argv[1]))
print("ready", flush=True)
print(fetch_model(row)[row.weights])
"""

    def start(*prefix: str, before: str = "") -> subprocess.Popen[str]:
        command = [*prefix, sys.executable, "-c", before + script, str(tmp_path / "catalogue.json")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start
