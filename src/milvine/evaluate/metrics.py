"""How good a ranking is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2

from milvine.errors import InputError


def ndcg(qrels: Mapping[str, Mapping[str, int]], runs: Mapping[str, Sequence[str]], k: int = 10) -> float:
    """The mean over the queries of nDCG at `k`, from 0 to 1.

    A document of relevance `r` at rank `i` gains `r / log2(i + 1)`; the sum is divided by that of the best possible
    ranking (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002, as
    trec_eval computes `ndcg_cut`). Queries without a relevant document are left out; a query without a run counts 0.

    Args:
        qrels: Query id to document id to relevance; 0 and less is not relevant.
        runs: Query id to document ids, best first.
        k: Ranks that count, at least 1.

    Raises:
        InputError: No query has a relevant document, a run holds a document twice, or `k` is less than 1.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    values = []
    for query, judged in qrels.items():
        ideal = sorted((relevance for relevance in judged.values() if relevance > 0), reverse=True)[:k]
        if not ideal:
            continue
        ranked = list(runs.get(query, ()))[:k]
        if len(set(ranked)) < len(ranked):
            raise InputError(f"the run of query {query!r} holds a document twice")
        gains = [max(judged.get(document, 0), 0) for document in ranked]
        values.append(_discounted(gains) / _discounted(ideal))
    if not values:
        raise InputError("no query has a relevant document")
    return sum(values) / len(values)


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, start=1))
