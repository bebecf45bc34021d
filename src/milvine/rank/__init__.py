"""Ranked lists to one ranked list: fusion of several fields, and the blend with a reranker's scores."""

from milvine.local.running.maxsim import maxsim
from milvine.rank.blending import RERANK_WEIGHT, blend
from milvine.rank.fusion import FUSIONS, Fused, Fusion, by_distribution, by_maximum, by_range, by_rank, fuse, unscored
from milvine.rank.matching import find_matches
from milvine.rank.reranking import rerank

__all__ = [
    "FUSIONS",
    "RERANK_WEIGHT",
    "Fused",
    "Fusion",
    "blend",
    "by_distribution",
    "by_maximum",
    "by_range",
    "by_rank",
    "find_matches",
    "fuse",
    "maxsim",
    "rerank",
    "unscored",
]
