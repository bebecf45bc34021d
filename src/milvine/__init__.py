"""Embedding functions, rerankers and hybrid search for Milvus, without PyTorch."""

from milvine import errors, model
from milvine.collection import Collection
from milvine.errors import MilvineError
from milvine.types import AddReport, FieldScore, Hit, Record, RerankResult

__all__ = [
    "AddReport",
    "Collection",
    "FieldScore",
    "Hit",
    "MilvineError",
    "Record",
    "RerankResult",
    "errors",
    "model",
]
