from __future__ import annotations

from itertools import chain, pairwise
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from milvine.analysis import (
    NO_TERMS,
    TermStatistics,
    document_vectors,
    get_analyzer,
    idf_lucene,
    query_vectors,
    term_ids,
    tf_weight,
)
from milvine.analysis.bm25 import count_terms
from milvine.store.builtin.parts import Entries
from milvine.store.builtin.postings import BM25, PostingsPart, inverted
from milvine.store.filtering.strings import joined
from varied_texts import TEXTS

K1, B = 0.9, 0.4


def _random_matrix(seed: int, n: int, dim: int = 50, density: float = 0.2) -> Any:
    chance = np.random.default_rng(seed)
    dense = np.where(chance.random((n, dim)) < density, chance.random((n, dim)), 0)
    dense[chance.random(n) < 0.2] = 0  # empty rows
    if n:
        dense[:, 3] = 1 + np.arange(n)  # a column that every row has
    return csr_array(dense.astype(np.float32))


def _entries(matrix: Any, dtype: Any = np.float32) -> Entries:
    return Entries(matrix.indptr[1:].astype(np.int64), matrix.indices.astype(np.uint32), matrix.data.astype(dtype))


def _counted(documents: list[list[int]]) -> Entries:
    lengths = np.fromiter(map(len, documents), np.int64, len(documents))
    flat = np.fromiter(chain.from_iterable(documents), np.int64, int(lengths.sum()))
    terms, counts, begins = count_terms(flat, lengths)
    return Entries(begins[1:], terms.astype(np.uint32), counts.astype(np.uint16))


def _ranked(scores: Any, limit: int, allowed: Any = None) -> tuple[list[int], list[float]]:
    """In plain Python: the positions of the highest scores above 0, of equal ones the first, and those scores."""
    there = [at for at, score in enumerate(scores) if score > 0 and (allowed is None or allowed[at])]
    there.sort(key=lambda at: (-scores[at], at))
    return there[:limit], [scores[at] for at in there[:limit]]


def built(entries: Entries) -> PostingsPart:
    return PostingsPart(inverted(entries))


def _random_documents(seed: int, n: int, vocabulary: int = 60) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [(chance.integers(vocabulary, size=chance.integers(25)) * 65_537_001 % NO_TERMS).tolist() for _ in range(n)]


def _query(documents: list[list[int]], terms: list[int]) -> tuple[list[int], Any, float]:
    """The query's distinct terms, their weights, and the mean length of the documents."""
    distinct, times = np.unique(terms, return_counts=True)
    df = [sum(term in document for document in documents) for term in distinct.tolist()]
    average = sum(map(len, documents)) / len(documents)
    return distinct.tolist(), idf_lucene(df, len(documents)) * times, average


@pytest.mark.parametrize(("n", "limit"), [(0, 5), (1, 5), (7, 100), (300, 10), (3000, 1), (3000, 20), (3000, 16_384)])
def test_inner_products_are_those_of_scipy(n: int, limit: int) -> None:
    matrix = _random_matrix(n, n)
    part = built(_entries(matrix))
    for seed in range(5):
        query = _random_matrix(seed, 1, density=0.3)
        expected = (matrix @ query.T).toarray()[:, 0] if n else np.zeros(0)
        positions, scores = part.search(query.indices, query.data, None, limit, None)
        assert (positions.dtype, scores.dtype) == (np.int64, np.float32)
        assert scores == pytest.approx(_ranked(expected, limit)[1], rel=1e-6)
        assert scores == pytest.approx(expected[positions], rel=1e-6)
        assert (scores[:-1] >= scores[1:]).all()
        everywhere = np.random.default_rng(seed).permutation(n)
        given = part.score(query.indices, query.data, None, everywhere)
        assert given.dtype == np.float32
        assert given == pytest.approx(expected[everywhere], rel=1e-6)
        # One score, however it is asked for: to the bit.
        assert (part.score(query.indices, query.data, None, positions) == scores).all()


def test_only_allowed_rows_are_found() -> None:
    matrix, query = _random_matrix(1, 3000), _random_matrix(2, 1, density=0.3)
    part = built(_entries(matrix))
    expected = (matrix @ query.T).toarray()[:, 0]
    for share in (0.0, 0.003, 0.1, 0.9, 1.0):
        allowed = np.random.default_rng(3).random(3000) < share
        positions, scores = part.search(query.indices, query.data, None, 50, allowed)
        assert allowed[positions].all()
        assert scores == pytest.approx(_ranked(expected, 50, allowed)[1], rel=1e-6)


def test_of_equal_rows_the_first_are_found() -> None:
    n = 5000
    part = built(Entries(np.arange(1, n + 1), np.full(n, 7, np.uint32), np.ones(n, np.float32)))
    positions, scores = part.search([7], np.ones(1), None, 40, None)
    assert positions.tolist() == list(range(40))
    assert scores.tolist() == [1.0] * 40
    allowed = np.arange(n) % 100 == 99
    assert part.search([7], np.ones(1), None, 40, allowed)[0].tolist() == list(range(99, 4000, 100))
    assert part.search([7], np.ones(1), None, 60, allowed)[0].tolist() == list(range(99, n, 100))


