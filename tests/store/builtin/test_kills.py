"""SIGKILL at random moments of mixed writes, while another process reads: every batch is there whole or not at all.

A batch is all rows of a group, written with a new number or deleted. So whoever reads must see for each group as many
rows as it has, or none, and one number in all of them.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from child_process import child
from milvine import Record
from milvine.store.base import DenseField, Field, LexicalField, Row, SparseField
from milvine.store.builtin.store import BuiltinStore

KILLS = 200 if os.environ.get("MILVINE_SLOW") == "1" else 5
GROUPS, SIZE = 25, 20
STILL = 4200  # rows that stay, enough that a flush writes an image file
NONE = -1  # a deleted group's number
Numbers = dict[int, int]


def fields(config: dict[str, object]) -> list[Field]:
    return [
        DenseField("dense", 16),
        SparseField("sparse"),
        LexicalField("lexical", lambda texts: [text.split() for text in texts], 1.2, 0.75),
    ]


def opened(path: str) -> BuiltinStore:
    return BuiltinStore(Path(path), "docs", fields=fields, config={}, must_be_new=False)


def row(group: int, member: int, number: int) -> Row:
    """All of it follows from these three."""
    dense = np.random.default_rng([group + 1, member, number]).normal(size=16).astype(np.float32)
    sparse = csr_array(
        (np.float32([1, 2]), np.int32([group + 1, 1000 + number]), np.int32([0, 2])), shape=(1, 2**31 - 1)
    )
    record = Record(f"{group}/{member}", f"group{group} number{number}", {"group": group, "number": number})
    return Row(record, f"{number}", {"dense": dense, "sparse": sparse})


def batch(group: int, number: int) -> list[Row]:
    return [row(group, member, number) for member in range(SIZE)]


def ids(group: int) -> list[str]:
    return [f"{group}/{member}" for member in range(SIZE)]


def whole(store: BuiltinStore, group: int) -> int:
    """The group's number, in every way to read it; fails if it is torn."""
    asked = f"group == {group}"
    records = store.get(ids(group))
    numbers = {record.metadata["number"] for record in records.values()}
    assert (len(records), len(numbers)) in ((0, 0), (SIZE, 1)), ("get", group, len(records), numbers)
    assert all(record.text == f"group{group} number{record.metadata['number']}" for record in records.values())
    hashes = store.content_hashes(ids(group))
    assert (len(hashes), len(set(hashes.values()))) in ((0, 0), (SIZE, 1)), ("hashes", group, hashes)
    assert store.count(asked) in (0, SIZE), "count"
    assert sorted(store.ids(asked)) in ([], sorted(ids(group))), "ids"
    query = row(group, 0, 0).vectors
    for found in (
        store.search_dense("dense", [np.asarray(query["dense"])], 2 * SIZE, asked)[0],
        store.search_sparse("sparse", [query["sparse"]], 2 * SIZE, asked)[0],
        store.search_lexical("lexical", [f"group{group}"], 2 * SIZE)[0],
    ):
        assert sorted(match.id for match in found) in ([], sorted(ids(group))), ("search", group, found)
    weights = [match.score for match in store.search_lexical("lexical", [f"group{group}"], 2 * SIZE)[0]]
    assert len(set(weights)) <= 1, "statistics of two moments in one search"
    return numbers.pop() if numbers else NONE


WRITERS = """
import os, random, sys
from store.builtin.test_kills import *

def write(seed, log):
    chosen, number, store = random.Random(seed), 10_000 * seed, opened(sys.argv[1])
    while True:
        number += 1
        group = chosen.randrange(GROUPS)
        if chosen.random() < 0.03:
            store.flush()
            continue
        delete = chosen.random() < 0.3
        print("begin", group, NONE if delete else number, file=log)
        store.delete(ids(group)) if delete else store.write(batch(group, number))
        print("done", file=log)

for line in sys.stdin:  # a process each, which need not import all anew
    if not (writer := os.fork()):
        write(int(line), open(sys.argv[2], "w", buffering=1))
    print(writer, flush=True)
    os.waitpid(writer, 0)
    print("gone", flush=True)
"""

