"""A collection's rows in the database: which tables they are in, and how vectors are bytes there.

A row has a number that is never used again: a record that changes gets a new row, and its old one is listed as deleted,
so that images of the rows can be brought up to date. Vectors are in a table of their own, a column a field, little-
endian: dense ones and multi-vectors one number after another, sparse ones and texts' terms as pairs.
"""

# ruff: noqa: S608  (what is put into statements is tables' and columns' names, which are made of numbers)

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from sqlite3 import Connection
from typing import Any, NamedTuple

import numpy as np

from milvine._records import in_batches
from milvine.analysis.counting import TermCounter
from milvine.errors import CollectionNotFoundError
from milvine.store._vector_types import from_stored, to_stored
from milvine.store.base import DenseField, Field, LexicalField, MultiVectorField, Row, SparseField
from milvine.store.builtin.parts import Entries
from milvine.store.builtin.segment import Rows
from milvine.store.filtering.strings import Array

WEIGHTS = np.dtype([("index", "<u4"), ("value", "<f4")])  # of a sparse vector
COUNTS = np.dtype([("index", "<u4"), ("value", "<u2")])  # of a text: its terms, and how often it has each
AT_ONCE = 500  # values in one statement
_SURROGATE = re.compile("[\ud800-\udfff]")  # no Unicode text has any, so no row has such an id

Columns = list[Iterable[bytes]]
"""For each field the rows' vectors as they are stored."""


class Entry(NamedTuple):
    """A collection as the database lists it: number, its maker's config, and its fields in their columns' order."""

    number: int
    config: dict[str, Any]
    columns: list[str]


def find(connection: Connection, name: str) -> Entry | None:
    """The collection of this name."""
    sql = "SELECT number, config, fields FROM collections WHERE name = ?"
    found = connection.execute(sql, [name]).fetchone()
    return Entry(found[0], json.loads(found[1]), json.loads(found[2])) if found else None


def create(connection: Connection, name: str, config: dict[str, Any], fields: Iterable[Field]) -> Entry:
    """Make a collection."""
    columns = [field.name for field in fields]
    sql = "INSERT INTO collections (name, config, fields) VALUES (?, ?, ?)"
    number = int(connection.execute(sql, [name, _json(config), json.dumps(columns)]).lastrowid or 0)
    blobs = "".join(f", f{at} BLOB NOT NULL" for at in range(len(columns)))
    connection.execute(
        f"CREATE TABLE rows_{number} (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, content_hash TEXT NOT NULL,"
        " text TEXT NOT NULL, metadata TEXT NOT NULL)"
    )
    connection.execute(f"CREATE TABLE vectors_{number} (row INTEGER PRIMARY KEY{blobs})")
    connection.execute(
        f"CREATE TABLE deleted_{number} (version INTEGER, row INTEGER, PRIMARY KEY (version, row)) WITHOUT ROWID"
    )
    return Entry(number, json.loads(_json(config)), columns)


