"""Ranked lists to one ranked list: fusion of several fields, and the blend with a reranker's scores."""

from milvine.rank.blending import blend
from milvine.rank.fusion import FUSIONS, Fused, fuse, reciprocal_rank_fusion, weighted_by_maximum

__all__ = ["FUSIONS", "Fused", "blend", "fuse", "reciprocal_rank_fusion", "weighted_by_maximum"]
