"""Google's Gemini API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from milvine.hosted.spec import EmbeddingEndpoint, EmbeddingModel, EmbedRequest, Provider, Role

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = ["GEMINI", "PREFIXES", "SUCCESSORS", "TASK_TYPES"]

SUCCESSORS: Final[Mapping[str, str]] = MappingProxyType({"gemini-embedding-exp-03-07": "gemini-embedding-001"})
"""Models that were shut down, and those that give the same vectors ("you won't need to re-embed your contents"):
https://developers.googleblog.com/en/gemini-embedding-available-gemini-api/ as
https://github.com/simonw/llm-gemini/issues/102 quotes it (read 2026-11-23)."""

TASK_TYPES: Final = (
    "RETRIEVAL_DOCUMENT",
    "RETRIEVAL_QUERY",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
)
"""https://ai.google.dev/gemini-api/docs/embeddings, as of 2026-07-20 (read 2026-11-23)."""

PREFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "RETRIEVAL_DOCUMENT": "title: none | text: ",
        "RETRIEVAL_QUERY": "task: search result | query: ",
        "QUESTION_ANSWERING": "task: question answering | query: ",
        "FACT_VERIFICATION": "task: fact checking | query: ",
        "CODE_RETRIEVAL_QUERY": "task: code retrieval | query: ",
        "SEMANTIC_SIMILARITY": "task: sentence similarity | query: ",
        "CLASSIFICATION": "task: classification | query: ",
        "CLUSTERING": "task: clustering | query: ",
    }
)
"""What gemini-embedding-2 wants before a text where older models take a task type; the same page."""


def _body(request: EmbedRequest) -> dict[str, Any]:
    """`{"requests": [{"model", "content", "taskType", "outputDimensionality"}, ...]}`, one for each text."""
    shared = {"model": f"models/{request.model}", **request.fields}
    if request.dimensions is not None:
        shared["outputDimensionality"] = request.dimensions
    return {"requests": [{**shared, "content": {"parts": [{"text": text}]}} for text in request.texts]}


def _vectors(answer: Answer) -> list[Any]:
    """`{"embeddings": [{"values": [...]}, ...]}`."""
    found = answer.data.get("embeddings") if isinstance(answer.data, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) and "values" in item for item in found):
        raise answer.malformed("it has no list of objects with values named 'embeddings'")
    return [item["values"] for item in found]


_BY_PREFIX: Final[Mapping[Role, str]] = MappingProxyType(
    {"query": PREFIXES["RETRIEVAL_QUERY"], "document": PREFIXES["RETRIEVAL_DOCUMENT"]}
)
_NO_FIELDS: Final[Mapping[Role, Mapping[str, Any]]] = MappingProxyType({})

GEMINI: Final = Provider(
    # The URL without its version, which stands in the path, so that GOOGLE_GEMINI_BASE_URL means what it means to the
    # vendor's client; both key variables and the header likewise: google-genai 3.4.0 (read 2026-11-23). That client
    # prefers GOOGLE_API_KEY; the page below names GEMINI_API_KEY.
    name="gemini",
    base_url="https://generativelanguage.googleapis.com",
    base_url_variables=("GOOGLE_GEMINI_BASE_URL",),
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    key_page="https://aistudio.google.com/apikey",
    key_header="x-goog-api-key",
    key_prefix="",
    # {"error": {"code", "message", "status", "details"}}: google-genai 3.4.0, errors.py (read 2026-11-23).
    error_messages=(("error", "message"), ("error",), ("message",)),
    error_codes=(("error", "status"),),
    # A wrong key is HTTP 400, INVALID_ARGUMENT, "API key not valid. Please pass a valid API key." with the reason
    # API_KEY_INVALID: https://github.com/continuedev/continue/issues/8516 (read 2026-11-23).
    wrong_key=re.compile(r"API_KEY_INVALID|API key not valid"),
    # A 429 has no Retry-After; its body has a google.rpc.RetryInfo: {"retryDelay": "45s"}
    # https://docs.cloud.google.com/apis/design/errors, and https://github.com/langchain4j/langchain4j/pull/3942 for the
    # body (read 2026-11-23). A day's quota names hours.
    retry_in=re.compile(r'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"'),
    # "at most 100 requests can be in one batch": https://github.com/lancedb/lancedb/pull/3618, where a developer of the
    # vendor confirms it. "Request payload size exceeds the limit: 4194304 bytes.":
    # https://github.com/quarkiverse/quarkus-langchain4j/issues/1705 (both read 2026-11-23).
    too_long=re.compile(
        r"at most \d+ requests can be in one batch|payload size exceeds the limit|input token count", re.IGNORECASE
    ),
    # embedding-001 and text-embedding-004, which pymilvus.model 0.3.4 lists, were shut down in October 2025 and January
    # 2026: https://github.com/langgenius/dify-official-plugins/issues/2515 (read 2026-11-23).
    advice=MappingProxyType(
        {
            404: "Check the model's name ({model}): there are gemini-embedding-001 and gemini-embedding-2; older models"
            " were shut down."
        }
    ),
    # https://ai.google.dev/api/embeddings and https://ai.google.dev/gemini-api/docs/embeddings (read 2026-11-23).
    # Vectors of gemini-embedding-001 and older models with fewer than 3,072 dimensions do not have length 1, and are to
    # be brought to it by the caller; gemini-embedding-2 does it itself. A text that is too long loses its end, and
    # nothing in the answer says so. Whether an empty text is allowed is not documented: the server judges.
    embeddings=EmbeddingEndpoint(
        path="/v1beta/models/{model}:batchEmbedContents",
        body=_body,
        vectors=_vectors,
        max_texts=100,
        bytes_per_token=4.0,  # "a token is about 4 characters": https://ai.google.dev/gemini-api/docs/tokens
        takes_empty=True,
        roles=MappingProxyType(
            {"query": {"taskType": "RETRIEVAL_QUERY"}, "document": {"taskType": "RETRIEVAL_DOCUMENT"}}
        ),
        normalize=True,
        # google-genai 3.4.0 reads usageMetadata.promptTokenCount where it is there (read 2026-11-23).
        usage=("usageMetadata", "promptTokenCount"),
        models=MappingProxyType(
            {
                "gemini-embedding-2": EmbeddingModel(
                    3_072, shortens=True, max_tokens=8_192, prefixes=_BY_PREFIX, roles=_NO_FIELDS
                ),
                "gemini-embedding-2-preview": EmbeddingModel(
                    3_072, shortens=True, max_tokens=8_192, prefixes=_BY_PREFIX, roles=_NO_FIELDS
                ),
                "gemini-embedding-001": EmbeddingModel(3_072, shortens=True, max_tokens=2_048),
            }
        ),
    ),
)
