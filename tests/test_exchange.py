from __future__ import annotations

import json
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

from child_process import child
from milvine import AddReport, Collection, Record
from milvine.errors import (
    CollectionMismatchError,
    FilterError,
    InputError,
    InputTypeError,
    ReadError,
    StoreWriteError,
)
from milvine.model.base import BaseEmbeddingFunction
from milvine.types import SparseMatrix
from small_disks import small_disk
from small_functions import HashedWords
from small_passages import CountedWords, words

Collect = Callable[..., Collection]

METADATA: dict[str, Any] = {
    "int": 5,
    "float": 5.0,
    "large": 2**63 - 1,
    "small": 5e-324,
    "third": 1 / 3,
    "minus zero": -0.0,
    "true": True,
    "none": None,
    "string": "“quoted”, \\ \n \t 🐈 \u2028",
    "empty": "",
    "list": [1, 2.0, "3", None, True, []],
    "nested": {"a": {"b": [{"c": 1.5}]}, "none": None, "": 0},
    "größe": "umlaut",
}


class HashedWeights(BaseEmbeddingFunction[SparseMatrix]):
    """A weight a word, at a dimension that is the word's hash; a blank text has none."""

    dim = 30_000

    def _encode_documents(self, texts: list[str]) -> SparseMatrix:
        rows = [{sum(word.encode()) * 7 % 30_000: 1 + len(word) / 3 for word in text.split()} for text in texts]
        indices = [index for row in rows for index in sorted(row)]
        data = np.array([row[index] for row in rows for index in sorted(row)], dtype=np.float32)
        return csr_array((data, indices, np.cumsum([0, *map(len, rows)])), shape=(len(texts), self.dim))

    _encode_queries = _encode_documents


class HashedBoth(BaseEmbeddingFunction[dict[str, Any]]):
    """Both kinds of vectors from one pass."""

    parts: ClassVar[dict[str, BaseEmbeddingFunction[Any]]] = {"dense": HashedWords(), "sparse": HashedWeights()}
    dim: ClassVar[dict[str, int]] = {name: part.dim for name, part in parts.items()}

    def _encode_documents(self, texts: list[str]) -> dict[str, Any]:
        return {name: part.encode_documents(texts) for name, part in self.parts.items()}

    _encode_queries = _encode_documents


