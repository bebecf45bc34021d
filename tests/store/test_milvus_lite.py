from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine import Collection, Record
from milvine.analysis import TermStatistics, get_analyzer, term_ids
from milvine.collection import Mode
from milvine.errors import FilterError, StoreWriteError
from milvine.store import Row
from milvine.store._lite_bm25 import PIVOT
from milvine.store.milvus_lite import READ_BATCH, MilvusLiteStore
from small_functions import DIM, HashedWords

MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
Collect = Callable[..., Collection]
K1, B = 0.9, 0.4

UGLY = [
    "it's",
    'say "hi"',
    "back\\slash",
    "ends with \\",
    "new\nline",
    "carriage\rreturn\ttab",
    "x', 'y",
    'x", "y',
    '") or true or ("',
    "數據庫",
    "😀 👩‍👩‍👧",
    "nul\x00",
    "{a}",
    "%_",
    " ",
    "--",
    "\u2028",
    "e\u0301",
    "é",
]


def store_of(docs: Collection) -> MilvusLiteStore:
    assert isinstance(docs._store, MilvusLiteStore)
    return docs._store


def statistics_of(docs: Collection) -> TermStatistics:
    store = store_of(docs)
    with store._reading() as client:
        return store._statistics(client)


def counted_anew(docs: Collection) -> TermStatistics:
    """The statistics, by the analyzer alone, of what the collection holds."""
    statistics = TermStatistics()
    for record in docs.get(list(docs.ids())):
        assert record is not None
        statistics.add(term_ids(get_analyzer("en").terms([record.text])[0]))
    return statistics


def bm25(texts: dict[str, str], query: str) -> dict[str, float]:
    """BM25 by its formula (Robertson and Zaragoza 2009, with Lucene's idf), term by term; only scores above 0."""
    (terms,) = get_analyzer("en").terms([query])
    counts = {id_: Counter(get_analyzer("en").terms([text])[0]) for id_, text in texts.items()}
    mean = sum(count.total() for count in counts.values()) / len(counts)
    scores: defaultdict[str, float] = defaultdict(float)
    for term in terms:
        df = sum(term in count for count in counts.values())
        idf = math.log(1 + (len(counts) - df + 0.5) / (df + 0.5))
        for id_, count in counts.items():
            if count[term]:
                length = 1 - B + B * count.total() / mean
                scores[id_] += idf * count[term] * (K1 + 1) / (count[term] + K1 * length)
    return dict(scores)


def lexical(docs: Collection, query: str) -> dict[str, float]:
    return {hit.id: hit.fields["lexical"].score for hit in docs.search(query, mode="lexical", limit=1000)}


TEXTS = {
    "a": "The quick brown fox jumps over the lazy dog.",
    "b": "A dog is a dog is a dog.",
    "c": "Foxes are quick; dogs are quicker.",
    "d": "Nothing of the kind, but a longer text about databases, indexes, vectors and the like, with many words.",
    "e": "the of and",
    "f": "",
}
QUERIES = ["quick dog", "dog dog fox", "databases", "fox"]


def test_lexical_scores_are_bm25(docs: Collection) -> None:
    docs.add(TEXTS.values(), ids=list(TEXTS))
    for query in QUERIES:
        # The store holds float32 and Milvus adds them up in float32.
        assert lexical(docs, query) == pytest.approx(bm25(TEXTS, query), rel=1e-6)


def test_texts_and_queries_without_known_terms(docs: Collection) -> None:
    docs.add(TEXTS.values(), ids=list(TEXTS))
    for query in ("zebra", "the of", "???", "數"):
        assert docs.search(query, mode="lexical") == []
    assert docs.search(["zebra", "fox", "the"], mode="lexical")[0] == []
    assert [len(hits) for hits in docs.search(["zebra", "fox", "the"], mode="lexical")] == [0, 2, 0]
    assert docs.search("zebra")  # dense finds something whatever is asked
    assert [record.text for record in docs.get(["e", "f"]) if record] == ["the of and", ""]


def test_a_collection_of_texts_without_terms(docs: Collection) -> None:
    docs.add(["the of", "", "???"])
    assert docs.search("fox", mode="lexical") == []
    docs.add(TEXTS.values(), ids=list(TEXTS))
    everything = {record.id: record.text for record in docs.get(list(docs.ids())) if record}
    assert lexical(docs, "quick dog") == pytest.approx(bm25(everything, "quick dog"), rel=1e-6)


