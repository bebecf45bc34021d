"""Hits in the order of a reranker and the first stage together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from milvine.errors import InputError
from milvine.rank.blending import RERANK_WEIGHT, blend
from milvine.types import Hit

if TYPE_CHECKING:
    from milvine.model.base import BaseRerankFunction


def rerank(
    reranker: BaseRerankFunction,
    query: str,
    hits: Sequence[Hit],
    weight: float = RERANK_WEIGHT,
    limit: int | None = None,
) -> list[Hit]:
    """The hits, reordered; each then has the blend as `score`, and the reranker's own score as `rerank_score`.

    Hits beyond `limit` are not shown to the reranker. They count as its lowest, so they stay behind the others.

    Args:
        reranker: Must score every hit.
        query: The question.
        hits: What the first stage found, best first; equal blends keep this order.
        weight: The reranker's share; see `blend`.
        limit: How many of the hits the reranker scores, the first ones; by default all.

    Raises:
        InputError: The reranker did not score every hit, or a score is no finite number; or `weight` is not allowed.
    """
    if not hits:
        return []
    seen = hits[:limit]
    results = reranker(query, [hit.text for hit in seen], top_k=len(seen))
    scores = {result.index: float(result.score) for result in results}
    if scores.keys() != set(range(len(seen))):
        raise InputError(
            f"{type(reranker).__name__} scored {len(scores)} of {len(seen)} documents; a reranker must score all it is"
            " given, each under its own index"
        )
    if not all(map(isfinite, scores.values())):
        raise InputError(f"{type(reranker).__name__} gave a score that is no finite number")
    lowest = min(scores.values())
    blended = blend([hit.score for hit in hits], [scores.get(at, lowest) for at in range(len(hits))], weight)
    reranked = [
        replace(hit, score=score, rerank_score=scores.get(at))
        for at, (hit, score) in enumerate(zip(hits, blended, strict=True))
    ]
    return sorted(reranked, key=lambda hit: -hit.score)
