from __future__ import annotations

from typing import Any

import pytest

from milvine.errors import InputError, InputTypeError
from milvine.rank import fuse
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
    for method in ("weighted", "rrf"):
        fused = fuse({"dense": cosines}, method)
        assert [(place.id, place.score) for place in fused] == cosines


def test_each_field_says_where_it_placed_an_id() -> None:
    fused = {place.id: place.fields for place in fuse({"dense": DENSE, "lexical": LEXICAL})}
    assert fused["a"] == {"dense": FieldScore(1, 0.8), "lexical": FieldScore(3, 2.0)}
    assert fused["b"] == {"dense": FieldScore(2, 0.6)}
    assert fused["d"] == {"lexical": FieldScore(2, 5.0)}


def test_equal_scores_are_ordered_by_id() -> None:
    lists = {"dense": [(id_, 0.5) for id_ in "zxy"], "lexical": []}
    assert [place.id for place in fuse(lists)] == ["x", "y", "z"]
    assert [place.id for place in fuse({"dense": [(id_, 0.5) for id_ in "zxy"]})] == ["x", "y", "z"]


@pytest.mark.parametrize("method", ["weighted", "rrf"])
def test_lists_without_hits(method: str) -> None:
    assert fuse({"dense": [], "lexical": []}, method) == []
    assert fuse({"dense": []}, method) == []
    assert [place.id for place in fuse({"dense": DENSE, "lexical": []}, method)] == ["a", "b", "c"]
    assert fuse({}, method) == []


@pytest.mark.parametrize(
    ("method", "weights", "error", "match"),
    [
        ("mean", None, InputError, "fusion must be one of weighted, rrf, not 'mean'"),
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
