"""Multi-vector embedding functions: a vector for each token, for late interaction."""

from milvine.model.multivector.colbert import ColBERTEmbeddingFunction

__all__ = ["ColBERTEmbeddingFunction"]
