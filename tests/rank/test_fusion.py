from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError
from milvine.rank import FUSIONS, by_distribution, by_maximum, by_range, by_rank, fuse, unscored
from milvine.types import FieldScore

DENSE = [("a", 0.8), ("b", 0.6), ("c", 0.2)]
LEXICAL = [("c", 10.0), ("d", 5.0), ("a", 2.0)]


def scores(*arguments: Any) -> dict[str, float]:
    return {place.id: place.score for place in fuse(*arguments)}


def test_reciprocal_rank_fusion_by_hand() -> None:
    # Cormack, Clarke and Büttcher: the sum of 1 / (k + rank), k = 60, ranks from 1.
    fused = fuse({"dense": DENSE, "lexical": LEXICAL}, "rrf")
    assert [place.id for place in fused] == ["a", "c", "b", "d"]  # a and c tie to the bit, b and d too
    assert scores({"dense": DENSE, "lexical": LEXICAL}, "rrf") == pytest.approx(
        {"a": 1 / 61 + 1 / 63, "c": 1 / 63 + 1 / 61, "b": 1 / 62, "d": 1 / 62}, abs=1e-15
    )


def test_weights_in_reciprocal_rank_fusion() -> None:
    weighted = scores({"dense": DENSE, "lexical": LEXICAL}, "rrf", {"dense": 1, "lexical": 3})
    assert weighted["c"] == pytest.approx(1 / 63 + 3 / 61, abs=1e-15)
    assert weighted["d"] == pytest.approx(3 / 62, abs=1e-15)


def test_weighted_by_maximum_by_hand() -> None:
    # a: (0.8/0.8 + 2/10) / 2, b: (0.6/0.8) / 2, c: (0.2/0.8 + 10/10) / 2, d: (5/10) / 2
    fused = fuse({"dense": DENSE, "lexical": LEXICAL})
    assert [(place.id, pytest.approx(place.score, abs=1e-12)) for place in fused] == [
        ("c", 0.625),
        ("a", 0.6),
        ("b", 0.375),
        ("d", 0.25),
    ]
    # weights 1 and 3: a: (1 + 3 * 0.2) / 4, c: (0.25 + 3) / 4
    weighted = scores({"dense": DENSE, "lexical": LEXICAL}, "weighted", {"dense": 1, "lexical": 3})
    assert weighted == pytest.approx({"a": 0.4, "b": 0.1875, "c": 0.8125, "d": 0.375}, abs=1e-12)


def test_minmax_by_hand() -> None:
    # Of 0.2 to 0.8, and of 2 to 10: a: (1 + 0) / 2, b: (0.4 / 0.6) / 2, c: (0 + 1) / 2, d: (3 / 8) / 2
    assert by_range([10.0, 5.0, 2.0]) == [1.0, 0.375, 0.0]
    assert scores({"dense": DENSE, "lexical": LEXICAL}, "minmax") == pytest.approx(
        {"a": 0.5, "b": 1 / 3, "c": 0.5, "d": 0.1875}, abs=1e-12
    )


def test_distribution_by_hand() -> None:
    # Mean 4 and deviation sqrt((1 + 1 + 1 + 1) / 4) = 1, so from 1 to 7: 5 is 4 / 6 of the way, 3 is 2 / 6.
    assert by_distribution([5.0, 5.0, 3.0, 3.0]) == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3], abs=1e-15)
    # One score far above many: mean 1, deviation sqrt((99 + 99 * 99) / 100) = sqrt(99), and 100 is above the limit.
    outlier = by_distribution([100.0] + [0.0] * 99)
    assert outlier[0] == 1.0
    assert outlier[1] == pytest.approx((0 - 1 + 3 * 99**0.5) / (6 * 99**0.5), abs=1e-15)
    lists = {"dense": [("a", 5.0), ("b", 5.0), ("c", 3.0), ("d", 3.0)], "lexical": [("d", 7.0), ("a", 7.0)]}
    # In the lexical field both are its mean: 0.5.
    assert scores(lists, "distribution") == pytest.approx(
        {"a": (2 / 3 + 0.5) / 2, "b": 1 / 3, "c": 1 / 6, "d": (1 / 3 + 0.5) / 2}, abs=1e-15
    )


def test_scales_of_nothing_and_of_equal_scores() -> None:
    for scale in (by_maximum, by_range, by_distribution, by_rank):
        assert scale([]) == []
    assert by_maximum([3.0, 3.0]) == [1.0, 1.0]
    assert by_range([3.0, 3.0]) == [1.0, 1.0]
    assert by_distribution([3.0, 3.0]) == [0.5, 0.5]
    assert by_maximum([0.0, -1.0]) == [0.0, 0.0]


