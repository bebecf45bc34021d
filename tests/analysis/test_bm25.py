from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from milvine.analysis.bm25 import (
    count_matrix,
    count_terms,
    idf_l,
    idf_lucene,
    idf_okapi,
    idf_plus,
    idf_robertson,
    tf_weight,
    tf_weight_l,
    tf_weight_plus,
)


def test_idf_lucene_by_hand() -> None:
    # ln(1 + (10 - 3 + .5) / 3.5) = ln(11 / 3.5)
    assert idf_lucene([3], 10) == pytest.approx([math.log(11 / 3.5)])
    assert (idf_lucene(np.arange(1, 1001), 1000) > 0).all()
    assert idf_lucene([], 10).shape == (0,)


def test_idf_robertson_by_hand() -> None:
    # ln((10 - 3 + .5) / 3.5), and for 8 of 10 ln(2.5 / 8.5), below 0
    assert idf_robertson([3, 8], 10) == pytest.approx([math.log(7.5 / 3.5), math.log(2.5 / 8.5)])
    assert idf_robertson(5, 10) == pytest.approx(0.0)


def test_idf_of_bm25l_and_bm25_plus_by_hand() -> None:
    assert idf_l([3, 10], 10) == pytest.approx([math.log(11 / 3.5), math.log(11 / 10.5)])
    assert idf_plus([3, 10], 10) == pytest.approx([math.log(11 / 3), math.log(11 / 10)])
    for idf in (idf_l, idf_plus):
        assert (idf(np.arange(1, 1001), 1000) > 0).all()


def test_idf_okapi_by_hand() -> None:
    # Of four documents 1, 2 and 3 have the term: ln(3.5/1.5), ln(2.5/2.5), ln(1.5/3.5); the mean is 0.
    values = idf_okapi([1, 2, 3], 4)
    assert values == pytest.approx([math.log(3.5 / 1.5), 0, 0])
    # Of four, 1, 1 and 4: the mean is (2 ln(3.5/1.5) + ln(.5/4.5)) / 3, and the floor a quarter of it.
    mean = (2 * math.log(3.5 / 1.5) + math.log(0.5 / 4.5)) / 3
    assert idf_okapi([1, 1, 4], 4, 0.25) == pytest.approx([math.log(3.5 / 1.5)] * 2 + [0.25 * mean])
    assert idf_okapi([], 4).shape == (0,)


def test_tf_weight_by_hand() -> None:
    # At the mean length b has no say: tf (k1 + 1) / (tf + k1).
    assert tf_weight([1, 3], 10, 10, 1.5, 0.75) == pytest.approx([1.0, 3 * 2.5 / 4.5])
    # Twice the mean length: 1 * 2.5 / (1 + 1.5 * (.25 + 1.5))
    assert tf_weight(1, 20, 10, 1.5, 0.75) == pytest.approx(2.5 / (1 + 1.5 * 1.75))
    assert tf_weight([1, 50], [5, 99], 10, 0.0, 0.75) == pytest.approx([1.0, 1.0])
    assert tf_weight(1e9, 10, 10, 1.5, 0.75) == pytest.approx(2.5)


def test_tf_weight_of_bm25l_by_hand() -> None:
    # At the mean length c is tf: 2.5 (tf + .5) / (1.5 + tf + .5).
    assert tf_weight_l([1, 3], 10, 10, 1.5, 0.75, 0.5) == pytest.approx([2.5 * 1.5 / 3, 2.5 * 3.5 / 5])
    # Twice the mean length: c = 2 / (.25 + .75 * 2).
    c = 2 / 1.75
    assert tf_weight_l(2, 20, 10, 1.5, 0.75, 0.5) == pytest.approx(2.5 * (c + 0.5) / (2 + c))
    # However long: above (k1 + 1) delta / (k1 + delta), where plain BM25 goes to 0.
    assert tf_weight_l(1, 1e9, 10, 1.5, 0.75, 0.5) == pytest.approx(2.5 * 0.5 / 2)
    assert tf_weight(1, 1e9, 10, 1.5, 0.75) == pytest.approx(0, abs=1e-6)
    assert tf_weight_l([1, 9], 10, 10, 1.5, 0.75, 0) == pytest.approx(tf_weight([1, 9], 10, 10, 1.5, 0.75))
    assert tf_weight_l(3, 30, 10, 0.0, 1.0, 0.5) == pytest.approx(1.0)


def test_tf_weight_of_bm25_plus_by_hand() -> None:
    assert tf_weight_plus([1, 3], 10, 10, 1.5, 0.75, 1.0) == pytest.approx([2.0, 1 + 3 * 2.5 / 4.5])
    assert tf_weight_plus(1, 1e9, 10, 1.5, 0.75, 1.0) == pytest.approx(1.0)


def test_count_terms_equals_a_counter() -> None:
    chance = np.random.default_rng(3)
    for highest in (3, 1000, 2**32 - 1):
        lengths = chance.integers(0, 30, size=50)
        ids = chance.integers(-1, highest, size=int(lengths.sum()))
        columns, counts, begins = count_terms(ids, lengths)
        for text, (start, end) in enumerate(pairwise(begins.tolist())):
            first = int(lengths[:text].sum())
            own = Counter(ids[first : first + int(lengths[text])].tolist())
            own.pop(-1, None)
            assert list(zip(columns[start:end].tolist(), counts[start:end].tolist(), strict=True)) == sorted(
                own.items()
            )
    assert [part.tolist() for part in count_terms(np.empty(0, np.int32), np.empty(0, np.int64))] == [[], [], [0]]


def test_count_matrix_counts_sorts_and_leaves_unknown_terms_out() -> None:
    counts = count_matrix(np.array([4, 1, 4, -1, -1, 0, 4]), [4, 0, 1, 2], 5)
    assert counts.toarray().tolist() == [[0, 1, 0, 0, 2], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]]
    assert counts.has_sorted_indices
    assert counts.nnz == 4
    assert count_matrix(np.empty(0, np.int64), [], 0).shape == (0, 0)
    assert count_matrix(np.array([-1, -1]), [1, 1], 0).shape == (2, 0)
