"""Rows as Milvus' client takes and gives them, on Milvus Lite and on servers alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from milvine._records import content_hash
from milvine.analysis.statistics import DIMENSION, NO_TERMS
from milvine.errors import InputError
from milvine.store._vector_types import dense_scores, from_milvus, to_milvus
from milvine.store.base import DenseField, Field, Row, SparseField, SparseRow, Vector, VectorType
from milvine.store.filters import literal
from milvine.types import Record

CONFIG = "milvine.config"  # the property by which a collection on Milvus is known for one of milvine's
_SURROGATE = re.compile("[\ud800-\udfff]")  # no Unicode text has any, so no row has such an id
_INTEGER = re.compile("-?[0-9]{1,18}")
Scores: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Columns:
    """Where a collection keeps what a row has; another tool's has its own names for that.

    Attributes:
        id: The primary key.
        text: The text.
        content_hash: The hash of text and metadata; `None` if there is none, and it is made of what was read.
        vectors: Vector field to its column, where that is called otherwise.
        types: Dense field to the type of its vectors, where that is not float32.
        scalars: Columns whose values are metadata.
        dynamic: Whether a row may have further metadata.
        integers: Whether ids are integers; outside of the store they are written out in digits.
        read_only: Why nothing can be written; empty if it can.
    """

    id: str = "id"
    text: str = "text"
    content_hash: str | None = "content_hash"
    vectors: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, VectorType] = field(default_factory=dict)
    scalars: tuple[str, ...] = ()
    dynamic: bool = True
    integers: bool = False
    read_only: str = ""

    def vector(self, name: str) -> str:
        """The column of a vector field."""
        return self.vectors.get(name, name)

    def asked(self, name: str, vectors: Iterable[Any]) -> list[Any]:
        """Queries for a dense field as `search` takes them."""
        return [to_milvus(vector, self.types.get(name, "float32")) for vector in vectors]

    def scores(self, name: str, query: Any, stored: Mapping[str, Any], ids: Iterable[str], metric: str) -> Scores:
        """The scores that a search would give rows, of their vectors as a query gave them.

        Args:
            name: The vector field.
            query: A vector, or a sparse row.
            stored: Vectors by id.
            ids: The rows; one that is not stored is left out.
            metric: What Milvus calls it.
        """
        there = [id_ for id_ in ids if id_ in stored]
        if is_sparse(query):
            asked = dict(zip(query.indices.tolist(), query.data.tolist(), strict=True))
            return {id_: _inner(asked, stored[id_]) for id_ in there}
        if not there:
            return {}
        matrix = np.stack([from_milvus(stored[id_], self.types.get(name, "float32")) for id_ in there])
        return dict(zip(there, dense_scores(query, matrix, metric), strict=True))

    @property
    def record(self) -> list[str]:
        """The columns that make a record."""
        return [self.id, self.text, *self.scalars, *(["$meta"] if self.dynamic else [])]

    @property
    def hashed(self) -> list[str]:
        """The columns that tell the content hash."""
        return self.record if self.content_hash is None else [self.id, self.content_hash]

    def key(self, id_: str) -> Any:
        """The id as the column has it; `None` if it cannot have it."""
        if self.integers:
            return int(id_) if _INTEGER.fullmatch(id_) and str(int(id_)) == id_ else None
        return None if _SURROGATE.search(id_) else id_

    def keys(self, ids: Iterable[str]) -> list[Any]:
        """Those of the ids that the column can have, as it has them."""
        return [key for key in map(self.key, ids) if key is not None]

    def id_in(self, keys: Sequence[Any]) -> str:
        """A filter that passes these. pymilvus' own `ids=` pastes them in unescaped."""
        return f"{self.id} in {literal(list(keys))}"

    def to_record(self, row: dict[str, Any]) -> Record:
        """The record that these columns make."""
        rest = {
            name: value
            for name, value in row.items()
            if name not in (self.id, self.text) and not (value is None and name in self.scalars)
        }
        return Record(str(row[self.id]), str(row.get(self.text) or ""), rest)

    def check_writable(self, records: Iterable[Record]) -> None:
        """Refuse what cannot be written.

        Raises:
            InputError: The collection was made by another tool, and has no place for these records.
        """
        if self.read_only:
            raise InputError(f"the collection can only be read: {self.read_only}")
        for record in records:
            if self.integers and self.key(record.id) is None:
                raise InputError(f"the id {record.id!r}: this collection's ids are integers of 64 bits, in digits")
            if unknown := [key for key in record.metadata if not self.dynamic and key not in self.scalars]:
                raise InputError(
                    f"the record {record.id!r} has the metadata key {unknown[0]!r}, and the collection has no such"
                    f" field; it has {', '.join(self.scalars) or 'none'}"
                )

    def to_hash(self, row: dict[str, Any]) -> str:
        """The content hash that these columns tell."""
        return content_hash(self.to_record(row)) if self.content_hash is None else str(row[self.content_hash])