def test_scores_when_lengths_drift_are_as_if_built_at_once(collect: Collect) -> None:
    grown, at_once = collect("grown"), collect("at_once")
    short = {f"s{number}": f"fox {number}" for number in range(150)}
    long = {f"l{number}": f"fox dog {number} " * 40 for number in range(150)}
    grown.add(short.values(), ids=list(short))
    before = lexical(grown, "dog fox 7")
    assert before == pytest.approx(bm25(short, "dog fox 7"), rel=1e-6)
    grown.add(long.values(), ids=list(long))
    at_once.add(list({**short, **long}.values()), ids=list({**short, **long}))
    expected = bm25({**short, **long}, "dog fox 7")
    assert lexical(grown, "dog fox 7") == pytest.approx(expected, rel=1e-6)
    assert lexical(at_once, "dog fox 7") == pytest.approx(expected, rel=1e-6)
    assert statistics_of(grown) == counted_anew(grown)
    assert grown.get(["s7"]) == [Record("s7", "fox 7")]


def test_weighting_anew_keeps_the_rest_of_a_row(collect: Collect) -> None:
    docs = collect()
    docs.add(["short fox"], ids=["s"], metadata=[{"n": 2**53 + 1, "deep": {"a": [1, None]}, "none": None}])
    vectors = [hit.fields["dense"].score for hit in docs.search("short fox", mode="dense")]
    docs.add(["long " * 50], ids=["l"])
    pivot = store_of(docs)
    with pivot._reading() as client:
        assert float(pivot._properties(client)[f"{PIVOT}.lexical"]) == 26.0  # (2 + 50) / 2
    assert docs.get(["s"]) == [Record("s", "short fox", {"n": 2**53 + 1, "deep": {"a": [1, None]}, "none": None})]
    assert [hit.fields["dense"].score for hit in docs.search("short fox", mode="dense", limit=1)] == vectors


def test_weighting_anew_that_was_cut_off_is_taken_up_again(collect: Collect) -> None:
    docs = collect()
    docs.add(TEXTS.values(), ids=list(TEXTS))
    store = store_of(docs)
    with store._writing() as client:  # as if killed right after it had begun, having done nothing
        true_mean = float(store._properties(client)[f"{PIVOT}.lexical"])
        store._bm25.set_pivots(client, target=true_mean * 1.2)
    docs.close()
    docs = collect()
    reopened = store_of(docs)
    assert len(docs.search("fox")) == 6  # the first search after opening flushes, and finds it unfinished
    with reopened._reading() as client:
        properties = reopened._properties(client)
    assert properties[f"{PIVOT}.lexical"] == properties["milvine.target.lexical"] == repr(true_mean * 1.2)


def test_statistics_stay_true(collect: Collect) -> None:
    docs = collect()
    same = collect()
    docs.add(TEXTS.values(), ids=list(TEXTS))
    assert statistics_of(docs) == counted_anew(docs)
    assert statistics_of(same) is statistics_of(docs)
    docs.add(["A dog, once more, and a cat"], ids=["a"])  # replaces
    same.add(["cat"], ids=["g"])
    docs.add(["cat"], ids=["g"], metadata=[{"only": "metadata"}])
    assert docs.delete(["b", "e", "nosuch"]) == 2
    assert same.delete(filter='only == "metadata"') == 1
    assert statistics_of(docs) == statistics_of(same) == counted_anew(docs)
    everything = {record.id: record.text for record in docs.get(list(docs.ids())) if record}
    assert lexical(docs, "cat dog").keys() == bm25(everything, "cat dog").keys()
    docs.close()
    same.close()
    reopened = collect()
    assert statistics_of(reopened) == counted_anew(reopened)
    reopened.delete(list(reopened.ids()))
    assert statistics_of(reopened) == TermStatistics()
    assert reopened.search("dog") == []


def test_a_refused_write_leaves_statistics_and_rows_as_they_were(docs: Collection) -> None:
    docs.add(TEXTS.values(), ids=list(TEXTS))
    before, statistics = docs.search("quick dog"), statistics_of(docs)
    store = store_of(docs)
    too_short = np.zeros(DIM - 1, dtype=np.float32)
    with pytest.raises(StoreWriteError, match=r"refused what was to be written|writing to .* failed"):
        store.write([Row(Record("a", "dog"), "hash", {"dense": too_short})])
    assert statistics_of(docs) == statistics == counted_anew(docs)
    assert docs.search("quick dog") == before


