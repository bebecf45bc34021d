"""Late interaction's score, against hand arithmetic and a plain loop."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError
from milvine.local.running.maxsim import DOCUMENT_TOKENS, QUERY_TOKENS, maxsim


def plain(query: np.ndarray, documents: list[np.ndarray]) -> list[float]:
    """Equation 3 of the paper, one pair of tokens after the other."""
    return [
        sum(max((float(np.dot(of_query, of_document)) for of_document in document), default=0.0) for of_query in query)
        for document in documents
    ]


def test_a_score_by_hand() -> None:
    query = np.array([[1, 0], [0, 2]], dtype=np.float32)
    documents = [np.array([[0.5, 0], [-1, 0.25]]), np.array([[-3, -1]]), np.array([[4, 4], [4, 5], [0, 0]])]
    # 0.5 + 2 * 0.25; -3 - 2; 4 + 10
    assert maxsim(query, documents).tolist() == [1.0, -5.0, 14.0]


def test_nothing_has_the_score_0_and_takes_nothing_from_others() -> None:
    query, empty = np.ones((3, 2), dtype=np.float32), np.empty((0, 2), dtype=np.float32)
    full = np.array([[-1.0, -2.0]])
    assert maxsim(query, [empty, full, empty, full, empty]).tolist() == [0, -9, 0, -9, 0]
    assert maxsim(empty, [full, empty]).tolist() == [0, 0]
    found = maxsim(query, [])
    assert (found.shape, found.dtype) == ((0,), np.float32)


def test_many_and_long_texts_are_scored_in_parts_as_in_one() -> None:
    random = np.random.default_rng(5)
    query = random.standard_normal((QUERY_TOKENS + 7, 4)).astype(np.float32)
    lengths = [3, DOCUMENT_TOKENS - 4, 1, 0, DOCUMENT_TOKENS + 9, 5, 2]
    documents = [random.standard_normal((length, 4)).astype(np.float16) for length in lengths]
    expected = [
        (query.astype(np.float64) @ each.T.astype(np.float64)).max(axis=1).sum() if len(each) else 0.0
        for each in documents
    ]
    np.testing.assert_allclose(maxsim(query, documents), expected, rtol=1e-5)
    few = [document[:5] for document in documents]
    np.testing.assert_allclose(maxsim(query[:3], few), plain(query[:3], few), rtol=1e-5, atol=1e-6)


def test_memory_is_bounded() -> None:
    random = np.random.default_rng(6)
    document = random.standard_normal((180, 16)).astype(np.float32)
    documents = [document] * 6000  # 69 MB, if they stood together
    query = random.standard_normal((32, 16)).astype(np.float32)
    tracemalloc.start()
    try:
        scores = maxsim(query, documents)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(set(scores.tolist())) == 1
    assert peak < 20e6


VECTORS = np.ones((2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("query", "documents", "error", "says"),
    [
        (VECTORS[0], [VECTORS], InputError, r"query must be of shape \(tokens, dim\), not \(3,\)"),
        (VECTORS, VECTORS, InputError, r"documents\[0\] must be of shape \(tokens, dim\), not \(3,\)"),
        (VECTORS, [VECTORS, VECTORS[:, :2]], InputError, r"documents\[1\] has vectors of 2 dimensions, .* have 3"),
        (VECTORS, [VECTORS * np.nan], InputError, r"documents\[0\] holds NaN or infinity"),
        (VECTORS * np.inf, [VECTORS], InputError, "query holds NaN or infinity"),
        ([[1.0]], [VECTORS], InputTypeError, "query must be a numpy array of numbers, .* not list"),
        (VECTORS, [VECTORS.astype(str)], InputTypeError, r"documents\[0\] must be a numpy array .* not an array of <U"),
    ],
)
def test_what_cannot_be_compared_is_refused(query: object, documents: object, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        maxsim(query, documents)  # type: ignore[arg-type]
