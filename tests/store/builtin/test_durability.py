"""Nothing that was acknowledged is lost by damage or by a kill while an image is written."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from child_process import child
from milvine import Collection, Record
from milvine.errors import CollectionMismatchError, MilvineError, StoreError
from milvine.store.builtin import image
from milvine.store.builtin.database import image_folder
from small_functions import HashedWords

SLOW = os.environ.get("MILVINE_SLOW") == "1"
FLIPS = 20 if SLOW else 2  # of random bytes in each image file, beside the ends of each region
Contents = dict[str, Record]


@cache
def record(number: int, edition: int = 0, words: int = 12) -> Record:
    chosen = random.Random(10_000 * edition + number)  # noqa: S311
    text = " ".join(f"word{chosen.randrange(300)}" for _ in range(words))
    return Record(f"id {number}", text, {"n": number, "edition": edition})


def opened(path: Path, **options: Any) -> Collection:
    return Collection(path, "docs", embedding_function=HashedWords(), **options)


def refusal(use: Callable[[], object], kind: type[Exception]) -> str:
    """What the error says that this raises; nothing if it raises none."""
    try:
        use()
    except kind as error:
        return str(error)
    return ""


def contents(docs: Collection) -> Contents:
    return {one.id: one for one in docs.records()}


def answers(docs: Collection) -> list[list[tuple[str, float]]]:
    """What a few searches of each kind find: of the same rows the same, whatever they went through."""
    return [
        sorted((hit.id, hit.score) for hit in docs.search(query, mode=mode, limit=30, filter=filter))
        for query in ("word1 word2 word3", "word299 word7")
        for mode in ("dense", "lexical")
        for filter in (None, "n % 7 == 3 or edition == 1")
    ]


def assert_sound(docs: Collection, wanted: Contents) -> None:
    """The rows are these, and searches answer for these."""
    assert contents(docs) == wanted
    assert docs.count() == len(wanted)
    assert docs.count("edition >= 0") == len(wanted)
    for hits in (
        docs.search("word1 word2 word3", mode="dense", limit=30),
        docs.search("word7", mode="lexical", limit=2000),
    ):
        assert all(wanted[hit.id].text == hit.text for hit in hits)
    assert len(hits) == sum("word7" in one.text.split() for one in wanted.values())


def assert_whole(path: Path) -> None:
    """The database is whole, and its image folder holds the files that count and no others."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        listed = [file for (file,) in connection.execute("SELECT file FROM images ORDER BY file")]
    folder = image_folder(path)
    there = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    assert there == listed
    for name in listed:
        image.read(folder / name)


