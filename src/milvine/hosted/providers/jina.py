"""Jina AI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from milvine.hosted.shapes import item_scores, item_vectors, openai_body, top_n_body
from milvine.hosted.spec import (
    EmbeddingEndpoint,
    EmbeddingModel,
    Encoding,
    Limit,
    Provider,
    RerankEndpoint,
    RerankRequest,
    Role,
)

__all__ = ["JINA", "LISTWISE"]

LISTWISE: Final = ("jina-reranker-v3", "jina-reranker-v3.5")
"""Rerankers that read all documents at once, so that the scores of two requests cannot be compared (v14, as below)."""


def tasks(query: str, document: str) -> Mapping[Role, Mapping[str, Any]]:
    """The fields of the body for two of Jina AI's tasks."""
    return MappingProxyType({"query": {"task": query}, "document": {"task": document}})


def _rerank_body(request: RerankRequest) -> dict[str, Any]:
    """Without `return_documents: false` all the documents come back."""
    return {**top_n_body(request), "return_documents": False}


_CODE: Final = tasks("nl2code.query", "nl2code.passage")
_NO_TASK: Final[Mapping[Role, Mapping[str, Any]]] = MappingProxyType({})

JINA: Final = Provider(
    # https://docs.jina.ai/v14 (jina-ai/meta-prompt, v14.txt; read 2026-11-23).
    name="jina",
    base_url="https://api.jina.ai/v1",
    # The vendor documents no variable for the base URL; this one is milvine's own.
    base_url_variables=("JINA_BASE_URL",),
    # The vendor's name; then the one that pymilvus.model 0.3.4 reads.
    key_variables=("JINA_API_KEY", "JINAAI_API_KEY"),
    key_page="https://jina.ai/api-dashboard/key-manager",
    # Statuses and codes (401 AUTH_INVALID_API_KEY, 403 AUTHZ_INSUFFICIENT_BALANCE, 400 INPUT_MODEL_NOT_FOUND, ...) and
    # the two headers: https://api.jina.ai/openapi.json (read 2026-11-23, its beginning alone). The body {"detail",
    # "request_id", "code"} is as users report it; its detail is a string, a list (FastAPI's), or an object with a
    # message: https://github.com/norrietaylor/distillery/issues/274 (read 2026-11-23). Limits are per minute; whether a
    # 429 carries Retry-After is not documented.
    error_messages=(("detail", "message"), ("detail",), ("message",)),
    error_codes=(("code",),),
    limits=(
        Limit("requests", "", "x-ratelimit-remaining-requests", window=60.0),
        Limit("tokens", "", "x-ratelimit-remaining-tokens", window=60.0),
    ),
    # "Input text exceeds the model's maximum of 8194 tokens": the issue above. "Single text cannot exceed 8194 tokens":
    # https://github.com/pingcap/autoflow/issues/397. "Each input list can contain at most 512 items":
    # https://github.com/langgenius/dify-official-plugins/issues/1997. "input length is larger than the largest allowed
    # size 2048": https://github.com/refly-ai/refly/issues/831 (all read 2026-11-23).
    too_long=re.compile(
        r"exceeds the model's maximum|cannot exceed \d+ tokens|at most \d+ items|larger than the largest allowed size"
        r"|INPUT_TOKEN_LIMIT_EXCEEDED",
        re.IGNORECASE,
    ),
    # https://docs.jina.ai/v14 (read 2026-11-23). The number of texts is not documented: 512 is what the server told a
    # user in 2025 (above). Vectors have length 1 only if "normalized" asks for it, which jina-embeddings-v4 and the
    # code models do not know, so that is done here. A text that is too long is refused unless "truncate" is set.
    embeddings=EmbeddingEndpoint(
        path="/embeddings",
        body=openai_body,
        vectors=item_vectors,
        max_texts=512,
        takes_empty=True,  # pymilvus.model 0.3.4 finds the dimension out with an empty text
        roles=tasks("retrieval.query", "retrieval.passage"),
        normalize=True,
        # base64 holds float32, as users decode it (Qinnovation123/papers, impl/embed.py). Binary vectors are a 32nd of
        # the size, so one bit a dimension: https://jina.ai/news/binary-embeddings-all-the-ai-3125-of-the-fat (both read
        # 2026-11-23). Which bit of a byte comes first is not documented; distances among such vectors are the same.
        encodings=MappingProxyType(
            {
                "float32": Encoding(MappingProxyType({"embedding_type": "base64"}), "float32"),
                "binary": Encoding(MappingProxyType({"embedding_type": "ubinary"})),
            }
        ),
        # Dimensions and context as in v14; of the v2 models as LlamaIndex lists them:
        # https://developers.llamaindex.ai/python/examples/embeddings/jinaai_embeddings (read 2026-11-23).
        models=MappingProxyType(
            {
                "jina-embeddings-v5-text-small": EmbeddingModel(1_024, shortens=True, max_tokens=32_768),
                "jina-embeddings-v5-text-nano": EmbeddingModel(768, shortens=True, max_tokens=8_192),
                "jina-embeddings-v4": EmbeddingModel(2_048, shortens=True),
                "jina-embeddings-v3": EmbeddingModel(1_024, shortens=True, max_tokens=8_194),
                "jina-clip-v2": EmbeddingModel(1_024, shortens=True),
                "jina-embeddings-v2-base-en": EmbeddingModel(768, max_tokens=8_192, roles=_NO_TASK),
                "jina-embeddings-v2-base-de": EmbeddingModel(768, max_tokens=8_192, roles=_NO_TASK),
                "jina-embeddings-v2-base-es": EmbeddingModel(768, max_tokens=8_192, roles=_NO_TASK),
                "jina-embeddings-v2-base-zh": EmbeddingModel(768, max_tokens=8_192, roles=_NO_TASK),
                # https://jina.ai/models/jina-code-embeddings-0.5b/ and -1.5b/ (read 2026-11-23).
                "jina-code-embeddings-0.5b": EmbeddingModel(896, shortens=True, max_tokens=32_768, roles=_CODE),
                "jina-code-embeddings-1.5b": EmbeddingModel(1_536, shortens=True, max_tokens=32_768, roles=_CODE),
            }
        ),
    ),
    # https://docs.jina.ai/v14 (read 2026-11-23). top_n defaults to all documents. No limit on the number or the length
    # of documents was found: the server judges.
    rerank=RerankEndpoint(path="/rerank", body=_rerank_body, scores=item_scores),
)