class Table:
    """The rows of one collection.

    Args:
        entry: The collection.
        fields: Its fields.
        where: What errors call it.
    """

    def __init__(self, entry: Entry, fields: Iterable[Field], where: str) -> None:
        self.number, self._where = entry.number, where
        by_name = {field.name: field for field in fields}
        self.fields = [by_name[name] for name in entry.columns]
        self._columns = {name: f"f{at}" for at, name in enumerate(entry.columns)}
        self._counters = {
            field.name: TermCounter(field.analyze) for field in self.fields if isinstance(field, LexicalField)
        }
        self._rows, self._vectors, self._deleted = (f"{kind}_{self.number}" for kind in ("rows", "vectors", "deleted"))

    def drop(self, connection: Connection) -> None:
        """Delete the collection."""
        for table in (self._rows, self._vectors, self._deleted):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM images WHERE collection = ?", [self.number])
        connection.execute("DELETE FROM collections WHERE number = ?", [self.number])

    def head(self, connection: Connection) -> tuple[int, int, int]:
        """The version, the highest row number, and the version up to which deletions may be listed no more.

        Raises:
            CollectionNotFoundError: The collection has been dropped.
        """
        sql = "SELECT version, last, pruned FROM collections WHERE number = ?"
        found: tuple[int, int, int] | None = connection.execute(sql, [self.number]).fetchone()
        if found is None:
            raise CollectionNotFoundError(f"{self._where} is not there any more; it was dropped")
        return found

    # Writing

    def encoded(self, rows: Sequence[Row]) -> Columns:
        """The vectors of rows as they are stored; the texts' terms among them."""
        return [self._encoded(field, rows) for field in self.fields]

    def _encoded(self, field: Field, rows: Sequence[Row]) -> Iterable[bytes]:
        if isinstance(field, LexicalField):
            terms, times, lengths = self._counters[field.name]([row.record.text for row in rows])
            return _cut(_pairs(COUNTS, terms, times), lengths)
        vectors: list[Any] = [row.vectors[field.name] for row in rows]
        if isinstance(field, SparseField):
            lengths = np.fromiter((len(vector.data) for vector in vectors), np.int64, len(rows))
            indices, weights = ([getattr(vector, name) for vector in vectors] for name in ("indices", "data"))
            return _cut(_pairs(WEIGHTS, np.concatenate(indices), np.concatenate(weights)), lengths)
        if isinstance(field, MultiVectorField):
            return [to_stored(vector, field.type).tobytes() for vector in vectors]
        return _cut(to_stored(np.asarray(vectors), field.type), np.ones(len(rows), np.int64))

    def forget(self) -> None:
        """Let go of what makes the next rows' encoding quicker."""
        for counter in self._counters.values():
            counter.forget()

    def write(self, connection: Connection, rows: Sequence[Row], columns: Columns) -> None:
        """Write rows, of different ids, in place of those that have their ids."""
        version, last, _ = self.head(connection)
        self._remove(connection, self.numbers(connection, [row.record.id for row in rows]).values(), version + 1)
        numbers = range(last + 1, last + 1 + len(rows))
        records = (
            (number, row.record.id, row.content_hash, row.record.text, _json(row.record.metadata))
            for number, row in zip(numbers, rows, strict=True)
        )
        _insert(connection, self._rows, records)
        _insert(connection, self._vectors, zip(numbers, *columns, strict=True))
        self._advance(connection, version + 1, last + len(rows))

    def delete(self, connection: Connection, ids: Sequence[str]) -> int:
        """Delete rows, and say how many were there."""
        version, last, _ = self.head(connection)
        numbers = self.numbers(connection, ids).values()
        if numbers:
            self._remove(connection, numbers, version + 1)
            self._advance(connection, version + 1, last)
        return len(numbers)

    def list_files(
        self, connection: Connection, files: Collection[str], new: Sequence[tuple[str, int, int, int]]
    ) -> None:
        """From now on these image files count; of new ones also their first and last row, and their version."""
        kept = set(files).difference(one[0] for one in new)
        sql = f"DELETE FROM images WHERE collection = ? AND file NOT IN ({','.join('?' * len(kept))})"
        connection.execute(sql, [self.number, *kept])
        _insert(connection, "images", ((self.number, *one) for one in new))

    def prune(self, connection: Connection, most: int = 0) -> None:
        """Forget the deletions that no image file needs any more, if more than `most` are listed."""
        if connection.execute(f"SELECT count(*) FROM {self._deleted}").fetchone()[0] <= most:
            return
        cursor = connection.execute(
            f"DELETE FROM {self._deleted} WHERE NOT EXISTS (SELECT 1 FROM images WHERE collection = ? AND"
            f" {self._deleted}.row BETWEEN first AND last AND {self._deleted}.version > images.version)",
            [self.number],
        )
        if cursor.rowcount:
            connection.execute("UPDATE collections SET pruned = version WHERE number = ?", [self.number])

    def _remove(self, connection: Connection, numbers: Iterable[int], version: int) -> None:
        gone = sorted(numbers)
        for table in (self._rows, self._vectors):
            connection.executemany(f"DELETE FROM {table} WHERE row = ?", ((number,) for number in gone))
        _insert(connection, self._deleted, ((version, number) for number in gone))

    def _advance(self, connection: Connection, version: int, last: int) -> None:
        connection.execute(
            "UPDATE collections SET version = ?, last = ? WHERE number = ?", [version, last, self.number]
        )

    # Reading

    def files(self, connection: Connection) -> dict[str, int]:
        """The image files that count, in the order of their rows, and the last row that each stands for."""
        sql = "SELECT file, last FROM images WHERE collection = ? ORDER BY last"
        return dict(connection.execute(sql, [self.number]).fetchall())

    def of(self, connection: Connection, ids: Iterable[str], columns: str) -> Iterator[tuple[Any, ...]]:
        """The ids of these rows, and some columns of `rows`."""
        return self._by("id", connection, f"id, {columns}", _keys(ids))

    def numbers(self, connection: Connection, ids: Iterable[str]) -> dict[str, int]:
        """The numbers of the rows that have these ids."""
        return dict(self.of(connection, ids, "row"))

    def deleted(self, connection: Connection, since: int) -> Array:
        """The numbers of rows that were deleted after a version, int64."""
        sql = f"SELECT row FROM {self._deleted} WHERE version > ?"
        return np.fromiter((row for (row,) in connection.execute(sql, [since])), np.int64)

    def texts(self, connection: Connection, numbers: Array) -> Iterator[str]:
        """The texts of rows in ascending order; of one that is not there an empty one."""
        sql = f"SELECT row, text FROM {self._rows} WHERE row BETWEEN ? AND ? ORDER BY row"
        found = dict(connection.execute(sql, [int(numbers[0]), int(numbers[-1])])) if len(numbers) else {}
        return (found.get(number, "") for number in numbers.tolist())

    def next_rows(self, connection: Connection, last: int, limit: int) -> Rows | None:
        """The rows after a number, at most so many, as a segment is built of; `None` if there are no more."""
        sql = (
            f"SELECT r.row, r.id, r.metadata{self._selected(self.fields)} FROM {self._rows} r"
            f" JOIN {self._vectors} v ON v.row = r.row WHERE r.row > ? ORDER BY r.row LIMIT ?"
        )
        found = connection.execute(sql, [last, limit]).fetchall()
        if not found:
            return None
        numbers, ids, metadata, *columns = zip(*found, strict=True)
        vectors = {
            field.name: _decoded(field, column)
            for field, column in zip(self.fields, columns, strict=True)
            if not isinstance(field, MultiVectorField)
        }
        parsed = json.loads(f"[{','.join(metadata)}]")
        return Rows(np.asarray(numbers, dtype=np.int64), list(ids), parsed, vectors)

    def whole(self, connection: Connection, numbers: Sequence[int], *, vectors: bool) -> list[tuple[Any, ...]]:
        """Those of these rows that are there: id, text, metadata as JSON, content hash, and vectors as stored."""
        fields = [field for field in self.fields if vectors and not isinstance(field, LexicalField)]
        sql = f"r.id, r.text, r.metadata, r.content_hash{self._selected(fields)}"
        return list(self._by("row", connection, sql, numbers))

    def vectors(self, connection: Connection, field: Field, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The ids of these rows and their vectors in a field, as stored."""
        return self._by("id", connection, f"r.id{self._selected([field])}", _keys(ids))

    def _selected(self, fields: Sequence[Field]) -> str:
        return "".join(f", v.{self._columns[field.name]}" for field in fields)

    def _by(self, key: str, connection: Connection, columns: str, values: Iterable[Any]) -> Iterator[Any]:
        join = f" JOIN {self._vectors} v ON v.row = r.row" if "v." in columns else ""
        for batch in in_batches(values, AT_ONCE):
            sql = f"SELECT {columns} FROM {self._rows} r{join} WHERE r.{key} IN ({','.join('?' * len(batch))})"
            yield from connection.execute(sql, batch)


def _insert(connection: Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows, many in a statement: at each, SQLite lets another thread take the interpreter's lock."""
    for batch in in_batches(rows, AT_ONCE // 5):
        places = f"({','.join('?' * len(batch[0]))})"
        connection.execute(f"INSERT INTO {table} VALUES {','.join([places] * len(batch))}", [*chain(*batch)])


def _keys(ids: Iterable[str]) -> Iterator[str]:
    return (id_ for id_ in ids if not _SURROGATE.search(id_))


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _pairs(form: Any, indices: Array, values: Array) -> Array:
    pairs = np.empty(len(indices), form)
    pairs["index"], pairs["value"] = indices, values
    return pairs


def _cut(items: Array, lengths: Array) -> Iterator[bytes]:
    """The bytes of consecutive items, so many at a time."""
    data, width = items.tobytes(), items.nbytes // len(items) if len(items) else 0
    start = 0
    for end in (np.cumsum(lengths) * width).tolist():
        yield data[start:end]
        start = end


def _decoded(field: Field, column: Sequence[bytes]) -> Array | Entries:
    data = b"".join(column)
    if isinstance(field, DenseField):
        return _numbers(data, field).reshape(len(column), -1)
    items = np.frombuffer(data, WEIGHTS if isinstance(field, SparseField) else COUNTS)
    ends = np.cumsum(np.fromiter(map(len, column), np.int64, len(column))) // items.itemsize
    return Entries(ends, np.ascontiguousarray(items["index"]), np.ascontiguousarray(items["value"]))


def vector_of(field: DenseField | SparseField | MultiVectorField, stored: bytes) -> Any:
    """A dense, sparse or multi-vector as `milvine.store.base` has it, out of its bytes."""
    if isinstance(field, SparseField):
        from scipy.sparse import csr_array

        from milvine.analysis.statistics import DIMENSION

        items = np.frombuffer(stored, WEIGHTS)
        ends = np.asarray([0, len(items)], dtype=np.int64)
        parts = (items["value"].astype(np.float32), items["index"].astype(np.int64), ends)
        return csr_array(parts, shape=(1, DIMENSION))
    numbers = from_stored(_numbers(stored, field), field.type)
    return numbers.reshape(-1, field.dim) if isinstance(field, MultiVectorField) else numbers


def _numbers(data: bytes, field: DenseField | MultiVectorField) -> Array:
    return np.frombuffer(data, to_stored(np.empty(0, np.float32), field.type).dtype)
