from __future__ import annotations

import math

import numpy as np
import pytest

from milvine.analysis import count_matrix, idf_lucene, idf_okapi, tf_weight


def test_idf_lucene_by_hand() -> None:
    # ln(1 + (10 - 3 + .5) / 3.5) = ln(11 / 3.5)
    assert idf_lucene([3], 10) == pytest.approx([math.log(11 / 3.5)])
    assert (idf_lucene(np.arange(1, 1001), 1000) > 0).all()
    assert idf_lucene([], 10).shape == (0,)


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


def test_count_matrix_counts_sorts_and_leaves_unknown_terms_out() -> None:
    counts = count_matrix(np.array([4, 1, 4, -1, -1, 0, 4]), [4, 0, 1, 2], 5)
    assert counts.toarray().tolist() == [[0, 1, 0, 0, 2], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]]
    assert counts.has_sorted_indices
    assert counts.nnz == 4
    assert count_matrix(np.empty(0, np.int64), [], 0).shape == (0, 0)
    assert count_matrix(np.array([-1, -1]), [1, 1], 0).shape == (2, 0)
