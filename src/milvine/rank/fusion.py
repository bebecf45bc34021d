"""Several ranked lists to one.

A fusion brings each field's scores to one scale, by a pure function of them; an id's fused score is the weighted sum or
mean of what it has in each field, and what a field put into it is the field's share. An id that a field did not score
gets nothing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from milvine.errors import InputError, InputTypeError
from milvine.types import FieldScore

RankedList = Sequence[tuple[str, float]]
"""Ids with their scores in one field, best first."""

RANK_CONSTANT = 60
"""The k of reciprocal rank fusion that its paper found to work."""

DEVIATIONS = 3
"""How many standard deviations from the mean `by_distribution` looks."""

_ROUNDING = 1e-9


def by_maximum(scores: Sequence[float]) -> list[float]:
    """Each score divided by the highest, from 0 to 1; a negative score counts as 0.

    Unlike ranks, scores say by how much one hit is better than the next; dividing by the query's maximum brings cosines
    and BM25 to one scale. It is the only scale here that does not depend on how many candidates there are.
    """
    highest = max(scores, default=0.0)
    return [score / highest if score > 0 else 0.0 for score in scores]


def by_range(scores: Sequence[float]) -> list[float]:
    """Each score's place between the lowest and the highest, from 0 to 1; where all are equal, 1.

    Source: J. H. Lee, "Analyses of Multiple Evidence Combination", SIGIR 1997 (min-max normalisation).
    """
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]


def by_distribution(scores: Sequence[float]) -> list[float]:
    """Each score's place between three standard deviations below the mean and three above, from 0 to 1.

    Where all are equal, 0.5. Beyond the three deviations it is 0 or 1. The deviation is that of these scores, not an
    estimate from a sample.

    Source: M. Mazzeschi, "Distribution-Based Score Fusion (DBSF), a new approach to Vector Search Ranking", 2023, which
    Qdrant's fusion of that name follows.
    """
    if not scores:
        return []
    mean = sum(scores) / len(scores)
    reach = DEVIATIONS * (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    if reach == 0:
        return [0.5] * len(scores)
    return [min(max((score - mean + reach) / (2 * reach), 0.0), 1.0) for score in scores]


def by_rank(scores: Sequence[float]) -> list[float]:
    """`1 / (60 + rank)` for each of these scores, which stand best first; ranks from 1.

    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods", SIGIR 2009.
    """
    return [1 / (RANK_CONSTANT + rank) for rank in range(1, len(scores) + 1)]


class Fusion(NamedTuple):
    """One way of fusing.

    Attributes:
        scale: A field's scores, best first, to what they are worth.
        ranks: It goes by a field's own list alone: scores of ids that the list does not hold mean nothing to it, and
            the fused score is the weighted sum. Otherwise it is the weighted mean, from 0 to 1.
    """

    scale: Callable[[Sequence[float]], list[float]]
    ranks: bool = False


FUSIONS: dict[str, Fusion] = {
    "weighted": Fusion(by_maximum),
    "rrf": Fusion(by_rank, ranks=True),
    "minmax": Fusion(by_range),
    "distribution": Fusion(by_distribution),
}
"""Every fusion, by its name."""


@dataclass(frozen=True)
class Fused:
    """An id with its fused score and where each field placed it."""

    id: str
    score: float
    fields: dict[str, FieldScore]


def fuse(
    lists: Mapping[str, RankedList],
    method: str = "weighted",
    weights: Mapping[str, float] | None = None,
    beyond: Mapping[str, Mapping[str, float]] | None = None,
    wanted: int | None = None,
) -> list[Fused]:
    """One ranked list of several, best first; equal scores are ordered by id, so that results are the same every time.

    A list alone keeps its scores.

    Args:
        lists: Field's name to its ranked list. A list must not hold an id twice.
        method: A name of `FUSIONS`.
        weights: Field's name to its weight, at least 0 and not all 0; by default all fields weigh the same.
        beyond: Field's name to the scores there of ids that other lists hold and its own does not. They have no rank.
        wanted: How many; `None` for all.

    Raises:
        InputError: The method is unknown, or a weight is missing, negative or for a field that is not there.
        InputTypeError: `weights` is no mapping to numbers.
    """
    fusion, weight = checked(lists, method, weights)
    total = 1.0 if fusion.ranks else sum(weight.values())
    worth: dict[str, float] = {}
    found: dict[str, _Scored] = {}
    for field, ranked in lists.items():
        others = {} if fusion.ranks or beyond is None else beyond.get(field, {})
        scores = [score for _, score in ranked] + list(others.values())
        ids = [id_ for id_, _ in ranked] + list(others)
        share = weight[field] / total
        parts = scores if len(lists) == 1 else [share * scaled for scaled in fusion.scale(scores)]
        for id_, part in zip(ids, parts, strict=True):
            worth[id_] = worth.get(id_, 0.0) + part
        found[field] = _Scored(dict(zip(ids, range(len(ids)), strict=True)), scores, parts, len(ranked))
    order = sorted(sorted(worth), key=worth.__getitem__, reverse=True)[:wanted]
    return [Fused(id_, worth[id_], _places(id_, worth[id_], found)) for id_ in order]


class _Scored(NamedTuple):
    """What a field says: where each id stands in the other two, how many of them are ranked."""

    at: dict[str, int]
    scores: list[float]
    parts: list[float]
    ranked: int


def _places(id_: str, whole: float, found: Mapping[str, _Scored]) -> dict[str, FieldScore]:
    places = {}
    for field, (at, scores, parts, ranked) in found.items():
        here = at.get(id_)
        if here is not None and (here < ranked or scores[here] or parts[here]):  # or it has nothing to say
            rank = here + 1 if here < ranked else None
            places[field] = FieldScore(rank, scores[here], parts[here] / whole if whole else 0.0)
    return places


def unscored(
    lists: Mapping[str, RankedList],
    method: str,
    weights: Mapping[str, float] | None,
    ended: Collection[str],
    wanted: int | None,
) -> dict[str, list[str]]:
    """For each field the ids, found by others, that must be scored there for the first `wanted` of `fuse` to be right.

    An id that a list does not hold scores there no more than the list's last. Where scores are divided by the maximum,
    that says of most ids that they cannot come among the first, whatever they score: R. Fagin, A. Lotem and M. Naor,
    "Optimal aggregation algorithms for middleware", PODS 2001. By the other scales every score moves all of them.

    Args:
        lists: As in `fuse`.
        method: As in `fuse`.
        weights: As in `fuse`.
        ended: The fields whose lists hold all that there is.
        wanted: How many; `None` for all.
    """
    fusion, weight = checked(lists, method, weights)
    if fusion.ranks or len(lists) < 2:
        return {field: [] for field in lists}
    scores = {field: dict(ranked) for field, ranked in lists.items()}
    union = dict.fromkeys(chain.from_iterable(scores.values()))
    if wanted is not None and len(union) > wanted and fusion.scale is by_maximum:
        # What each id has for sure; and how much more that is than had it stood last in every list.
        known, ahead, last = dict.fromkeys(union, 0.0), dict.fromkeys(union, 0.0), 0.0
        for field, own in scores.items():
            scaled = [weight[field] * worth for worth in by_maximum([*own.values()])]
            most = min(scaled, default=0.0) if field not in ended else 0.0
            last += most
            for id_, worth in zip(own, scaled, strict=True):
                known[id_] += worth
                ahead[id_] += worth - most
        least = sorted(known.values())[-wanted] - last - _ROUNDING
        union = dict.fromkeys(id_ for id_, more in ahead.items() if more >= least)
    return {field: [id_ for id_ in union if id_ not in own] for field, own in scores.items()}


def checked(
    fields: Mapping[str, object], method: str, weights: Mapping[str, float] | None
) -> tuple[Fusion, dict[str, float]]:
    """The fusion, and the weight of each of these fields.

    Raises:
        InputError: See `fuse`.
        InputTypeError: See `fuse`.
    """
    if method not in FUSIONS:
        raise InputError(f"fusion must be one of {', '.join(FUSIONS)}, not {method!r}")
    if weights is None:
        return FUSIONS[method], dict.fromkeys(fields, 1.0)
    if not isinstance(weights, Mapping):
        raise InputTypeError(f"weights must be a mapping of fields to numbers, not {type(weights).__name__}")
    for field, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise InputTypeError(f"the weight of {field!r} must be a number, not {type(weight).__name__} ({weight!r})")
    if weights.keys() != fields.keys():
        raise InputError(f"weights must name exactly the fields {sorted(fields)}, not {sorted(map(str, weights))}")
    if weights and not (all(weight >= 0 for weight in weights.values()) and 0 < sum(weights.values()) < float("inf")):
        raise InputError(f"weights must be at least 0, finite and not all 0, not {dict(weights)}")
    return FUSIONS[method], dict(weights)