def to_entity(row: Row, columns: Columns) -> dict[str, Any]:
    """A row as `insert` takes it, without what the store adds for lexical fields."""
    record = row.record
    entity = {**record.metadata, columns.id: columns.key(record.id), columns.text: record.text}
    if columns.content_hash is not None:
        entity[columns.content_hash] = row.content_hash
    for name, vector in row.vectors.items():
        made = to_sparse(vector) if is_sparse(vector) else to_milvus(vector, columns.types.get(name, "float32"))
        entity[columns.vector(name)] = made
    return entity


def to_row(found: dict[str, Any], columns: Columns, fields: Sequence[Field]) -> Row:
    """A row as a query gave it, with the vectors of these dense and sparse fields."""
    vectors: dict[str, Vector] = {}
    for one in fields:
        value = found.pop(columns.vector(one.name))
        if isinstance(one, DenseField):
            vectors[one.name] = from_milvus(value, one.type)
        elif isinstance(one, SparseField):
            vectors[one.name] = from_sparse(value)
    hashed = None if columns.content_hash is None else found.pop(columns.content_hash)
    record = columns.to_record(found)
    return Row(record, content_hash(record) if hashed is None else hashed, vectors)


def is_sparse(vector: Any) -> bool:
    """Whether it is a row of a sparse matrix."""
    return hasattr(vector, "indptr")


def check_sparse(vectors: Iterable[Any], what: str) -> None:
    """Refuse weights that Milvus Lite would refuse, or store and never find.

    Raises:
        InputError: A weight is negative, NaN or infinite, or there is not one row.
    """
    for at, vector in enumerate(vectors):
        if not is_sparse(vector) or vector.shape[0] != 1:
            raise InputError(f"{what} {at} must be a csr_array of one row, not {type(vector).__name__}")
        weights = vector.data
        if len(weights) and not (weights.min() >= 0 and weights.max() < np.inf):  # NaN passes no comparison
            worst = next(weight for weight in weights.tolist() if not 0 <= weight < np.inf)
            raise InputError(f"{what} {at} has the weight {worst}; sparse weights must be finite and at least 0")


def to_sparse(vector: SparseRow) -> Any:
    """A sparse row as Milvus takes it, which refuses one that is empty."""
    return vector if vector.data.any() else {NO_TERMS: 1.0}


def from_sparse(weights: Mapping[int, float]) -> SparseRow:
    """A sparse row of what Milvus gave."""
    from scipy.sparse import csr_array

    known = sorted((int(index), weight) for index, weight in weights.items() if int(index) != NO_TERMS)
    indices = np.fromiter((index for index, _ in known), np.int64, len(known))
    data = np.fromiter((weight for _, weight in known), np.float32, len(known))
    return csr_array((data, indices, np.asarray([0, len(known)], dtype=np.int64)), shape=(1, DIMENSION))


def _inner(query: Mapping[int, float], weights: Mapping[int, float]) -> float:
    return float(sum(weight * weights[index] for index, weight in query.items() if index in weights))