@pytest.mark.parametrize("method", list(FUSIONS))
def test_what_is_wanted_alone_is_the_beginning_of_all(method: str) -> None:
    lists = {"dense": DENSE, "lexical": LEXICAL}
    every = fuse(lists, method)
    assert len(every) == 4
    for wanted in (1, 2, 9):
        assert fuse(lists, method, wanted=wanted) == every[:wanted]


@pytest.mark.parametrize("method", list(FUSIONS))
def test_shares_make_one(method: str) -> None:
    for place in fuse({"dense": DENSE, "lexical": LEXICAL}, method, {"dense": 1, "lexical": 2}):
        shares = [at.share for at in place.fields.values()]
        assert sum(shares) == pytest.approx(1.0) if place.score else shares == [0.0] * len(shares)
        assert all(0 <= share <= 1 for share in shares)
    assert [place.fields["dense"].share for place in fuse({"dense": DENSE}, method)] == [1.0] * 3


# What a list does not hold


def test_scores_beyond_a_list() -> None:
    lists = {"dense": DENSE, "lexical": LEXICAL}
    beyond = {"dense": {"d": 0.1}, "lexical": {"b": 0.0}}
    fused = {place.id: place for place in fuse(lists, "weighted", None, beyond)}
    # d: (0.1 / 0.8 + 5 / 10) / 2
    assert fused["d"].score == pytest.approx(0.3125, abs=1e-15)
    assert fused["d"].fields["dense"] == FieldScore(None, 0.1, pytest.approx(0.2))
    assert fused["b"].fields == {"dense": FieldScore(2, 0.6, 1.0)}  # BM25 has nothing to say
    # The lowest is 0.1 now: a: (1 + 2 / 10) / 2, d: (0 + 5 / 10) / 2
    assert scores(lists, "minmax", None, beyond) == pytest.approx({"a": 0.6, "b": 5 / 14, "c": 4 / 7, "d": 0.25})
    assert scores(lists, "rrf", None, beyond) == scores(lists, "rrf")


@pytest.mark.parametrize("depth", [5, 12, 30])
def test_only_what_can_come_among_the_first_is_scored(depth: int) -> None:
    # The first of a fusion of short lists, with the scores that were asked for, are those of a fusion of everything.
    random = np.random.default_rng(depth)
    for _ in range(60):
        ids = [f"{number:03}" for number in range(120)]
        everything = {
            "dense": {id_: random.uniform(-0.2, 0.9) for id_ in ids},
            "sparse": {id_: random.exponential(3.0) for id_ in ids},
            "lexical": {id_: max(random.uniform(-40, 20), 0.0) for id_ in ids},
        }
        weights = {field: float(random.choice([0.5, 1.0, 2.0])) for field in everything}
        whole = {field: sorted(own.items(), key=lambda each: -each[1]) for field, own in everything.items()}
        lists = {field: ranked[:depth] for field, ranked in whole.items()}
        asked = unscored(lists, "weighted", weights, [], 5)
        beyond = {field: {id_: everything[field][id_] for id_ in wanted} for field, wanted in asked.items()}
        first = fuse(lists, "weighted", weights, beyond)[:5]
        union = {id_ for ranked in lists.values() for id_, _ in ranked}
        of_union = {field: [each for each in ranked if each[0] in union] for field, ranked in whole.items()}
        expected = fuse(of_union, "weighted", weights)[:5]
        assert [(place.id, place.score) for place in first] == [(place.id, place.score) for place in expected]
        for place in first:
            assert {field: at.score for field, at in place.fields.items()} == {
                field: own[place.id]
                for field, own in everything.items()
                if place.id in dict(lists[field]) or own[place.id]
            }


def test_what_must_be_scored() -> None:
    lists = {"dense": [("a", 1.0), ("b", 0.9), ("c", 0.2)], "lexical": [("a", 10.0), ("d", 9.0), ("e", 1.0)]}
    every = {"dense": ["d", "e"], "lexical": ["b", "c"]}
    assert unscored(lists, "weighted", None, [], None) == every
    assert unscored(lists, "weighted", None, [], 9) == every
    # Of 2: a has 2; b 0.9 and at most 0.1 more; d 0.9 and at most 0.2; c at most 0.3, e at most 0.3.
    assert unscored(lists, "weighted", None, [], 2) == {"dense": ["d"], "lexical": ["b"]}
    assert unscored(lists, "weighted", None, [], 1) == {"dense": [], "lexical": []}
    assert unscored(lists, "minmax", None, [], 2) == unscored(lists, "distribution", None, [], 2) == every
    assert unscored(lists, "rrf", None, [], None) == {"dense": [], "lexical": []}
    assert unscored({"dense": DENSE}, "weighted", None, [], None) == {"dense": []}


