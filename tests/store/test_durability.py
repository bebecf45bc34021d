"""Nothing that was acknowledged is lost: by a kill, an interrupt, a full disk, or another thread."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from child_process import child
from milvine import Collection, Record
from milvine._records import content_hash
from milvine.analysis import TermStatistics, get_analyzer, term_ids
from milvine.collection import Mode
from milvine.errors import FilterError, StoreWriteError
from milvine.store import Row
from small_functions import HashedWords

Collect = Callable[..., Collection]
KILLS = 40 if os.environ.get("MILVINE_SLOW") == "1" else 3


def records(count: int, words: int = 12) -> list[Record]:
    chosen = random.Random(5)  # noqa: S311
    vocabulary = [f"word{number}" for number in range(300)]
    return [
        Record(f"id {number}", " ".join(chosen.choices(vocabulary, k=chosen.randint(1, 2 * words))), {"n": number})
        for number in range(count)
    ]


def contents(docs: Collection) -> list[Record]:
    found = [record for record in docs.get(list(docs.ids())) if record]
    return sorted(found, key=lambda record: record.metadata["n"])


def assert_same(docs: Collection, wanted: list[Record]) -> None:
    """The collection holds exactly these records, and its statistics are those of these texts."""
    assert docs.count() == len(wanted)
    assert contents(docs) == wanted
    statistics = TermStatistics()
    for terms in get_analyzer("en").terms([record.text for record in wanted]):
        statistics.add(term_ids(terms))
    store: Any = docs._store
    with store._reading() as client:
        assert store._statistics(client) == statistics
    modes: tuple[Mode, ...] = ("dense", "lexical")
    for mode in modes:
        hits = docs.search("word7", mode=mode, limit=3)
        assert [docs.get([hit.id])[0] for hit in hits] == [Record(hit.id, hit.text, hit.metadata) for hit in hits]


ADDER = """
import sys
from milvine import Collection
from small_functions import HashedWords
from store.test_durability import records
print("start", flush=True)
docs = Collection(sys.argv[1], "docs", embedding_function=HashedWords())
wanted = records(2400)
for end in range(200, 2401, 200):
    docs.add(wanted[end - 200 : end])
    print(end, flush=True)
"""


@pytest.mark.timeout(900)
def test_kills_at_random_moments(collect: Collect, database: str) -> None:
    chosen = random.Random(7)  # noqa: S311
    acknowledged = 0
    for number in range(KILLS):
        process = child(ADDER, database)
        assert process.stdout is not None
        assert process.stderr is not None
        # Now and then while the collection is made or opened, else somewhere between two acknowledgements.
        for _ in range(1 if number % 3 == 0 else chosen.randint(2, 7)):
            line = process.stdout.readline()
            acknowledged = max(acknowledged, int(line) if line.strip().isdigit() else 0)
        time.sleep(chosen.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate()
        acknowledged = max([acknowledged, *(int(line) for line in rest.split() if line.isdigit())])
        assert errors == ""
        if acknowledged:
            docs = collect()
            there = {record.id for record in contents(docs)}
            assert there >= {record.id for record in records(acknowledged)}
            docs.close()
    wanted = records(2400)
    docs = collect()
    report = docs.add(wanted)
    assert report.total == 2400
    assert report.unchanged >= acknowledged > 0
    assert report.updated == 0
    assert_same(docs, wanted)
    undisturbed = collect("undisturbed")
    undisturbed.add(wanted)
    for query in ("word1 word2 word3", "word299"):
        assert scores(docs, query, "dense") == scores(undisturbed, query, "dense")
        # The pivot may differ within its allowance; the statistics, compared above, do not.
        assert scores(docs, query, "lexical") == pytest.approx(scores(undisturbed, query, "lexical"), rel=0.1)


def scores(docs: Collection, query: str, mode: Mode) -> dict[str, float]:
    return {hit.id: hit.score for hit in docs.search(query, mode=mode, limit=2400)}


INTERRUPTED = """
import sys, threading, time
from milvine import Collection
from small_functions import HashedWords
from store.test_durability import records

def slowly():
    for number, record in enumerate(records(5000)):
        if number == 2100:
            print("reading", flush=True)
            time.sleep(60)
        yield record

docs = Collection(sys.argv[1], "docs", embedding_function=HashedWords())
try:
    docs.add(slowly())
except KeyboardInterrupt:
    print("interrupted", [thread.name for thread in threading.enumerate() if "milvine" in thread.name], flush=True)
print(docs.count(), flush=True)
print(docs.add(records(2100)).added, docs.count())
docs.close()
"""


def test_an_interrupt_reaches_the_caller_and_stops_nothing_halfway(collect: Collect, database: str) -> None:
    process = child(INTERRUPTED, database)
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert errors == ""
    interrupted, there, added_there = rest.splitlines()
    assert interrupted == "interrupted []"
    assert there == "2048"  # two batches of 1,024; the third had not been read
    assert added_there == "52 2100"
    assert_same(collect(), records(2100))


def test_nothing_is_printed_on_standard_error(database: str) -> None:
    code = """
