from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.analysis import get_analyzer
from milvine.store.base import DenseField, Field, LexicalField, MultiVectorField, SparseField
from milvine.store.builtin import image
from milvine.store.builtin.dense import DensePart
from milvine.store.builtin.parts import Entries
from milvine.store.builtin.postings import BM25, PostingsPart
from milvine.store.builtin.segment import Rows, Segment
from milvine.store.filtering.strings import Array, Mask, joined

# Names that would meet if a field's name were put in front of its arrays' as it is.
FIELDS: list[Field] = [
    DenseField("ids", 8),
    DenseField("metadata", 4, "int8"),
    SparseField("field ids"),
    LexicalField("metadata:keys", get_analyzer("en").terms, 1.2, 0.75),
    DenseField("ids:vectors", 2, "float16", "L2"),
    MultiVectorField("tokens", 3),
]
LANGUAGES = ["de", "en", None]


def entries(rows: list[dict[int, float]], dtype: Any) -> Entries:
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    indices = np.array([index for row in rows for index in sorted(row)], np.uint32)
    return Entries(ends, indices, np.array([row[index] for row in rows for index in sorted(row)], dtype))


def some_rows(numbers: list[int]) -> Rows:
    """Rows that depend on their numbers alone."""
    dense, weights, counts = [], [], []
    for number in numbers:
        generator, chosen = np.random.default_rng(number), random.Random(number)  # noqa: S311
        dense.append(generator.normal(size=8))
        weights.append({chosen.randrange(50): chosen.random() + 0.1 for _ in range(chosen.randint(0, 9))})
        counts.append({chosen.randrange(50): chosen.randint(1, 4) for _ in range(chosen.randint(1, 9))})
    vectors = np.array(dense).reshape(-1, 8)
    return Rows(
        numbers=np.array(numbers, np.int64),
        ids=[f"id {number} ä" for number in numbers],
        metadata=[{"n": number, "language": LANGUAGES[number % 3]} for number in numbers],
        vectors={
            "ids": vectors.astype(np.float32),
            "metadata": (vectors[:, :4] * 20).astype(np.int8),
            "field ids": entries(weights, np.float32),
            "metadata:keys": entries(counts, np.uint16),
            "ids:vectors": vectors[:, :2].astype(np.float16),
        },
    )


def column(segment: Segment, key: str) -> list[Any]:
    """What each row has under a key."""
    found = segment.metadata.column(key)
    if found is None:
        return [None] * len(segment)
    codes = found.spread(np.array([*range(len(found.values)), -1]), len(segment))
    return [None if code < 0 else found.values[code] for code in codes]


def answers(segment: Segment, allowed: Mask | None = None) -> dict[str, list[tuple[int, float]]]:
    """What each part finds, by the rows' numbers."""
    generator = np.random.default_rng(0)
    found: dict[str, tuple[Array, Array]] = {}
    for name, part in segment.parts.items():
        if isinstance(part, DensePart):
            query = generator.normal(size=8)[: {"ids": 8, "metadata": 4}.get(name, 2)] * (
                20 if name == "metadata" else 1
            )
            found[name] = part.search(query.astype(np.int8 if name == "metadata" else np.float32), 10, allowed)
        elif name == "field ids":
            found[name] = part.search(np.arange(1, 50, 4), np.linspace(0.5, 1, 13), None, 10, allowed)
        else:
            bm25 = BM25(6.0, 1.2, 0.75)
            found[name] = part.search(np.arange(1, 50, 9), np.linspace(0.5, 1, 6), bm25, 10, allowed)
    return {
        name: list(zip(segment.numbers[positions].tolist(), scores.tolist(), strict=True))
        for name, (positions, scores) in found.items()
    }


def assert_same(one: Segment, other: Segment) -> None:
    assert one.numbers.tolist() == other.numbers.tolist()
    assert list(one.ids) == list(other.ids)
    for key in ("n", "language", "none"):
        assert column(one, key) == column(other, key)
    assert answers(one) == answers(other)


