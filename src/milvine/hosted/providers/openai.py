"""OpenAI, and every server that speaks its `/v1/embeddings`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from milvine.hosted.shapes import item_vectors, openai_body
from milvine.hosted.spec import EmbeddingEndpoint, EmbeddingModel, Encoding, Limit, Provider

__all__ = ["OPENAI", "encodings"]


def encodings(encoding_format: str | None) -> Mapping[str, Encoding]:
    """The kinds of vectors, written as a value of `encoding_format` says; `None`: the field is not sent.

    In base64 they are little-endian float32, a quarter of the bytes; the vendor's own client asks for it too:
    openai-python 3.54.0 (read 2026-11-23). Servers that do not know it send lists of numbers.
    """
    fields = {} if encoding_format is None else {"encoding_format": encoding_format}
    form: Literal["float32", "numbers"] = "float32" if encoding_format == "base64" else "numbers"
    return MappingProxyType({"float32": Encoding(MappingProxyType(fields), form)})


OPENAI: Final = Provider(
    # Base URL, bearer key, x-request-id: https://developers.openai.com/api/reference/overview (read 2026-11-23).
    name="openai",
    base_url="https://api.openai.com/v1",
    # OPENAI_API_KEY and OPENAI_BASE_URL are what the vendor's own client reads: openai-python 3.54.0 (read 2026-11-23).
    base_url_variables=("OPENAI_BASE_URL",),
    key_variables=("OPENAI_API_KEY",),
    key_page="https://platform.openai.com/api-keys",
    # {"error": {"message", "type", "param", "code"}}, as openai-python 3.54.0 takes it apart (read 2026-11-23).
    error_messages=(("error", "message"), ("error",), ("message",), ("detail",)),
    error_codes=(("error", "code"), ("error", "type")),
    # A 429 that retrying does not cure; the list is Microsoft's digest of OpenAI's error-code guide, which was not
    # itself to be read: https://learn.microsoft.com/microsoft-cloud/dev/dev-proxy/concepts/openai-insufficient-quota
    # (read 2026-11-23).
    spent_codes=frozenset(
        {
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "project_spend_limit_exceeded",
        }
    ),
    # "Requested 375703 tokens, max 300000 tokens per request", code max_tokens_per_request
    # (https://github.com/vercel-labs/lat.md/pull/74); "maximum context length is 8192 tokens". Servers that speak the
    # same API: vLLM "maximum context length is 512 tokens" (https://github.com/vllm-project/vllm/issues/19798);
    # llama.cpp, with HTTP 500, "input is too large to process. increase the physical batch size"
    # (https://github.com/ggml-org/llama.cpp/issues/12295); TEI "inputs must have less than 512 tokens"
    # (https://github.com/huggingface/text-embeddings-inference/issues/369); others limit the "batch size" (all read
    # 2026-11-23).
    too_long=re.compile(
        r"max_tokens_per_request|maximum (input|context) length|exceeds (the )?(maximum )?context length"
        r"|must have less than \d+ tokens|too (large|long) to process|batch size",
        re.IGNORECASE,
    ),
    # The names and values such as 12ms and 6m0s as users quote them: https://community.openai.com/t/1268905
    # (read 2026-11-23); the vendor's guide to rate limits was not to be read.
    limits=(
        Limit("requests", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        Limit("tokens", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ),
    # https://developers.openai.com/api/reference/resources/embeddings.md (read 2026-11-23): at most 2,048 inputs and
    # 300,000 tokens a request, 8,192 tokens an input; an input cannot be an empty string (the server refuses the whole
    # request: https://github.com/openai/openai-python/issues/576); encoding_format is float or base64; dimensions only
    # in text-embedding-3 and later.
    embeddings=EmbeddingEndpoint(
        path="/embeddings",
        body=openai_body,
        vectors=item_vectors,
        max_texts=2_048,
        max_tokens=300_000,
        encodings=encodings("base64"),
        # Dimensions as LlamaIndex lists them, for lack of the vendor's own table (read 2026-11-23):
        # https://developers.llamaindex.ai/typescript/framework-api-reference/variables/all_openai_embedding_models
        # A server that answers with another dimension gets an error, not a wrong vector.
        models=MappingProxyType(
            {
                "text-embedding-3-small": EmbeddingModel(dim=1_536, shortens=True, max_tokens=8_192),
                "text-embedding-3-large": EmbeddingModel(dim=3_072, shortens=True, max_tokens=8_192),
                "text-embedding-ada-002": EmbeddingModel(dim=1_536, max_tokens=8_192),
            }
        ),
    ),
)
