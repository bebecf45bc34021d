"""Several ranked lists to one.

Every fusion is a pure function of the lists and the fields' weights: it gives each id a score, higher is better. An id
that a list does not hold gets nothing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from milvine.errors import InputError, InputTypeError
from milvine.types import FieldScore

RankedList = Sequence[tuple[str, float]]
"""Ids with their scores in one field, best first."""

RANK_CONSTANT = 60
"""The k of reciprocal rank fusion that its paper found to work."""


@dataclass(frozen=True)
class Fused:
    """An id with its fused score and where each field placed it."""

    id: str
    score: float
    fields: dict[str, FieldScore]


def reciprocal_rank_fusion(lists: Mapping[str, RankedList], weights: Mapping[str, float]) -> dict[str, float]:
    """The sum over the lists of `weight / (60 + rank)`, ranks from 1.

    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods", SIGIR 2009.
    """
    fused: dict[str, float] = {}
    for field, ranked in lists.items():
        for rank, (id_, _) in enumerate(ranked, start=1):
            fused[id_] = fused.get(id_, 0.0) + weights[field] / (RANK_CONSTANT + rank)
    return fused


def weighted_by_maximum(lists: Mapping[str, RankedList], weights: Mapping[str, float]) -> dict[str, float]:
    """The weighted mean of the scores, each divided by the highest of its list; from 0 to 1.

    Unlike ranks, scores say by how much one hit is better than the next; dividing by the query's maximum brings cosines
    and BM25 to one scale. A negative score counts as 0, as in a list that ends there.
    """
    total = sum(weights[field] for field in lists)
    fused: dict[str, float] = {}
    for field, ranked in lists.items():
        highest = max((score for _, score in ranked), default=0.0)
        if highest <= 0.0:
            fused.update({id_: fused.get(id_, 0.0) for id_, _ in ranked})
            continue
        share = weights[field] / (total * highest)
        for id_, score in ranked:
            fused[id_] = fused.get(id_, 0.0) + share * max(score, 0.0)
    return fused


FUSIONS: dict[str, Callable[[Mapping[str, RankedList], Mapping[str, float]], dict[str, float]]] = {
    "weighted": weighted_by_maximum,
    "rrf": reciprocal_rank_fusion,
}


def fuse(
    lists: Mapping[str, RankedList], method: str = "weighted", weights: Mapping[str, float] | None = None
) -> list[Fused]:
    """One ranked list of several, best first; equal scores are ordered by id, so that results are the same every time.

    A list alone keeps its scores.

    Args:
        lists: Field's name to its ranked list. A list must not hold an id twice.
        method: A name of `FUSIONS`.
        weights: Field's name to its weight, at least 0 and not all 0; by default all fields weigh the same.

    Raises:
        InputError: The method is unknown, or a weight is missing, negative or for a field that is not there.
        InputTypeError: `weights` is no mapping to numbers.
    """
    if method not in FUSIONS:
        raise InputError(f"fusion must be one of {', '.join(FUSIONS)}, not {method!r}")
    shares = dict.fromkeys(lists, 1.0) if weights is None else _checked(weights, lists)
    places: dict[str, dict[str, FieldScore]] = {}
    for field, ranked in lists.items():
        for rank, (id_, score) in enumerate(ranked, start=1):
            places.setdefault(id_, {})[field] = FieldScore(rank, score)
    fused = FUSIONS[method](lists, shares) if len(lists) > 1 else dict(*lists.values())
    return [Fused(id_, fused[id_], places[id_]) for id_ in sorted(fused, key=lambda id_: (-fused[id_], id_))]


def _checked(weights: Mapping[str, float], lists: Mapping[str, RankedList]) -> dict[str, float]:
    if not isinstance(weights, Mapping):
        raise InputTypeError(f"weights must be a mapping of fields to numbers, not {type(weights).__name__}")
    for field, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise InputTypeError(f"the weight of {field!r} must be a number, not {type(weight).__name__} ({weight!r})")
    if weights.keys() != lists.keys():
        raise InputError(f"weights must name exactly the fields {sorted(lists)}, not {sorted(map(str, weights))}")
    if weights and not (all(weight >= 0 for weight in weights.values()) and 0 < sum(weights.values()) < float("inf")):
        raise InputError(f"weights must be at least 0, finite and not all 0, not {dict(weights)}")
    return dict(weights)
