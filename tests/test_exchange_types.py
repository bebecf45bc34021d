"""Parquet files of vectors of every type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milvine import Collection
from milvine.errors import CollectionMismatchError
from milvine.store import VectorType
from small_functions import DIM, HashedTokens, HashedWords

Collect = Callable[..., Collection]
TEXTS = {f"i{n}": f"word{n % 7} word{n % 5} word{n}" for n in range(30)} | {"blank": ""}
COLUMNS = {
    "float32": pa.list_(pa.float32(), DIM),
    "float16": pa.list_(pa.float16(), DIM),
    "bfloat16": pa.list_(pa.uint16(), DIM),
    "int8": pa.list_(pa.int8(), DIM),
    "binary": pa.list_(pa.uint8(), DIM // 8),
}


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The path of a database of the built-in store, which can hold every type."""
    return str(tmp_path / "kb.milvine")


def filled(collect: Collect, name: str = "docs", **options: Any) -> Collection:
    docs = collect(name, **options)
    docs.add(TEXTS.values(), ids=list(TEXTS))
    return docs


def vectors_of(docs: Collection, field: str = "dense") -> dict[str, Any]:
    return {row.record.id: row.vectors[field] for row in docs._store.rows(vectors=True)}


def same(some: dict[str, Any], others: dict[str, Any]) -> None:
    assert some.keys() == others.keys()
    for id_, vector in some.items():
        np.testing.assert_array_equal(vector, others[id_], strict=True)


@pytest.mark.parametrize("type_", get_args(VectorType))
def test_a_file_holds_vectors_as_they_are_stored(collect: Collect, tmp_path: Path, type_: VectorType) -> None:
    docs, path = filled(collect, vector_type=type_), tmp_path / "docs.parquet"
    assert docs.export(path) == 31
    assert pq.read_schema(path).field("dense").type == COLUMNS[type_]
    with Collection.from_export(path, tmp_path / "other.milvine", embedding_function=HashedWords()) as other:
        same(vectors_of(other), vectors_of(docs))
        assert other.search("word3") == docs.search("word3")
        assert other._store.config["fields"] == docs._store.config["fields"]


def test_the_bits_of_a_file_by_hand(collect: Collect, tmp_path: Path) -> None:
    (vector,) = HashedWords().encode_documents(["tea"])
    expected = {
        "bfloat16": (vector.view(np.uint32) + np.uint32(0x8000)) >> 16,  # no number of it lies exactly between two
        "float16": vector.astype(np.float16),
        "int8": np.rint(vector / np.abs(vector).max() * 127),
        "binary": np.packbits(vector > 0),
    }
    for type_, numbers in expected.items():
        docs = collect(type_, vector_type=type_)
        docs.add(["tea"])
        docs.export(tmp_path / "docs.parquet")
        (found,) = pq.read_table(tmp_path / "docs.parquet")["dense"].to_pylist()
        assert found == numbers.tolist(), type_


def test_metrics_and_types_are_the_files_unless_others_are_given(collect: Collect, tmp_path: Path) -> None:
    path, function = tmp_path / "docs.parquet", HashedWords()
    docs = filled(collect, metric="IP")
    docs.export(path)
    with Collection.from_export(path, tmp_path / "a.milvine", embedding_function=function) as other:
        assert json.loads(json.dumps(other._store.config)) == docs._store.config
    made = filled(collect, "int8", vector_type="int8")
    with Collection.from_export(
        path, tmp_path / "b.milvine", embedding_function=function, vector_type="int8", metric="COSINE"
    ) as other:
        same(vectors_of(other), vectors_of(made))
        assert other.search("word3") == made.search("word3")


@pytest.mark.parametrize("type_", get_args(VectorType))
def test_vectors_of_floats_are_made_what_the_collection_holds(
    collect: Collect, tmp_path: Path, type_: VectorType
) -> None:
    path, function = tmp_path / "docs.parquet", HashedWords()
    filled(collect).export(path)
    direct = filled(collect, "direct", vector_type=type_)
    imported = collect("imported", embedding_function=function, vector_type=type_)
    assert imported.import_(path).added == 31
    assert function.encoded == []
    same(vectors_of(imported), vectors_of(direct))


@pytest.mark.parametrize(("there", "here"), [("int8", "float32"), ("float16", "float32"), ("float16", "int8")])
def test_rounded_vectors_are_not_taken_for_others(collect: Collect, tmp_path: Path, there: Any, here: Any) -> None:
    filled(collect, vector_type=there).export(tmp_path / "docs.parquet")
    other = collect("other", vector_type=here)
    with pytest.raises(
        CollectionMismatchError,
        match=f"field's type: '{there}' in the file, '{here}' here.*have the texts embedded anew",
    ):
        other.import_(tmp_path / "docs.parquet")
    assert other.import_(tmp_path / "docs.parquet", embed=True).added == 31


def test_token_vectors(collect: Collect, tmp_path: Path) -> None:
    functions = {"words": HashedWords(), "tokens": HashedTokens()}
    path = tmp_path / "docs.parquet"
    for name, type_, number in (("half", None, pa.float16()), ("whole", {"tokens": "float32"}, pa.float32())):
        docs = filled(collect, name, embedding_function=functions, vector_type=type_)
        docs.export(path)
        assert pq.read_schema(path).field("tokens").type == pa.list_(pa.list_(number, DIM))
        column = pq.read_table(path)["tokens"].to_pylist()
        assert sorted(map(len, column)) == [0] + [3] * 30
        again = collect(f"{name}_again", embedding_function=functions, vector_type=type_)
        assert again.import_(path).added == 31
        same(vectors_of(again, "tokens"), vectors_of(docs, "tokens"))
