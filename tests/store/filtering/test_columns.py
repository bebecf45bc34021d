"""The metadata of segments by key. What is expected comes of the rows themselves."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from milvine.store.filtering.columns import MetadataPart, canonical, numbered
from milvine.store.filtering.strings import joined

Rows = list[dict[str, Any]]
VALUES = [
    "", "a", "é", "x\x00y", "\u2028", "1", 1, 1.0, 0.5, -0.0, 1e300, 2.0**60, 2**60, 2**63 - 1, -(2**63), True, False,
    [], [1, True], {"a": {"b": [None]}}, {}, None,
]  # fmt: skip


def any_rows(chance: random.Random, count: int) -> Rows:
    keys = ["n", "größe", "with space", "rare", "x/y", "1"]
    return [{key: chance.choice(VALUES) for key in keys if chance.random() < 0.6} for _ in range(count)]


def column_of(part: MetadataPart, key: str) -> list[Any]:
    """What each row has, in the form in which values are compared."""
    column = part.column(key)
    if column is None:
        return [None] * len(part)
    choices = [canonical(value) for value in [*column.values, None]]
    return [choices[code] for code in column.spread(np.arange(len(choices)), len(part))]


def assert_holds(part: MetadataPart, rows: Rows) -> None:
    assert len(part) == len(rows)
    for key in {key for row in rows for key in row} | {"nosuch"}:
        assert column_of(part, key) == [canonical(row.get(key)) for row in rows]


def test_what_is_built_is_there() -> None:
    for seed in range(20):
        rows = any_rows(random.Random(seed), seed)  # noqa: S311
        assert_holds(MetadataPart.build(rows), rows)


def test_a_part_is_its_arrays_and_they_may_be_read_only() -> None:
    rows = any_rows(random.Random(1), 50)  # noqa: S311
    arrays = dict(MetadataPart.build(rows).arrays)
    for array in arrays.values():
        array.setflags(write=False)
    part = MetadataPart(arrays)
    assert_holds(part, rows)
    assert_holds(MetadataPart(joined(MetadataPart.merged([part, part], [None, None]))), rows + rows)


def test_merged_parts_hold_the_rows_that_are_kept() -> None:
    for seed in range(40):
        chance = random.Random(seed)  # noqa: S311
        several = [any_rows(chance, chance.randrange(30)) for _ in range(chance.randrange(1, 5))]
        keeps = [
            None if chance.random() < 0.3 else np.array([chance.random() < 0.5 for _ in rows], np.bool_)
            for rows in several
        ]
        arrays = joined(MetadataPart.merged([MetadataPart.build(rows) for rows in several], keeps))
        kept = [
            row
            for rows, keep in zip(several, keeps, strict=True)
            for row, is_kept in zip(rows, [True] * len(rows) if keep is None else keep, strict=True)
            if is_kept
        ]
        assert_holds(MetadataPart(arrays), kept)
        built = MetadataPart.build(kept).arrays
        assert {name: array.dtype for name, array in arrays.items()} == {n: a.dtype for n, a in built.items()}
        assert len(arrays["values/ends"]) == len(built["values/ends"])  # nothing is held that no row has


def test_values_of_replaced_rows_are_dropped() -> None:
    part = MetadataPart.build([{"n": 0}])
    for n in range(1, 30):
        new = MetadataPart.build([{"n": n, "key": [n]}])
        part = MetadataPart(joined(MetadataPart.merged([part, new], [np.zeros(1, np.bool_), None])))
    assert len(part.arrays["values/bytes"]) == len("29") + len("[29]")


def test_each_value_is_held_once() -> None:
    part = MetadataPart.build([{"source": f"{row % 3}.md", "n": float(row % 2)} for row in range(100)])
    source, n = part.column("source"), part.column("n")
    assert source is not None
    assert n is not None
    assert source.values == ["0.md", "1.md", "2.md"]
    assert n.values == [0, 1]
    assert source.lookup == {"0.md": 0, "1.md": 1, "2.md": 2}


def test_numbers() -> None:
    def numbers(*values: Any) -> Any:
        column = MetadataPart.build([{"k": value} for value in values]).column("k")
        assert column is not None
        return column.numbers

    assert numbers(3, "x", True, -1).values.tolist() == [3, 0, 0, -1]
    assert numbers(3, "x", True, -1).are.tolist() == [True, False, False, True]
    assert numbers(2**63 - 1, 1).values.tolist() == [2**63 - 1, 1]  # int64 holds what float64 does not
    assert not numbers(2**63 - 1, 1).exact
    assert not numbers(-(2**63)).exact
    assert numbers(0.5, 2**53 - 1).values.tolist() == [0.5, 2**53 - 1]
    assert numbers(0.5, 2**53 + 1) is None
    assert numbers(1e300) is None


def test_what_is_the_same_value() -> None:
    assert canonical(1) == canonical(1.0)
    assert canonical(True) != canonical(1)
    assert canonical([1, {"a": 2.0}]) == canonical([1.0, {"a": 2}])
    assert canonical([True]) != canonical([1])
    assert canonical({"a": 1}) != canonical(["a", 1])
    codes, distinct = numbered([True, 1, [1], 1.0, [1.0], "1", True])
    assert codes.tolist() == [0, 1, 2, 1, 2, 3, 0]
    assert len(distinct) == 4
