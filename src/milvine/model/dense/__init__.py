"""Functions that give one dense vector a text."""

from milvine.model.dense.openai import OpenAIEmbeddingFunction
from milvine.model.dense.sentence_transformer import SentenceTransformerEmbeddingFunction

__all__ = ["OpenAIEmbeddingFunction", "SentenceTransformerEmbeddingFunction"]
