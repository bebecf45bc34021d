"""BM25 as an embedding function, and the analyzers that feed it."""

from milvine.model.sparse.bm25.bm25 import BM25EmbeddingFunction
from milvine.model.sparse.bm25.explanation import Explanation, TermShare
from milvine.model.sparse.bm25.tokenizers import Analyzer, build_analyzer_from_yaml, build_default_analyzer

__all__ = [
    "Analyzer",
    "BM25EmbeddingFunction",
    "Explanation",
    "TermShare",
    "build_analyzer_from_yaml",
    "build_default_analyzer",
]
