"""Mistral AI."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Final

from milvine.hosted.shapes import item_vectors
from milvine.hosted.spec import EmbeddingEndpoint, EmbeddingModel, EmbedRequest, Encoding, Limit, Provider

__all__ = ["MISTRAL"]


def _body(request: EmbedRequest) -> dict[str, Any]:
    body = {"model": request.model, "input": list(request.texts), **request.fields}
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


MISTRAL: Final = Provider(
    # https://docs.mistral.ai/api/endpoint/embeddings; bearer key: mistralai 3.7.0 (both read 2026-11-23).
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    # The vendor documents no variable for the base URL; this one is milvine's own.
    base_url_variables=("MISTRAL_BASE_URL",),
    # The vendor's name (mistralai 3.7.0); then the one that pymilvus.model 0.3.4 reads.
    key_variables=("MISTRAL_API_KEY", "MISTRALAI_API_KEY"),
    key_page="https://console.mistral.ai/api-keys",
    # {"object": "error", "message", "type", "param", "code"}: https://github.com/chroma-core/chroma/pull/5597; HTTP 422
    # is {"detail": [{"loc", "msg", "type"}]}: mistralai 3.7.0 (both read 2026-11-23).
    error_messages=(("message", "detail"), ("message",), ("detail",)),
    error_codes=(("code",), ("type",)),
    # "Too many tokens overall, split into more batches.", code 3210 (https://github.com/chroma-core/chroma/pull/5597);
    # "Too many tokens in batch. Max is 16384 got 17555" (https://github.com/aurelio-labs/semantic-router/issues/297);
    # "Too many inputs in request, split into more batches." (rig-core 0.42.0; all read 2026-11-23). What it says of one
    # text that is too long was not found.
    too_long=re.compile(r"too many (tokens|inputs)", re.IGNORECASE),
    # https://github.com/mistralai/client-ts/issues/169 (read 2026-11-23); no header says when the minute is over.
    limits=(
        Limit("requests", "x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute", window=60.0),
        Limit("tokens", "x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute", window=60.0),
    ),
    # Whether a response carries an id in a header is not documented.
    embeddings=EmbeddingEndpoint(
        path="/embeddings",
        body=_body,
        vectors=item_vectors,
        # Not documented: 257 inputs are refused (rig-core 0.42.0, tried against the API), and more than 16,384 tokens
        # (https://github.com/aurelio-labs/semantic-router/issues/297; both read 2026-11-23).
        max_texts=256,
        max_tokens=16_384,
        # The API knows no difference between queries and documents.
        # output_dtype: float, int8, uint8, binary, ubinary (mistralai 3.7.0), packed numbers for the last two; how they
        # would look with encoding_format base64 is not documented, so lists of numbers are asked for.
        encodings=MappingProxyType(
            {
                "float32": Encoding(),
                "int8": Encoding(MappingProxyType({"output_dtype": "int8"})),
                "binary": Encoding(MappingProxyType({"output_dtype": "ubinary"})),
            }
        ),
        # https://docs.mistral.ai/capabilities/embeddings/text_embeddings: 1,024 dimensions (read 2026-11-23); 8,192
        # tokens: https://github.com/langchain-ai/langchain/issues/20523. codestral-embed: 1,536, and up to 3,072 with
        # output_dimension: docs.rs/crate/do-memory-core/0.1.30, for the vendor's page could be read in part alone
        # (https://docs.mistral.ai/studio/knowledge-rag/embeddings/code_embeddings.md; all read 2026-11-23).
        models=MappingProxyType(
            {
                "mistral-embed": EmbeddingModel(dim=1_024, max_tokens=8_192),
                "mistral-embed-2312": EmbeddingModel(dim=1_024, max_tokens=8_192),
                "codestral-embed": EmbeddingModel(dim=1_536, shortens=True, most=3_072, max_tokens=8_192),
                "codestral-embed-2505": EmbeddingModel(dim=1_536, shortens=True, most=3_072, max_tokens=8_192),
            }
        ),
    ),
)
