"""Hybrid embedding functions: dense, sparse and token vectors from one pass of one model."""

from milvine.model.hybrid.bge_m3 import BGEM3EmbeddingFunction
from milvine.model.hybrid.mgte import MGTEEmbeddingFunction

__all__ = ["BGEM3EmbeddingFunction", "MGTEEmbeddingFunction"]
