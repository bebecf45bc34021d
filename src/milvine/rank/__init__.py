"""Ranked lists to one ranked list: fusion of several fields, and the blend with a reranker's scores."""

from milvine.local.running.maxsim import maxsim
from milvine.rank.blending import RERANK_WEIGHT, blend
from milvine.rank.fusion import FUSIONS, Fused, fuse, reciprocal_rank_fusion, weighted_by_maximum
from milvine.rank.reranking import rerank

__all__ = [
    "FUSIONS",
    "RERANK_WEIGHT",
    "Fused",
    "blend",
    "fuse",
    "maxsim",
    "reciprocal_rank_fusion",
    "rerank",
    "weighted_by_maximum",
]
