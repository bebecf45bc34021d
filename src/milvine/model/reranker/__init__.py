"""Functions that order documents by their relevance to a query."""

from milvine.model.base import RerankResult
from milvine.model.reranker.bge import BGERerankFunction
from milvine.model.reranker.cohere import CohereRerankFunction
from milvine.model.reranker.colbert import ColBERTRerankFunction
from milvine.model.reranker.cross_encoder import CrossEncoderRerankFunction
from milvine.model.reranker.jev import JevRerankFunction
from milvine.model.reranker.jina import JinaRerankFunction
from milvine.model.reranker.tei import TEIRerankFunction
from milvine.model.reranker.voyageai import VoyageRerankFunction

__all__ = [
    "BGERerankFunction",
    "CohereRerankFunction",
    "ColBERTRerankFunction",
    "CrossEncoderRerankFunction",
    "JevRerankFunction",
    "JinaRerankFunction",
    "RerankResult",
    "TEIRerankFunction",
    "VoyageRerankFunction",
]
