"""Parquet files for Milvus' bulk import.

A real Milvus 2.3.5 imports them where it is installed. What it lacks, sparse vectors and so lexical search, is tried by
reading the files as Milvus documents them, and inserting what they hold through pymilvus.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milvine import AddReport, Collection, Record
from milvine._bulk import _column, write_bulk
from milvine._copying import Place, copy_place
from milvine.errors import InputError, StoreWriteError
from milvine.store._vector_types import to_milvus
from milvus_servers import REAL_TOKEN, LiteServer, RealServer
from small_functions import HashedTerms, HashedWords

FUNCTIONS: dict[str, Any] = {"words": HashedWords(), "terms": HashedTerms()}
RECORDS = [
    Record('odd "id" \\ 🐈', "a text with “quotes”\nand lines", {"list": [1, 2.0, None], "größe": {"a": "é\u2028"}}),
    Record("blank", " "),
    *(
        Record(f"n{n}", f"text {n} of number{n % 13}", {"n": n, "large": 2**63 - 1, "third": 1 / 3})
        for n in range(2500)
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    server = LiteServer(tmp_path_factory.mktemp("bulk") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def source(tmp_path: Path) -> Place:
    place = Place(str(tmp_path / "kb.milvine"), "docs")
    with Collection(*place, embedding_function=FUNCTIONS) as docs:
        docs.add(RECORDS)
    return place


def test_the_files_make_the_collection(source: Place, server: LiteServer, tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    target = Place(server.uri, "moved")
    files, rows = write_bulk(source, target, tmp_path / "bulk", file_bytes=200_000)
    assert rows == len(RECORDS)
    assert [file.name for file in files] == [f"part-{n:05}.parquet" for n in range(1, len(files) + 1)]
    assert len(files) > 1
    client = MilvusClient(server.uri)
    for file in files:
        table = pq.read_table(file)
        rows_there = []
        for row in table.to_pylist():
            row["terms"], row["lexical"] = (
                {int(index): weight for index, weight in json.loads(row[name]).items()} for name in ("terms", "lexical")
            )
            rows_there.append(json.loads(row.pop("$meta")) | row)
        for at in range(0, len(rows_there), 100):
            client.insert("moved", rows_there[at : at + 100])
    client.close()
    assert copy_place(source, target) == AddReport(unchanged=len(RECORDS))
    copy_place(source, Place(server.uri, "sent"))
    with (
        Collection(*target, embedding_function=FUNCTIONS) as moved,
        Collection(server.uri, "sent", embedding_function=FUNCTIONS) as sent,
    ):
        pivots = [one._store._lexical["lexical"].pivot for one in (moved, sent)]  # type: ignore[attr-defined]
        assert 0 < pivots[0] < pivots[1]  # the mean length of the first rows: 1,024 here, 100 there, all short
        for query in ("text 7 of number7", "quotes", "text 1203 of number7"):
            for mode in ("dense", "sparse", "lexical"):
                hits, expected = (one.search(query, mode=mode, limit=8) for one in (moved, sent))  # type: ignore[call-overload]
                assert hits[0].id == expected[0].id
                if mode != "lexical":
                    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], rel=1e-5)
        moved.drop()
        sent.drop()


def test_columns_are_as_milvus_documents_them(source: Place, server: LiteServer, tmp_path: Path) -> None:
    files, _ = write_bulk(source, Place(server.uri, "columns"), tmp_path / "bulk")
    # https://milvus.io/docs/prepare-source-data.md, and pymilvus.bulk_writer's table of Arrow types
    assert {field.name: field.type for field in pq.read_schema(files[0])} == {
        "id": pa.string(),
        "text": pa.string(),
        "content_hash": pa.string(),
        "words": pa.list_(pa.field("element", pa.float32())),
        "terms": pa.string(),
        "lexical": pa.string(),
        "lexical_length": pa.int64(),
        "_sample": pa.int16(),
        "$meta": pa.string(),
    }
    rows = {row["id"]: row for row in pq.read_table(files[0]).to_pylist()}
    assert json.loads(rows["n7"]["$meta"]) == {"n": 7, "large": 2**63 - 1, "third": 1 / 3}
    weights = HashedTerms().weights("text 7 of number7")
    assert json.loads(rows["n7"]["terms"]) == {str(index): weight for index, weight in weights.items()}
    assert list(json.loads(rows["blank"]["terms"]).values()) == [1.0]  # Milvus takes no empty row


@pytest.mark.parametrize(
    ("vector_type", "kind", "items", "expected"),
    [
        ("float32", "FLOAT_VECTOR", pa.float32(), [1.0, -2.0]),
        ("float16", "FLOAT16_VECTOR", pa.uint8(), [0x00, 0x3C, 0x00, 0xC0]),  # IEEE 754's binary16, little-endian
        ("bfloat16", "BFLOAT16_VECTOR", pa.uint8(), [0x80, 0x3F, 0x00, 0xC0]),  # the upper halves of float32
        ("int8", "INT8_VECTOR", pa.int8(), [1, -2]),
        ("binary", "BINARY_VECTOR", pa.uint8(), [1, 254]),
    ],
)
def test_vectors_of_other_types(vector_type: Any, kind: str, items: Any, expected: list[float]) -> None:
    given = {"int8": np.int8, "binary": np.uint8}.get(vector_type, np.float32)
    vector = np.array([1, 254] if vector_type == "binary" else [1, -2], dtype=given)
    entities = [{"dense": to_milvus(vector, vector_type)}] * 3
    column = _column(pa, "dense", kind, entities)
    assert (column.type.value_type, column.to_pylist()) == (items, [expected] * 3)


def test_where_it_cannot_be(source: Place, server: LiteServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only Milvus servers import such files"):
        write_bulk(source, Place(tmp_path / "other.db", "docs"), tmp_path / "bulk")
    assert not (tmp_path / "other.db").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(InputError, match="is not empty; give a new folder"):
        write_bulk(source, Place(server.uri, "new"), tmp_path / "full")
    copy_place(source, Place(server.uri, "filled"))
    with pytest.raises(InputError, match="holds 2,502 records, and an import would add the same ones again"):
        write_bulk(source, Place(server.uri, "filled"), tmp_path / "bulk")
    assert not (tmp_path / "bulk").exists()


@pytest.mark.filterwarnings("ignore:.*ORM-style PyMilvus API")
def test_a_real_server_imports_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymilvus import connections, utility

    RealServer.skip_unless_possible()
    monkeypatch.setenv("MILVUS_TOKEN", REAL_TOKEN)
    server = RealServer(tmp_path / "server")
    server.start()
    try:
        connections.connect(uri=server.uri, token=REAL_TOKEN)
        for vector_type in ("float32", "binary"):
            source, target = Place(str(tmp_path / "kb.milvine"), vector_type), Place(server.uri, vector_type)
            options: Any = {"embedding_function": HashedWords(), "lexical": False, "vector_type": vector_type}
            with Collection(*source, **options) as docs:
                docs.add(RECORDS)
            files, _ = write_bulk(source, target, tmp_path / f"bulk-{vector_type}", file_bytes=200_000)
            for file in files:
                task = utility.do_bulk_insert(vector_type, [str(file)])  # its storage is this machine's disk
                while (state := utility.get_bulk_insert_state(task)).state_name not in ("Completed", "Failed"):
                    time.sleep(0.2)
                assert state.state_name == "Completed", state
            assert copy_place(source, target) == AddReport(unchanged=len(RECORDS))
            with Collection(*target, **options) as moved:
                assert moved.search("text 7 of number7", limit=1)[0].score == pytest.approx(1, abs=1e-3)
                assert moved.get([RECORDS[0].id]) == [RECORDS[0]]
        task = utility.do_bulk_insert("float32", [str(tmp_path / "bulk-float32" / "part-00001.parquet")])
        while utility.get_bulk_insert_state(task).state_name not in ("Completed", "Failed"):
            time.sleep(0.2)
        with pytest.raises(StoreWriteError, match="imported into it twice"):  # a second import adds them again
            copy_place(source._replace(name="float32"), target._replace(name="float32"))
        connections.disconnect("default")
    finally:
        server.stop()
