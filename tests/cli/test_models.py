from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from click.testing import CliRunner, Result

from hub_server import COMMIT, Hub, Repository, files_in
from milvine.cli.models import models as command
from milvine.errors import UnknownModelError
from milvine.local.finding import catalogue
from milvine.local.finding.files import model_folder
from tiny_heads import write_model

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command offline with empty caches, as on a terminal of the given width whose output is piped."""
    monkeypatch.setenv("MILVINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MILVINE_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))

    def run(*arguments: str, width: int = 120) -> Result:
        return CliRunner().invoke(command, arguments, env={"COLUMNS": str(width)})

    return run


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> catalogue.ModelRow:
    """A catalogue of one small model, whose files lie in the cache."""
    # sha256 of b"hello", as every `sha256sum` prints it
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    raw = json.loads(Path(catalogue.__file__).with_name("catalogue.json").read_text())[0]
    raw |= {"name": "small", "repo": "a/small", "files": [{"path": "w", "sha256": digest, "size": 5}], "weights": "w"}
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps([raw]))
    rows = catalogue.read_catalogue(path)
    monkeypatch.setattr(catalogue, "models", lambda: rows)
    folder = model_folder(rows[0])
    folder.mkdir(parents=True)
    (folder / "w").write_bytes(b"hello")
    return rows[0]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Iterator[Hub]:
    """A hub with a small model, which may be asked."""
    hub = Hub()
    hub.repositories = [Repository("someone/chain", files_in(write_model(tmp_path / "model", "chain")))]
    hub.start()
    monkeypatch.delenv("MILVINE_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield hub
    hub.stop()


@pytest.fixture
def make_unverified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., catalogue.ModelRow]:
    """Makes a catalogue of one row without files, for that model."""

    def make(**changes: Any) -> catalogue.ModelRow:
        raw = {"name": "chain", "tasks": ["dense"], "architecture": "bert", "license": "MIT", "repo": "someone/chain"}
        raw |= {"revision": COMMIT, "dim": 5, "max_length": 19, "pooling": "mean", "description": "tests"} | changes
        (tmp_path / "catalogue.json").write_text(json.dumps([raw]))
        rows = catalogue.read_catalogue(tmp_path / "catalogue.json")
        monkeypatch.setattr(catalogue, "models", lambda: rows)
        return rows[0]

    return make


@pytest.fixture
def unverified(make_unverified: Callable[..., catalogue.ModelRow]) -> catalogue.ModelRow:
    return make_unverified()


@pytest.mark.parametrize("width", [200, 140, 100, 80, 40])
def test_the_list_says_what_each_model_is_on_any_terminal(run: Run, width: int) -> None:
    result = run(width=width)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert max(len(line) for line in result.output.splitlines()) <= width
    words = " ".join(result.output.split())
    for row in catalogue.models():
        assert row.name in words
        assert row.license in words
    assert "91 MB" in words
    assert "384" in words
    assert ("no English" in words) if width >= 140 else ("not here" in words)
    assert ("MIT no no" in words) if width >= 140 else ("MIT, not here, not verified" in words)


def test_the_list_as_json_can_be_read_back(run: Run) -> None:
    listed = json.loads(run("--json").output)
    assert [row["name"] for row in listed] == [row.name for row in catalogue.models()]
    assert listed[0]["dim"] == 384
    assert listed[0]["size"] == 90868376 + 612 + 466247
    assert listed[0]["here"] is False
    (unverified,) = (row for row in listed if row["name"] == "bge-m3")
    assert unverified["tasks"] == ["hybrid", "dense"]
    assert (unverified["verified"], unverified["size"], unverified["fingerprint"]) == (False, None, None)


def test_the_list_shows_what_is_here(run: Run, small: catalogue.ModelRow) -> None:
    assert json.loads(run("--json").output)[0]["here"] is True
    assert "Apache-2.0, here" in run(width=80).output


def test_verify_passes_good_files_and_exits_with_1_on_a_corrupt_one(run: Run, small: catalogue.ModelRow) -> None:
    path = model_folder(small) / "w"
    good = run("verify")
    assert good.exit_code == 0
    assert good.output == f"small: ok      {path}\n"
    path.write_bytes(b"hellO")
    bad = run("verify", "SMALL")
    assert bad.exit_code == 1
    assert f"small: corrupt {path}\n" in bad.output
    assert "`milvine models pull small`" in bad.output


def test_verify_minds_an_absent_model_only_if_it_was_named(run: Run) -> None:
    everything = run("verify")
    assert everything.exit_code == 0
    assert "all-MiniLM-L6-v2: not here" in everything.output
    assert run("verify", "all-MiniLM-L6-v2").exit_code == 1


def test_verify_wants_names_of_the_catalogue(run: Run, small: catalogue.ModelRow) -> None:
    assert run("verify", "small").exit_code == 0
    error = run("verify", "someone/other").exception
    assert isinstance(error, UnknownModelError)
    assert "someone/other is not in the catalogue, so nothing is known to compare it with; `milvine models pull" in str(
        error
    )


def test_pull_says_what_is_where(run: Run, small: catalogue.ModelRow) -> None:
    result = run("pull", "small")
    assert result.exit_code == 0, result.output
    assert result.output == f"small: 1 files, 0 MB, in {model_folder(small)}\n"


def test_pull_takes_hub_ids_and_revisions(run: Run, hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "hf" / "models--someone--chain" / "snapshots" / COMMIT
    for arguments in (["someone/chain"], ["someone/chain", "--revision", COMMIT]):
        result = run("pull", *arguments)
        assert result.exit_code == 0, result.output
        assert result.output == f"someone/chain: 15 files, 0 MB, in {folder}\n"
    (folder / "config.json").write_bytes(b"{}")
    assert run("pull", "someone/chain").exit_code == 0
    assert (folder / "config.json").read_bytes() == hub.repositories[0].files["config.json"]
    assert run("pull", "someone/chain", "other/chain", "--revision", "main").exit_code == 2
    assert run("pull", "--all", "--revision", "main").exit_code == 2


def test_pull_all_leaves_models_alone_that_have_no_hashes(run: Run, unverified: catalogue.ModelRow) -> None:
    result = run("pull", "--all")
    assert (result.exit_code, result.output) == (0, "")


def test_verify_prints_the_row_with_its_files_if_all_it_claims_is_so(
    run: Run, hub: Hub, unverified: catalogue.ModelRow, tmp_path: Path
) -> None:
    assert run("verify").output == "chain: not here\n"
    result = run("verify", "chain")
    assert result.exit_code == 0, result.output
    (tmp_path / "new.json").write_text(f"[{result.stdout}]")
    (row,) = catalogue.read_catalogue(tmp_path / "new.json")
    assert row.verified
    assert (row.revision, row.normalize, row.weights) == (COMMIT, True, "model.safetensors")
    stated = {name: hashlib.sha256(data).hexdigest() for name, data in hub.repositories[0].files.items()}
    assert {file.path: file.sha256 for file in row.files} == stated
    assert result.stdout == run("verify").stdout  # it is here now


def test_verify_exits_with_1_on_a_wrong_claim_and_on_a_hub_that_does_not_deliver(
    run: Run, hub: Hub, make_unverified: Callable[..., catalogue.ModelRow]
) -> None:
    make_unverified(dim=8, pooling="cls")
    result = run("verify", "chain")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "chain: dim is 8 in the catalogue, 5 in its files\n" in result.stderr
    assert "chain: pooling is 'cls' in the catalogue, 'mean' in its files\n" in result.stderr

    make_unverified(revision="f" * 40)
    result = run("verify", "chain")
    assert result.exit_code == 1
    assert f"someone/chain has no revision {'f' * 40!r}" in result.stderr


def test_pull_wants_names_or_all_and_knows_them_before_it_begins(run: Run, small: catalogue.ModelRow) -> None:
    assert run("pull").exit_code == 2
    assert run("pull", "small", "--all").exit_code == 2
    assert "--all fetches every verified model; name none" in run("pull", "small", "--all").output
    assert "--revision is blank" in run("pull", "someone/chain", "--revision", "").output
    assert "--json is for the list alone" in run("--json", "pull", "small").output
    assert run("pull", "--all").exit_code == 0
    unknown = run("pull", "small", "smal")
    assert isinstance(unknown.exception, UnknownModelError)
    assert unknown.output == ""