def test_ids_of_any_form(collect: Collect) -> None:
    docs = collect()
    docs.add([f"text {number}" for number in range(len(UGLY))], ids=UGLY)
    assert docs.add([f"text {number}" for number in range(len(UGLY))], ids=UGLY).unchanged == len(UGLY)
    assert sorted(docs.ids()) == sorted(UGLY)
    assert [record and record.id for record in docs.get(UGLY)] == UGLY
    assert {hit.id for hit in docs.search("text", limit=100)} == set(UGLY)
    assert docs.get(["x", "y", "hi", "\ud800"]) == [None] * 4
    assert docs.delete(["x", "y", "\ud800", "nosuch"]) == 0
    for id_ in UGLY:
        assert docs.delete([id_]) == 1
        assert docs.get([id_]) == [None]
    assert docs.count() == 0


def test_everything_is_read_beyond_one_batch(docs: Collection) -> None:
    # With pymilvus' iterator, an id with a quote at the end of a batch ended the reading.
    ids = [f"{number:05}'\"\\" for number in range(2 * READ_BATCH + 10)]
    docs.add(["text"] * len(ids), ids=ids)
    assert sorted(docs.ids()) == ids
    assert [record and record.id for record in docs.get(ids)] == ids
    assert statistics_of(docs).n_documents == len(ids)
    assert docs.delete(ids[5:]) == len(ids) - 5
    assert statistics_of(docs).n_documents == docs.count() == 5


def quoted(value: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in value) + '"'


def test_values_of_any_form_in_filters(docs: Collection) -> None:
    docs.add(
        [f"text {number}" for number in range(len(UGLY))],
        ids=map(str, range(len(UGLY))),
        metadata=[{"value": value, "deep": {"value": [value]}} for value in UGLY],
    )
    for number, value in enumerate(UGLY):
        for filter_ in (
            f"value == {quoted(value)}",
            f"value in [{quoted(value)}]",
            f'deep["value"][0] == {quoted(value)}',
        ):
            assert list(docs.ids(filter_)) == [str(number)], filter_
            assert docs.count(filter_) == 1
            for mode in MODES:
                assert [hit.id for hit in docs.search("text", filter=filter_, mode=mode)] == [str(number)]
    assert docs.delete(filter=f"value == {quoted(UGLY[8])}") == 1
    assert docs.count() == len(UGLY) - 1


ROWS: list[dict[str, Any]] = [
    {"year": 2019, "source": "docs/a.md", "tags": ["x", "y"], "open": True, "price": 1.5},
    {"year": 2020, "source": "docs/b.md", "tags": ["y"], "open": False, "nested": {"lang": "de", "n": 7}},
    {"year": 2021, "source": "notes/c.md", "tags": [], "open": True, "nested": {"lang": "en"}},
    {"year": 2022, "source": "notes_d.txt", "none": None},
    {},
]


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("year >= 2021", "23"),
        ("year < 2020 or year == 2022", "03"),
        ("year in [2019, 2021, 1]", "02"),
        ("year is not null and year not in [2019, 2020, 2021]", "3"),
        ('source like "docs/%"', "01"),
        ('source like "%.md" and not (year == 2020)', "02"),
        ('source like "notes_d%"', "3"),
        ('nested["lang"] == "de"', "1"),
        ('nested["n"] > 6', "1"),
        ('json_contains(tags, "y")', "01"),
        ("open == true", "02"),
        ("price > 1", "0"),
        ("1000 + 1020 == year", "1"),
        ('$meta["year"] == 2022', "3"),
        ('id == "2"', "2"),
        ('id in ["0", "4", "7"]', "04"),
        ('text == "text 4"', "4"),
        ("nosuch == 1", ""),
        ("", "01234"),
    ],
)
def test_filters(collect: Collect, filter_: str, expected: str) -> None:
    docs = collect()
    docs.add([f"text {number}" for number in range(len(ROWS))], ids=list("01234"), metadata=ROWS)
    assert sorted(docs.ids(filter_)) == list(expected)
    assert docs.count(filter_) == len(expected)
    for mode in MODES:
        assert sorted(hit.id for hit in docs.search("text", filter=filter_, mode=mode)) == list(expected)
    if filter_:
        assert docs.delete(filter=filter_) == len(expected)
        assert docs.count() == len(ROWS) - len(expected)


WRONG = [
    "year >",
    "year = 2020",
    "(((",
    'source == "x',
    "year like 5",
    "id == 5",
    "%",
    "1",
    "foo(year)",
    "dense == 1",
    "'",
]


