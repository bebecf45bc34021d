"""A segment: some rows of a collection in the form that is searched.

Its rows are numbered as in the database, ascending; a *position* is a row's place in the segment. A segment never
changes: which of its rows have been deleted since, a mask beside it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from milvine.store.base import DenseField, Field, MultiVectorField
from milvine.store.builtin.dense import DensePart
from milvine.store.builtin.parts import Entries
from milvine.store.builtin.postings import PostingsPart, inverted
from milvine.store.filtering.columns import MetadataPart
from milvine.store.filtering.strings import Array, Arrays, Chunks, Mask, Strings

Part: TypeAlias = "DensePart | PostingsPart"


@dataclass(frozen=True)
class Rows:
    """Rows as the database holds them.

    Attributes:
        numbers: Their numbers, ascending, int64 of shape `(n,)`.
        ids: Their ids.
        metadata: Their metadata.
        vectors: For each dense field a matrix of shape `(n, dim)` in the form that is stored (see `dense.py`), for each
            sparse and lexical field its entries. Multi-vectors are not part of a segment.
    """

    numbers: npt.NDArray[np.int64]
    ids: list[str]
    metadata: list[dict[str, Any]]
    vectors: Mapping[str, Array | Entries]


class Segment:
    """Rows that can be searched.

    Args:
        arrays: All that it is made of: `numbers`, and the arrays of its parts, whose names are `ids:...`,
            `metadata:...` and `field <name>:...`. They may be mapped from a file and read-only.
        fields: The collection's fields.

    Attributes:
        numbers: The rows' numbers, ascending, int64 of shape `(n,)`.
        ids: Their ids.
        metadata: Their metadata, by key.
        parts: The part of each field but the multi-vector ones, by the field's name.
    """

    def __init__(self, arrays: Arrays, fields: Sequence[Field]) -> None:
        self.arrays = arrays
        self.numbers: npt.NDArray[np.int64] = arrays["numbers"]
        own = _split(arrays)
        self.ids = Strings(own["ids"])
        self.metadata = MetadataPart(own["metadata"])
        self.parts: dict[str, Part] = {}
        for field in _with_parts(fields):
            part = own[f"field {field.name}"]
            self.parts[field.name] = DensePart(part, field) if isinstance(field, DenseField) else PostingsPart(part)

    @classmethod
    def build(cls, rows: Rows, fields: Sequence[Field]) -> Segment:
        """A segment of rows."""
        arrays: dict[str, Array] = {"numbers": rows.numbers}
        arrays |= _of("ids", Strings.build(rows.ids).arrays)
        arrays |= _of("metadata", MetadataPart.build(rows.metadata).arrays)
        for field in _with_parts(fields):
            vectors = rows.vectors[field.name]
            part = inverted(vectors) if isinstance(vectors, Entries) else {"vectors": vectors}
            arrays |= _of(f"field {field.name}", part)
        return cls(arrays, fields)

    @staticmethod
    def merged(segments: Sequence[Segment], keeps: Sequence[Mask | None]) -> dict[str, Chunks]:
        """The arrays of one segment with those rows of several that are kept; `None` keeps all.

        The chunks are made as they are read, once. The segments stand in the order of their rows' numbers.
        """
        pairs = list(zip(segments, keeps, strict=True))
        chunks: dict[str, Chunks] = {
            "numbers": (one.numbers if keep is None else one.numbers[keep] for one, keep in pairs)
        }
        chunks |= _of("ids", Strings.merged([one.ids for one in segments], keeps))
        chunks |= _of("metadata", MetadataPart.merged([one.metadata for one in segments], keeps))
        for name, part in segments[0].parts.items():
            several: list[Any] = [one.parts[name] for one in segments]
            chunks |= _of(f"field {name}", type(part).merged(several, keeps))
        return chunks

    def __len__(self) -> int:
        return len(self.numbers)

    def positions(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The positions of rows by their numbers; -1 where a row is not in the segment."""
        found = np.searchsorted(self.numbers, numbers)
        there = found < len(self)
        there[there] = self.numbers[found[there]] == numbers[there]
        return np.where(there, found, -1)


def _split(arrays: Arrays) -> dict[str, dict[str, Array]]:
    """Each part's arrays, under their own names, in which there is no colon, as there may be in a field's."""
    parts: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        part, _, own = name.rpartition(":")
        parts.setdefault(part, {})[own] = array
    return parts


def _of(part: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{part}:{own}": array for own, array in arrays.items()}


def _with_parts(fields: Sequence[Field]) -> list[Field]:
    return [field for field in fields if not isinstance(field, MultiVectorField)]