def test_a_segment_of_rows() -> None:
    segment = Segment.build(some_rows([3, 4, 9]), FIELDS)
    assert len(segment) == 3
    assert [segment.ids[at] for at in range(3)] == ["id 3 ä", "id 4 ä", "id 9 ä"]
    assert column(segment, "n") == [3, 4, 9]
    assert column(segment, "language") == ["de", "en", "de"]
    assert {name: type(part) for name, part in segment.parts.items()} == {
        "ids": DensePart,
        "metadata": DensePart,
        "field ids": PostingsPart,
        "metadata:keys": PostingsPart,
        "ids:vectors": DensePart,
    }
    vectors = some_rows([3, 4, 9]).vectors
    # The cosines with the second row's own vector: by numpy, in float64.
    dense = np.asarray(vectors["ids"], np.float64)
    cosines = dense @ dense[1] / np.linalg.norm(dense, axis=1) / np.linalg.norm(dense[1])
    part = segment.parts["ids"]
    assert isinstance(part, DensePart)
    positions, scores = part.search(dense[1].astype(np.float32), 3, None)
    assert positions.tolist() == np.argsort(-cosines).tolist()
    np.testing.assert_allclose(scores, np.sort(cosines)[::-1], atol=1e-6)


def test_positions_of_row_numbers() -> None:
    segment = Segment.build(some_rows([3, 4, 9]), FIELDS)
    wanted = np.array([9, 3, 5, 10, 0, 4, 4])
    found = segment.positions(wanted)
    assert found.dtype == np.int64
    assert found.tolist() == [2, 0, -1, -1, -1, 1, 1]
    assert segment.positions(np.empty(0, np.int64)).tolist() == []
    empty = Segment.build(some_rows([]), FIELDS)
    assert empty.positions(wanted).tolist() == [-1] * 7


def test_a_segment_of_its_own_arrays_and_of_a_file(tmp_path: Path) -> None:
    segment = Segment.build(some_rows(list(range(0, 400, 3))), FIELDS)
    again = Segment(segment.arrays, FIELDS)
    assert_same(again, segment)
    path = image.write(tmp_path, {name: [array] for name, array in segment.arrays.items()})
    mapped = Segment(image.read(path), FIELDS)
    assert mapped.arrays.keys() == segment.arrays.keys()
    assert not any(array.flags.writeable for array in mapped.arrays.values())
    assert_same(mapped, segment)
    assert answers(mapped, mapped.numbers % 2 == 0) == answers(segment, segment.numbers % 2 == 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_merged_segment_is_one_of_the_rows_that_are_kept(seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    numbers = sorted(chosen.sample(range(5000), 700))
    sizes = [chosen.choice([1, 30, 150, 0]) for _ in range(5)]
    ends = [sum(sizes[:at]) for at in range(6)]
    several = [Segment.build(some_rows(numbers[start:end]), FIELDS) for start, end in pairwise(ends)]
    keeps: list[Mask | None] = [np.random.default_rng(size).random(size) < 0.7 for size in sizes]
    keeps[:2] = np.zeros(sizes[0], np.bool_), None
    kept = [
        int(number)
        for segment, keep in zip(several, keeps, strict=True)
        for number in (segment.numbers if keep is None else segment.numbers[keep])
    ]
    merged = joined(Segment.merged(several, keeps))
    wanted = Segment.build(some_rows(kept), FIELDS)
    assert {name: array.dtype for name, array in merged.items()} == {
        name: array.dtype for name, array in wanted.arrays.items()
    }
    assert_same(Segment(merged, FIELDS), wanted)


def test_merging_all_of_one_and_none(tmp_path: Path) -> None:
    segment = Segment.build(some_rows(list(range(100))), FIELDS)
    assert_same(Segment(joined(Segment.merged([segment], [None])), FIELDS), segment)
    path = image.write(tmp_path, Segment.merged([segment], [np.zeros(100, np.bool_)]))
    nothing = Segment(image.read(path), FIELDS)
    assert len(nothing) == 0
    assert all(found == [] for found in answers(nothing).values())


def test_a_segment_knows_nothing_of_its_fields_but_its_arrays() -> None:
    segment = Segment.build(some_rows([1, 2]), FIELDS[:3])
    assert list(segment.parts) == ["ids", "metadata", "field ids"]
    with pytest.raises(KeyError):
        Segment(segment.arrays, FIELDS)
