"""Functions that give one dense vector a text."""

from milvine.model.dense.azure_openai import AzureOpenAIEmbeddingFunction
from milvine.model.dense.cohere import CohereEmbeddingFunction
from milvine.model.dense.gemini import GeminiEmbeddingFunction
from milvine.model.dense.instructor import InstructorEmbeddingFunction
from milvine.model.dense.jinaai import JinaEmbeddingFunction
from milvine.model.dense.mistralai import MistralAIEmbeddingFunction
from milvine.model.dense.model2vec import Model2VecEmbeddingFunction
from milvine.model.dense.nomic import NomicEmbeddingFunction
from milvine.model.dense.ollama import OllamaEmbeddingFunction
from milvine.model.dense.onnx import OnnxEmbeddingFunction
from milvine.model.dense.openai import OpenAIEmbeddingFunction
from milvine.model.dense.sentence_transformer import SentenceTransformerEmbeddingFunction
from milvine.model.dense.tei import TEIEmbeddingFunction
from milvine.model.dense.voyageai import VoyageEmbeddingFunction

__all__ = [
    "AzureOpenAIEmbeddingFunction",
    "CohereEmbeddingFunction",
    "GeminiEmbeddingFunction",
    "InstructorEmbeddingFunction",
    "JinaEmbeddingFunction",
    "MistralAIEmbeddingFunction",
    "Model2VecEmbeddingFunction",
    "NomicEmbeddingFunction",
    "OllamaEmbeddingFunction",
    "OnnxEmbeddingFunction",
    "OpenAIEmbeddingFunction",
    "SentenceTransformerEmbeddingFunction",
    "TEIEmbeddingFunction",
    "VoyageEmbeddingFunction",
]
