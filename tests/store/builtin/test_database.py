from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from child_process import child
from milvine import Collection
from milvine.errors import (
    CollectionMismatchError,
    InputError,
    InputTypeError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from milvine.store.builtin.database import MIGRATIONS, Database, collection_names, image_folder
from small_functions import HashedWords

READER = """
import os, sys
from milvine import Collection
from milvine.errors import StoreWriteError
from small_functions import HashedWords
with Collection(sys.argv[2], embedding_function=HashedWords()) as docs:  # nobody may not read Python's modules either
    docs.add(["one"])
    docs.search("one")
if os.getuid() == 0:
    os.setuid(65534)
with Collection.open(sys.argv[1], "docs", embedding_function=HashedWords()) as docs:
    print(docs.count(), docs.search("one")[0].text, docs.get(["a"])[0].text)
    try:
        docs.add(["two"])
    except StoreWriteError as error:
        print(error)
"""
MAKER = """
import sys
from milvine import Collection
from small_functions import HashedWords
print("ready", flush=True)
sys.stdin.readline()
with Collection(sys.argv[1], sys.argv[2], embedding_function=HashedWords()) as docs:
    docs.add([sys.argv[3]])
"""

RACERS = """
import os, sys, time, traceback
from pathlib import Path
from milvine.store.builtin.database import Database

def race(path, start):
    while time.monotonic() < start:
        pass
    try:
        Database.acquire(path, create=True).release()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

for number in range(60):
    path, start, racers = Path(sys.argv[1], f"{number}.milvine"), time.monotonic() + 0.01, []
    for _ in range(4):
        racers.append(os.fork() or race(path, start))
    print(sum(os.waitpid(racer, 0)[1] for racer in racers), flush=True)
"""


def opened(path: Path, **options: Any) -> Collection:
    return Collection(path, "docs", embedding_function=HashedWords(), **options)


def test_what_is_written_is_synced(tmp_path: Path) -> None:
    database = Database.acquire(tmp_path / "kb.milvine", create=True)
    with database.writing(1) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    with database.reading() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    database.release()
    assert [path.name for path in tmp_path.iterdir()] == ["kb.milvine"]  # the log was folded into it


def test_an_exception_undoes_a_write(tmp_path: Path) -> None:
    database = Database.acquire(tmp_path / "kb.milvine", create=True)

    def write(error: type[BaseException]) -> None:
        with database.writing(1) as connection:
            connection.execute("INSERT INTO images VALUES (1, 'x', 1, 1, 1)")
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write(error)
    with database.writing(1) as connection:
        assert connection.execute("SELECT count(*) FROM images").fetchone() == (0,)
    database.release()


@pytest.mark.parametrize(
    ("path", "error", "match"),
    [
        ("nowhere/kb.milvine", StoreNotFoundError, r"no folder .*nowhere to hold the database kb\.milvine"),
        ("folder", StoreError, r"folder is a folder; give the path of a file"),
        ("lite", StoreError, r"lite is a folder, perhaps of Milvus Lite, whose paths end in \.db"),
        ("text", StoreError, r"text is damaged, or no database .*milvine doctor "),
        ("other", CollectionMismatchError, "other is a SQLite database of another program"),
        ("newer", CollectionMismatchError, rf"newer has schema 99, and this milvine reads up to {len(MIGRATIONS)}"),
    ],
)
def test_paths_that_cannot_be_opened(tmp_path: Path, path: str, error: type[Exception], match: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "lite" / "collections").mkdir(parents=True)
    (tmp_path / "text").write_text("Not a database, but a text that is longer than the header of one. " * 20)
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    opened(tmp_path / "newer").close()
    with sqlite3.connect(tmp_path / "newer") as connection:
        connection.execute("PRAGMA user_version = 99")
    before = sorted(tmp_path.rglob("*"))
    for opening in (Collection, Collection.open, Collection.create):
        with pytest.raises(error, match=match):
            opening(tmp_path / path, embedding_function=HashedWords())
    assert sorted(tmp_path.rglob("*")) == before


def test_open_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"no database .*kb\.milvine; make one with: milvine index"):
        Collection.open(tmp_path / "kb.milvine")
    (tmp_path / "kb.milvine").touch()
    with pytest.raises(StoreNotFoundError, match=r"kb\.milvine is empty"):
        Collection.open(tmp_path / "kb.milvine")
    assert (tmp_path / "kb.milvine").stat().st_size == 0
    with opened(tmp_path / "kb.milvine") as docs:  # what a maker left that was killed at once
        assert docs.count() == 0


