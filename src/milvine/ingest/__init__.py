"""Files to documents to passages: what is read, and how it is cut so that it fits a model."""

from __future__ import annotations

from milvine.ingest.documents import Document, Problem
from milvine.ingest.files import ReadCounts, read_documents
from milvine.ingest.passages import split_passages
from milvine.ingest.pydocs import python_documents
from milvine.ingest.readers import READERS

__all__ = [
    "READERS",
    "Document",
    "Problem",
    "ReadCounts",
    "python_documents",
    "read_documents",
    "split_passages",
]
