"""Sparse embedding functions: vectors with one dimension a term."""

from milvine.model.sparse.bm25 import BM25EmbeddingFunction
from milvine.model.sparse.splade import SpladeEmbeddingFunction

__all__ = ["BM25EmbeddingFunction", "SpladeEmbeddingFunction"]