def duplicate(path: Path, to: Path) -> Path:
    """A copy of a database that nobody has open, with its image folder."""
    to.mkdir(exist_ok=True)
    shutil.copy(path, to)
    shutil.copytree(image_folder(path), image_folder(to / path.name))
    return to / path.name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 13,300 rows in two image files, closed; tests work on copies."""
    path = tmp_path_factory.mktemp("made") / "kb.milvine"
    with opened(path) as docs:
        docs.add([record(number) for number in range(9000)])
        docs.add([record(number) for number in range(9000, 13_300)])
    assert len(list(image_folder(path).iterdir())) == 2
    assert_whole(path)
    return path


# Damage to what is derived


def regions(path: Path) -> list[tuple[int, int]]:
    """Where each array of an image file, what is between them, and what follows them begins and ends."""
    with path.open("rb") as file:
        footer = image._footer(path, file)
    size = path.stat().st_size
    places = sorted(place["offset"] for place in footer["arrays"].values())
    arrays = image.read(path).values()
    ends = {
        place["offset"]: place["offset"] + array.nbytes
        for place, array in zip(footer["arrays"].values(), arrays, strict=True)
    }
    borders = sorted({*places, *ends.values(), footer["size"], size - image.END.size, size})
    return [(start, end) for start, end in pairwise(borders) if start < end]


def flip(path: Path, at: int, by: int = 255) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ by]))


def assert_mended(path: Path, before: list[Any]) -> None:
    """Opened again the collection answers as before, and soon has image files that are whole."""
    with opened(path) as docs:
        assert answers(docs) == before
        docs._store.flush()
        assert answers(docs) == before
    assert_whole(path)
    assert list(image_folder(path).iterdir())


@pytest.mark.timeout(1800)
def test_a_flipped_byte_anywhere_is_seen_and_mended(tmp_path: Path, made: Path) -> None:
    path = duplicate(made, tmp_path)
    with opened(path) as docs:
        before = answers(docs)
    chosen = random.Random(3)  # noqa: S311
    for file in sorted(one.name for one in image_folder(made).iterdir()):
        places = regions(image_folder(made) / file)
        ends = [at for start, end in places for at in (start, end - 1)]
        ends = ends if SLOW else chosen.sample(ends, 3)
        for at in [*ends, *(chosen.randrange(places[-1][1]) for _ in range(FLIPS))]:
            shutil.rmtree(image_folder(path))
            path = duplicate(made, tmp_path)
            flip(image_folder(path) / file, at, chosen.randint(1, 255))
            with pytest.raises(image.ImageError):
                image.read(image_folder(path) / file)
            assert_mended(path, before)


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(b"")


def cut(folder: Path) -> None:
    for file in folder.iterdir():
        os.truncate(file, file.stat().st_size // 2)


def extended(folder: Path) -> None:
    for file in folder.iterdir():
        with file.open("ab") as opened:
            opened.write(b"\0")


def swapped(folder: Path) -> None:
    one, other = folder.iterdir()
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def first_deleted(folder: Path) -> None:
    # The larger one holds the rows that came first.
    max(folder.iterdir(), key=lambda file: file.stat().st_size).unlink()


def second_deleted(folder: Path) -> None:
    min(folder.iterdir(), key=lambda file: file.stat().st_size).unlink()


def made_folders(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
        file.mkdir()


def made_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


def of_another(folder: Path) -> None:
    """Another collection's files, of as many rows and as whole as its own, under its own names."""
    with opened(folder.with_name("another.milvine")) as docs:
        docs.add([record(number, 1) for number in range(9000)])
        docs.add([record(number, 1) for number in range(9000, 13_300)])
    others = sorted(image_folder(folder.with_name("another.milvine")).iterdir(), key=lambda file: file.stat().st_size)
    for file, other in zip(sorted(folder.iterdir(), key=lambda file: file.stat().st_size), others, strict=True):
        shutil.copy(other, file)


DAMAGE = [emptied, cut, extended, swapped, first_deleted, second_deleted, shutil.rmtree, of_another]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_to_the_image_folder_is_mended(tmp_path: Path, made: Path, damage: Callable[[Path], None]) -> None:
    path = duplicate(made, tmp_path)
    with opened(path) as docs:
        before = answers(docs)
    damage(image_folder(path))
    assert_mended(path, before)


def test_damage_to_the_image_of_few_rows_is_mended(tmp_path: Path, made: Path) -> None:
    path = duplicate(made, tmp_path)
    with opened(path) as docs:
        docs.delete([f"id {at}" for at in range(500, 13_300)])
        docs._store.flush()
        before = answers(docs)
    (file,) = image_folder(path).iterdir()
    flip(file, 0)
    assert_mended(path, before)


@pytest.mark.parametrize("damage", [made_folders, made_file])
def test_an_image_folder_that_is_in_the_way_is_done_without(
    tmp_path: Path, made: Path, damage: Callable[[Path], None]
) -> None:
    path = duplicate(made, tmp_path)
    with opened(path) as docs:
        before = answers(docs)
    damage(image_folder(path))
    for _ in range(2):
        with opened(path) as docs:
            assert answers(docs) == before
            docs._store.flush()
            docs.add([record(3, 1)])
            docs.add([record(3)])
            assert answers(docs) == before


def test_litter_goes_with_the_next_image(tmp_path: Path, made: Path) -> None:
    path = duplicate(made, tmp_path)
    for name in ("some.image", "other.image-unfinished", "0" * 40 + ".image"):
        (image_folder(path) / name).write_bytes(b"litter")
    with opened(path) as docs:
        docs.add([record(at) for at in range(13_300, 18_300)])
        assert_sound(docs, {f"id {at}": record(at) for at in range(18_300)})
    assert_whole(path)


