"""The built-in store against brute force over a dictionary, and beside other threads and processes."""

from __future__ import annotations

import math
import random
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from child_process import child
from milvine import Collection
from milvine.errors import CollectionNotFoundError, InputError, StoreError
from milvine.store import DenseField, LexicalField, Match, MultiVectorField, Row, SparseField
from milvine.store.builtin import BuiltinStore, state
from milvine.store.builtin.database import image_folder
from milvine.types import Record
from small_functions import HashedWords

K1, B = 1.2, 0.75
WORDS = [f"w{number}" for number in range(40)]


def words(texts: Sequence[str]) -> list[list[str]]:
    return [text.split() for text in texts]


FIELDS = [
    DenseField("dense", 8),
    SparseField("sparse"),
    LexicalField("lexical", words, K1, B),
    MultiVectorField("tokens", 4),
]


def sparse(weights: Mapping[int, float]) -> csr_array:
    indices = sorted(weights)
    data = np.asarray([weights[index] for index in indices], np.float32)
    return csr_array((data, np.asarray(indices), np.asarray([0, len(data)])), shape=(1, 2**32 - 1))


def row(id_: str, seed: int, **metadata: Any) -> Row:
    chance = np.random.default_rng(seed)
    weights = {int(index): float(chance.random()) + 0.1 for index in chance.choice(30, int(chance.integers(6)))}
    vectors = {
        "dense": chance.normal(size=8).astype(np.float32),
        "sparse": sparse(weights),
        "tokens": chance.normal(size=(int(chance.integers(4)), 4)).astype(np.float32),
    }
    text = " ".join(chance.choice(WORDS, int(chance.integers(9))))
    return Row(Record(id_, text, {"seed": seed, **metadata}), f"{seed:032x}", vectors)


def rows(count: int, first: int = 0, **metadata: Any) -> list[Row]:
    return [row(f"i{number}", number, **metadata) for number in range(first, first + count)]


