from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from milvine.cli import main
from milvine.model import CachedEmbeddingFunction
from small_functions import HashedWords

Run = Callable[..., Result]
ENTRY = 4 * 16 + 192  # a float32 vector of HashedWords, and what goes with it


class Named(HashedWords):
    """Of a model whose name is one for a terminal to stumble over."""

    def identity(self) -> dict[str, Any]:
        return {"function": "Named", "model": "owner/model[bold]", "dim": self.dim}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with an empty cache folder."""
    monkeypatch.setenv("MILVINE_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, ["cache", *map(str, arguments)])

    return run


@pytest.fixture
def filled(run: Run) -> Path:
    """A cache of two functions' vectors."""
    words, named = CachedEmbeddingFunction(HashedWords()), CachedEmbeddingFunction(Named(), max_bytes=3_000_000)
    words.encode_documents(["a", "b", "c"])
    words.encode_documents(["a", "b", "d"])
    words.encode_queries(["a"])
    named.encode_documents(["a", "a"])
    return words.path


def test_info_as_json_tells_of_place_size_bound_and_of_each_function(run: Run, filled: Path) -> None:
    result = run("info", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    models = told.pop("models")
    assert told.pop("file_bytes") >= filled.stat().st_size > 0
    assert told == {
        "path": str(filled),
        "bytes": 6 * ENTRY,
        "max_bytes": 3_000_000,
        "entries": 6,
        "hits": 3,
        "misses": 6,
    }
    shown = ("function", "model", "role", "entries", "bytes", "hits", "misses")
    assert [tuple(each[name] for name in shown) for each in models] == [
        ("HashedWords", "", "documents", 4, 4 * ENTRY, 2, 4),
        ("HashedWords", "", "queries", 1, ENTRY, 0, 1),
        ("Named", "owner/model[bold]", "documents", 1, ENTRY, 1, 1),
    ]
    assert models[0]["fingerprint"] == models[1]["fingerprint"] != models[2]["fingerprint"]


def test_info_for_people(run: Run, filled: Path) -> None:
    output = run("info").output
    assert output.startswith(f"{filled}\n6 vectors, 0.0 of 3.0 MB (on disk ")
    assert "3 hits, 6 misses" in output
    rows = [line.split() for line in output.splitlines() if "HashedWords" in line or "Named" in line]
    assert [row[:3] for row in rows] == [
        ["-", "HashedWords", "documents"],
        ["-", "HashedWords", "queries"],
        ["owner/model[bold]", "Named", "documents"],
    ]
    assert [row[4:] for row in rows] == [["4", "0.0", "2", "4"], ["1", "0.0", "0", "1"], ["1", "0.0", "1", "1"]]


def test_clear_removes_one_function_or_all_and_gives_the_space_back(run: Run, filled: Path) -> None:
    by_fingerprint = json.loads(run("info", "--json").output)["models"][2]["fingerprint"][:12]
    assert run("clear", "--model", by_fingerprint).output == f"{filled}: 1 vector removed\n"
    result = run("clear", "--model", "owner/model[bold]")
    assert result.exit_code == 2
    assert "there is nothing of 'owner/model[bold]' here; there is HashedWords" in result.output
    assert run("clear", "--model", "HashedWords").output == f"{filled}: 5 vectors removed\n"
    CachedEmbeddingFunction(HashedWords(2048)).encode_documents([f"text {at}" for at in range(200)])
    before = json.loads(run("info", "--json").output)["file_bytes"]
    assert run("clear").output == f"{filled}: 200 vectors removed\n"
    told = json.loads(run("info", "--json").output)
    assert (told["entries"], told["bytes"], told["hits"], told["misses"], told["models"]) == (0, 0, 0, 0, [])
    assert told["file_bytes"] < 500_000 < before
    assert run("info").output.startswith(f"{filled}\n0 vectors, ")


def test_a_function_in_use_goes_on_after_its_vectors_were_cleared(run: Run) -> None:
    function = HashedWords()
    cached = CachedEmbeddingFunction(function)
    for _ in range(2):
        cached.encode_documents(["a"])
        cached.encode_documents(["a"])
        assert run("clear").exit_code == 0
    assert function.encoded == ["a", "a"]


def test_where_there_is_no_cache_none_is_made(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "vectors.sqlite3"
    assert run("info").output == f"{path}: there is no cache yet\n"
    assert run("clear").output == f"{path}: there is no cache yet\n"
    told = json.loads(run("info", "--json", "--path", tmp_path / "other").output)
    assert (told["path"], told["entries"], told["max_bytes"]) == (str(tmp_path / "other"), 0, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["info", "clear"])
def test_a_file_that_is_something_else_is_named_and_kept(run: Run, tmp_path: Path, command: str) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("Dear diary")
    result = run(command, "--path", other)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {other} is no cache of vectors, and is left as it is")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert other.read_text() == "Dear diary"
