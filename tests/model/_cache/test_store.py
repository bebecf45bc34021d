from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, ReadError
from milvine.model import CachedEmbeddingFunction
from milvine.model._cache.file import default_path
from milvine.model._cache.store import open_cache
from small_functions import HashedWords

TESTS = Path(__file__).parents[2]
TEXTS = [f"text {at}" for at in range(200)]
EXPECTED = HashedWords().encode_documents(TEXTS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vectors.sqlite3"


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that has the cache in the file that is its first argument."""
    start = "import sys; from milvine.model import CachedEmbeddingFunction; from small_functions import HashedWords\n"
    return subprocess.Popen(
        [sys.executable, "-c", start + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )


def check(file: Path, *, known: int) -> None:
    """All vectors are right, and at least so many were there."""
    function = HashedWords()
    vectors = CachedEmbeddingFunction(function, file).encode_documents(TEXTS)
    assert np.array_equal(np.stack(vectors), np.stack(EXPECTED))
    assert len(function.encoded) <= len(TEXTS) - known


def intact(file: Path) -> bool:
    connection = sqlite3.connect(file)
    try:
        (size,) = connection.execute("SELECT bytes FROM state").fetchone()
        (sizes,) = connection.execute("SELECT coalesce(sum(size), 0) FROM entries").fetchone()
        (lone,) = connection.execute(
            "SELECT (SELECT count(*) FROM entries) - (SELECT count(*) FROM vectors JOIN entries USING (id))"
        ).fetchone()
        return (size, lone, connection.execute("PRAGMA integrity_check").fetchone()) == (sizes, 0, ("ok",))
    finally:
        connection.close()


def test_processes_that_make_and_fill_a_file_at_once(file: Path) -> None:
    writer = """
        cached = CachedEmbeddingFunction(HashedWords(), sys.argv[1])
        texts = [f"text {at}" for at in range(200)]
        for at in range(0, 200, 5):
            cached.encode_documents(texts[at:at + 5] if sys.argv[2] == "up" else texts[195 - at:200 - at])
        print(cached.hits + cached.misses)
        """
    running = [process(writer, file, order) for order in ("up", "down", "up")]
    for each in running:
        out, error = each.communicate(timeout=60)
        assert (each.returncode, out.strip(), error) == (0, "200", "")
    check(file, known=200)
    assert intact(file)
    info = open_cache(file).info()
    (model,) = info.models
    assert model.entries == 200
    assert model.hits + model.misses == 3 * 200 + 200


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2])
def test_a_process_killed_in_the_middle_leaves_a_usable_file(file: Path, delay: float) -> None:
    writer = """
        cached = CachedEmbeddingFunction(HashedWords(), sys.argv[1], max_bytes=100_000)
        print("begun", flush=True)
        at = 0
        while True:
            cached.encode_documents([f"text {at % 200}", f"other {at}"])
            at += 1
        """
    killed = process(writer, file)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "begun\n"
    time.sleep(delay)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    check(file, known=0)
    check(file, known=200)
    assert intact(file)


def test_a_file_whose_pages_are_damaged_is_begun_anew(file: Path) -> None:
    check(file, known=0)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    damaged = bytearray(file.read_bytes())
    damaged[100:] = os.urandom(len(damaged) - 100)
    file.write_bytes(damaged)
    check(file, known=0)  # a new object: it sees the damage when it opens the file
    check(file, known=200)
    assert intact(file)


def test_a_file_that_is_damaged_while_it_is_open_is_begun_anew_and_told_of_once(file: Path) -> None:
    function = HashedWords()
    cached = CachedEmbeddingFunction(function, file)
    cached.encode_documents(TEXTS)
    cached._cache._connected().executescript("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory")
    with file.open("r+b") as opened:
        opened.truncate(32_768 * 3)
    with pytest.warns(UserWarning, match=r"vectors\.sqlite3 cannot be .*: it is damaged and begun anew"):
        cached.encode_documents([*TEXTS, "new"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vectors = cached.encode_documents([*TEXTS, "new"])
    assert np.array_equal(np.stack(vectors[:200]), np.stack(EXPECTED))
    assert len(function.encoded) <= 402
    del cached
    check(file, known=200)


def test_a_vector_whose_bits_have_changed_is_computed_again(file: Path) -> None:
    check(file, known=0)
    connection = sqlite3.connect(file)
    connection.execute("UPDATE vectors SET payload = zeroblob(64) WHERE id % 50 = 1")
    connection.execute("UPDATE entries SET form = replace(form, '<f4', '<i4') WHERE id % 50 = 2")
    connection.commit()
    connection.close()
    check(file, known=192)
    check(file, known=200)
    assert intact(file)


@pytest.mark.parametrize("content", [b"Dear diary", b"SQLite format 3\0" + bytes(200)], ids=["text", "header alone"])
def test_another_programs_file_is_refused_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.db is no cache of vectors, and is left as it is; name another"):
        CachedEmbeddingFunction(HashedWords(), file)
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
    assert file.read_bytes() == content


def test_another_programs_database_a_folder_and_a_newer_milvines_cache(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE vectors (id INTEGER PRIMARY KEY)")
    connection.close()
    with pytest.raises(InputError, match="is no cache of vectors"):
        CachedEmbeddingFunction(HashedWords(), tmp_path / "other.db")
    with pytest.raises(InputError, match=r"is a folder; a cache is a file: .*vectors\.sqlite3"):
        CachedEmbeddingFunction(HashedWords(), tmp_path)
    check(tmp_path / "newer", known=0)
    connection = sqlite3.connect(tmp_path / "newer")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(InputError, match=r"made by a newer milvine \(schema 2; this one knows 1\): upgrade milvine"):
        CachedEmbeddingFunction(HashedWords(), tmp_path / "newer")


def test_an_empty_file_is_a_new_cache_for_its_owner_alone(file: Path) -> None:
    check(file, known=0)
    assert file.stat().st_mode & 0o777 == 0o600
    other = file.with_name("empty")
    other.touch()
    check(other, known=0)
    check(other, known=200)


def test_a_place_that_cannot_be_written_costs_one_warning_and_no_vector(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    file = tmp_path / "occupied" / "vectors.sqlite3"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function = HashedWords()
        cached = CachedEmbeddingFunction(function, file)
        for _ in range(3):
            vectors = cached.encode_documents(TEXTS)
    assert np.array_equal(np.stack(vectors), np.stack(EXPECTED))
    assert len(function.encoded) == 600
    (warning,) = caught
    assert "vectors.sqlite3 cannot be opened" in str(warning.message)
    assert "vectors are computed and not kept" in str(warning.message)
    assert warning.filename == __file__


def test_a_full_disk_costs_one_warning_and_no_vector(file: Path) -> None:
    filling = """
        import resource, warnings
        import numpy as np
        cached = CachedEmbeddingFunction(HashedWords(), sys.argv[1])
        cached.encode_documents(["before"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        texts = [f"text {at}" for at in range(200)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for part in range(0, 3000, 300):
                cached.encode_documents([f"filling {at}" for at in range(part, part + 300)])
                vectors = cached.encode_documents(texts)
        print([str(each.message) for each in caught])
        print(np.array_equal(np.stack(vectors), np.stack(HashedWords().encode_documents(texts))))
        """
    out, error = process(filling, file).communicate(timeout=60)
    told, equal = out.splitlines()
    assert told.count("cannot be written") == 1, error
    assert told.count("vectors are computed and not kept") == 1
    assert equal == "True"
    function = HashedWords()
    CachedEmbeddingFunction(function, file).encode_documents(["before", "after"])
    assert function.encoded == ["after"]
    assert intact(file)


def test_a_file_that_is_deleted_is_made_again(file: Path) -> None:
    cached = CachedEmbeddingFunction(HashedWords(), file)
    cached.encode_documents(TEXTS)
    for path in file.parent.iterdir():
        path.unlink()
    cached.encode_documents(TEXTS)
    del cached
    check(file, known=200)
    assert intact(file)


def test_a_reader_does_not_wait_for_a_writer(file: Path) -> None:
    check(file, known=0)
    cached = CachedEmbeddingFunction(HashedWords(), file)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached.encode_documents(TEXTS)
        cached._cache.flush()
    assert time.monotonic() - began < 4  # a write waits for 5 s
    assert cached.misses == 0
    other.execute("ROLLBACK")
    other.close()
    (model,) = cached._cache.info().models
    assert model.hits == 200  # written down later


def test_a_forked_process_uses_a_connection_of_its_own(file: Path) -> None:
    forking = """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        cached = CachedEmbeddingFunction(HashedWords(), sys.argv[1])
        cached.encode_documents([f"text {at}" for at in range(100)])
        child = os.fork()
        half = range(0, 150) if child else range(50, 200)
        cached.encode_documents([f"text {at}" for at in half])
        cached.close()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        else:
            print(cached.hits >= 50, cached.hits + cached.misses, flush=True)
            os._exit(0)
        """
    forked = process(forking, file)
    out, error = forked.communicate(timeout=60)
    assert (forked.returncode, out, error) == (0, "True 250\n", "")
    check(file, known=200)
    assert intact(file)


def test_the_default_file_lies_in_milvines_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVINE_CACHE", str(tmp_path / "mine"))
    assert default_path() == tmp_path / "mine" / "vectors.sqlite3"
    assert CachedEmbeddingFunction(HashedWords()).path == default_path()
    assert default_path().exists()


def test_what_cannot_be_read_cannot_be_told_of(file: Path) -> None:
    cached = CachedEmbeddingFunction(HashedWords(), file)
    shutil.rmtree(file.parent)
    file.parent.touch()
    with pytest.raises(ReadError, match=r"vectors\.sqlite3 cannot be read"):
        cached._cache.info()
    with pytest.raises(ReadError, match=r"cannot be cleared: .*; delete the file"):
        cached._cache.clear()
    file.parent.unlink()


def test_a_stored_row_is_numbers_a_json_form_and_a_hash(file: Path) -> None:
    CachedEmbeddingFunction(HashedWords(), file).encode_documents(["secret words"])
    connection = sqlite3.connect(file)
    row: Any = connection.execute("SELECT key, form, payload FROM entries JOIN vectors USING (id)").fetchone()
    connection.close()
    # `printf 'secret words' | sha256sum`
    assert row[0].hex() == "90e132a8e71a48078f8c7dd31c62b6518c497b07863ec1e70403b906e5e202d5"
    assert json.loads(row[1]) == ["list", "<f4", [16]]
    assert np.array_equal(np.frombuffer(row[2], "<f4"), HashedWords().encode_documents(["secret words"])[0])