Open = Callable[..., BuiltinStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kb.milvine"


@pytest.fixture
def open_(path: Path) -> Iterator[Open]:
    opened: list[BuiltinStore] = []

    def open_(name: str = "docs", **options: Any) -> BuiltinStore:
        options = {"fields": lambda _: FIELDS, "config": {"a": 1}, "must_be_new": False, **options}
        opened.append(BuiltinStore(path, name, **options))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred rows go through all that a million would."""
    monkeypatch.setattr(state, "CHUNK", 64)
    monkeypatch.setattr(state, "LEAST_IN_FILE", 32)
    monkeypatch.setattr(state, "MOST_IN_MEMORY", 128)
    monkeypatch.setattr(state, "MOST_DELETED", 20)


Contents = dict[str, Row]


def assert_same(store: BuiltinStore, model: Contents, seed: int = 0) -> None:
    """The store holds these rows, and finds what going through all of them finds."""
    assert store.count() == len(model)
    assert sorted(store.ids()) == sorted(model)
    found = {one.record.id: one for one in store.rows(vectors=True)}
    assert {id_: (one.record, one.content_hash) for id_, one in found.items()} == {
        id_: (one.record, one.content_hash) for id_, one in model.items()
    }
    for id_, one in model.items():
        assert np.array_equal(found[id_].vectors["dense"], one.vectors["dense"])
        assert (found[id_].vectors["sparse"] != one.vectors["sparse"]).nnz == 0
        assert np.array_equal(found[id_].vectors["tokens"], one.vectors["tokens"].astype(np.float16))
    query = row("query", 10**6 + seed)
    for filter_, passes in ((None, lambda _: True), ("seed % 3 == 1", lambda seed: seed % 3 == 1)):
        wanted = {id_: one for id_, one in model.items() if passes(one.record.metadata["seed"])}
        scores = dense_scores(query, wanted)
        assert_best(store.search_dense("dense", [query.vectors["dense"]], 20, filter_)[0], scores)
        scores = {id_: score for id_, score in sparse_scores(query, wanted).items() if score > 0}
        assert_best(store.search_sparse("sparse", [query.vectors["sparse"]], 20, filter_)[0], scores)
        scores = {id_: score for id_, score in bm25(query.record.text, model).items() if score > 0 and id_ in wanted}
        assert_best(store.search_lexical("lexical", [query.record.text], 20, filter_)[0], scores)
        assert store.count(filter_) == len(wanted)
    ids = random.Random(seed).sample(sorted(model), min(len(model), 30))  # noqa: S311
    for field, asked, scores in (
        ("dense", query.vectors["dense"], dense_scores(query, model)),
        ("sparse", query.vectors["sparse"], sparse_scores(query, model)),
        ("lexical", query.record.text, bm25(query.record.text, model)),
        ("tokens", query.vectors["tokens"], maxsim_scores(query, model)),
    ):
        expected = pytest.approx({id_: scores[id_] for id_ in ids}, rel=1e-5, abs=1e-6)
        assert store.score(field, [asked], [[*ids, "nosuch"]]) == [expected]


def assert_best(found: list[Match], scores: dict[str, float]) -> None:
    """These are the 20 best of the scores, in their order; of nearly equal ones any."""
    best = sorted(scores.values(), reverse=True)[:20]
    assert [match.score for match in found] == pytest.approx(best, rel=1e-5, abs=1e-6)
    assert all(type(match.score) is float for match in found)
    assert {match.id: match.score for match in found} == pytest.approx(
        {match.id: scores[match.id] for match in found}, rel=1e-5, abs=1e-6
    )


def dense_scores(query: Row, model: Contents) -> dict[str, float]:
    asked = query.vectors["dense"]
    return {
        id_: float(asked @ own / (np.linalg.norm(asked) * np.linalg.norm(own)))
        for id_, own in ((id_, one.vectors["dense"]) for id_, one in model.items())
    }


def sparse_scores(query: Row, model: Contents) -> dict[str, float]:
    # Not `sum()` of the matrix: before 1.16 scipy makes room for all of its 2**32 columns.
    return {
        id_: float(query.vectors["sparse"].multiply(one.vectors["sparse"]).data.sum()) for id_, one in model.items()
    }


def maxsim_scores(query: Row, model: Contents) -> dict[str, float]:
    asked = query.vectors["tokens"]
    tokens = {id_: one.vectors["tokens"].astype(np.float16).astype(np.float32) for id_, one in model.items()}
    return {id_: float((asked @ own.T).max(axis=1).sum()) if len(own) else 0.0 for id_, own in tokens.items()}


def bm25(text: str, model: Contents) -> dict[str, float]:
    """Robertson's formula with Lucene's idf, term by term, with the statistics of these rows."""
    counts = {id_: Counter(one.record.text.split()) for id_, one in model.items()}
    average = sum(own.total() for own in counts.values()) / max(len(counts), 1)
    scores = dict.fromkeys(counts, 0.0)
    for term, times in Counter(text.split()).items():
        df = sum(term in own for own in counts.values())
        idf = math.log(1 + (len(counts) - df + 0.5) / (df + 0.5))
        for id_, own in counts.items():
            if own[term]:
                scores[id_] += (
                    times * idf * (K1 + 1) * own[term] / (own[term] + K1 * (1 - B + B * own.total() / average))
                )
    return scores


# What one process sees


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("seed", range(3))
def test_any_history_is_that_of_a_dictionary(open_: Open, path: Path, seed: int) -> None:
    chance, model = random.Random(seed), Contents()  # noqa: S311
    store = open_()
    for step in range(30):
        kind = chance.choice(["write", "write", "write", "delete", "flush", "close", "lose", "second"])
        if kind == "write":
            numbers = [chance.randrange(400) for _ in range(chance.choice([1, 5, 60, 200]))]
            written = [row(f"i{number}", step * 1000 + number) for number in numbers]
            store.write(written)
            model.update({one.record.id: one for one in written})
        elif kind == "delete":
            ids = [f"i{chance.randrange(400)}" for _ in range(chance.choice([1, 100]))]
            assert store.delete(ids) == len(model.keys() & set(ids))
            model = {id_: one for id_, one in model.items() if id_ not in ids}
        elif kind == "flush":
            store.flush()
        elif kind == "close":
            store.close()
            store = open_()
        elif kind == "lose":
            shutil.rmtree(image_folder(path), ignore_errors=True)
        else:
            store = open_()  # beside the one that is open
        if step % 3 == 0:
            assert_same(store, model, step)
    assert_same(store, model)
    store.flush()
    listed = {view.file for view in store._image.current().views if view.file}
    assert {file.name for file in image_folder(path).glob("*")} == listed  # nothing is left lying about


def test_the_last_of_equal_ids_counts(open_: Open) -> None:
    store = open_()
    store.write([row("a", 1), row("b", 2), row("a", 3)])
    assert_same(store, {"a": row("a", 3), "b": row("b", 2)})


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_bad_weight_is_refused_before_anything_is_written(open_: Open, weight: float) -> None:
    store = open_()
    bad = row("b", 2)
    bad.vectors["sparse"] = sparse({3: weight})
    with pytest.raises(InputError, match="'sparse' of row 1 has the weight"):
        store.write([row("a", 1), bad])
    assert store.count() == 0
    with pytest.raises(InputError, match="the query 0 has the weight"):
        store.search_sparse("sparse", [sparse({3: weight})], 5)


def test_values_come_back_as_they_were(open_: Open) -> None:
    store = open_()
    metadata = {
        "max": 2**63 - 1,
        "min": -(2**63),
        "exact": 2**53 + 1,
        "float": 0.1,
        "tiny": 5e-324,
        "one": 1.0,
        "é": [""],
    }
    record = Record("id\x00 '\"\\ 😀", "text\x00with\nall 😀\u2028", metadata)
    store.write([Row(record, "hash", row("", 1).vectors)])
    store.flush()
    back = store.get([record.id, "\ud800", "id"])
    assert back == {record.id: record}
    assert repr(back[record.id].metadata) == repr(metadata)  # 1.0 is not 1
    assert store.content_hashes([record.id, "\ud800"]) == {record.id: "hash"}
    assert list(store.ids("one == 1.0 and max == 9223372036854775807")) == [record.id]
    assert store.delete(["\ud800", "id", record.id]) == 1


@pytest.mark.parametrize(
    ("type_", "vector"),
    [
        ("float16", [0.1, -2.5, 3, 65504]),
        ("bfloat16", [0.1, -2.5, 3, 1e15]),
        ("int8", [-128, 127, 0, 1]),
        ("binary", [255, 0, 1, 128]),
    ],
)
def test_types_of_vectors(open_: Open, type_: Any, vector: list[float]) -> None:
    field = DenseField("dense", 32 if type_ == "binary" else 4, type_)
    store = open_(fields=lambda _: [field])
    made = np.asarray(vector, {"int8": np.int8, "binary": np.uint8}.get(type_, np.float32))
    store.write([Row(Record("a", "", {}), "", {"dense": made})])
    back = next(store.rows(vectors=True)).vectors["dense"]
    assert back.dtype == made.dtype
    assert back == pytest.approx(made, rel=1 / 128)  # bfloat16 has 8 bits of significand, float16 11
    store.write([Row(Record("b", "", {}), "", {"dense": back})])
    assert all(np.array_equal(one.vectors["dense"], back) for one in store.rows(vectors=True))  # copied, bit for bit
    assert {match.id: match.score for match in store.search_dense("dense", [back], 5)[0]} == pytest.approx(
        {"a": 1, "b": 1}, abs=1e-5
    )


@pytest.mark.usefixtures("small_files")
def test_a_file_serves_after_reopening_and_a_stale_or_missing_one_does_no_harm(open_: Open, path: Path) -> None:
    store, model = open_(), {one.record.id: one for one in rows(300)}
    store.write(list(model.values()))
    store.flush()
    store.close()
    old = path.with_name("old")
    shutil.copytree(image_folder(path), old)
    store = open_()
    views = store._image.current().views
    assert all(view.file for view in views)
    assert sum(view.count for view in views) == 300
    assert_same(store, model)
    changed = {**{one.record.id: one for one in rows(300, 200)}, "i5": row("i5", 77)}
    store.write(list(changed.values()))
    model.update(changed)
    store.delete(["i7"])
    del model["i7"]
    store.close()
    store = open_()
    assert_same(store, model)  # of the old file and what has come and gone since
    store.flush()
    assert_same(store, model)
    for change in ("stale", "gone"):
        store.close()
        shutil.rmtree(image_folder(path))
        if change == "stale":
            old.rename(image_folder(path))
        store = open_()
        assert_same(store, model)
        assert store._image.current().views[0].file  # written anew


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("by_flush", [True, False])
def test_many_rows_go_into_files_each_read_once(open_: Open, monkeypatch: pytest.MonkeyPatch, by_flush: bool) -> None:
    store, read = open_(), list[int]()
    store.write(rows(1000))
    next_rows = store._table.next_rows
    monkeypatch.setattr(
        store._table, "next_rows", lambda c, last, limit: [read.append(last), next_rows(c, last, limit)][1]
    )
    if by_flush:
        store.flush()
    assert store.count() == 1000
    assert read == [0, *range(64, 1000, 64), 1000][: len(read)]
    views = store._image.current().views
    assert sum(view.count for view in views if view.file) >= 1000 - state.MOST_IN_MEMORY
    assert len(views) <= 6


@pytest.mark.usefixtures("small_files")
def test_a_state_that_is_older_than_the_listed_deletions_is_read_anew(open_: Open, path: Path) -> None:
    store, model = open_(), {one.record.id: one for one in rows(150)}
    store.write(list(model.values()))
    assert_same(store, model)
    other = child(
        "import sys; sys.path.insert(0, sys.argv[2]); import test_store as t; from pathlib import Path\n"
        "for name, value in (('CHUNK', 64), ('LEAST_IN_FILE', 32), ('MOST_IN_MEMORY', 128), ('MOST_DELETED', 20)):\n"
        "    setattr(t.state, name, value)\n"
        "store = t.BuiltinStore(Path(sys.argv[1]), 'docs', fields=lambda _: t.FIELDS, config=None, must_be_new=False)\n"
        "store.delete([f'i{n}' for n in range(100)]); store.flush(); store.write(t.rows(3, 500)); store.flush()\n",
        str(path),
        str(Path(__file__).parent),
    )
    _, errors = other.communicate(timeout=60)
    assert other.returncode == 0, errors
    with store._reading() as connection:
        assert store._table.head(connection)[2] > 0  # something was pruned
        assert len(store._table.deleted(connection, 0)) == 0
    model = {id_: one for id_, one in model.items() if int(id_[1:]) >= 100}
    assert_same(store, {**model, **{one.record.id: one for one in rows(3, 500)}})


@pytest.mark.usefixtures("small_files")
def test_collections_of_one_file(open_: Open, path: Path) -> None:
    first, second, same = open_("first"), open_("second"), open_("first")
    first.write(rows(60))
    second.write(rows(50, 100))
    for store in (first, second):
        store.flush()
    assert_same(same, {one.record.id: one for one in rows(60)})
    assert same._image is first._image  # in memory once
    assert len(list(image_folder(path).iterdir())) == 2
    first.drop()
    assert len(list(image_folder(path).iterdir())) == 1
    for use in (same.count, same.flush, same.drop, lambda: same.write(rows(1)), lambda: same.get(["i1"])):
        with pytest.raises(
            CollectionNotFoundError, match=r"^the collection .first. of .*kb\.milvine .*; it was dropped$"
        ):
            use()
    with pytest.raises(CollectionNotFoundError, match=r"no collection 'first'; its collections: second$"):
        open_("first", config=None)
    again = open_("first")
    again.write(rows(2))
    assert_same(again, {one.record.id: one for one in rows(2)})
    with pytest.raises(CollectionNotFoundError):
        same.count()
    assert_same(second, {one.record.id: one for one in rows(50, 100)})
    second.drop()
    assert not image_folder(path).exists()


def test_use_after_closing(open_: Open) -> None:
    store, other = open_(), open_()
    store.close()
    store.close()
    uses: list[Callable[[], Any]] = [
        store.count, store.ids, store.rows, store.flush, store.drop, lambda: store.write(rows(1)),
        lambda: store.delete(["a"]), lambda: store.get(["a"]), lambda: store.score("dense", [], []),
        lambda: store.search_lexical("lexical", ["w1"], 5),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(StoreError, match=r"collection 'docs' of .*kb\.milvine is closed; open it again"):
            use()
    assert other.count() == 0


def test_fields_that_are_not_there(open_: Open) -> None:
    store = open_()
    for use in (
        lambda: store.search_dense("sparse", [], 5),
        lambda: store.search_sparse("nosuch", [], 5),
        lambda: store.search_lexical("dense", [], 5),
        lambda: store.score("nosuch", [], []),
    ):
        with pytest.raises(InputError, match=r"has no (dense|sparse|lexical) field"):
            use()


def test_more_filters_than_are_remembered(open_: Open) -> None:
    store = open_()
    store.write(rows(50))
    for _ in range(2):
        for number in range(3 * state.MASKS):
            assert list(store.ids(f"seed == {number}")) == [f"i{number}"]


def test_what_is_deleted_while_rows_are_read_is_left_out(open_: Open) -> None:
    store = open_()
    store.write(rows(3000))
    reading, ids = store.rows(), store.ids("seed >= 2990")
    first = next(reading).record.id
    store.delete([f"i{number}" for number in range(2000, 3000)])
    assert len({first, *(one.record.id for one in reading)}) == 2000
    assert len(list(ids)) == 10  # as it was when it was asked


# Beside others


def test_threads_that_write_and_search_at_once(open_: Open) -> None:
    store, errors, running = open_(), list[str](), threading.Event()
    running.set()

    def write(thread: int) -> None:
        for batch in range(25):
            store.write(rows(20, (thread * 25 + batch) * 20, batch=thread * 25 + batch))
            if batch % 5 == 4:
                store.flush()

    def search() -> None:
        query = row("query", 10**6)
        while running.is_set():
            count = store.count()
            found = store.search_dense("dense", [query.vectors["dense"]], 1000)[0]
            lexical = store.search_lexical("lexical", [query.record.text], 50, "batch % 2 == 0")[0]
            torn = Counter(int(match.id[1:]) // 20 for match in found)
            if len(found) < count or set(torn.values()) - {20} or any(int(one.id[1:]) // 20 % 2 for one in lexical):
                errors.append(f"{count} rows, found {len(found)}, {torn}, {lexical}")

    def guarded(work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(repr(error))

    writers = [threading.Thread(target=guarded, args=(write, thread)) for thread in range(2)]
    searchers = [threading.Thread(target=guarded, args=(search,)) for _ in range(2)]
    for thread in (*writers, *searchers):
        thread.start()
    for thread in writers:
        thread.join()
    running.clear()
    for thread in searchers:
        thread.join()
    assert errors == []
    assert_same(store, {one.record.id: one for batch in range(50) for one in rows(20, batch * 20, batch=batch)})


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_store as t
store = t.BuiltinStore(Path(sys.argv[1]), "docs", fields=lambda _: t.FIELDS, config={"a": 1}, must_be_new=False)
print("ready", flush=True)
number = int(sys.argv[3])
try:
    while number < int(sys.argv[4]):
        store.write(t.rows(int(sys.argv[5]), number, batch=number))
        number += int(sys.argv[5])
        print(number, flush=True)
        if number % 7 == 0:
            store.flush()
except KeyboardInterrupt:
    store.write([t.row("after", 1)])
    print("interrupted", flush=True)
store.close()
"""


def writer(path: Path, first: int, end: int, size: int) -> Any:
    return child(WRITER, str(path), str(Path(__file__).parent), str(first), str(end), str(size))


def test_a_reader_sees_each_commit_of_another_process_whole(open_: Open, path: Path) -> None:
    store = open_()
    process = writer(path, 0, 2100, 30)
    assert process.stdout.readline() == "ready\n"
    query, seen = row("query", 10**6), 0
    for line in process.stdout:
        found = store.search_dense("dense", [query.vectors["dense"]], 16_384)[0]
        assert len(found) >= int(line)
        assert len(found) % 30 == 0
        assert store.count("seed >= 0") % 30 == 0
        seen += 1
    assert process.wait(timeout=60) == 0, process.stderr.read()
    assert seen == 70
    assert store.count() == 2100


def test_processes_that_write_at_once_lose_nothing(open_: Open, path: Path) -> None:
    store = open_()
    processes = [writer(path, first, first + 300, 10) for first in (0, 300)]
    store.write(rows(50, 600))
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert {one.record.id: one.record.text for one in store.rows()} == {
        one.record.id: one.record.text for one in rows(650)
    }


@pytest.mark.parametrize("acknowledged", [1, 2, 4])
def test_an_interrupt_leaves_all_or_nothing(open_: Open, path: Path, acknowledged: int) -> None:
    process = writer(path, 0, 10**6, 500)
    assert process.stdout.readline() == "ready\n"
    for _ in range(acknowledged):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    lines = output.split()
    assert lines[-1] == "interrupted", errors
    written = max([last, *map(int, lines[:-1])])
    store = open_()
    count = store.count()
    assert count - 1 in (written, written + 500)  # the last may have been committed, and not said so
    assert set(store.ids()) == {f"i{number}" for number in range(count - 1)} | {"after"}


def test_a_forked_process_reads_and_writes(open_: Open, path: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); import test_store as t; from pathlib import Path\n"
        "store = t.BuiltinStore(Path(sys.argv[1]), 'docs', fields=lambda _: t.FIELDS, config={}, must_be_new=False)\n"
        "store.write(t.rows(10)); assert store.count() == 10\n"
        "child = os.fork()\n"
        "store.write(t.rows(10, 10 if child else 20)); store.flush()\n"
        "assert store.count() >= 20\n"
        "if not child: os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0; assert store.count() == 30; store.close()\n"
    )
    process = child(code, str(path), str(Path(__file__).parent))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert open_().count() == 30


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_goes_while_it_is_open_takes_no_more_rows(tmp_path: Path, how: str) -> None:
    path = tmp_path / "kb.milvine"
    docs = Collection(path, embedding_function=HashedWords())
    docs.add(["before"])
    for one in list(tmp_path.iterdir()):
        one.unlink()
    if how == "replaced":
        Collection(tmp_path / "other.milvine", embedding_function=HashedWords()).close()
        (tmp_path / "other.milvine").rename(path)
    for write in (lambda: docs.add(["lost"]), lambda: docs.delete(["x"]), docs.drop):
        with pytest.raises(StoreError, match=r"kb\.milvine was deleted or replaced while it was open"):
            write()
    with Collection(path, embedding_function=HashedWords()) as again:
        again.add(["after"])
        docs.close()
        again.add(["later"])
        assert sorted(record.text for record in again) == ["after", "later"]
    with Collection.open(path, embedding_function=HashedWords()) as opened:
        assert len(opened) == 2