def test_truncated_files(tmp_path: Path) -> None:
    with opened(tmp_path / "kb.milvine") as docs:
        docs.add([f"text {number}" for number in range(300)])
    whole = (tmp_path / "kb.milvine").read_bytes()
    for size in range(20, len(whole), len(whole) // 9):
        (tmp_path / "cut.milvine").write_bytes(whole[:size])
        with (
            pytest.raises(StoreError, match=r"cut\.milvine is damaged.*milvine doctor "),
            opened(tmp_path / "cut.milvine") as docs,
        ):
            list(docs.records())


def test_collection_names(tmp_path: Path) -> None:
    for name in ("second", "first"):
        Collection(tmp_path / "kb.milvine", name, embedding_function=HashedWords()).close()
    assert collection_names(tmp_path / "kb.milvine") == ["first", "second"]
    with pytest.raises(StoreNotFoundError):
        collection_names(tmp_path / "nosuch")


def test_a_file_or_folder_that_may_only_be_read(tmp_path: Path) -> None:
    with TemporaryDirectory() as folder:  # pytest's own are for this user alone
        path = Path(folder) / "kb.milvine"
        with opened(path) as docs:
            docs.add(["one"], ids=["a"])
        for file_mode, folder_mode in ((0o444, 0o777), (0o444, 0o555), (0o666, 0o555)):
            path.chmod(file_mode)
            Path(folder).chmod(folder_mode)
            output, errors = child(READER, str(path), str(tmp_path / "own.milvine")).communicate(timeout=60)
            assert output.startswith("1 one one\n"), errors
            assert "kb.milvine may be read alone" in output, errors
        Path(folder).chmod(0o755)
        path.chmod(0o600)
        if os.getuid() == 0:
            _, errors = child(READER, str(path), str(tmp_path / "own.milvine")).communicate(timeout=60)
            assert "kb.milvine may not be read by this user" in errors


def test_links_lead_to_one_database(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data" / "kb.milvine")
    with opened(tmp_path / "link") as first, opened(tmp_path / "data" / "kb.milvine") as second:
        first.add(["one"])
        assert second.count() == 1
        assert first._store._database is second._store._database  # type: ignore[attr-defined]
    assert image_folder(tmp_path / "link") == tmp_path / "data" / "kb.milvine-image"


def test_processes_that_make_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kb.milvine"
    makers = [child(MAKER, str(path), name, text) for name, text in (("docs", "a"), ("docs", "b"), ("other", "c"))]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    for maker in makers:
        _, errors = maker.communicate(timeout=60)
        assert maker.returncode == 0, errors
    assert collection_names(path) == ["docs", "other"]
    with opened(path) as docs:
        assert sorted(record.text for record in docs.records()) == ["a", "b"]


def test_processes_that_make_it_at_the_very_same_moment(tmp_path: Path) -> None:
    said, errors = child(RACERS, str(tmp_path)).communicate(timeout=120)
    assert (said, errors) == ("0\n" * 60, "")


def test_a_writer_waits_for_another_and_gives_up_clearly(tmp_path: Path) -> None:
    docs = opened(tmp_path / "kb.milvine", timeout=0.2)
    docs.add(["one"])
    other = sqlite3.connect(tmp_path / "kb.milvine", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLockedError, match=r"writing to .*kb\.milvine for 0\.2 seconds"):
        docs.add(["two"])
    assert docs.count() == len(docs.search("one")) == 1  # readers wait for nobody
    patient = opened(tmp_path / "kb.milvine", timeout=20)
    thread = threading.Thread(target=patient.add, args=(["three"],))
    thread.start()
    with pytest.raises(StoreLockedError):  # the same within a process
        docs.add(["four"])
    other.execute("COMMIT")
    other.close()
    thread.join()
    assert docs.count() == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [({"token": "x"}, InputError), ({"timeout": -1}, InputError), ({"timeout": "5"}, InputTypeError)],
)
def test_options_that_are_not_allowed(tmp_path: Path, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        opened(tmp_path / "kb.milvine", **options)
    assert list(tmp_path.iterdir()) == []


def test_attaching_is_for_milvus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no other tool makes"):
        Collection.attach(tmp_path / "kb.milvine", "docs", embedding_function=HashedWords())


def test_opening_loads_no_other_store() -> None:
    code = (
        "import sys, milvine.store.builtin\n"
        "assert not {'pymilvus', 'onnxruntime', 'httpx', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
