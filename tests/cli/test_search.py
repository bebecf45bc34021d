from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from milvine import Collection
from milvine.cli.main import main


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["search", *map(str, arguments)])


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "kb.db"
    with Collection(path) as docs:
        docs.add(
            [
                "Notes. " + "Nothing of interest is said here. " * 20 + "The [spare] keys hang behind the door.",
                "Cars are left in the yard behind the house.",
                "Lunch is served at noon.",
            ],
            ids=["keys", "cars", "lunch"],
            metadata=[{"title": title} for title in ("Keys", "Parking", "Lunch")],
        )
    return path


def test_highlights(db: Path) -> None:
    plain = invoke("where is the spare key?", "--db", db, "--limit", "1")
    assert plain.exit_code == 0, plain.output
    assert "hang behind the door" not in plain.output
    marked = invoke("where is the spare key?", "--db", db, "--limit", "1", "--highlight")
    assert "The [spare] keys hang" in " ".join(marked.output.split())


def test_pages_and_fusions(db: Path) -> None:
    def ids(*options: str) -> list[str]:
        result = invoke("what is behind the house?", "--db", db, "--json", *options)
        assert result.exit_code == 0, result.output
        return [json.loads(line)["id"] for line in result.output.splitlines()]

    assert ids("--limit", "1") + ids("--offset", "1", "--limit", "2") == ids()
    assert ids("--fusion", "rrf")[0] == ids("--fusion", "minmax")[0] == ids("--fusion", "distribution")[0] == "cars"
    second = invoke("what is behind the house?", "--db", db, "--offset", "1", "--limit", "1")
    assert second.output.startswith("2. ")


def test_where_each_field_placed_a_hit(db: Path) -> None:
    shown = invoke("what is behind the house?", "--db", db, "--limit", "1").output
    assert "dense 1 (0." in shown
    assert "lexical 1 (" in shown


def test_a_mode_without_a_field(db: Path) -> None:
    result = invoke("anything", "--db", db, "--mode", "sparse")
    assert result.exit_code == 1
    assert "needs a sparse field" in result.output
