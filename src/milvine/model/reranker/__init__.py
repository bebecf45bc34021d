"""Functions that order documents by their relevance to a query."""

from milvine.model.base import RerankResult
from milvine.model.reranker.bge import BGERerankFunction
from milvine.model.reranker.colbert import ColBERTRerankFunction
from milvine.model.reranker.cross_encoder import CrossEncoderRerankFunction
from milvine.model.reranker.jina import JinaRerankFunction

__all__ = [
    "BGERerankFunction",
    "ColBERTRerankFunction",
    "CrossEncoderRerankFunction",
    "JinaRerankFunction",
    "RerankResult",
]
