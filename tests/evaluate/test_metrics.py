from __future__ import annotations

from math import log2

import pytest

from milvine.errors import InputError
from milvine.evaluate import ndcg

# Graded judgments; `d6` was judged and `d9` was not; a negative judgment is not relevant.
QRELS = {
    "q1": {"d1": 3, "d2": 2, "d3": 3, "d4": 0, "d5": 1, "d6": 2, "d7": 3, "d8": 2},
    "q2": {"a": 1, "b": -1},
    "q3": {"x": 0},
    "q4": {"p": 2, "q": 1},
}
RUNS = {"q1": ["d1", "d2", "d3", "d4", "d5", "d6"], "q2": ["b", "c", "a"], "q3": ["x"], "q4": []}


def test_ndcg_by_hand() -> None:
    # gains 3 2 3 0 1 2 at ranks 1 to 6 over the ideal 3 3 3 2 2 2
    found = 3 / log2(2) + 2 / log2(3) + 3 / log2(4) + 0 + 1 / log2(6) + 2 / log2(7)
    ideal = 3 / log2(2) + 3 / log2(3) + 3 / log2(4) + 2 / log2(5) + 2 / log2(6) + 2 / log2(7)
    assert ndcg({"q1": QRELS["q1"]}, RUNS, 6) == pytest.approx(found / ideal, abs=1e-15)
    assert ndcg({"q": {"a": 1}}, {"q": ["a"]}) == 1.0
    assert ndcg({"q": {"a": 1}}, {"q": ["b", "a"]}) == pytest.approx(1 / log2(3))
    assert ndcg({"q": {"a": 1}}, {"q": ["b"]}) == 0.0


# pytrec_eval-terrier 0.5.11, the C code of trec_eval, gives these ndcg_cut values; q3, without a relevant document, is
# left out of the mean here, and q4 was answered with nothing.
@pytest.mark.parametrize(
    ("k", "q1", "q2"),
    [
        (2, 0.8710490642551529, 0.0),
        (3, 0.901306029678045, 0.5),
        (6, 0.785002371969948, 0.5),
        (10, 0.7561640298168337, 0.5),
    ],
)
def test_ndcg_is_that_of_trec_eval(k: int, q1: float, q2: float) -> None:
    assert ndcg({"q1": QRELS["q1"]}, RUNS, k) == pytest.approx(q1, abs=1e-12)
    assert ndcg({"q2": QRELS["q2"]}, RUNS, k) == pytest.approx(q2, abs=1e-12)
    assert ndcg(QRELS, RUNS, k) == pytest.approx((q1 + q2 + 0.0) / 3, abs=1e-12)


def test_a_query_that_was_not_run_counts_nothing_found() -> None:
    assert ndcg({"q": {"a": 1}, "r": {"b": 1}}, {"q": ["a"]}) == 0.5


def test_what_is_not_allowed() -> None:
    with pytest.raises(InputError, match="run of query 'q' holds a document twice"):
        ndcg({"q": {"a": 1}}, {"q": ["a", "b", "a"]})
    for qrels in ({}, {"q": {}}, {"q": {"a": 0}}):
        with pytest.raises(InputError, match="no query has a relevant document"):
            ndcg(qrels, {"q": ["a"]})
    for k in (0, -1):
        with pytest.raises(InputError, match="k must be at least 1"):
            ndcg({"q": {"a": 1}}, {"q": ["a"]}, k)
