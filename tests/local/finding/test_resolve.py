from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hub_server import COMMIT, Repository, files_in
from milvine.errors import InputError, ModelFileError, UnknownModelError
from milvine.local.encoder import LocalModel
from milvine.local.finding import catalogue
from milvine.local.finding.catalogue import ModelRow
from milvine.local.finding.files import fetch_folder, fetch_model, is_present, model_folder
from milvine.local.finding.resolve import find_spec
from milvine.model.dense import SentenceTransformerEmbeddingFunction
from tiny_heads import TEXTS, write_model

REPO = "someone/chain"
NEWER = "f" * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with a chain of modules: pooling, dense layers, a layer norm, normalisation."""
    return write_model(tmp_path, "chain")


@pytest.fixture
def model(hub: Any, folder: Path) -> Repository:
    """The same on the hub."""
    hub.repositories = [Repository(REPO, files_in(folder))]
    return hub.repositories[0]


@pytest.fixture
def make_known(make_row: Callable[..., ModelRow], monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelRow]:
    """Makes a row the catalogue's only one; without `files` it is not verified."""

    def make(**changes: Any) -> ModelRow:
        row = make_row(**{"repo": REPO, "revision": COMMIT, "files": [], "weights": "", "dim": 5} | changes)
        monkeypatch.setattr(catalogue, "models", lambda: (row,))
        return row

    return make


def listed(files: dict[str, bytes], make_row: Callable[..., ModelRow]) -> list[dict[str, Any]]:
    return [{"path": file.path, "sha256": file.sha256, "size": file.size} for file in make_row(files).files]


def test_a_hub_id_is_run_as_its_folder_is(hub: Any, folder: Path, model: Repository) -> None:
    found, own = LocalModel(REPO, "dense"), LocalModel(folder, "dense")
    np.testing.assert_array_equal(found.encode(list(TEXTS)), own.encode(list(TEXTS)))
    assert found.fingerprint == own.fingerprint
    assert (found.spec.name, found.spec.revision, found.spec.folder) == (REPO, COMMIT, None)
    hub.requests.clear()
    assert find_spec(REPO, "dense", revision=COMMIT) == find_spec(REPO, "dense")
    assert hub.requests == []


def test_a_collection_finds_the_same_model_again(model: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    ef = SentenceTransformerEmbeddingFunction(REPO)
    identity = json.loads(json.dumps(ef.identity()))
    assert (identity["model"], identity["revision"]) == (REPO, COMMIT)
    assert "folder" not in identity

    model.commit, model.files = NEWER, model.files | {"README.md": b"new"}
    LocalModel(REPO, "dense", revision=NEWER)
    monkeypatch.setenv("MILVINE_OFFLINE", "1")
    again = SentenceTransformerEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again.encode_documents(list(TEXTS)), ef.encode_documents(list(TEXTS)))


def test_a_row_without_files_is_fetched_at_its_revision_and_says_what_goes_before_texts(
    hub: Any, folder: Path, model: Repository, make_known: Callable[..., ModelRow]
) -> None:
    row = make_known(query_prefix="q ", document_prefix="d ")
    assert not is_present(row)
    spec = find_spec("small-model", "dense")
    assert (spec.name, spec.revision, spec.dim) == ("small-model", COMMIT, 5)
    assert (spec.query_prompt, spec.document_prompt) == ("q ", "d ")
    assert is_present(row)
    own = LocalModel(folder, "dense")
    np.testing.assert_array_equal(LocalModel("small-model", "dense").encode(list(TEXTS)), own.encode(list(TEXTS)))
    assert LocalModel(REPO, "dense").fingerprint == own.fingerprint
    assert set(fetch_model(row)) == set(files_in(folder))


def test_another_revision_of_a_known_model_can_be_had(model: Repository, make_known: Callable[..., ModelRow]) -> None:
    make_known(query_prefix="q ")
    model.commit, model.branches = NEWER, ("main", "next")
    spec = find_spec("small-model", "dense", revision="next")
    assert (spec.name, spec.revision, spec.query_prompt) == ("small-model", NEWER, "q ")


