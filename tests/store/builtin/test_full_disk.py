"""A full disk loses nothing that was acknowledged, says what is wrong, and work goes on once there is room."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from milvine import Collection, Record
from milvine._records import content_hash
from milvine.errors import StoreError, StoreWriteError
from milvine.store.builtin.database import image_folder
from small_disks import fill_disk, small_disk
from store.builtin.test_durability import (
    SLOW,
    Contents,
    answers,
    assert_sound,
    assert_whole,
    duplicate,
    opened,
    record,
    refusal,
)

LEVELS = 100 if SLOW else 3


class Attempts:
    """Things done to a collection on a disk that is full, some of which fail, and what it must hold then."""

    def __init__(self, path: Path, wanted: Contents) -> None:
        self.path, self.wanted = path, wanted
        self.docs: Collection | None = opened(path)
        self.failed: list[str] = []

    def try_to(self, what: str, use: Callable[[Collection], object], changes: dict[str, Record | None]) -> None:
        """What succeeds has been done wholly; what fails says so clearly, and has been done wholly or not at all."""
        if self.docs is None:
            return
        docs = self.docs
        after = {id_: one for id_, one in {**self.wanted, **changes}.items() if one is not None}
        if said := refusal(lambda: use(docs), StoreWriteError):
            assert "\n" not in said
            assert "full" in said
            self.failed.append(what)
            found = docs._store.content_hashes([*self.wanted, *changes])
            assert found in (hashes(self.wanted), hashes(after))
            if found != hashes(after):
                after = self.wanted
            assert len(docs.search("word7", limit=1)) == 1
        self.wanted = after
        assert docs.count() == len(after)

    def reopen(self) -> None:
        """On a full disk there may be no room for what several processes share; then that is said."""
        if self.docs is not None:
            self.docs.close()
        self.docs = None
        if said := refusal(self._open, StoreError):
            assert "full" in said
            self.failed.append("reopen")

    def _open(self) -> None:
        docs = opened(self.path)
        assert_sound(docs, self.wanted)
        self.docs = docs


@cache
def hashed(number: int, edition: int) -> str:
    return content_hash(record(number, edition))


def hashes(wanted: Contents) -> dict[str, str]:
    return {id_: hashed(one.metadata["n"], one.metadata["edition"]) for id_, one in wanted.items()}


def mixed(attempts: Attempts, edition: int, chosen: random.Random) -> None:
    """Adds, replaces, deletes, and reopens, which copies the log into the database."""
    new = [record(10_000 * edition + at, edition) for at in range(600)]
    attempts.try_to("add", lambda docs: docs.add(new), {one.id: one for one in new})
    again = [record(at, edition) for at in chosen.sample(range(5000), 400)]
    attempts.try_to("replace", lambda docs: docs.add(again), {one.id: one for one in again})
    gone = [f"id {at}" for at in chosen.sample(range(5000), 300)]
    attempts.try_to("delete", lambda docs: docs.delete(gone), dict.fromkeys(gone))
    attempts.try_to("flush", lambda docs: docs._store.flush(), {})
    attempts.reopen()


def much(attempts: Attempts) -> None:
    """Adds so many that an image is written, and reopens."""
    for start in range(20_000, 25_000, 1000):
        some = [record(at) for at in range(start, start + 1000)]
        attempts.try_to("add much", lambda docs, some=some: docs.add(some), {one.id: one for one in some})
    attempts.reopen()


@pytest.mark.timeout(3600)
def test_a_disk_that_is_full_at_any_moment(tmp_path: Path) -> None:
    chosen = random.Random(11)  # noqa: S311
    failed: Counter[str] = Counter()
    template = tmp_path / "kb.milvine"
    with opened(template) as docs:
        docs.add([record(at) for at in range(5000)])
    for level in range(LEVELS):
        with small_disk(tmp_path / f"small {level}", "64m") as disk:
            path = duplicate(template, disk)
            attempts = Attempts(path, {f"id {at}": record(at) for at in range(5000)})
            ballast = fill_disk(disk, int(10 ** chosen.uniform(3.5, 7.3)))
            mixed(attempts, 1, chosen)
            much(attempts)
            failed.update(attempts.failed)
            attempts.failed.clear()
            ballast.unlink()
            if attempts.docs is None:
                attempts.reopen()
            mixed(attempts, 2, chosen)
            assert attempts.failed == []
            assert attempts.docs is not None
            before = answers(attempts.docs)
            attempts.docs.close()
            assert_whole(path)
            with opened(path) as docs:
                assert answers(docs) == before
        print(level, dict(failed), flush=True)
    assert min(failed[what] for what in ("add", "replace", "add much")) > LEVELS // 10


def test_an_image_folder_without_room(tmp_path: Path) -> None:
    path = tmp_path / "kb.milvine"
    wanted = {f"id {at}": record(at) for at in range(12_000)}
    records = list(wanted.values())
    with opened(tmp_path / "other.milvine") as other:
        other.add(records)
        before = answers(other)
    with small_disk(image_folder(path), "8m") as folder, opened(path) as docs:
        docs.add(records[:5000])
        assert len(list(folder.iterdir())) == 1
        ballast = fill_disk(folder)
        docs.add(records[5000:])
        assert_sound(docs, wanted)
        assert len(list(folder.iterdir())) == 2
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        docs.add([record(0, 1)])
        docs.add([record(0)])
        assert answers(docs) == before
        docs.close()
        with opened(path) as again:
            assert answers(again) == before
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        with opened(path) as again:
            again._store.flush()
            assert answers(again) == before
        assert_whole(path)
        assert len(list(folder.iterdir())) > 0