def test_the_image_folder_is_deleted_while_it_is_in_use(tmp_path: Path, made: Path) -> None:
    path = duplicate(made, tmp_path)
    with opened(path) as docs:
        shutil.rmtree(image_folder(path))
        before = answers(docs)
        docs.add([record(at, 1) for at in range(100)])
        wanted = {f"id {at}": record(at, int(at < 100)) for at in range(13_300)}
        assert_sound(docs, wanted)
        more = {f"id {at}": record(at) for at in range(20_000, 26_000)}
        docs.add(list(more.values()))
        assert_sound(docs, {**wanted, **more})
        docs.delete(list(more))
        docs.add([record(at) for at in range(100)])
        assert answers(docs) == before
    assert_mended(path, before)


# Kills while an image is written

PAUSING = """
import sys
from pathlib import Path
from milvine import Collection
from small_functions import HashedWords
from store.builtin.test_durability import record

docs = Collection(sys.argv[1], "docs", embedding_function=HashedWords())
docs.add([record(at) for at in range(13_300, 13_400)])
replace = Path.replace

def pausing(path, target):
    if sys.argv[2] == "before":
        print("here", flush=True)
        sys.stdin.read()
    replace(path, target)
    print("here", flush=True)
    sys.stdin.read()

Path.replace = pausing
docs.add([record(at) for at in range(13_400, 14400)])
"""


@pytest.mark.parametrize(("moment", "suffix"), [("before", image.UNFINISHED), ("after", image.SUFFIX)])
def test_a_kill_while_an_image_is_written(tmp_path: Path, made: Path, moment: str, suffix: str) -> None:
    path = duplicate(made, tmp_path)
    earlier = set(image_folder(path).iterdir())
    process = child(PAUSING, str(path), moment)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = set(image_folder(path).iterdir()) - earlier
    assert [one.suffix for one in left] == [suffix]
    wanted = {f"id {at}": record(at) for at in range(14_400)}
    with opened(path) as docs:
        assert_sound(docs, wanted)
        docs._store.flush()
        assert_sound(docs, wanted)
    assert_whole(path)


# Other versions


def test_a_database_of_a_newer_milvine_is_left_alone(tmp_path: Path, made: Path) -> None:
    path = duplicate(made, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version + 1}")
    before = path.read_bytes()
    for use in (lambda: opened(path), lambda: Collection.open(path, "docs"), lambda: Collection.create(path, "more")):
        with pytest.raises(CollectionMismatchError, match=rf"schema {version + 1}.*up to {version}.*upgrade milvine"):
            use()
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with opened(path) as docs:
        assert docs.count() == 13_300


def test_a_file_that_is_no_database_of_milvine_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kb.milvine"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (a)")
    before = path.read_bytes()
    with pytest.raises(CollectionMismatchError, match="another program"):
        opened(path)
    assert path.read_bytes() == before
    path.write_bytes(b"some text, and no database" * 1000)
    with pytest.raises(StoreError, match=r"no database of milvine's.*milvine doctor"):
        opened(path)
    assert path.read_bytes() == b"some text, and no database" * 1000
    path.write_bytes(b"")  # what a kill in the first moment leaves
    with opened(path) as docs:
        docs.add(["one"])
        assert docs.count() == 1


@pytest.mark.parametrize("at", [0, 1, 2, 3, 7, 20])
def test_a_damaged_database_is_said_to_be_so(tmp_path: Path, made: Path, at: int) -> None:
    path = duplicate(made, tmp_path)
    with path.open("r+b") as file:
        file.seek(at * 16_384)
        file.write(b"\x5a" * 16_384)
    shutil.rmtree(image_folder(path))

    def use() -> None:
        with opened(path) as docs:
            answers(docs)
            # A page of an index, perhaps; but no row is another.
            assert contents(docs) == {f"id {number}": record(number) for number in range(13_300)}

    said = refusal(use, MilvineError)
    assert not said or "milvine doctor" in said
