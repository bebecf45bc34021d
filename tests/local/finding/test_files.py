from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from milvine.errors import ModelFileError, ModelUnavailableError
from milvine.local.finding.catalogue import ModelRow, models
from milvine.local.finding.files import fetch_model, is_present, model_folder, verify_model
from milvine.local.finding.sources import sha256_of

MakeRow = Callable[..., ModelRow]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def row(make_row: MakeRow) -> ModelRow:
    return make_row()


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def names(row: ModelRow) -> set[str]:
    return {file.path for file in row.files}


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)


@pytest.mark.parametrize("row", [row for row in models() if row.verified], ids=lambda row: row.name)
def test_the_catalogues_own_models_can_be_had(row: ModelRow) -> None:
    """With the default cache, filled from the package registry where no hub can be reached."""
    paths = fetch_model(row)
    assert {name: sha256_of(path) for name, path in paths.items()} == {file.path: file.sha256 for file in row.files}
    assert is_present(row)
    assert {state for _, state in verify_model(row)} == {"ok"}


def test_a_second_call_is_served_from_the_cache_alone(hub: Any, row: ModelRow) -> None:
    assert not is_present(row)
    first = fetch_model(row)
    asked = len(hub.requests)
    assert is_present(row)
    assert fetch_model(row) == first
    assert len(hub.requests) == asked
    assert contents(model_folder(row)) == names(row)


def test_only_what_is_missing_is_fetched(hub: Any, row: ModelRow) -> None:
    fetch_model(row)["config.json"].unlink()
    hub.requests.clear()
    fetch_model(row)
    assert hub.gets() == ["config.json"]


def test_a_corrupt_file_is_named_with_the_command_that_mends_it(hub: Any, row: ModelRow) -> None:
    path = fetch_model(row)["model.safetensors"]
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    with pytest.raises(ModelFileError) as raised:
        fetch_model(row)
    assert str(path) in str(raised.value)
    assert sha256_of(path) in str(raised.value)
    assert row.fingerprint in str(raised.value)
    assert "`milvine models pull small-model`" in str(raised.value)
    assert dict(verify_model(row))[path] == "corrupt"
    assert is_present(row)  # which goes by sizes alone

    hub.requests.clear()
    assert fetch_model(row, refresh=True)["model.safetensors"].read_bytes() == good
    assert hub.gets() == ["model.safetensors"]


def test_a_truncated_file_in_the_cache_is_corrupt_and_not_present(hub: Any, row: ModelRow) -> None:
    path = fetch_model(row)["config.json"]
    path.write_bytes(b"{")
    assert not is_present(row)
    with pytest.raises(ModelFileError, match=r"config\.json is corrupt"):
        fetch_model(row)


def test_verify_names_where_a_missing_file_would_be(cache: Path, row: ModelRow) -> None:
    assert verify_model(row) == [(model_folder(row) / file.path, "missing") for file in row.files]


def test_a_given_folder_is_used_alone_and_checked(hub: Any, row: ModelRow, tmp_path: Path) -> None:
    given = tmp_path / "given"
    for path in fetch_model(row).values():
        copy = given / path.relative_to(model_folder(row))
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert fetch_model(row, str(given)) == {name: given / name for name in names(row)}

    hub.requests.clear()
    (given / "config.json").write_bytes(b"{}")
    with pytest.raises(ModelFileError, match=r"given/config\.json is not the file of small-model"):
        fetch_model(row, given)
    (given / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"given does not hold config\.json; small-model needs model\.safetensors"):
        fetch_model(row, given, refresh=True)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("argument", "switch", "value"),
    [
        (True, None, ""),
        (None, "MILVINE_OFFLINE", "1"),
        (None, "MILVINE_OFFLINE", "On"),
        (False, "HF_HUB_OFFLINE", "true"),
        (None, "HF_HUB_OFFLINE", "YES"),
        (None, "HF_HUB_OFFLINE", "0"),
    ],
)
def test_offline_nothing_is_asked(
    hub: Any,
    make_row: MakeRow,
    monkeypatch: pytest.MonkeyPatch,
    argument: bool | None,
    switch: str | None,
    value: str,
) -> None:
    """The server plays the hub and the package registry; the last case, where the switch is off, asks both."""
    hub.contents.clear()
    wheel = {"project": "no-such-wheel", "version": "1", "sha256": "0" * 64, "size": 1, "prefix": "d/"}
    row = make_row(wheels=[wheel])
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"{hub.url}/simple")
    if switch:
        monkeypatch.setenv(switch, value)
    with pytest.raises(ModelUnavailableError) as raised:
        fetch_model(row, offline=argument)
    if value == "0":
        assert {path.split("/")[1] for _, path in hub.requests} == {"someone", "simple"}
    else:
        assert hub.requests == []
        assert f"not asked, because {switch + ' is set' if switch else 'offline=True'}" in str(raised.value)