@pytest.mark.parametrize("name", ["small-model", REPO])
def test_a_given_folder_is_used_and_no_one_asked(
    hub: Any, folder: Path, model: Repository, make_known: Callable[..., ModelRow], name: str
) -> None:
    if name != REPO:
        make_known(query_prefix="q ")
    spec = find_spec(name, "dense", folder)
    assert (spec.name, spec.revision, spec.folder) == (name, None, folder)
    assert spec.query_prompt == ("" if name == REPO else "q ")
    assert hub.requests == []


def test_what_cannot_be_meant_is_refused(
    hub: Any, folder: Path, model: Repository, make_known: Callable[..., ModelRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_known()
    with pytest.raises(InputError, match=r"revision='v1' cannot be another one"):
        find_spec(folder, "dense", revision="v1")
    with pytest.raises(InputError, match=r"folder='.*' holds one revision; revision='v1' cannot be another one"):
        find_spec("small-model", "dense", folder, revision="v1")
    with pytest.raises(InputError, match="small-model is a dense model; a sparse model is needed here"):
        find_spec("small-model", "sparse")
    with pytest.raises(ModelFileError, match=r"There is no folder /nowhere; small-model needs one"):
        find_spec("small-model", "dense", "/nowhere")
    monkeypatch.chdir(folder)
    for path in (Path("some/folder"), "./some/folder", "some/longer/folder"):
        with pytest.raises(UnknownModelError, match=r"There is no folder 'some/.*folder' either"):
            find_spec(path, "dense")
    with pytest.raises(UnknownModelError, match=r"config\.json is a file; pass the folder that holds .*files, [^ ]*$"):
        find_spec(folder / "config.json", "dense")
    (folder / "model.onnx").touch()
    for graph in (folder / "model.onnx", str(folder / "model.onnx")):
        with pytest.raises(UnknownModelError, match=r"is a file; .* OnnxEmbeddingFunction takes the path"):
            find_spec(graph, "dense")
    assert hub.requests == []


def test_a_folder_comes_before_the_hub(
    hub: Any, folder: Path, model: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.joinpath("someone").mkdir()
    folder.rename(folder.parent / "someone" / "chain")
    monkeypatch.chdir(folder.parent)
    assert find_spec(REPO, "dense").folder == folder.parent / "someone" / "chain"
    assert hub.requests == []


def test_a_row_serves_each_of_its_tasks(model: Repository, make_known: Callable[..., ModelRow]) -> None:
    make_known(tasks=["sparse", "dense"])
    assert find_spec("small-model", "dense").dim == 5


# One folder for all files


def test_a_verified_row_with_modules_is_read_from_its_files(
    hub: Any,
    folder: Path,
    model: Repository,
    make_row: Callable[..., ModelRow],
    make_known: Callable[..., ModelRow],
) -> None:
    files = files_in(folder)
    row = make_known(files=listed(files, make_row), weights="model.safetensors")
    hub.contents = {f"/{REPO}/resolve/{COMMIT}/{name}": data for name, data in files.items()}
    assert fetch_folder(row) == model_folder(row)
    own = LocalModel(folder, "dense").encode(list(TEXTS))
    np.testing.assert_array_equal(LocalModel("small-model", "dense").encode(list(TEXTS)), own)
    assert files_in(model_folder(row)) == files
    spec = find_spec("small-model", "dense", folder)
    assert (spec.revision, spec.folder) == (COMMIT, None)  # its hashes prove what it is, wherever it lies

    (model_folder(row) / "modules.json").write_bytes(b"[]")
    with pytest.raises(ModelFileError, match=r"modules\.json is corrupt"):
        LocalModel("small-model", "dense")


def test_files_from_two_caches_are_brought_together(hub: Any, cache: Path, make_row: Callable[..., ModelRow]) -> None:
    row = make_row()
    path = fetch_model(row)["sub/vocab.txt"]
    snapshot = cache.parent / "hf" / "models--someone--small-model" / "snapshots" / str(row.revision)
    (snapshot / "sub").mkdir(parents=True)
    path.rename(snapshot / "sub" / "vocab.txt")
    assert fetch_model(row)["sub/vocab.txt"] == snapshot / "sub" / "vocab.txt"
    assert fetch_folder(row) == model_folder(row)
    assert path.read_bytes() == b"a\nb\n"
    assert set(fetch_model(row).values()) == {model_folder(row) / file.path for file in row.files}
