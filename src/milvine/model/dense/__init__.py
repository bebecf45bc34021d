"""Functions that give one dense vector a text."""

from milvine.model.dense.instructor import InstructorEmbeddingFunction
from milvine.model.dense.model2vec import Model2VecEmbeddingFunction
from milvine.model.dense.nomic import NomicEmbeddingFunction
from milvine.model.dense.onnx import OnnxEmbeddingFunction
from milvine.model.dense.openai import OpenAIEmbeddingFunction
from milvine.model.dense.sentence_transformer import SentenceTransformerEmbeddingFunction

__all__ = [
    "InstructorEmbeddingFunction",
    "Model2VecEmbeddingFunction",
    "NomicEmbeddingFunction",
    "OnnxEmbeddingFunction",
    "OpenAIEmbeddingFunction",
    "SentenceTransformerEmbeddingFunction",
]