def test_the_first_and_the_last_term() -> None:
    last = 2**32 - 2
    part = built(Entries(np.array([2, 2, 3]), np.array([0, last, last], np.uint32), np.array([0.5, 2, 3], np.float32)))
    assert [list(each) for each in part.search([last], np.array([2.0]), None, 9, None)] == [[2, 0], [6, 4]]
    assert [list(each) for each in part.search([0, 1, last], np.array([1, 1, 0.25]), None, 9, None)] == [
        [0, 2],
        [1, 0.75],
    ]
    for unknown in ([], [1], [last - 1], [last + 1], [1, last + 1]):
        assert [list(each) for each in part.search(unknown, np.ones(len(unknown)), None, 9, None)] == [[], []]
        assert part.score(unknown, np.ones(len(unknown)), None, np.array([2, 0])).tolist() == [0, 0]
    assert part.score([0], np.ones(1), None, np.zeros(0, np.int64)).shape == (0,)


def test_bm25_by_hand() -> None:
    # Lengths 3, 1, 0, 2, mean 1.5; k1 2, b .5: a term weighs tf * 3 / (tf + 2 (.5 + .5 length / 1.5)).
    part = built(_counted([[5, 5, 9], [9], [], [4, 9]]))
    assert part.frequencies([5, 9, 4, 1], None).tolist() == [1, 3, 1, 0]
    assert part.length(None) == 6
    positions, scores = part.search([5, 9], np.array([10.0, 1.0]), BM25(1.5, 2.0, 0.5), 10, None)
    assert positions.tolist() == [0, 1, 3]
    assert scores == pytest.approx([10 * 6 / 5 + 3 / 4, 3 / (1 + 2 * (0.5 + 0.5 / 1.5)), 3 / (1 + 2 * (0.5 + 1 / 1.5))])
    given = part.score([5, 9], np.array([10.0, 1.0]), BM25(1.5, 2.0, 0.5), np.array([3, 2, 0]))
    assert given == pytest.approx([scores[2], 0, scores[0]])


def test_bm25_is_that_of_the_analysis_formulas() -> None:
    for seed, n in ((0, 1), (1, 40), (2, 2500)):
        documents = _random_documents(seed, n)
        part = built(_counted(documents))
        lengths = [len(document) for document in documents]
        assert part.length(None) == sum(lengths)
        terms, weights, average = _query(documents, [*_random_documents(9, 1)[0], *_random_documents(9, 1)[0][:3], 77])
        assert part.frequencies(terms, None).tolist() == [sum(t in d for d in documents) for t in terms]
        if not sum(lengths):
            continue
        expected = [
            sum(
                weight * tf_weight(document.count(term), length, average, K1, B)
                for term, weight in zip(terms, weights, strict=True)
                if term in document
            )
            for document, length in zip(documents, lengths, strict=True)
        ]
        positions, scores = part.search(terms, weights, BM25(average, K1, B), 30, None)
        assert scores == pytest.approx(_ranked(expected, 30)[1], rel=1e-6)
        assert scores == pytest.approx([expected[at] for at in positions], rel=1e-6)
        assert (part.score(terms, weights, BM25(average, K1, B), positions) == scores).all()


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (1.2, 0.0), (1.2, 1.0), (0.0, 0.5)])
def test_bm25_of_real_texts_is_that_of_hashed_vectors(k1: float, b: float) -> None:
    # The reference: what Milvus Lite is given and asked, milvine.analysis' own vectors.
    analyze = get_analyzer("en").terms
    documents = [term_ids(terms) for terms in analyze([*TEXTS, *sorted(topics.values())])]
    statistics = TermStatistics()
    for document in documents:
        statistics.add(document)
    part = built(_counted(documents))
    weights = document_vectors(documents, statistics.avgdl, k1, b)
    for query in analyze(
        ["catch two exceptions at once", "exceptions of exceptions", "an intelligence founded in 1956"]
    ):
        vector = query_vectors([term_ids(query)], statistics)
        own = dict(zip(vector.indices.tolist(), vector.data.tolist(), strict=True))
        parts = np.array([own.get(term, 0.0) for term in weights.indices.tolist()]) * weights.data
        expected = [float(parts[begin:end].sum()) for begin, end in pairwise(weights.indptr)]
        for limit in (10, len(documents)):
            positions, scores = part.search(vector.indices, vector.data, BM25(statistics.avgdl, k1, b), limit, None)
            assert 0 < len(positions) == min(limit, np.count_nonzero(expected))
            assert scores == pytest.approx(_ranked(expected, limit)[1], rel=1e-6)
            assert scores == pytest.approx([expected[at] for at in positions], rel=1e-6)


