"""What milvine knows of each provider: one provider, one row.

A row holds documented facts alone, with the page they were read on and the date. Where no documentation was found the
row says so, and the client leaves the decision to the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

__all__ = ["JINA", "OPENAI", "PROVIDERS", "EmbeddingEndpoint", "EmbeddingModel", "Provider", "RerankEndpoint"]


@dataclass(frozen=True)
class EmbeddingModel:
    """An embedding model of a provider.

    Attributes:
        dim: Dimensions of its vectors; the most that can be asked for where they can be shortened.
        shortens: Whether the request may ask for fewer dimensions.
    """

    dim: int
    shortens: bool = False


@dataclass(frozen=True)
class EmbeddingEndpoint:
    """How a provider turns texts into vectors.

    Attributes:
        path: The endpoint below the base URL.
        max_texts: Texts allowed in one request.
        max_tokens: Tokens allowed in one request, summed over its texts.
        takes_empty: Whether an empty text is allowed.
        fixed: Fields of the body that are the same in every request.
        models: The documented models. One that is not listed works too: its dimension is learnt from the first answer.
    """

    path: str
    max_texts: int
    max_tokens: int
    takes_empty: bool
    fixed: Mapping[str, Any]
    models: Mapping[str, EmbeddingModel]


@dataclass(frozen=True)
class RerankEndpoint:
    """How a provider scores documents against a query.

    Attributes:
        path: The endpoint below the base URL.
        fixed: Fields of the body that are the same in every request.
    """

    path: str
    fixed: Mapping[str, Any]


@dataclass(frozen=True)
class Provider:
    """A provider of hosted models.

    Attributes:
        name: Its short name, which errors carry.
        base_url: Where its API lives, version included, without a final slash.
        base_url_variables: Environment variables that may name another base URL, first found first used.
        key_variables: Environment variables that may hold the API key, the vendor's own name first.
        key_page: Where a key is to be had.
        error_messages: Paths in an error's body where the message may stand, tried in order.
        error_codes: Paths in an error's body where a machine-readable code may stand.
        spent_codes: Codes of an HTTP 429 that waiting does not cure, such as an exhausted balance.
        request_id_header: The response header that names the request.
        request_id_field: The field of an error's body that names the request, used where the header is missing.
        embeddings: Its embedding endpoint, if it has one.
        rerank: Its reranking endpoint, if it has one.
    """

    name: str
    base_url: str
    base_url_variables: tuple[str, ...]
    key_variables: tuple[str, ...]
    key_page: str
    error_messages: tuple[tuple[str, ...], ...]
    error_codes: tuple[tuple[str, ...], ...]
    spent_codes: frozenset[str] = field(default_factory=frozenset)
    request_id_header: str = "x-request-id"
    request_id_field: str = "request_id"
    embeddings: EmbeddingEndpoint | None = None
    rerank: RerankEndpoint | None = None


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
    # https://developers.openai.com/api/reference/resources/embeddings.md (read 2026-11-23): at most 2,048 inputs and
    # 300,000 tokens a request, 8,192 tokens an input; an input cannot be an empty string (the server refuses the whole
    # request: https://github.com/openai/openai-python/issues/576); encoding_format is float or base64; dimensions only
    # in text-embedding-3 and later.
    embeddings=EmbeddingEndpoint(
        path="/embeddings",
        max_texts=2_048,
        max_tokens=300_000,
        takes_empty=False,
        # Little-endian float32 in base64, which the vendor's own client asks for too: a quarter of the bytes.
        fixed=MappingProxyType({"encoding_format": "base64"}),
        # Dimensions as LlamaIndex lists them, for lack of the vendor's own table (read 2026-11-23):
        # https://developers.llamaindex.ai/typescript/framework-api-reference/variables/all_openai_embedding_models
        # A server that answers with another dimension gets an error, not a wrong vector.
        models=MappingProxyType(
            {
                "text-embedding-3-small": EmbeddingModel(dim=1_536, shortens=True),
                "text-embedding-3-large": EmbeddingModel(dim=3_072, shortens=True),
                "text-embedding-ada-002": EmbeddingModel(dim=1_536),
            }
        ),
    ),
)

JINA: Final = Provider(
    # https://docs.jina.ai/v13 (jina-ai/meta-prompt, v13.txt; read 2026-11-23).
    name="jina",
    base_url="https://api.jina.ai/v1",
    # The vendor documents no variable for the base URL; this one is milvine's own.
    base_url_variables=("JINA_BASE_URL",),
    # The vendor's name; then the one that pymilvus.model 0.3.4 reads.
    key_variables=("JINA_API_KEY", "JINAAI_API_KEY"),
    key_page="https://jina.ai/api-dashboard/key-manager",
    # Statuses and codes (401 AUTH_INVALID_API_KEY, 403 AUTHZ_INSUFFICIENT_BALANCE, 400 INPUT_MODEL_NOT_FOUND, ...):
    # https://api.jina.ai/openapi.json (read 2026-11-23, its beginning alone). The body {"detail", "request_id", "code"}
    # is as users report it. Whether a 429 carries Retry-After, or a response a header with its id, is not documented.
    error_messages=(("detail", "message"), ("detail",), ("message",)),
    error_codes=(("code",),),
    # https://docs.jina.ai/v13 (read 2026-11-23). top_n defaults to all documents, and without return_documents=false
    # they all come back. No limit on the number or the length of documents was found: the server judges.
    rerank=RerankEndpoint(path="/rerank", fixed=MappingProxyType({"return_documents": False})),
)

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({row.name: row for row in (OPENAI, JINA)})
"""Every provider by its name."""
