"""Dense vectors of every type and metric, against plain numpy in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.store.base import DenseField
from milvine.store.builtin.dense import BLOCK, CODED, DensePart
from milvine.store.filtering.strings import joined

Array = Any
KINDS = [
    *((type_, metric) for type_ in ("float32", "float16", "bfloat16", "int8") for metric in ("COSINE", "IP", "L2")),
    ("binary", "COSINE"),
]


def clustered(count: int, dim: int, seed: int = 0) -> Array:
    """Vectors of different lengths around 200 centres, not centred on the origin."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(200, dim)) + random.normal(size=dim)
    vectors = centres[random.integers(0, 200, count)] + random.normal(size=(count, dim))
    return (vectors * np.exp(random.normal(0, 0.3, (count, 1)))).astype(np.float32)


def stored(vectors: Array, type_: str) -> Array:
    """As the type is kept; bfloat16 here cuts the lower half off."""
    if type_ == "binary":
        return np.packbits(vectors > 0, axis=1)
    if type_ == "int8":
        return np.clip(np.round(vectors * 20), -127, 127).astype(np.int8)
    if type_ == "bfloat16":
        return (np.ascontiguousarray(vectors).view(np.uint32) >> 16).astype(np.uint16)
    return vectors.astype(type_)


def asked(vectors: Array, type_: str) -> Array:
    """Queries."""
    return stored(vectors, type_) if type_ in ("int8", "binary") else vectors