def test_statistics_count_what_is_alive() -> None:
    documents = _random_documents(4, 400)
    part = built(_counted(documents))
    terms = [*sorted({term for document in documents for term in document})[::7], 123]
    for share in (0.0, 0.5, 0.99, 1.0):
        alive = np.random.default_rng(5).random(400) < share
        statistics = TermStatistics()
        for at in np.flatnonzero(alive):
            statistics.add(documents[at])
        assert part.frequencies(terms, alive).tolist() == [statistics.df[term] for term in terms]
        assert part.length(alive) == statistics.total_length
    assert part.frequencies([], None).shape == (0,)


def test_where_only_dead_rows_have_terms() -> None:
    part = built(_counted([[5], [], []]))
    alive = np.array([False, True, True])
    assert (part.length(alive), part.frequencies([5], alive).tolist()) == (0, [0])
    assert part.search([5], np.ones(1), BM25(0.0, K1, B), 5, alive)[0].tolist() == []
    assert part.score([5], np.ones(1), BM25(0.0, K1, B), np.array([1, 2])).tolist() == [0, 0]


def test_the_longest_text_that_counts() -> None:
    part = built(Entries(np.array([1, 3]), np.array([8, 8, 9], np.uint32), np.full(3, 65_535, np.uint16)))
    assert part.length(None) == 3 * 65_535
    expected = tf_weight(65_535, [65_535, 131_070], 98_302.5, K1, B)
    assert part.search([8], np.ones(1), BM25(98_302.5, K1, B), 5, None)[1] == pytest.approx(expected)


def _same(arrays: dict[str, Any], expected: Any) -> None:
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert (name, array.dtype, array.shape) == (name, expected[name].dtype, expected[name].shape)
        assert (array == expected[name]).all(), name


@pytest.mark.parametrize("kind", ["sparse", "lexical"])
@pytest.mark.parametrize("sizes", [(500,), (0, 300, 0), (200, 1, 350), (0,), (30, 40)])
def test_merged_equals_built_anew(kind: str, sizes: tuple[int, ...]) -> None:
    documents = _random_documents(6, sum(sizes))
    matrix = _random_matrix(7, sum(sizes))

    def build(rows: Any) -> PostingsPart:
        chosen = np.asarray(rows, dtype=np.int64)
        if kind == "sparse":
            return built(_entries(matrix[chosen] if len(chosen) else csr_array((0, 50), dtype=np.float32)))
        return built(_counted([documents[at] for at in chosen]))

    cuts = np.cumsum([0, *sizes])
    parts = [build(range(begin, end)) for begin, end in pairwise(cuts)]
    for share in (None, 0.0, 0.01, 0.6, 1.0):
        alive = np.ones(sum(sizes), np.bool_) if share is None else np.random.default_rng(8).random(sum(sizes)) < share
        keeps = [None if share is None else own for own in np.split(alive, cuts[1:-1])]
        if share == 0.6:
            keeps[0] = None
            alive[: sizes[0]] = True
        _same(joined(type(parts[0]).merged(parts, keeps)), build(np.flatnonzero(alive)).arrays)


def test_what_is_merged_comes_in_pieces() -> None:
    # More postings than are merged at once, more terms than 16 bits number, and a term that fills a piece alone.
    n = 100_000
    chance = np.random.default_rng(9)
    terms = np.stack([np.full(n, 2**31, np.uint32), np.sort(chance.permutation(n)).astype(np.uint32) * 40_000], axis=1)
    terms.sort(axis=1)
    entries = Entries(np.arange(2, 2 * n + 1, 2), terms.ravel(), np.ones(2 * n, np.uint16))
    part = built(entries)
    arrays = {name: list(chunks) for name, chunks in PostingsPart.merged([part, part], [None, None]).items()}
    assert len(arrays["positions"]) > 4
    assert max(map(len, arrays["positions"])) <= 2 * n + 2**16
    twice = Entries(np.arange(2, 4 * n + 1, 2), np.tile(terms.ravel(), 2), np.ones(4 * n, np.uint16))
    _same({name: np.concatenate(chunks) for name, chunks in arrays.items()}, built(twice).arrays)


def test_arrays_that_are_mapped_and_read_only(tmp_path: Any) -> None:
    documents = _random_documents(10, 200)
    whole = built(_counted(documents))
    mapped = {}
    for name, array in whole.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    part = PostingsPart(mapped)
    terms, weights, average = _query(documents, documents[3] or documents[4])
    for allowed in (None, np.arange(200) % 3 == 0):
        found, expected = (each.search(terms, weights, BM25(average, K1, B), 20, allowed) for each in (part, whole))
        assert (found[0] == expected[0]).all()
        assert (found[1] == expected[1]).all()
    assert (part.frequencies(terms, None) == whole.frequencies(terms, None)).all()
    _same(joined(PostingsPart.merged([part], [None])), whole.arrays)