def test_weights_are_relative_and_may_be_zero() -> None:
    lists = {"dense": DENSE, "lexical": LEXICAL}
    assert scores(lists, "weighted", {"dense": 5, "lexical": 5.0}) == pytest.approx(scores(lists))
    dense_alone = fuse(lists, "weighted", {"dense": 1, "lexical": 0})
    assert [(place.id, place.score) for place in dense_alone] == [
        ("a", 1.0),
        ("b", pytest.approx(0.75)),
        ("c", pytest.approx(0.25)),
        ("d", 0.0),
    ]


def test_negative_scores_count_as_none() -> None:
    fused = fuse({"dense": [("a", 0.5), ("b", -0.5)], "lexical": [("b", 3.0)]})
    assert [(place.id, place.score) for place in fused] == [("a", 0.5), ("b", 0.5)]
    assert scores({"dense": [("a", -0.1), ("b", -0.2)], "lexical": [("b", 3.0)]}) == {"a": 0.0, "b": 0.5}


def test_a_list_alone_keeps_its_scores_and_their_order() -> None:
    cosines = [("b", 0.1), ("a", -0.1), ("c", -0.7)]
    for method in FUSIONS:
        fused = fuse({"dense": cosines}, method)
        assert [(place.id, place.score) for place in fused] == cosines


def test_each_field_says_where_it_placed_an_id() -> None:
    fused = {place.id: place.fields for place in fuse({"dense": DENSE, "lexical": LEXICAL})}
    # a: 0.5 of the dense field's 0.8 / 0.8 and 0.5 of the lexical field's 2 / 10, so five sixths and one sixth.
    assert fused["a"] == {
        "dense": FieldScore(1, 0.8, pytest.approx(5 / 6)),
        "lexical": FieldScore(3, 2.0, pytest.approx(1 / 6)),
    }
    assert fused["b"] == {"dense": FieldScore(2, 0.6, 1.0)}
    assert fused["d"] == {"lexical": FieldScore(2, 5.0, 1.0)}


def test_equal_scores_are_ordered_by_id() -> None:
    lists = {"dense": [(id_, 0.5) for id_ in "zxy"], "lexical": []}
    assert [place.id for place in fuse(lists)] == ["x", "y", "z"]
    assert [place.id for place in fuse({"dense": [(id_, 0.5) for id_ in "zxy"]})] == ["x", "y", "z"]


@pytest.mark.parametrize("method", list(FUSIONS))
def test_lists_without_hits(method: str) -> None:
    assert fuse({"dense": [], "lexical": []}, method) == []
    assert fuse({"dense": []}, method) == []
    assert [place.id for place in fuse({"dense": DENSE, "lexical": []}, method)] == ["a", "b", "c"]
    assert fuse({}, method) == []


@pytest.mark.parametrize(
    ("method", "weights", "error", "match"),
    [
        ("mean", None, InputError, "fusion must be one of weighted, rrf, minmax, distribution, not 'mean'"),
        (
            "weighted",
            {"dense": 1},
            InputError,
            r"weights must name exactly the fields \['dense', 'lexical'\], not \['d",
        ),
        ("weighted", {"dense": 1, "lexical": 1, "title": 1}, InputError, r"not \['dense', 'lexical', 'title'\]"),
        ("rrf", {}, InputError, "weights must name exactly"),
        ("weighted", {"dense": -1, "lexical": 2}, InputError, "at least 0, finite and not all 0"),
        ("weighted", {"dense": 0, "lexical": 0}, InputError, "not all 0"),
        ("weighted", {"dense": float("nan"), "lexical": 1}, InputError, "at least 0"),
        ("weighted", {"dense": float("inf"), "lexical": 1}, InputError, "finite"),
        ("weighted", {"dense": "1", "lexical": 1}, InputTypeError, r"weight of 'dense' must be a number, not str"),
        ("weighted", {"dense": True, "lexical": 1}, InputTypeError, "not bool"),
        ("weighted", [1, 2], InputTypeError, "weights must be a mapping of fields to numbers, not list"),
    ],
)
def test_what_is_not_allowed(method: str, weights: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        fuse({"dense": DENSE, "lexical": LEXICAL}, method, weights)
