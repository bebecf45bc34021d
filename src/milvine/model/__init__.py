"""Embedding functions and rerankers under the names of `pymilvus.model`."""

from milvine.model import dense, hybrid, multivector, reranker, sparse
from milvine.model.dense import SentenceTransformerEmbeddingFunction as DefaultEmbeddingFunction

__all__ = ["DefaultEmbeddingFunction", "dense", "hybrid", "multivector", "reranker", "sparse"]
