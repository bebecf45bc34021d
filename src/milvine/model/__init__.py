"""Embedding functions and rerankers under the names of `pymilvus.model`."""

from milvine.model import dense, hybrid, multivector, reranker, sparse
from milvine.model.cached import CachedEmbeddingFunction
from milvine.model.dense import SentenceTransformerEmbeddingFunction as DefaultEmbeddingFunction

__all__ = [
    "CachedEmbeddingFunction",
    "DefaultEmbeddingFunction",
    "dense",
    "hybrid",
    "multivector",
    "reranker",
    "sparse",
]
