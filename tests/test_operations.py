"""A collection against the plainest thing that does the same: a dictionary. And what kills and full disks leave."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from child_process import child
from milvine import AddReport, Collection, Record
from milvine.errors import StoreWriteError
from small_disks import fill_disk, small_disk
from small_passages import CountedWords, words

Collect = Callable[..., Collection]
Model = dict[str, Record]
Filter = tuple[str, dict[str, Any], Callable[[Record], bool]]
SLOW = os.environ.get("MILVINE_SLOW") == "1"
KILLS = 100 if SLOW else 3

ODD = [
    "plain",
    'with "quotes"',
    "it's",
    "back\\slash",
    "two\nlines",
    "tab\there",
    "🐈 émoji",
    '" or id != "',
    "{n}",
    "%",
]


def any_text(chosen: random.Random) -> str:
    return " ".join(f"w{chosen.randint(0, 60)}" for _ in range(chosen.randint(1, 8)))


def any_metadata(chosen: random.Random) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "n": chosen.randint(-5, 20),
        "share": chosen.choice([0.0, 0.5, 1.0, -2.25]),
        "kind": chosen.choice(ODD),
        "flag": chosen.random() < 0.5,
        "tags": chosen.sample([1, 2, 3, 4], chosen.randint(0, 3)),
    }
    if chosen.random() < 0.4:
        metadata["sometimes"] = chosen.choice(["x", "y"])
    if chosen.random() < 0.2:
        metadata["nested"] = {"deep": [None, {"er": chosen.random()}], "no": None}
    return metadata


def any_filter(chosen: random.Random) -> Filter:
    least, kinds, share = chosen.randint(-5, 20), chosen.sample(ODD, 3), chosen.choice([0.0, 0.5, 1.0])
    tag = chosen.randint(1, 5)
    filters: list[Filter] = [
        ("n >= {least}", {"least": least}, lambda r: r.metadata["n"] >= least),
        ("n < {least} and flag == true", {"least": least}, lambda r: r.metadata["n"] < least and r.metadata["flag"]),
        ("kind == {kind}", {"kind": kinds[0]}, lambda r: r.metadata["kind"] == kinds[0]),
        ("kind in {kinds}", {"kinds": kinds}, lambda r: r.metadata["kind"] in kinds),
        ("share > {share} or n == 3", {"share": share}, lambda r: r.metadata["share"] > share or r.metadata["n"] == 3),
        ("json_contains(tags, {tag})", {"tag": tag}, lambda r: tag in r.metadata["tags"]),
        ('sometimes == "x"', {}, lambda r: r.metadata.get("sometimes") == "x"),
        ("not (flag == {yes})", {"yes": True}, lambda r: not r.metadata["flag"]),
        ("document == {document}", {"document": ODD[tag]}, lambda r: r.metadata.get("document") == ODD[tag]),
    ]
    return chosen.choice(filters)


def passages_of(document: str, count: int, metadata: dict[str, Any]) -> Model:
    """The passages of the document `words(0, count)`: eight words each."""
    passages: Model = {}
    for number, at in enumerate(range(0, count, 8)):
        text = words(at, min(at + 8, count))
        start = len(words(0, at)) + 1 if at else 0
        place = {"document": document, "start": start, "end": start + len(text)}
        passages[f"{document}#{number}"] = Record(f"{document}#{number}", text, {**metadata, **place})
    return passages


class Both:
    """A collection and a dictionary to which the same is done."""

    def __init__(self, collect: Collect, chosen: random.Random) -> None:
        self.collect = collect
        self.chosen = chosen
        self.docs = collect(embedding_function=CountedWords())
        self.model: Model = {}

    def add(self) -> None:
        records = []
        for _ in range(self.chosen.randint(1, 12)):
            id_ = self.chosen.choice(ODD) + str(self.chosen.randint(0, 9))
            text, metadata = any_text(self.chosen), any_metadata(self.chosen)
            if self.chosen.random() < 0.3 and id_ in self.model:
                text, metadata = self.model[id_].text, self.model[id_].metadata
            records.append(Record(id_, text, metadata))
        latest = {record.id: record for record in records}
        added = len(latest.keys() - self.model.keys())
        updated = sum(id_ in self.model and self.model[id_] != record for id_, record in latest.items())
        use = self.chosen.choice([self.docs.add, self.docs.upsert])
        assert use(iter(records)) == AddReport(added, updated, len(records) - added - updated)
        self.model |= latest

    def add_documents(self) -> None:
        documents = {self.chosen.choice(ODD): self.chosen.choice([0, 3, 8, 9, 30, 55]) for _ in range(3)}
        metadata = any_metadata(self.chosen)
        self.docs.add(
            (Record(document, words(0, count), metadata) for document, count in documents.items()), split=True
        )
        self.forget(documents)
        for document, count in documents.items():
            self.model |= passages_of(document, count, metadata)

    def forget(self, documents: Any) -> int:
        gone = [id_ for id_, record in self.model.items() if record.metadata.get("document") in documents]
        for id_ in gone:
            del self.model[id_]
        return len(gone)

    def delete(self) -> None:
        ids = self.chosen.sample(sorted(self.model), min(len(self.model), self.chosen.randint(0, 4)))
        assert self.docs.delete([*ids, "nosuch", *ids]) == len(ids)
        for id_ in ids:
            del self.model[id_]

    def delete_by_filter(self) -> None:
        filter_, params, passes = any_filter(self.chosen)
        gone = [id_ for id_, record in self.model.items() if passes(record)]
        if len(gone) > 20:  # or there would never be much
            return self.delete()
        assert self.docs.delete(filter=filter_, filter_params=params) == len(gone)
        for id_ in gone:
            del self.model[id_]
        return None

    def delete_documents(self) -> None:
        documents = self.chosen.sample(ODD, 2)
        assert self.docs.delete(documents=documents) == self.forget(documents)

    def read(self) -> None:
        filter_, params, passes = any_filter(self.chosen)
        wanted = {id_: record for id_, record in self.model.items() if passes(record)}
        assert set(self.docs.ids(filter_, params)) == wanted.keys()
        assert self.docs.count(filter_, params) == len(wanted)
        assert {record.id: record for record in self.docs.records(filter_, params)} == wanted
        ids = [*self.chosen.sample(sorted(self.model), min(3, len(self.model))), "nosuch"]
        assert self.docs.get(ids) == [self.model.get(id_) for id_ in ids]

    def search(self) -> None:
        if not self.model:
            return
        filter_, params, passes = any_filter(self.chosen)
        sought = self.model[self.chosen.choice(sorted(self.model))]
        hits = self.docs.search(sought.text, mode="dense", limit=3, filter=filter_, filter_params=params)
        assert len(hits) == min(3, sum(map(passes, self.model.values())))
        assert all(Record(hit.id, hit.text, hit.metadata) == self.model[hit.id] for hit in hits)
        assert all(passes(self.model[hit.id]) for hit in hits)
        if passes(sought):
            assert sorted(hits[0].text.split()) == sorted(sought.text.split())
        lexical = self.docs.search(sought.text, mode="lexical", limit=500)
        said = set(sought.text.split())
        assert {hit.id for hit in lexical} == {r.id for r in self.model.values() if said & set(r.text.split())}

    def reopen(self) -> None:
        self.docs.close()
        self.docs = self.collect(embedding_function=CountedWords())

    def move(self, folder: Path) -> None:
        """Out into a file, all deleted, and in again."""
        self.docs.export(folder / "all.parquet")
        self.docs.delete(list(self.docs.ids()))
        assert len(self.docs) == 0
        assert self.docs.import_(folder / "all.parquet") == AddReport(added=len(self.model))

    def check(self) -> None:
        assert {record.id: record for record in self.docs} == self.model
        assert len(self.docs) == len(self.model)
        function = CountedWords()
        for row in self.docs._store.rows(vectors=True):
            assert np.array_equal(row.vectors["dense"], function._vector(row.record.text))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 7))])
@pytest.mark.timeout(900)
def test_a_thousand_operations(collect: Collect, tmp_path: Path, seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    both = Both(collect, chosen)
    often = [both.add, both.add, both.add_documents, both.delete, both.read, both.read, both.search]
    seldom = [both.delete_by_filter, both.delete_documents, both.reopen, lambda: both.move(tmp_path), both.check]
    for _ in range(1000):
        chosen.choice(seldom if chosen.random() < 0.1 else often)()
    both.check()
    assert len(both.model) > 20


@pytest.mark.parametrize("database", ["kb.milvine"], indirect=True)  # once; it names its own
@pytest.mark.timeout(900)
def test_the_same_operations_on_the_builtin_store_and_milvus_lite(collect: Collect, tmp_path: Path) -> None:
    several = []
    for name in ("kb.milvine", "kb.db"):
        chosen = random.Random(8)  # noqa: S311
        several.append(Both(partial(collect, uri=str(tmp_path / name)), chosen))
    for _ in range(1000):
        for both in several:
            often = [both.add, both.add_documents, both.delete, both.read]
            both.chosen.choice([both.delete_by_filter, both.reopen] if both.chosen.random() < 0.05 else often)()
        one, other = several
        assert one.model == other.model
        filter_, params, _ = any_filter(random.Random(len(one.model)))  # noqa: S311
        query = any_text(one.chosen)
        assert query == any_text(other.chosen)
        found = [
            both.docs.search(query, mode="dense", limit=1000, filter=filter_, filter_params=params) for both in several
        ]
        mine, its = ({hit.id: hit.score for hit in hits} for hits in found)
        assert mine == pytest.approx(its, abs=1e-5)
        assert [hit.id for hit in found[0]] == sorted(mine, key=lambda id_: -mine[id_])


ADDER = """
import sys
from milvine import Collection
from small_passages import CountedWords
from test_operations import version
docs = Collection(sys.argv[1], "docs", embedding_function=CountedWords())
first, second = version(int(sys.argv[2]))
print("start", flush=True)
docs.add(first, split=True)
print("first", flush=True)
docs.add(iter(second), split=True)
print("second", flush=True)
"""


def version(number: int) -> tuple[list[Record], list[Record]]:
    """Documents as they are at a time, some 2,500 passages; most change from one time to the next."""
    chosen = random.Random(number)  # noqa: S311
    documents = [
        Record(f'doc "{at}"', words(0, chosen.choice([0, 5, 20, 40, 90])), {"version": number % 3, "at": at})
        for at in range(500)
    ]
    return documents[:100], documents[100:]


def passages(documents: list[Record]) -> Model:
    expected: Model = {}
    for document in documents:
        expected |= passages_of(document.id, len(document.text.split()), document.metadata)
    return expected


@pytest.mark.timeout(3600)
def test_killed_anywhere_the_same_call_goes_on(collect: Collect, database: str) -> None:
    chosen = random.Random(3)  # noqa: S311
    docs = collect(embedding_function=CountedWords())
    started = time.monotonic()
    for documents in version(0):
        docs.add(documents, split=True)
    usual = time.monotonic() - started
    number = interrupted = 0
    while number < KILLS or interrupted < max(1, KILLS // 4):
        number += 1
        docs.close()
        process = child(ADDER, database, str(number))
        assert process.stdout is not None
        assert process.stdout.readline() == "start\n"
        time.sleep(chosen.uniform(0, usual))
        process.send_signal(signal.SIGKILL)
        said, errors = process.communicate()
        assert errors == ""
        docs = collect(embedding_function=CountedWords())
        first, second = version(number)
        there = {record.id: record for record in docs}
        if "first" in said:
            assert there.items() >= passages(first).items()
        else:
            docs.add(first, split=True)
        if "second" in said:
            assert there == passages(first + second)
        interrupted += "second" not in said
        usual *= 1 if "second" not in said else 0.8  # the machine was slower when that was measured
        docs.add(second, split=True)
        assert {record.id: record for record in docs} == passages(first + second)
        assert docs.count() == len(passages(first + second))
        assert docs.add([*first, *second], split=True) == AddReport(unchanged=docs.count())
    function = CountedWords()
    for row in docs._store.rows(vectors=True):
        assert np.array_equal(row.vectors["dense"], function._vector(row.record.text))


def test_a_full_disk_while_documents_change(collect: Collect, database: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "12m") as disk:
        docs = collect(uri=str(disk / Path(database).name), embedding_function=CountedWords(dim=64))
        before, after = (first + second for first, second in (version(1), version(2)))
        docs.add(before, split=True)
        ballast = fill_disk(disk, 100_000)
        with pytest.raises(StoreWriteError, match=r"No space left|disk is full"):
            docs.add(after, split=True)
        old, expected = passages(before), passages(after)
        assert all(record in (old.get(record.id), expected.get(record.id)) for record in docs)
        ballast.unlink()
        docs.add(after, split=True)
        assert {record.id: record for record in docs} == expected
        docs.close()
        again = collect(uri=str(disk / Path(database).name), embedding_function=CountedWords(dim=64))
        assert {record.id: record for record in again} == expected


def test_two_threads_that_add_the_same_and_other_documents(collect: Collect) -> None:
    docs = collect(embedding_function=CountedWords())
    first, second = version(5)
    failures: list[BaseException] = []

    def add(documents: list[Record]) -> None:
        try:
            for at in range(0, len(documents), 60):
                docs.add(documents[at : at + 60], split=True)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    parts = (first + second[:200], second[100:], list(reversed(second)))
    threads = [threading.Thread(target=add, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {record.id: record for record in docs} == passages(first + second)
    assert docs.add(first + second, split=True) == AddReport(unchanged=docs.count())
