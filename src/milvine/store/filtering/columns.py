"""The metadata of a segment, by key: each value that a key has is held once, and the rows hold its number.

So a filter looks at distinct values and not at rows: where 100,000 rows have one of ten sources, a condition on the
source is tried ten times. 1 and 1.0 are one value; 1 and `true` are two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from milvine.store.filtering.strings import Array, Arrays, Chunks, Mask, Strings, joined

EXACT = 2**53  # float64 holds all integers up to here
# In ASCII, so that a character is a byte; and where no value holds others, none holds a line break.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_encode_lines = json.JSONEncoder(separators=("\n", ":")).encode


def canonical(value: Any) -> Hashable:
    """What stands for a JSON value in a set: equal for 1 and 1.0, not for 1 and `true`, also within arrays."""
    if isinstance(value, bool):
        return (value,)
    if isinstance(value, list):
        return ("[", *map(canonical, value))
    if isinstance(value, dict):
        return ("{", frozenset((key, canonical(item)) for key, item in value.items()))
    return value  # type: ignore[no-any-return]


def numbered(values: list[Any]) -> tuple[Array, list[Any]]:
    """The number of each value, and the distinct values."""
    names = values if set(map(type, values)) <= {str, int, float} else list(map(canonical, values))
    distinct = dict(zip(names, values, strict=True))
    codes = dict(zip(distinct, range(len(distinct)), strict=True))
    return np.fromiter(map(codes.__getitem__, names), np.int32, len(names)), list(distinct.values())


class Numbers(NamedTuple):
    """The numbers among values (int64 or float64, 0 for what is none), which are, and whether float64 is exact."""

    values: Array
    are: Mask
    exact: bool


class Column:
    """What one key is in each row that has it. What is made of the values is made when first needed, and kept.

    Args:
        rows: The rows that have the key, ascending; `None` if all have.
        codes: The number of each one's value.
        read: Reads the distinct values.
    """

    def __init__(self, rows: Array | None, codes: Array, read: Callable[[], list[Any]]) -> None:
        self._rows, self._codes, self._read = rows, codes, read

    def spread(self, table: Array, count: int) -> Array:
        """Something of each distinct value, and last of none, to each of `count` rows."""
        if self._rows is None:
            return table[self._codes]
        spread = np.full(count, table[-1], table.dtype)
        spread[self._rows] = table[self._codes]
        return spread

    @cached_property
    def values(self) -> list[Any]:
        """The distinct values."""
        return self._read()

    @cached_property
    def lookup(self) -> dict[Hashable, int]:
        """The number of each value, by `canonical`."""
        return {canonical(value): code for code, value in enumerate(self.values)}

    @cached_property
    def numbers(self) -> Numbers | None:
        """Those values that are numbers; `None` if neither int64 nor float64 is sure to hold them all."""
        values = self._read()
        kinds = set(map(type, values))
        are: Array = np.ones(len(values), np.bool_)
        if not kinds <= {int, float}:
            are = np.fromiter((type(value) in (int, float) for value in values), np.bool_, len(values))
            values = [value if is_number else 0 for value, is_number in zip(values, are.tolist(), strict=True)]
        array = np.array(values, np.float64 if float in kinds else np.int64)
        exact = bool(((array > -EXACT) & (array < EXACT)).all())
        return Numbers(array, are, exact) if exact or float not in kinds else None


class MetadataPart:
    """The columns of a segment. A key that is null is as one that is not there.

    Args:
        arrays: `length`: int64 of shape `(1,)`, the rows. `keys/...`: the keys, as `Strings`. For each key in turn:
            `ends`, int64, where it ends in `rows` and `codes`, int32, which are those of `Column`; and `value_ends`,
            int64, where it ends in `values/...`, the distinct values as JSON, as `Strings`.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return int(self.arrays["length"][0])

    @classmethod
    def build(cls, metadata: Sequence[Mapping[str, Any]]) -> MetadataPart:
        """Those of a list of JSON objects."""
        found: dict[str, tuple[list[int], list[Any]]] = {}
        for row, own in enumerate(metadata):
            for key, value in own.items():
                if value is not None:
                    rows, values = found.setdefault(key, ([], []))
                    rows.append(row)
                    values.append(value)
        return cls(joined(_arrays(len(metadata), (_Entries.build(key, *one) for key, one in found.items()))))

    def column(self, key: str) -> Column | None:
        """A key's column, if any row has the key."""
        if key not in self._columns and key in self._keys:
            _, rows, codes, strings = self._entries(key)
            self._columns[key] = Column(None if len(rows) == len(self) else rows, codes, partial(_decoded, strings))
        return self._columns.get(key)

    @cached_property
    def _keys(self) -> dict[str, int]:
        keys = Strings({"ends": self.arrays["keys/ends"], "bytes": self.arrays["keys/bytes"]})
        return {key: at for at, key in enumerate(keys)}

    def _entries(self, key: str) -> _Entries:
        at, arrays, ends = self._keys[key], self.arrays, self.arrays["values/ends"]
        start, value_start = (int(arrays[name][at - 1]) if at else 0 for name in ("ends", "value_ends"))
        places, values = slice(start, int(arrays["ends"][at])), slice(value_start, int(arrays["value_ends"][at]))
        first = int(ends[value_start - 1]) if value_start else 0
        texts = {"ends": ends[values] - first, "bytes": arrays["values/bytes"][first : int(ends[values][-1])]}
        return _Entries(key, arrays["rows"][places], arrays["codes"][places], Strings(texts))

    @staticmethod
    def merged(parts: Sequence[MetadataPart], keeps: Sequence[Mask | None]) -> dict[str, Chunks]:
        """The arrays of those rows of several parts that are kept; `None` keeps all.

        Values that no kept row has are dropped, so rows that were replaced leave nothing behind. The arrays are made
        at once, as a column's values must be known before its codes.
        """
        length, places = 0, []  # of each part where its rows go; -1 if one is not kept
        for part, keep in zip(parts, keeps, strict=True):
            kept = np.ones(len(part), np.bool_) if keep is None else keep
            places.append(np.where(kept, np.cumsum(kept, dtype=np.int32) + np.int32(length - 1), np.int32(-1)))
            length += int(np.count_nonzero(kept))
        keys = dict.fromkeys(key for part in parts for key in part._keys)
        return _arrays(length, (_merged(key, list(zip(parts, places, strict=True))) for key in keys))