def types_of(value: Any) -> Any:
    """The value with its types, which `==` does not tell apart: 5 and 5.0, True and 1, 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: types_of(one) for key, one in value.items()}
    if isinstance(value, list):
        return [types_of(one) for one in value]
    return type(value), struct.pack("d", value) if isinstance(value, float) else value


def stored(docs: Collection) -> dict[str, Any]:
    """Everything that a collection holds, vectors as their bytes."""

    def bits(vector: Any) -> Any:
        return (vector.indices.tolist(), vector.data.tobytes()) if isinstance(vector, csr_array) else vector.tobytes()

    return {
        row.record.id: (
            row.record.text,
            types_of(row.record.metadata),
            row.content_hash,
            {name: bits(vector) for name, vector in row.vectors.items()},
        )
        for row in docs._store.rows(vectors=True)
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(docs: Collection, count: int = 30) -> None:
    docs.add([Record('odd id \\ " \n 🐈', "a text with “quotes”\nand lines", METADATA), Record("blank", " ")])
    docs.add(Record(f"n{n}", f"text {n} of {count}", {"n": n, "half": n / 2}) for n in range(count))


def test_there_and_back_everything_is_the_same(collect: Collect, tmp_path: Path) -> None:
    functions = {"words": HashedWords(), "others": HashedWords(dim=5, version=2), "weights": HashedWeights()}
    docs = collect(embedding_function=functions)
    fill(docs, 2500)
    path, before = tmp_path / "docs.parquet", names(tmp_path)
    assert docs.export(path) == 2502
    assert names(tmp_path) == sorted(["docs.parquet", *before])
    file = pq.read_metadata(path)
    assert [file.row_group(at).num_rows for at in range(file.num_row_groups)] == [1024, 1024, 454]
    again = {"words": HashedWords(), "others": HashedWords(dim=5, version=2), "weights": HashedWeights()}
    copy = collect("copy", embedding_function=again)
    assert copy.import_(path) == AddReport(added=2502)
    assert again["words"].encoded == again["others"].encoded == []  # type: ignore[attr-defined]
    assert stored(copy) == stored(docs)
    assert types_of(copy.get(['odd id \\ " \n 🐈'])[0].metadata) == types_of(METADATA)  # type: ignore[union-attr]
    for query in ("text 7 of 2500", "quotes"):
        for mode in ("dense", "sparse", "lexical"):
            hits = [one.search(query, mode=mode, limit=5) for one in (docs, copy)]  # type: ignore[call-overload]
            if mode == "lexical":  # BM25's pivot is the mean length of the first rows, which come in another order
                assert [hit.score for hit in hits[0]] == pytest.approx([hit.score for hit in hits[1]], rel=0.01)
            else:
                assert [(hit.id, hit.score) for hit in hits[0]] == [(hit.id, hit.score) for hit in hits[1]]
    assert copy.import_(path) == AddReport(unchanged=2502)


def test_other_programs_can_read_it(collect: Collect, tmp_path: Path) -> None:
    docs = collect(embedding_function={"dense": HashedWords(), "sparse": HashedWeights()})
    docs.add([Record("a", "one text", {"year": 1956}), Record("b", "another", {"none": None})])
    docs.export(tmp_path / "docs.parquet")
    table = pq.read_table(tmp_path / "docs.parquet")
    assert table.column_names == ["id", "text", "$meta", "dense", "sparse"]
    rows = {row["id"]: row for row in table.to_pylist()}
    assert (rows["a"]["text"], json.loads(rows["b"]["$meta"])) == ("one text", {"none": None})
    vector = HashedWords()._vector("one text")
    assert np.array_equal(np.array(rows["a"]["dense"], dtype=np.float32), vector)
    weights = HashedWeights().encode_documents(["one text"])
    assert rows["a"]["sparse"] == {"indices": weights.indices.tolist(), "values": weights.data.tolist()}
    table.to_pandas()


def test_a_part_of_it(collect: Collect, tmp_path: Path) -> None:
    docs = collect()
    fill(docs)
    path = tmp_path / "docs.parquet"
    assert docs.export(path, filter="n < {most}", filter_params={"most": 10}) == 10
    copy = collect("copy")
    copy.import_(path)
    assert stored(copy) == {id_: row for id_, row in stored(docs).items() if id_ in {f"n{n}" for n in range(10)}}
    assert docs.export(path, filter="n < 0") == 0  # replaces what was there
    assert collect("empty").import_(path) == AddReport()
    with pytest.raises(FilterError):
        docs.export(path, filter="n <")
    assert pq.read_metadata(path).num_rows == 0


def test_importing_adds_replaces_and_skips_as_add_does(collect: Collect, tmp_path: Path) -> None:
    docs = collect()
    fill(docs)
    docs.export(tmp_path / "docs.parquet")
    copy = collect("copy")
    copy.add([Record("n1", "text 1 of 30", {"n": 1, "half": 0.5}), Record("n2", "old"), Record("own", "stays")])
    function: Any = copy.embedding_function
    before = len(function.encoded)
    assert copy.import_(tmp_path / "docs.parquet") == AddReport(added=30, updated=1, unchanged=1)
    assert len(function.encoded) == before
    assert stored(copy) == {**stored(docs), "own": stored(copy)["own"]}


def test_vectors_of_another_model_are_refused_or_made_anew(collect: Collect, tmp_path: Path) -> None:
    docs = collect()
    fill(docs)
    path = tmp_path / "docs.parquet"
    docs.export(path)
    other = collect("other", embedding_function=HashedWords(version=2))
    with pytest.raises(CollectionMismatchError) as caught:
        other.import_(path)
    assert "its field 'dense' is of another model (version: 1 in the file, 2 here)" in str(caught.value)
    assert "embed=True" in str(caught.value)
    assert len(other) == 0
    assert other.import_(path, embed=True) == AddReport(added=32)
    assert len(other.embedding_function.encoded) == 32  # type: ignore[attr-defined]
    assert {record.id: record for record in other} == {record.id: record for record in docs}
    same = collect("same")
    assert same.import_(path, embed=True) == AddReport(added=32)
    assert same.embedding_function.encoded == []  # type: ignore[attr-defined]
    more = collect("more", embedding_function={"dense": HashedWords(), "sparse": HashedWeights()})
    with pytest.raises(CollectionMismatchError, match="no vectors for the field 'sparse'"):
        more.import_(path)


def test_a_field_may_have_another_name(collect: Collect, tmp_path: Path) -> None:
    docs = collect(embedding_function={"first": HashedWords(version=2), "second": HashedWords()})
    fill(docs)
    docs.export(tmp_path / "docs.parquet")
    copy = collect("copy")
    assert copy.import_(tmp_path / "docs.parquet").added == 32
    there = {id_: row[3]["second"] for id_, row in stored(docs).items()}
    assert {id_: row[3]["dense"] for id_, row in stored(copy).items()} == there


def test_without_vectors(collect: Collect, tmp_path: Path) -> None:
    docs = collect()
    fill(docs)
    docs.export(tmp_path / "docs.parquet", vectors=False)
    assert pq.read_schema(tmp_path / "docs.parquet").names == ["id", "text", "$meta"]
    copy = collect("copy", embedding_function=HashedWords(version=2))
    assert copy.import_(tmp_path / "docs.parquet").added == 32
    assert {record.id: record for record in copy} == {record.id: record for record in docs}
    words_alone = collect("words", embedding_function={})
    words_alone.import_(tmp_path / "docs.parquet")
    words_alone.export(tmp_path / "words.parquet")
    assert collect("words2", embedding_function={}).import_(tmp_path / "words.parquet").added == 32


def test_a_collection_made_of_a_file(collect: Collect, tmp_path: Path) -> None:
    docs = collect(language="de")
    docs.add([words(0, 20)], ids=["a"])
    path = tmp_path / "docs.parquet"
    docs.export(path)
    with pytest.raises(CollectionMismatchError, match="HashedWords, which cannot be rebuilt"):
        Collection.from_export(path, tmp_path / "new.db")
    with pytest.raises(CollectionMismatchError, match="version: 1 there, 2 here"):
        Collection.from_export(path, tmp_path / "new.db", embedding_function=HashedWords(version=2))
    with pytest.raises(CollectionMismatchError, match="analyzer"):
        Collection.from_export(path, tmp_path / "new.db", embedding_function=HashedWords(), language="en")
    assert not (tmp_path / "new.db").exists()
    for _ in range(2):  # the second time goes on where the first was stopped
        with Collection.from_export(path, tmp_path / "new.db", embedding_function=HashedWords()) as copy:
            assert stored(copy) == stored(docs)
            assert copy.analyzer is not None
            assert copy.analyzer.language.code == "de"
    several = collect("several", embedding_function={"words": HashedWords(), "weights": HashedWeights()}, lexical=False)
    several.add(["a text"])
    several.export(path)
    functions = {"words": HashedWords(), "weights": HashedWeights()}
    with Collection.from_export(path, tmp_path / "new.db", "several", embedding_function=functions) as copy:
        assert stored(copy) == stored(several)
        assert copy.analyzer is None


@pytest.mark.parametrize("name", ["alone", "named"])
def test_a_collection_of_a_function_with_several_outputs(collect: Collect, tmp_path: Path, name: str) -> None:
    given: Any = HashedBoth() if name == "alone" else {"both": HashedBoth()}
    docs = collect(embedding_function=given)
    docs.add(["a text", "another"])
    docs.export(tmp_path / "docs.parquet")
    with Collection.from_export(tmp_path / "docs.parquet", tmp_path / "new.db", embedding_function=given) as copy:
        assert stored(copy) == stored(docs)
        assert copy._store.config == docs._store.config


def test_metadata_that_has_the_name_of_a_field(collect: Collect, tmp_path: Path) -> None:
    docs = collect()
    docs.add([Record("a", "text", {"words": 1})])
    docs.export(tmp_path / "docs.parquet")
    with pytest.raises(InputError, match="the metadata key 'words' is the name of a vector field"):
        collect("copy", embedding_function={"words": HashedWords()}).import_(tmp_path / "docs.parquet")


def test_passages_keep_their_documents(collect: Collect, tmp_path: Path) -> None:
    docs = collect(embedding_function=CountedWords())
    docs.add([words(0, 20), words(0, 30)], ids=["a", "b"], split=True)
    docs.export(tmp_path / "docs.parquet")
    copy = collect("copy", embedding_function=CountedWords())
    copy.import_(tmp_path / "docs.parquet")
    report = copy.add([words(0, 20), words(0, 5)], ids=["a", "b"], split=True)
    assert report == AddReport(updated=1, unchanged=3, removed=3)


@pytest.mark.parametrize("content", [b"", b"no Parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_export(collect: Collect, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "docs.parquet"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"docs\.parquet cannot be read as an export"):
        collect().import_(path)


def test_files_that_are_not_ours(collect: Collect, tmp_path: Path) -> None:
    docs = collect()
    path = tmp_path / "docs.parquet"
    with pytest.raises(ReadError, match=r"docs\.parquet cannot be read as an export: there is no such file$"):
        docs.import_(path)
    pq.write_table(pa.table({"id": ["a"], "text": ["t"]}), path)
    with pytest.raises(ReadError, match="was not exported by milvine; read it with pyarrow"):
        docs.import_(path)
    docs.add(["a text"])
    docs.export(path)
    table = pq.read_table(path)
    described = json.loads(table.schema.metadata[b"milvine"])
    for changed, error, match in (
        ({**described, "format": 2}, ReadError, "has format 2, and this milvine reads 1: upgrade"),
        ({**described, "config": {**described["config"], "format": 9}}, CollectionMismatchError, "upgrade milvine"),
        ({"format": 1}, ReadError, "cannot be read as an export"),
    ):
        pq.write_table(table.replace_schema_metadata({b"milvine": json.dumps(changed)}), path)
        with pytest.raises(error, match=match):
            docs.import_(path)
    flat = pa.array([float("nan")] * 16, type=pa.float32())
    spoilt = table.set_column(3, "dense", pa.FixedSizeListArray.from_arrays(flat, 16))
    pq.write_table(spoilt.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(InputError, match=r"docs\.parquet gave a vector with NaN, infinity or .* for text 0 of 1"):
        collect("copy").import_(path)


def test_a_damaged_file(collect: Collect, tmp_path: Path) -> None:
    docs = collect()
    docs.add(f"text {number} {number * 17}" for number in range(3000))
    path = tmp_path / "docs.parquet"
    docs.export(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises((ReadError, InputError)):
        collect("copy").import_(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ReadError, match="cannot be read as an export"):
        collect("copy").import_(path)


def test_what_is_no_path(docs: Collection) -> None:
    for use in (docs.export, docs.import_):
        with pytest.raises(InputTypeError, match="path must be"):
            use(5)  # type: ignore[operator]


@pytest.mark.parametrize("place", ["nowhere/docs.parquet", "."])
def test_where_no_file_can_be(collect: Collect, tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError, match=r"give the path of a file, such as export\.parquet"):
        collect().export(tmp_path / place)


def test_a_link_is_followed_and_the_old_file_kept_until_the_new_is_whole(
    collect: Collect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = collect()
    fill(docs)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "docs.parquet"
    link.symlink_to(tmp_path / "elsewhere" / "real.parquet")
    docs.export(link)
    before = (tmp_path / "elsewhere" / "real.parquet").read_bytes()
    assert link.is_symlink()
    rows = docs._store.rows

    def failing(*arguments: Any, **options: Any) -> Any:
        for number, row in enumerate(rows(*arguments, **options)):
            if number == 20:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(docs._store, "rows", failing)
    with pytest.raises(KeyboardInterrupt):
        docs.export(link)
    assert names(tmp_path / "elsewhere") == ["real.parquet"]
    assert link.read_bytes() == before


KILLED = """
import sys
from milvine import Collection
from small_functions import HashedWords
docs = Collection(sys.argv[1], "docs", embedding_function=HashedWords())
docs.add(f"text {n}" for n in range(3000))
rows = docs._store.rows
def slowly(*arguments, **options):
    for number, row in enumerate(rows(*arguments, **options)):
        if number == 2500:
            print("writing", flush=True)
            input()
        yield row
