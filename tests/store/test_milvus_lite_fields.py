"""What the store does with fields of each kind: sparse vectors, scores of given rows, and reading everything."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from milvine import Collection, Record
from milvine._records import content_hash
from milvine.errors import FilterError, InputError, StoreError
from milvine.store import DenseField, LexicalField, Row, SparseField, SparseRow
from milvine.store.milvus_lite import MilvusLiteStore

Open = Callable[..., MilvusLiteStore]
DIM = 4
FIELDS = [
    DenseField("near", DIM),
    SparseField("terms"),
    LexicalField("lexical", lambda texts: [text.split() for text in texts], 0.9, 0.4),
]


def sparse(weights: dict[int, float], width: int = 50) -> SparseRow:
    columns = sorted(weights)
    return csr_array(([weights[at] for at in columns], columns, [0, len(columns)]), (1, width), dtype=np.float32)


def row(id_: str, text: str, near: list[float], terms: dict[int, float], **metadata: Any) -> Row:
    record = Record(id_, text, metadata)
    return Row(record, content_hash(record), {"near": np.asarray(near, np.float32), "terms": sparse(terms)})


ROWS = [
    row("a", "red fox", [1, 0, 0, 0], {3: 1.0, 7: 0.5}, n=1),
    row("b", "red red hen", [1, 1, 0, 0], {7: 2.0}, n=2),
    row("c", "", [0, 0, 0, 1], {}, n=3, deep={"a": [1, None]}),
    row("d", "a dog", [0, -2, 0, 0], {40: 0.25}),
]


@pytest.fixture
def open_(tmp_path: Path) -> Any:
    opened: list[MilvusLiteStore] = []

    def open_(name: str = "rows", fields: Any = FIELDS) -> MilvusLiteStore:
        opened.append(
            MilvusLiteStore(tmp_path / "kb.db", name, fields=lambda _: fields, config={"any": 1}, must_be_new=False)
        )
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_: Open) -> MilvusLiteStore:
    made = open_()
    made.write(ROWS)
    return made


@pytest.mark.parametrize("flushed", [False, True])
def test_inner_products_of_sparse_vectors(store: MilvusLiteStore, flushed: bool) -> None:
    if flushed:
        store.flush()
    queries = [sparse({3: 2.0, 7: 1.0}), sparse({}), sparse({9: 1.0}), sparse({40: 4.0, 7: 0.125}), sparse({7: 0.0})]
    found = store.search_sparse("terms", queries, 10)
    # By hand: a = 2 * 1 + 1 * 0.5, b = 1 * 2; and so on.
    assert [dict(matches) for matches in found] == [
        {"a": 2.5, "b": 2.0},
        {},
        {},
        {"d": 1.0, "b": 0.25, "a": 0.0625},
        {},
    ]
    assert [match.id for match in found[3]] == ["d", "b", "a"]
    assert [dict(matches) for matches in store.search_sparse("terms", queries, 1)] == [
        {"a": 2.5}, {}, {}, {"d": 1.0}, {},
    ]  # fmt: skip
    assert [dict(found) for found in store.search_sparse("terms", queries[:1], 10, "n > 1")] == [{"b": 2.0}]
    assert store.search_sparse("terms", [], 10) == []
    assert store.search_sparse("terms", queries[1:2], 10, "n > 1") == [[]]
    for asked in (queries[:1], queries[1:2]):
        with pytest.raises(FilterError):
            store.search_sparse("terms", asked, 10, "((")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_refused_before_anything_is_written(store: MilvusLiteStore, weight: float) -> None:
    wrong = row("z", "text", [1, 0, 0, 0], {1: 1.0, 2: weight})
    many = [row(str(number), "text", [1, 0, 0, 0], {1: 1.0}) for number in range(150)]
    with pytest.raises(InputError, match=r"'terms' of row 150 has the weight .*; sparse weights must be finite and at"):
        store.write([*many, wrong])
    assert store.count() == len(ROWS)
    with pytest.raises(InputError, match="the query 1 has the weight"):
        store.search_sparse("terms", [sparse({}), sparse({1: weight})], 5)


@pytest.mark.parametrize("vector", [csr_array((2, 50)), {1: 0.5}, np.zeros(50), sparse({1: 1.0}).tocoo()])
def test_what_is_no_row_of_a_sparse_matrix(store: MilvusLiteStore, vector: Any) -> None:
    bad = Row(Record("z", "text"), "hash", {"near": np.ones(DIM, np.float32), "terms": vector})
    with pytest.raises(InputError, match="'terms' of row 0 must be a csr_array of one row"):
        store.write([bad])
    with pytest.raises(InputError, match="the query 0 must be a csr_array of one row"):
        store.search_sparse("terms", [vector], 5)


def test_an_empty_row_can_become_one_with_terms_and_back(store: MilvusLiteStore) -> None:
    query = [sparse({5: 1.0})]
    assert store.search_sparse("terms", query, 9) == [[]]
    store.write([row("c", "", [0, 0, 0, 1], {5: 3.0})])
    assert [dict(found) for found in store.search_sparse("terms", query, 9)] == [{"c": 3.0}]
    store.write([row("c", "", [0, 0, 0, 1], {})])
    assert store.search_sparse("terms", query, 9) == [[]]
    # What stands in an empty row is found by no query, not even by one that has its column.
    assert store.search_sparse("terms", [sparse({}, 2**32 - 1)], 9) == [[]]


def test_scores_are_those_of_a_search(store: MilvusLiteStore) -> None:
    everything = ["a", "b", "c", "d"]
    asked: dict[str, list[Any]] = {
        "near": [np.asarray([2, 1, 0, 0], np.float32), np.asarray([0, 0, 0, 1], np.float32)],
        "terms": [sparse({3: 2.0, 7: 1.0}), sparse({})],
        "lexical": ["red hen hen", "nothing known"],
    }
    searches: dict[str, Any] = {
        "near": store.search_dense,
        "terms": store.search_sparse,
        "lexical": store.search_lexical,
    }
    for field, queries in asked.items():
        scores = store.score(field, queries, [everything, ["d", "nosuch", "a", "\ud800"]])
        assert list(scores[0]) == everything
        assert list(scores[1]) == ["d", "a"]
        for found, given in zip(searches[field](field, queries, 10), scores, strict=True):
            for match in found:
                assert given.get(match.id, match.score) == pytest.approx(match.score, rel=1e-6, abs=1e-7)
            if field != "near":
                assert all(given[id_] == 0 for id_ in given.keys() - {match.id for match in found})
    # The cosines by hand.
    assert store.score("near", asked["near"], [everything, []])[0] == pytest.approx(
        {"a": 2 / math.sqrt(5), "b": 3 / math.sqrt(10), "c": 0, "d": -1 / math.sqrt(5)}
    )
    assert store.score("near", [], []) == []
    assert store.score("lexical", ["red"], [[]]) == [{}]


def test_a_cosine_with_nothing_is_nothing(store: MilvusLiteStore) -> None:
    nothing = np.zeros(DIM, np.float32)
    store.write([Row(Record("zero", ""), "hash", {"near": nothing, "terms": sparse({})})])
    assert store.score("near", [ROWS[0].vectors["near"], nothing], [["zero", "a"], ["a"]]) == [
        {"zero": 0.0, "a": 1.0},
        {"a": 0.0},
    ]


def test_every_row_comes_back_as_it_was_written(store: MilvusLiteStore) -> None:
    assert sorted(store.rows(), key=lambda one: one.record.id) == [
        Row(one.record, one.content_hash, {}) for one in ROWS
    ]
    read = sorted(store.rows(vectors=True), key=lambda one: one.record.id)
    assert [(one.record, one.content_hash) for one in read] == [(one.record, one.content_hash) for one in ROWS]
    for one, written in zip(read, ROWS, strict=True):
        assert one.vectors.keys() == {"near", "terms"}
        np.testing.assert_array_equal(one.vectors["near"], written.vectors["near"])
        near, terms, wanted = one.vectors["near"], one.vectors["terms"], written.vectors["terms"]
        assert (near.dtype, terms.dtype) == (np.float32, np.float32)
        assert (terms.indices.tolist(), terms.data.tolist()) == (wanted.indices.tolist(), wanted.data.tolist())
    # What was read can be written again as it is.
    store.write(read)
    assert dict(store.search_sparse("terms", [sparse({3: 2.0, 7: 1.0})], 9)[0]) == {"a": 2.5, "b": 2.0}
    assert [one.record.id for one in store.rows("n > 2")] == ["c"]
    with pytest.raises(FilterError):
        store.rows("((")  # at once, not when the first row is read


def test_rows_are_read_while_others_write_and_delete(store: MilvusLiteStore) -> None:
    store.write([row(f"more {number}", "text", [1, 0, 0, 0], {1: 1.0}) for number in range(250)])
    reading = store.rows(vectors=True)
    first = next(reading)
    store.delete([f"more {number}" for number in range(240)])
    store.write([row("new", "text", [1, 0, 0, 0], {})])
    rest = {one.record.id for one in reading}
    assert rest | {first.record.id} >= {"a", "b", "c", "d", *(f"more {number}" for number in range(240, 250))}
    reading = store.rows()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        next(reading)


def test_a_store_without_lexical_field(open_: Open) -> None:
    store = open_("plain", FIELDS[:2])
    store.write(ROWS)
    store.flush()
    assert [match.id for match in store.search_dense("near", [ROWS[2].vectors["near"]], 1)[0]] == ["c"]
    with pytest.raises(InputError, match="has no lexical field 'lexical'"):
        store.search_lexical("lexical", ["red"], 5)
    assert store.delete(["a"]) == 1
    store.close()
    again = open_("plain", FIELDS[:2])
    assert again.count() == 3


def test_a_collection_of_format_1_opens(tmp_path: Path) -> None:
    """The collection is made as milvine 0.1 made it, down to the configuration's bytes."""
    from pymilvus import DataType

    from milvine.store._lite_database import LiteDatabase
    from small_functions import HashedWords

    database = LiteDatabase.acquire(tmp_path / "kb.db", create=True)
    config = (
        '{"format": 1, "fields": {"dense": {"function": "HashedWords", "dim": 16, "version": 1, "range": [0, 1]},'
        ' "lexical": {"analyzer": {"language": "en", "rules": 2}, "k1": 0.9, "b": 0.4}}}'
    )
    with database.writing() as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=4096)
        schema.add_field("text", DataType.VARCHAR, max_length=65_535)
        schema.add_field("content_hash", DataType.VARCHAR, max_length=64)
        schema.add_field("dense", DataType.FLOAT_VECTOR, dim=16)
        schema.add_field("lexical", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_field("lexical_length", DataType.INT64)
        client.create_collection("docs", schema=schema, properties={"milvine.config": config})
    database.release()
    with Collection(tmp_path / "kb.db", "docs", embedding_function=HashedWords()) as docs:
        assert docs.add(["a fox", "a hen"], ids=["fox", "hen"]).added == 2
        assert docs.search("fox")[0].fields.keys() == {"dense", "lexical"}
        assert docs._store.config["format"] == 1