def wide(matrix: Array) -> Array:
    """Stored vectors in float64; of bits 1 and -1."""
    if matrix.dtype == np.uint8:
        return np.unpackbits(matrix, axis=1) * 2.0 - 1
    if matrix.dtype == np.uint16:
        return (matrix.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return matrix.astype(np.float64)


def reference(matrix: Array, query: Array, metric: str) -> Array:
    """The scores as `milvine.store.base` defines them."""
    vectors, vector = wide(matrix), wide(query[None])[0]
    if metric == "IP":
        return vectors @ vector
    if metric == "L2":
        return 1 - ((vectors - vector) ** 2).sum(axis=1) / 2
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
    return np.divide(vectors @ vector, lengths, out=np.zeros(len(vectors)), where=lengths > 0)


def part_of(vectors: Array, type_: str = "float32", metric: str = "COSINE") -> DensePart:
    field = DenseField("a", vectors.shape[1], type_, metric)  # type: ignore[arg-type]
    return DensePart({"vectors": stored(vectors, type_)}, field)


def close(scores: Array, expected: Array) -> bool:
    """To float32's precision of the largest number that was added."""
    return np.allclose(scores, expected, rtol=2e-6, atol=2e-6 * max(1, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize(("type_", "metric"), KINDS)
@pytest.mark.parametrize("count", [0, 1, 7, 1500])
def test_few_rows_are_scored_exactly(type_: str, metric: str, count: int) -> None:
    vectors = clustered(count, 40)
    part, matrix = part_of(vectors, type_, metric), stored(vectors, type_)
    for query in asked(clustered(3, 40, 1), type_):
        expected = reference(matrix, query, metric)
        positions, scores = part.search(query, 10, None)
        assert len(positions) == min(10, count)
        assert positions.dtype == np.int64
        assert scores.dtype == np.float32
        assert close(scores, expected[positions])
        assert close(scores, np.sort(expected)[::-1][:10])
        some = np.arange(0, count, 3)
        assert close(part.score(query, some), expected[some])


@pytest.mark.parametrize(("type_", "metric"), KINDS)
@pytest.mark.parametrize("dim", [72, 128])
def test_many_rows_are_found_by_their_codes(type_: str, metric: str, dim: int) -> None:
    vectors = clustered(CODED + 1254, dim)
    vectors, queries = vectors[:-20], vectors[-20:]
    part, matrix = part_of(vectors, type_, metric), stored(vectors, type_)
    found = []
    for query in asked(queries, type_):
        expected = reference(matrix, query, metric)
        positions, scores = part.search(query, 10, None)
        assert close(scores, expected[positions])
        assert list(scores) == sorted(scores, reverse=True)
        assert np.array_equal(scores, part.score(query, positions))
        found.append(np.mean(scores >= np.sort(expected)[-10] - 2e-6 * np.abs(expected).max()))
    assert np.mean(found) >= 0.99
    assert ("codes" in part.arrays) == (type_ != "binary")


@pytest.mark.parametrize("dim", [2, 8, 16, 100, 384, 1024])
def test_vectors_without_any_structure(dim: int) -> None:
    """The hardest for codes: normally distributed in all directions, the best hardly better than the next."""
    random = np.random.default_rng(1)
    vectors, queries = (random.standard_normal((count, dim), np.float32) for count in (CODED + 1000, 40))
    part = part_of(vectors)
    found = []
    for query in queries:
        least = np.sort(expected := reference(vectors, query, "COSINE"))[-10]
        positions, scores = part.search(query, 10, None)
        assert close(scores, expected[positions])
        found.append(np.mean(expected[positions] >= least - 1e-6))
    assert np.mean(found) >= 0.99


@pytest.mark.parametrize("share", [0, 0.00005, 0.001, 0.05, 0.3, 0.9, 1])
@pytest.mark.parametrize("count", [500, CODED + 5])
def test_filters(count: int, share: float) -> None:
    vectors = clustered(count + 5, 64)
    vectors, queries = vectors[:count], vectors[count:]
    part, allowed = part_of(vectors), np.random.default_rng(5).random(count) < share
    found = []
    for query in queries:
        expected = np.where(allowed, reference(vectors, query, "COSINE"), -9)
        positions, scores = part.search(query, 20, allowed)
        assert len(positions) == len(set(positions.tolist())) == min(20, allowed.sum())
        assert allowed[positions].all()
        assert close(scores, expected[positions])
        found.append(np.isin(np.argsort(-expected, kind="stable")[: len(positions)], positions))
    assert np.concatenate(found).mean() >= 0.99 if allowed.any() else not np.concatenate(found).size


def test_by_hand() -> None:
    vectors = np.array([[3, 4], [0, 0], [-3, -4], [4, 3], [6, 8]], np.float32)
    query = np.array([3, 4], np.float32)
    for metric, best, scores in (
        ("COSINE", [0, 4, 3, 1, 2], [1, 1, 24 / 25, 0, -1]),
        ("IP", [4, 0, 3, 1, 2], [50, 25, 24, 0, -25]),
        ("L2", [0, 3, 1, 4, 2], [1, 0, -11.5, -11.5, -49]),
    ):
        for type_ in ("float32", "float16", "bfloat16"):
            positions, found = part_of(vectors, type_, metric).search(query, 9, None)
            assert positions.tolist() == best
            assert found == pytest.approx(scores)
        part = DensePart({"vectors": vectors.astype(np.int8)}, DenseField("a", 2, "int8", metric))  # type: ignore[arg-type]
        assert part.search(query.astype(np.int8), 9, None)[0].tolist() == best


def test_bits_by_hand() -> None:
    matrix = np.array([[0b10101010, 0], [0b10101010, 0b1], [0b01010101, 255]], np.uint8)
    part = DensePart({"vectors": matrix}, DenseField("a", 16, "binary"))
    positions, scores = part.search(np.array([0b10101010, 0], np.uint8), 3, None)
    assert positions.tolist() == [0, 1, 2]
    assert scores.tolist() == [1, 1 - 2 / 16, -1]


@pytest.mark.parametrize("metric", ["COSINE", "IP", "L2"])
def test_a_query_of_zeros(metric: str) -> None:
    vectors = clustered(CODED, 64)
    positions, scores = part_of(vectors, metric=metric).search(np.zeros(64, np.float32), 5, None)
    assert close(scores, reference(vectors, np.zeros(64), metric)[positions])
    assert len(set(positions.tolist())) == 5
    assert metric == "L2" or scores.tolist() == [0] * 5


@pytest.mark.parametrize("count", [100, CODED])
def test_of_equal_rows_the_first_is_first(count: int) -> None:
    vectors = np.repeat(clustered(4, 96), count // 4, axis=0)
    positions, _ = part_of(vectors).search(vectors[-1], 20, None)
    assert positions.tolist() == list(range(3 * (count // 4), 3 * (count // 4) + 20))
    positions, _ = part_of(np.zeros((count, 96), np.float32)).search(vectors[0], 20, None)
    assert positions.tolist() == list(range(20))


def test_more_than_there_are() -> None:
    vectors = clustered(CODED, 64)
    positions, scores = part_of(vectors).search(vectors[5], CODED + 10, None)
    assert sorted(positions.tolist()) == list(range(CODED))
    assert positions[0] == 5
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize(
    ("type_", "metric"), [("float32", "COSINE"), ("float16", "L2"), ("int8", "IP"), ("binary", "COSINE")]
)
@pytest.mark.parametrize("counts", [(0, 0), (5, 0, 9), (BLOCK, BLOCK), (CODED + 100, 3, 9000, 0), (9000, 9000)])
def test_merged_is_as_built_anew(type_: str, metric: str, counts: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    several = [clustered(count, 72, seed) for seed, count in enumerate(counts)]
    keeps = [None if at == 1 else random.random(count) < 0.9 for at, count in enumerate(counts)]
    parts = [part_of(vectors, type_, metric) for vectors in several]
    merged = joined(DensePart.merged(parts, keeps))
    kept = [vectors if keep is None else vectors[keep] for vectors, keep in zip(several, keeps, strict=True)]
    anew = joined(DensePart.merged([part_of(np.concatenate(kept), type_, metric)], [None]))
    assert merged.keys() == anew.keys()
    for name, array in anew.items():
        assert merged[name].dtype == array.dtype
        assert np.array_equal(merged[name], array)


def test_merging_holds_a_few_thousand_rows_at_a_time() -> None:
    parts = [part_of(clustered(CODED, 64)), part_of(clustered(CODED, 64, 1))]
    for chunks in DensePart.merged(parts, [None, None]).values():
        assert all(chunk.nbytes <= BLOCK * 64 * 4 for chunk in chunks)


def test_arrays_mapped_from_a_file(tmp_path: Path) -> None:
    vectors = clustered(CODED, 64)
    part = DensePart(joined(DensePart.merged([part_of(vectors)], [None])), DenseField("a", 64))
    mapped = {}
    for name, array in part.arrays.items():
        np.save(tmp_path / name, array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    again = DensePart(mapped, DenseField("a", 64))
    allowed = np.arange(CODED) % 2 == 0
    for query in clustered(3, 64, 1):
        for mask in (None, allowed):
            for one, other in zip(part.search(query, 10, mask), again.search(query, 10, mask), strict=True):
                assert np.array_equal(one, other)
    assert joined(DensePart.merged([again], [None])).keys() == mapped.keys()


def test_every_float16_is_read_as_numpy_reads_it() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    part = DensePart({"vectors": every[:, None]}, DenseField("a", 1, "float16", "IP"))
    assert np.array_equal(part.score(np.ones(1, np.float32), np.arange(len(every))), every.astype(np.float32))


@pytest.mark.data
def test_recall_on_real_passages(test_data: Path) -> None:
    """SciFact, CACM and NQ in pieces of 30 words, by a static model: quick, and the hardest that was measured."""
    from milvine.model.dense import Model2VecEmbeddingFunction

    pieces: dict[str, None] = {}
    queries = []
    for name in ("scifact", "cacm", "nq_utd"):
        for line in (test_data / name / "corpus.jsonl").read_text().splitlines():
            words = json.loads(line)["text"].split()
            pieces |= {" ".join(words[at : at + 30]): None for at in range(0, len(words) - 6, 30)}
        queries += [json.loads(line)["text"] for line in (test_data / name / "queries.jsonl").read_text().splitlines()]
    function = Model2VecEmbeddingFunction("minishlab/potion-base-8M")
    vectors = np.stack(function.encode_documents(list(pieces)))
    assert len(vectors) > CODED
    part = part_of(vectors)
    found: dict[int, list[float]] = {10: [], 100: []}
    for query in function.encode_queries(queries[::4]):
        expected = reference(vectors, query, "COSINE")
        for limit, shares in found.items():
            least = np.partition(expected, -limit)[-limit]
            positions, scores = part.search(query, limit, None)
            assert close(scores, expected[positions])
            shares.append(np.mean(expected[positions] >= least - 1e-6))
    assert np.mean(found[10]) >= 0.99
    assert np.mean(found[100]) >= 0.98