@pytest.mark.parametrize("filter_", [*WRONG, 'x == "\ud800"'])
def test_wrong_filters(docs: Collection, filter_: str) -> None:
    docs.add(["a text"])
    uses: list[Callable[[], Any]] = [
        lambda: docs.count(filter_),
        lambda: docs.ids(filter_),
        lambda: docs.delete(filter=filter_),
        *(lambda mode=mode: docs.search("text", filter=filter_, mode=mode) for mode in MODES),
        lambda: docs.search("zebra", filter=filter_, mode="lexical"),
    ]
    for use in uses:
        with pytest.raises(FilterError) as caught:
            use()
        assert f"the filter {filter_!r} " in str(caught.value)
    assert docs.count() == 1


def test_metadata_comes_back_as_it_was(docs: Collection) -> None:
    odd: dict[str, Any] = {
        "none": None, "true": True, "int": 2**53 + 1, "max": 2**63 - 1, "min": -(2**63), "float": 0.1, "tiny": 5e-324,
        "nested": {"a": [1, {"b": "c"}, None], "": "empty"}, "with space": 1, "a.b": 2, "größe": 3, "and": 4, "iso": 5,
        "count(*)": 6, "distance": 7, "pk": 8, "score": 9, "id_": 10, "metadata": {"metadata": 1},
        "quote'\"\\\n": "'\"\\\n",
        "emoji": "😀", "nul": "\x00", "empty": "", "list": [], "dict": {},
    }  # fmt: skip
    docs.add(["a text"], ids=["a"], metadata=[odd])
    (record,) = docs.get(["a"])
    assert record is not None
    assert record.metadata == odd
    assert {key: type(value) for key, value in record.metadata.items()} == {k: type(v) for k, v in odd.items()}
    assert docs.search("text")[0].metadata == odd


def test_a_replaced_row_keeps_nothing(docs: Collection) -> None:
    docs.add(["first"], ids=["a"], metadata=[{"old": 1, "both": 1}])
    docs.add(["second"], ids=["a"], metadata=[{"new": 2, "both": 2}])
    assert docs.get(["a"]) == [Record("a", "second", {"new": 2, "both": 2})]
    assert docs.count("old is not null") == 0
    assert docs.search("first", mode="lexical") == []
    assert docs.count() == 1


def test_a_maker_killed_halfway_hinders_nobody(collect: Collect, database: str) -> None:
    collect("first").add(["one"])
    leftover = Path(database) / "collections" / "second"
    leftover.mkdir()  # what mkdir and a schema half written leave
    (leftover / "schema.json.tmp").write_text("{")
    second = collect("second")
    second.add(["two words"])
    store = store_of(second)
    with store._writing() as client:  # as if killed before the indexes were made
        client.release_collection("second")
        for field in ("dense", "lexical"):
            client.drop_index("second", f"{field}_idx")
    second.close()
    again = collect("second")
    assert [hit.fields.keys() for hit in again.search("two words")] == [{"dense", "lexical"}]
    store = store_of(again)
    with store._reading() as client:
        assert sorted(client.list_indexes("second")) == ["dense", "lexical"]


@pytest.mark.parametrize("left", [0, 0.5])
def test_index_files_that_a_kill_tore_are_made_again(collect: Collect, database: str, left: float) -> None:
    docs = collect()
    docs.add([f"text {number}" for number in range(200)])
    docs.close()
    collect().close()  # what was flushed gets its index files when it is loaded
    files = list(Path(database).rglob("*.idx"))
    assert files
    whole = {file: file.read_bytes() for file in files}
    for file in files:
        os.truncate(file, int(left * file.stat().st_size))
    hits = collect().search("text 7", mode="dense", limit=1)
    assert [hit.text for hit in hits] == ["text 7"]
    assert {file: file.read_bytes() for file in files} == whole


def test_zero_vectors_are_found_last(collect: Collect) -> None:
    class Zero(HashedWords):
        def _vector(self, text: str) -> Any:
            return np.zeros(DIM, dtype=np.float32) if text == "zero" else super()._vector(text)

    docs = collect(embedding_function=Zero())
    docs.add(["zero", "a text"], ids=["z", "a"])
    assert [(hit.id, round(hit.score, 6)) for hit in docs.search("a text", mode="dense")] == [("a", 1.0), ("z", 0.0)]
    assert {hit.score for hit in docs.search("zero", mode="dense")} == {0.0}
