from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from milvine import Collection, Record
from milvine.cli.main import main
from milvine.store.builtin.database import image_folder
from small_functions import HashedTerms, HashedWords


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    """A file with two collections, one of which has an image file, and nobody who has it open."""
    path = tmp_path / "kb.milvine"
    with Collection(path, "docs", embedding_function={"words": HashedWords(), "terms": HashedTerms()}) as docs:
        docs.add(Record(f"n{n}", f"text {n} of {n % 7}", {"n": n, "half": n / 2}) for n in range(6000))
        docs.add([Record("blank", " "), Record("odd", "“quotes” \\ 🐈", {"größe": [1, None]})])
    with Collection(path, "empty", embedding_function=HashedWords()):
        pass
    return path


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def test_all_is_well(kb: Path) -> None:
    before = kb.read_bytes()
    result = invoke(kb)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "fine  the file's pages and indexes are in order"
    assert "fine  docs: 6,002 records, texts and metadata as written, and each with its vectors" in lines
    assert "fine  empty: 0 records, texts and metadata as written, and each with its vectors" in lines
    assert any(line.startswith("fine  ") and "image file" in line for line in lines)
    assert kb.read_bytes() == before


def test_while_another_has_it_open(kb: Path) -> None:
    with Collection(kb, "docs", embedding_function={"words": HashedWords(), "terms": HashedTerms()}) as docs:
        docs.add(["written, and not folded into the file yet"])
        result = invoke(kb)
        assert result.exit_code == 0, result.output
        assert "6,003 records" in result.output


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE rows_1 SET text = 'other' WHERE id = 'n3'", "text or metadata are damaged of 'n3'; add them again"),
        ("UPDATE rows_1 SET metadata = '{' WHERE id IN ('n3', 'n4')", "text or metadata are damaged of 'n3', 'n4'"),
        ("UPDATE rows_1 SET text = ''", "of 'n0', 'n1', 'n2', 'n3', 'n4' and 5,997 more"),
        ("DELETE FROM vectors_1 WHERE row = 5", "there are no vectors of 'n4'; delete and add them again"),
        ("DELETE FROM rows_1 WHERE row = 5", "vectors of 1 records that are not there; restore the file"),
        ("UPDATE vectors_1 SET f0 = x'0000' WHERE row = 5", "the vectors of 'words' have [2, 64] bytes"),
        ("UPDATE collections SET config = 'x' WHERE name = 'docs'", "a collection's description is damaged"),
        ("PRAGMA user_version = -5", "the version of the schema is -5, which there is none of; restore the file"),
    ],
)
def test_rows_that_are_damaged(kb: Path, statement: str, expected: str) -> None:
    change(kb, statement)
    result = invoke(kb)
    assert result.exit_code == 1
    (wrong,) = [line for line in result.output.splitlines() if line.startswith("WRONG ")]
    assert expected in wrong


def test_pages_that_are_damaged(kb: Path) -> None:
    size = kb.stat().st_size
    with kb.open("r+b") as file:
        for at in range(size // 4, size - 20_000, size // 9):
            file.seek(at)
            file.write(b"\xff" * 9000)
    result = invoke(kb)
    assert result.exit_code == 1
    assert "WRONG the file is damaged: " in result.output or "WRONG reading stopped: " in result.output
    assert f"milvine copy {kb} NEW" in result.output


def test_images(kb: Path) -> None:
    folder = image_folder(kb)
    (image, *_) = folder.glob("*.image")
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 4
    image.write_bytes(content)
    result = invoke(kb)
    assert result.exit_code == 1
    assert "is damaged: its arrays have another checksum; nothing is lost" in result.output
    image.unlink()
    (folder / f"{'0' * 40}.image").write_bytes(bytes(2_500_000))
    result = invoke(kb)
    assert result.exit_code == 0, result.output
    assert f"note  the image file {image.name} is not there; nothing is lost" in result.output
    assert f"note  1 files in {folder.name} are not in use (2.5 MB)" in result.output
    with Collection(kb, "docs", embedding_function={"words": HashedWords(), "terms": HashedTerms()}) as docs:
        assert docs.search("text 7", limit=1)[0].id == "n7"


def test_a_long_log(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from milvine.store import checking

    monkeypatch.setattr(checking, "LARGE_LOG", 10_000)
    functions = {"words": HashedWords(), "terms": HashedTerms()}
    with Collection(kb, "docs", embedding_function=functions) as docs:
        docs.add(Record(f"m{n}", f"text {n}") for n in range(300))
        result = invoke(kb)
    assert result.exit_code == 0, result.output
    assert "note  kb.milvine-wal has" in result.output
    assert "do not delete it" in result.output


@pytest.mark.parametrize(
    ("name", "what"), [("kb.db", "a Milvus Lite database"), ("http://a:b@host:1", "a Milvus server")]
)
def test_other_stores(tmp_path: Path, name: str, what: str) -> None:
    result = invoke(name if "://" in name else tmp_path / name)
    assert result.exit_code == 1
    assert f"is {what}, and only files of the built-in store can be checked" in result.output
    assert "a:b@" not in result.output


def test_what_is_no_such_file(tmp_path: Path) -> None:
    assert "none is not there" in invoke(tmp_path / "none").output
    assert "is a folder; give the file beside it" in invoke(tmp_path).output
    (tmp_path / "text").write_text("no database at all, " * 100)
    result = invoke(tmp_path / "text")
    assert result.exit_code == 1
    assert "text is no file of the built-in store, or its first bytes are damaged" in result.output
    (tmp_path / "empty").touch()
    assert "empty is empty, and so there is nothing to check" in invoke(tmp_path / "empty").output
    assert (tmp_path / "empty").stat().st_size == 0
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE t (a)")
    other.close()
    assert "was not made by milvine" in invoke(tmp_path / "other").output


def test_a_newer_file(kb: Path) -> None:
    change(kb, "PRAGMA user_version = 99")
    result = invoke(kb)
    assert result.exit_code == 1
    assert "has schema 99" in result.output
    assert "upgrade milvine" in result.output


def test_as_a_user_runs_it(kb: Path) -> None:
    change(kb, "UPDATE rows_1 SET text = 'other' WHERE id = 'n3'")
    done = subprocess.run(
        [sys.executable, "-m", "milvine", "doctor", str(kb)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "WRONG docs" in done.stdout
    assert done.stderr == ""
