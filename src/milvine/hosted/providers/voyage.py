"""Voyage AI."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from milvine.hosted.shapes import item_scores, item_vectors, rerank_body
from milvine.hosted.spec import (
    EmbeddingEndpoint,
    EmbeddingModel,
    EmbedRequest,
    Encoding,
    Provider,
    RerankEndpoint,
    RerankRequest,
)

__all__ = ["VOYAGE", "provider_for_key"]

_SIZES: Final = (256, 512, 1_024, 2_048)


def _embed_body(request: EmbedRequest) -> dict[str, Any]:
    body = {"model": request.model, "input": list(request.texts), **request.fields}
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


def _rerank_body(request: RerankRequest) -> dict[str, Any]:
    return {**rerank_body(request), "top_k": request.top_k}


VOYAGE: Final = Provider(
    # https://docs.voyageai.com/reference/embeddings-api (read 2026-11-23).
    name="voyage",
    base_url="https://api.voyageai.com/v1",
    # The vendor documents no variable for the base URL; this one is milvine's own.
    base_url_variables=("VOYAGE_BASE_URL",),
    key_variables=("VOYAGE_API_KEY",),
    key_page="https://dash.voyageai.com",
    # {"detail": "..."}: voyageai 0.5.0, api_requestor.py; statuses: https://docs.voyageai.com/docs/error-codes (both
    # read 2026-11-23). No header about rate limits is documented.
    error_messages=(("detail",), ("error", "message"), ("message",)),
    # "The max allowed tokens per submitted batch is 120000. Your batch has 121138 tokens after truncation.":
    # https://github.com/sigoden/aichat/pull/825; "Total number of tokens in the batch exceeds the limit", "Number of
    # tokens in an example exceeds the context length": https://docs.voyageai.com/docs/error-codes (both read
    # 2026-11-23).
    too_long=re.compile(
        r"max allowed tokens|tokens .*exceeds?|context length|batch size|TOO_MANY_TOKENS", re.IGNORECASE | re.DOTALL
    ),
    # https://docs.voyageai.com/reference/embeddings-api (read 2026-11-23): at most 1,000 texts; at most 1M, 320K or
    # 120K tokens, by the model; a text that is too long is cut unless truncation is false. A text has at least one
    # character: https://www.mongodb.com/docs/api/doc/atlas-embedding-and-reranking-api/operation/operation-createembedding
    # (read 2026-11-23).
    embeddings=EmbeddingEndpoint(
        path="/embeddings",
        body=_embed_body,
        vectors=item_vectors,
        max_texts=1_000,
        max_tokens=120_000,
        roles=MappingProxyType(
            {
                "query": MappingProxyType({"input_type": "query"}),
                "document": MappingProxyType({"input_type": "document"}),
            }
        ),
        # Base64 of the type's bytes, as the vendor's own client asks for it: voyageai 0.5.0, util.py (read 2026-11-23).
        # ubinary is eight bits a number: https://docs.voyageai.com/docs/flexible-dimensions-and-quantization (read in
        # part); highest bit first, as pymilvus.model 0.3.4 unpacks it. Hamming distances do not depend on the order.
        encodings=MappingProxyType(
            {
                "float32": Encoding(MappingProxyType({"encoding_format": "base64"}), "float32"),
                "int8": Encoding(MappingProxyType({"encoding_format": "base64", "output_dtype": "int8"}), "int8"),
                "binary": Encoding(MappingProxyType({"encoding_format": "base64", "output_dtype": "ubinary"}), "uint8"),
            }
        ),
        # https://docs.voyageai.com/embeddings, "Model Choices" (read 2026-11-23). voyage-3.5 and -lite, their sizes:
        # https://www.mintlify.com/patelvivekdev/voyageai-ai-provider/api/types/embedding-options; voyage-3, -3-lite and
        # -multilingual-2: https://v4.ai-sdk.dev/providers/community-providers/voyage-ai (both read 2026-11-23).
        models=MappingProxyType(
            {
                "voyage-4-large": EmbeddingModel(1_024, True, _SIZES, max_tokens=32_000, max_request_tokens=120_000),
                "voyage-4": EmbeddingModel(1_024, True, _SIZES, max_tokens=32_000, max_request_tokens=320_000),
                "voyage-4-lite": EmbeddingModel(1_024, True, _SIZES, max_tokens=32_000, max_request_tokens=1_000_000),
                "voyage-3-large": EmbeddingModel(1_024, True, _SIZES, max_tokens=32_000, max_request_tokens=120_000),
                "voyage-3.5": EmbeddingModel(1_024, True, _SIZES, max_tokens=32_000, max_request_tokens=320_000),
                "voyage-3.5-lite": EmbeddingModel(1_024, True, _SIZES, max_tokens=32_000, max_request_tokens=1_000_000),
                "voyage-code-3": EmbeddingModel(1_024, True, _SIZES, max_tokens=32_000, max_request_tokens=120_000),
                "voyage-3": EmbeddingModel(1_024, max_tokens=32_000),
                "voyage-3-lite": EmbeddingModel(512, max_tokens=32_000),
                "voyage-finance-2": EmbeddingModel(1_024, max_tokens=32_000, max_request_tokens=120_000),
                "voyage-multilingual-2": EmbeddingModel(1_024, max_tokens=32_000),
                "voyage-law-2": EmbeddingModel(1_024, max_tokens=16_000, max_request_tokens=120_000),
                "voyage-code-2": EmbeddingModel(1_536, max_tokens=16_000),
            }
        ),
    ),
    # https://docs.voyageai.com/reference/reranker-api (read 2026-11-23): at most 1,000 documents, and 600K tokens, of
    # which the query counts once a document; truncation is on by default. The model reads a pair of a query and one
    # document at a time (https://docs.voyageai.com/docs/reranker, read 2026-11-23): scores of two requests compare.
    rerank=RerankEndpoint(
        path="/rerank",
        body=_rerank_body,
        scores=partial(item_scores, field="data"),
        max_documents=1_000,
        # 300K for rerank-1 and rerank-lite-1, which the server says itself.
        max_tokens=600_000,
    ),
)


def provider_for_key(api_key: str | None) -> Provider:
    """The row for a key, or for that of the environment: keys of MongoDB Atlas belong to another address.

    voyageai 0.5.0, util.py (read 2026-11-23).
    """
    keys = (api_key, *map(os.environ.get, VOYAGE.key_variables))
    key = next((key for key in keys if isinstance(key, str) and key.strip()), "")
    return replace(VOYAGE, base_url="https://ai.mongodb.com/v1") if key.strip().startswith("al-") else VOYAGE