def test_if_nothing_delivers_every_source_is_listed_with_its_reason(cache: Path, make_row: MakeRow) -> None:
    wheel = {"project": "no-such-wheel", "version": "1", "sha256": "0" * 64, "size": 1, "prefix": "d/"}
    with pytest.raises(ModelUnavailableError) as raised:
        fetch_model(make_row(wheels=[wheel]))
    lines = str(raised.value).splitlines()
    assert lines[0] == "No source could deliver model.safetensors, config.json, sub/vocab.txt of small-model:"
    assert lines[1].startswith(f"  - milvine's cache ({cache}")
    assert lines[2] == "  - Hugging Face cache: not there"
    assert lines[3].startswith("  - Hugging Face hub (127.0.0.1:")
    assert "refused" in lines[3]
    assert lines[4] == "  - wheel no-such-wheel 1: No matching distribution found for no-such-wheel==1"
    assert "`milvine models pull small-model`" in lines[5]
    assert len(lines) == 6


def test_a_killed_download_leaves_nothing_that_looks_done(hub: Any, make_row: MakeRow, start_fetch: Start) -> None:
    weights = b"0123456789abcdef" * (3 << 16)  # 3 MiB, of which the hub sends two before it stalls
    row = make_row({"model.safetensors": weights})
    hub.contents = {path: weights for path in hub.contents if path.endswith("model.safetensors")}
    hub.gate = threading.Event()
    folder = model_folder(row)
    killed = start_fetch()
    until(lambda: any(path.stat().st_size >= 1 << 20 for path in folder.glob("*")))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    hub.gate.set()
    left = contents(folder)
    assert len(left) == 1
    assert "model.safetensors" not in left
    assert not is_present(row)

    assert fetch_model(row)["model.safetensors"].read_bytes() == weights
    assert contents(folder) == {"model.safetensors"}


def test_two_processes_at_once_download_once(hub: Any, row: ModelRow, start_fetch: Start) -> None:
    hub.gate = threading.Event()
    first = start_fetch()
    until(hub.gets)
    second = start_fetch()
    assert second.stdout is not None
    assert second.stdout.readline() == "ready\n"
    asked = len(hub.requests)
    deadline = time.monotonic() + 1.5
    while len(hub.requests) == asked and time.monotonic() < deadline:
        time.sleep(0.02)
    hub.gate.set()
    for process in (first, second):
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert out.splitlines()[-1] == str(model_folder(row) / "model.safetensors")
    assert sorted(hub.gets()) == ["config.json", "model.safetensors", "vocab.txt"]


def test_what_dead_runs_left_is_removed_by_a_pull(hub: Any, row: ModelRow) -> None:
    fetch_model(row)
    folder = model_folder(row)
    (folder / ".partial-1").write_bytes(b"half")
    (folder / ".partial-pip-2" / "deep").mkdir(parents=True)
    fetch_model(row, refresh=True)
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "sub"}


def test_a_cache_that_cannot_be_written_is_named(
    hub: Any, row: ModelRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MILVINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelUnavailableError, match=r"Cannot write .*/file/models/.*: Not a directory.*MILVINE_CACHE"):
        fetch_model(row)


def test_a_write_that_fails_in_the_middle_leaves_nothing(hub: Any, row: ModelRow, start_fetch: Start) -> None:
    # The limit on a file's length stands for a quota: the system refuses the write.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
    _, errors = start_fetch(before=limit).communicate(timeout=60)
    last = errors.strip().splitlines()[-1]
    assert last.startswith("milvine.errors.ModelUnavailableError: Cannot write ")
    assert "model.safetensors: File too large. 0.1 MB are needed." in last
    assert contents(model_folder(row)) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk in a Linux namespace")
def test_a_full_disk_is_named_with_the_room_that_is_needed(
    hub: Any, make_row: MakeRow, start_fetch: Start, cache: Path
) -> None:
    mount = ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o size=128k none '{cache}' && exec \"$@\"", "sh"]
    if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets no one mount a disk in a namespace")
    make_row({"model.safetensors": bytes(500_000)})
    _, errors = start_fetch(*mount).communicate(timeout=60)
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"milvine.errors.ModelUnavailableError: Cannot write {cache}")
    assert "No space left on device. 0.5 MB are needed. Free some space" in last


def test_the_users_cache_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, row: ModelRow, tmp_path: Path) -> None:
    monkeypatch.delenv("MILVINE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert model_folder(row).is_relative_to(Path.home() if sys.platform == "darwin" else tmp_path / "milvine")
    monkeypatch.setenv("MILVINE_CACHE", "~/models")
    assert model_folder(row).is_relative_to(Path.home() / "models")