docs._store.rows = slowly
docs.export(sys.argv[2])
"""


def test_a_killed_export_leaves_no_file_of_that_name(collect: Collect, database: str, tmp_path: Path) -> None:
    path = tmp_path / "exports" / "docs.parquet"
    path.parent.mkdir()
    process = child(KILLED, database, str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not path.exists()
    (left,) = path.parent.iterdir()
    assert left.name.startswith(".docs.parquet.")
    docs = collect()
    assert docs.export(path) == 3000
    assert collect("copy").import_(path).added == 3000


def test_a_full_disk(collect: Collect, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "200k") as disk:
        docs = collect(embedding_function=HashedWords(dim=64))
        docs.add(f"text {number}" for number in range(3000))
        with pytest.raises(StoreWriteError, match=r"No space left on device.*; nothing of it was left there"):
            docs.export(disk / "docs.parquet")
        assert names(disk) == []
        assert docs.export(disk / "docs.parquet", filter='text == "text 7"') == 1


def test_without_pyarrow(collect: Collect, tmp_path: Path, database: str) -> None:
    code = """
import sys
from milvine import Collection
from milvine.errors import MissingExtraError
from small_functions import HashedWords
docs = Collection(sys.argv[1], "docs", embedding_function=HashedWords())
for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
    sys.modules[name] = None
sys.modules["pyarrow"] = None
for use in (docs.export, docs.import_):
    try:
        use(sys.argv[2])
    except MissingExtraError as error:
        print(error)
"""
    process = child(code, database, str(tmp_path / "docs.parquet"))
    message = "Parquet files need pyarrow, which is not installed: pip install 'milvine[parquet]'\n"
    assert process.communicate(timeout=60) == (message * 2, "")