READER = """
import os, random, sys
from pathlib import Path
from store.builtin.test_kills import *
parent = os.getppid()
chosen, store, seen, reads = random.Random(1), opened(sys.argv[1]), {}, 0
print("ready", flush=True)
while not Path(sys.argv[2]).exists() and os.getppid() == parent:  # nor when the test has failed
    group = chosen.randrange(GROUPS)
    number = whole(store, group)
    assert number == NONE or number >= seen.get(group, 0), ("back in time", group, number, seen[group])
    seen[group] = max(number, seen.get(group, 0))
    assert store.count("group == -1") == STILL
    reads += 1
print(reads, len(set(seen.values())), flush=True)
"""


def acknowledged(said: str, numbers: Numbers) -> tuple[int, int] | None:
    """Bring the numbers up to what was said to be done; what was begun and not done."""
    begun = None
    for line in said.splitlines():
        if line == "done":
            assert begun is not None
            numbers[begun[0]] = begun[1]
            begun = None
        else:
            begun = (int(line.split()[1]), int(line.split()[2]))
    return begun


def assert_whole(store: BuiltinStore, numbers: Numbers) -> None:
    """All rows are there once, with all that they are made of."""
    there = {read.record.id: read for read in store.rows(vectors=True)}
    listed = list(store.ids())
    expected = [wanted for group, number in numbers.items() if number != NONE for wanted in batch(group, number)]
    expected += [row(-1, member, 0) for member in range(STILL)]
    assert len(listed) == len(set(listed)) == store.count() == len(expected)
    assert there.keys() == {wanted.record.id for wanted in expected}
    for wanted in expected:
        read = there[wanted.record.id]
        assert (read.record, read.content_hash) == (wanted.record, wanted.content_hash)
        assert np.array_equal(read.vectors["dense"], wanted.vectors["dense"])
        for part in ("indices", "data"):
            assert np.array_equal(getattr(read.vectors["sparse"], part), getattr(wanted.vectors["sparse"], part))


@pytest.mark.timeout(3600)
def test_kills_at_random_moments_while_another_process_reads(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path, log, stop = str(tmp_path / "kb.milvine"), tmp_path / "log", tmp_path / "stop"
    chosen, numbers = random.Random(4), dict.fromkeys(range(GROUPS), NONE)  # noqa: S311
    store = opened(path)
    store.write([row(-1, member, 0) for member in range(STILL)])
    reader, writers = child(READER, path, str(stop)), child(WRITERS, path, str(log))
    request.addfinalizer(stop.touch)
    assert reader.stdout is not None
    assert writers.stdout is not None
    assert writers.stdin is not None
    assert reader.stdout.readline() == "ready\n"
    interrupted = writes = 0
    for kill in range(KILLS):
        log.write_text("")
        print(kill, file=writers.stdin, flush=True)
        writer = int(writers.stdout.readline())
        enough = chosen.randrange(12)
        while log.read_text().count("done") < enough:
            time.sleep(0.001)
        time.sleep(chosen.uniform(0, 0.02))
        os.kill(writer, signal.SIGKILL)
        assert writers.stdout.readline() == "gone\n"
        said = log.read_text()
        writes += said.count("done")
        pending = acknowledged(said.rpartition("\n")[0], numbers)  # the last line may be cut short
        if pending is not None:
            interrupted += 1
            now = whole(store, pending[0])
            assert now in (numbers[pending[0]], pending[1])
            numbers[pending[0]] = now
        assert {group: whole(store, group) for group in numbers} == numbers
        assert reader.poll() is None, reader.communicate()
    stop.touch()
    read, errors = reader.communicate()
    assert errors == ""
    assert writers.communicate() == ("", "")
    reads, changes = map(int, read.split())
    assert reads > 1
    assert changes > 1
    assert writes > KILLS
    assert interrupted > KILLS / 3
    store.close()
    again = opened(path)
    assert_whole(again, numbers)
    again.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    print(f"{KILLS} kills, {interrupted} within a write, {writes} writes, {reads} reads beside them")
