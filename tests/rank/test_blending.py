from __future__ import annotations

import math
from typing import Any

import pytest

from milvine.errors import InputError
from milvine.model.base import BaseRerankFunction, RerankResult
from milvine.rank import blend, rerank
from milvine.types import FieldScore, Hit
from small_functions import CountsWord


def test_blending_by_hand() -> None:
    # Both scaled to 0..1: (1, 0.5, 0) and (0, 1, 0.25); then 0.7 of the first and 0.3 of the second.
    assert blend([4.0, 3.0, 2.0], [-8.0, 8.0, -4.0]) == pytest.approx([0.7, 0.65, 0.075])
    assert blend([4.0, 3.0, 2.0], [-8.0, 8.0, -4.0], 0.0) == pytest.approx([1.0, 0.5, 0.0])
    assert blend([4.0, 3.0, 2.0], [-8.0, 8.0, -4.0], 1.0) == pytest.approx([0.0, 1.0, 0.25])


def test_equal_scores_say_nothing() -> None:
    assert blend([2.0, 2.0], [1.0, 3.0], 0.5) == [0.0, 0.5]
    assert blend([7.0], [3.0]) == [0.0]
    assert blend([], []) == []


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_weights_that_are_not_allowed(weight: float) -> None:
    with pytest.raises(InputError, match="weight must be from 0 to 1"):
        blend([1.0], [1.0], weight)


def test_lengths_that_differ() -> None:
    with pytest.raises(InputError, match="there are 2 first-stage scores and 1 of the reranker"):
        blend([1.0, 2.0], [1.0])


HITS = [
    Hit("a", "tea", 0.9, {"n": 1}, {"dense": FieldScore(1, 0.9)}),
    Hit("b", "coffee coffee", 0.8),
    Hit("c", "coffee", 0.1),
]


def test_reranking_reorders_and_keeps_what_a_hit_knows() -> None:
    # first stage scaled: 1, 0.875, 0; the word's counts 0, 2, 1 scaled: 0, 1, 0.5
    hits = rerank(CountsWord("coffee"), "a question", HITS)
    assert [(hit.id, pytest.approx(hit.score), hit.rerank_score) for hit in hits] == [
        ("b", 0.7 * 0.875 + 0.3, 2.0),
        ("a", 0.7, 0.0),
        ("c", 0.3 * 0.5, 1.0),
    ]
    assert hits[1].fields == HITS[0].fields
    assert hits[1].metadata == {"n": 1}
    assert [hit.id for hit in rerank(CountsWord("coffee"), "a question", HITS, 1.0)] == ["b", "c", "a"]


def test_a_budget() -> None:
    # Over all three the first stage is 1, 0.875, 0; the two that are shown have 0 and 2, so 0 and 1; c counts as 0.
    hits = rerank(CountsWord("coffee"), "a question", HITS, 0.5, limit=2)
    assert [(hit.id, pytest.approx(hit.score), hit.rerank_score) for hit in hits] == [
        ("b", 0.5 * 0.875 + 0.5, 2.0),
        ("a", 0.5, 0.0),
        ("c", 0.0, None),
    ]
    # The last stays the last, however little the first stage counts.
    assert [hit.id for hit in rerank(CountsWord("coffee"), "a question", HITS, 1.0, limit=2)] == ["b", "a", "c"]
    assert rerank(CountsWord("coffee"), "a question", HITS, limit=9) == rerank(CountsWord("coffee"), "a question", HITS)


def test_a_reranker_without_an_opinion_changes_no_order() -> None:
    assert [hit.id for hit in rerank(CountsWord("milk"), "a question", HITS, 1.0)] == ["a", "b", "c"]
    assert rerank(CountsWord("milk"), "a question", []) == []


class Gives(BaseRerankFunction):
    def __init__(self, results: list[tuple[int, Any]]) -> None:
        self.results = results

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
        return [RerankResult("", score, index) for index, score in self.results]


@pytest.mark.parametrize(
    ("results", "match"),
    [
        ([(0, 1.0), (1, 2.0)], "Gives scored 2 of 3 documents; a reranker must score all"),
        ([], "scored 0 of 3"),
        ([(0, 1.0), (1, 2.0), (7, 3.0)], "each under its own index"),
        ([(0, 1.0), (1, 2.0), (1, 3.0)], "scored 2 of 3"),
        ([(0, 1.0), (1, 2.0), (2, math.nan)], "Gives gave a score that is no finite number"),
    ],
)
def test_a_reranker_that_does_not_do_its_work(results: list[tuple[int, Any]], match: str) -> None:
    with pytest.raises(InputError, match=match):
        rerank(Gives(results), "a question", HITS)