class _Entries(NamedTuple):
    """A key, the rows that have it, the codes of their values, and the distinct values as JSON."""

    key: str
    rows: Array
    codes: Array
    strings: Strings

    @classmethod
    def build(cls, key: str, rows: list[int], values: list[Any]) -> _Entries:
        codes, distinct = numbered(values)
        # 1.0 as 1, so that they are one value also where segments are merged.
        made = [int(one) if type(one) is float and abs(one) < 2**63 and one.is_integer() else one for one in distinct]
        nested = not {list, dict}.isdisjoint(map(type, made))
        texts = map(_encode, made) if nested else _encode_lines(made)[1:-1].split("\n")
        return cls(key, np.array(rows, np.int32), codes, Strings.build(texts))


def _merged(key: str, parts: list[tuple[MetadataPart, Array]]) -> _Entries:
    rows, codes = [], []
    texts: list[str] = []
    for part, place in parts:
        if key in part._keys:
            _, own, own_codes, strings = part._entries(key)
            kept = place[own] >= 0
            used, new = np.unique(own_codes[kept], return_inverse=True)
            rows.append(place[own][kept])
            codes.append(new + len(texts))
            own_texts = _texts(strings)
            texts += [own_texts[code] for code in used.tolist()]
    code_of, distinct = numbered(texts)
    return _Entries(key, np.concatenate(rows), code_of[np.concatenate(codes)], Strings.build(distinct))


def _arrays(length: int, entries: Iterable[_Entries]) -> dict[str, Chunks]:
    rows: list[Array] = [np.empty(0, np.int32)]
    codes: list[Array] = [np.empty(0, np.int32)]
    keys, strings = [], [Strings.build([])]
    for one in entries:
        if len(one.rows):
            keys.append(one.key)
            rows.append(one.rows)
            codes.append(one.codes)
            strings.append(one.strings)
    return {
        "length": [np.array([length])],
        "ends": [np.cumsum([len(some) for some in rows[1:]], dtype=np.int64)],
        "value_ends": [np.cumsum([len(some) for some in strings[1:]], dtype=np.int64)],
        "rows": rows,
        "codes": codes,
        **{f"keys/{name}": [array] for name, array in Strings.build(keys).arrays.items()},
        **{f"values/{name}": chunks for name, chunks in Strings.merged(strings, [None] * len(strings)).items()},
    }


def _texts(strings: Strings) -> list[str]:
    text, ends = strings.arrays["bytes"].tobytes().decode("ascii"), strings.arrays["ends"].tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends)]  # noqa: B905


def _decoded(strings: Strings) -> list[Any]:
    return json.loads(f"[{','.join(_texts(strings))}]")  # type: ignore[no-any-return]
