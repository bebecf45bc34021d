from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from click.testing import CliRunner, Result

from milvine.cli.models import models as command
from milvine.errors import UnknownModelError
from milvine.local import catalogue
from milvine.local.files import model_folder

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


@pytest.mark.parametrize("width", [200, 100, 80, 40])
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
    assert ("no English" in words) if width >= 100 else ("not here" in words)


def test_the_list_as_json_can_be_read_back(run: Run) -> None:
    listed = json.loads(run("--json").output)
    assert [row["name"] for row in listed] == [row.name for row in catalogue.models()]
    assert listed[0]["dim"] == 384
    assert listed[0]["size"] == 90868376 + 612 + 466247
    assert listed[0]["here"] is False


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


def test_pull_says_what_is_where(run: Run, small: catalogue.ModelRow) -> None:
    result = run("pull", "small")
    assert result.exit_code == 0, result.output
    assert result.output == f"small: 1 files, 0 MB, in {model_folder(small)}\n"


def test_pull_wants_names_or_all_and_knows_them_before_it_begins(run: Run, small: catalogue.ModelRow) -> None:
    assert run("pull").exit_code == 2
    assert run("pull", "small", "--all").exit_code == 2
    assert run("pull", "--all").exit_code == 0
    unknown = run("pull", "small", "smal")
    assert isinstance(unknown.exception, UnknownModelError)
    assert unknown.output == ""