import sys, time
from milvine import Collection
from milvine.errors import FilterError, StoreWriteError
from milvine.store import Row
from milvine.store import Row
from milvine.types import Record
from small_functions import HashedWords
docs = Collection(sys.argv[1], "docs", embedding_function=HashedWords())
docs.add(["one", "two"])
for use in (lambda: docs.count("((("), lambda: docs.search("one", filter="x ="), lambda: docs.delete(filter="'")):
    try:
        use()
    except FilterError:
        print("refused")
try:
    docs._store.write([Row(Record("i", "t"), "h", {"dense": [0.0]})])
except StoreWriteError:
    print("refused")
print(docs.count(), list(docs.ids('text == "one"')) != [])
"""
    process = child(code, database)
    assert process.communicate(timeout=60) == ("refused\n" * 4 + "2 True\n", "")
    assert process.returncode == 0
    holder = child(code.replace("print(docs.count()", "input(); print(docs.count()"), database)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "refused\n"
        locked = child(
            "import sys; from milvine import Collection; from milvine.errors import StoreLockedError\n"
            "try: Collection.open(sys.argv[1], 'docs')\n"
            "except StoreLockedError: print('locked')",
            database,
        )
        assert locked.communicate(timeout=60) == ("locked\n", "")
    finally:
        holder.kill()
        holder.communicate()


def test_the_client_sends_no_pings(docs: Collection) -> None:
    # With pymilvus' own setting, a ping every 10 s, gRPC prints "too_many_pings" after two minutes: measured.
    store: Any = docs._store
    options = store._database._client._get_connection()._grpc_options
    assert options["grpc.keepalive_time_ms"] > 24 * 3600 * 1000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leaving: int) -> Path:
    ballast = folder / "ballast"
    free = os.statvfs(folder)
    ballast.write_bytes(b"x" * max(free.f_bavail * free.f_frsize - leaving, 0))
    return ballast


@pytest.mark.parametrize("leaving", [0, 400_000])
def test_a_full_disk_while_adding(small_disk: Path, collect: Collect, leaving: int) -> None:
    wanted = records(2500, words=60)
    docs = collect(uri=str(small_disk / "kb.db"))
    docs.add(wanted[:500])
    assert_same(docs, wanted[:500])
    ballast = fill(small_disk, leaving)
    with pytest.raises(StoreWriteError, match=r"writing to .*kb\.db failed: .*No space left.*kept") as caught:
        docs.add(wanted)
    assert "\n" not in str(caught.value)
    there = contents(docs)
    assert there[:500] == wanted[:500]
    assert len(docs.search("word7", mode="lexical", limit=1000)) > 0
    ballast.unlink()
    report = docs.add(wanted)
    assert report.unchanged == len(there)
    assert_same(docs, wanted)
    docs.close()
    assert_same(collect(uri=str(small_disk / "kb.db")), wanted)


def test_a_full_disk_while_flushing(small_disk: Path, collect: Collect) -> None:
    wanted = records(1500, words=60)
    docs = collect(uri=str(small_disk / "kb.db"))
    function = HashedWords()
    rows = [Row(one, content_hash(one), {"dense": function._vector(one.text)}) for one in wanted]
    docs._store.write(rows)
    ballast = fill(small_disk, 0)
    with pytest.raises(StoreWriteError, match="No space left"):
        docs._store.flush()
    assert contents(docs) == wanted
    ballast.unlink()
    docs._store.flush()
    assert docs.add(wanted).unchanged == len(wanted)
    assert_same(docs, wanted)
    docs.add([Record("one more", "text", {"n": 9999})])
    docs._store.flush()
    docs.close()
    assert_same(collect(uri=str(small_disk / "kb.db")), [*wanted, Record("one more", "text", {"n": 9999})])


def test_threads_that_add_and_search_at_once(docs: Collection) -> None:
    wanted = records(2000)
    docs.add(wanted[:200])
    failures: list[BaseException] = []
    stop = threading.Event()

    def guarded(use: Callable[[], None]) -> None:
        try:
            use()
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)
            stop.set()

    def add(part: list[Record]) -> None:
        for start in range(0, len(part), 300):
            docs.add(part[start : start + 300])

    def search() -> None:
        while not stop.is_set():
            # What was there at the start is there all the time, whatever is written or flushed meanwhile.
            assert [record and record.id for record in docs.get(["id 0", "id 199"])] == ["id 0", "id 199"]
            assert docs.count("n < 200") == 200
            hits = docs.search(wanted[3].text, mode="dense", limit=1)
            assert hits[0].text == wanted[3].text
            assert docs.search("word7 word8")
            with pytest.raises(FilterError):
                docs.count("(((")

    searching = [threading.Thread(target=guarded, args=(search,)) for _ in range(2)]
    halves = (wanted[200:1100], wanted[1100:])
    adding = [threading.Thread(target=guarded, args=(lambda part=part: add(part),)) for part in halves]
    for thread in [*searching, *adding]:
        thread.start()
    for thread in adding:
        thread.join()
    stop.set()
    for thread in searching:
        thread.join()
    assert failures == []
    assert_same(docs, wanted)
