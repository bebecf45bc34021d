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


def rerank(reranker: BaseRerankFunction, query: str, hits: Sequence[Hit], weight: float = RERANK_WEIGHT) -> list[Hit]:
    """The hits, reordered; each then has the reranker's own score as `rerank_score`, and the blend as `score`.

    Args:
        reranker: Must score every hit.
        query: The question.
        hits: What the first stage found, best first; equal blends keep this order.
        weight: The reranker's share; see `blend`.

    Raises:
        InputError: The reranker did not score every hit, or a score is no finite number; or `weight` is not allowed.
    """
    if not hits:
        return []
    results = reranker(query, [hit.text for hit in hits], top_k=len(hits))
    scores = {result.index: float(result.score) for result in results}
    if scores.keys() != set(range(len(hits))):
        raise InputError(
            f"{type(reranker).__name__} scored {len(scores)} of {len(hits)} documents; a reranker must score all it is"
            " given, each under its own index"
        )
    second = [scores[at] for at in range(len(hits))]
    if not all(map(isfinite, second)):
        raise InputError(f"{type(reranker).__name__} gave a score that is no finite number")
    blended = blend([hit.score for hit in hits], second, weight)
    scored = zip(hits, blended, second, strict=True)
    reranked = [replace(hit, score=score, rerank_score=own) for hit, score, own in scored]
    return sorted(reranked, key=lambda hit: -hit.score)
