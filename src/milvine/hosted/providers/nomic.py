"""Nomic Atlas."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from milvine.hosted.spec import EmbeddingEndpoint, EmbeddingModel, EmbedRequest, Provider

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = ["NOMIC"]


def _body(request: EmbedRequest) -> dict[str, Any]:
    body = {"model": request.model, "texts": list(request.texts), **request.fields}
    if request.dimensions is not None:
        body["dimensionality"] = request.dimensions
    return body


def _vectors(answer: Answer) -> list[Any]:
    """`{"embeddings": [[...], ...]}`."""
    found = answer.data.get("embeddings") if isinstance(answer.data, dict) else None
    if not isinstance(found, list):
        raise answer.malformed("it has no list named 'embeddings'")
    return found


NOMIC: Final = Provider(
    # nomic 3.9.0, the vendor's own client: embed.py, dataset.py, cli.py (read 2026-11-23).
    name="nomic",
    base_url="https://api-atlas.nomic.ai",
    base_url_variables=("ATLAS_API_PATH",),
    # The vendor's Python client reads a file that `nomic login` writes, and its TypeScript client ATLAS_API_KEY; the
    # other is what LangChain and Nomic's own examples with it use:
    # https://reference.langchain.com/v0.3/python/nomic/embeddings/langchain_nomic.embeddings.NomicEmbeddings.html
    # (read 2026-11-23).
    key_variables=("NOMIC_API_KEY", "ATLAS_API_KEY"),
    key_page="https://atlas.nomic.ai (the organisation's API keys)",
    # The form of an error is not documented: FastAPI's is tried, then the usual ones. The vendor's client tries again
    # after HTTP 429 and 5xx. No header about rate limits is documented.
    error_messages=(("detail", "message"), ("detail",), ("error", "message"), ("error",), ("message",)),
    # The vendor's client sends no more than 10 texts in a request; that the server takes more is not documented, nor
    # whether an empty text is allowed: the server judges. A text that is too long loses its end, or with long_text_mode
    # "mean" becomes the mean of its parts.
    embeddings=EmbeddingEndpoint(
        path="/v1/embedding/text",
        body=_body,
        vectors=_vectors,
        max_texts=10,
        takes_empty=True,
        roles=MappingProxyType({"query": {"task_type": "search_query"}, "document": {"task_type": "search_document"}}),
        # https://docs.nomic.ai/atlas/models/text-embedding (read 2026-11-23).
        models=MappingProxyType(
            {
                "nomic-embed-text-v1.5": EmbeddingModel(768, shortens=True, max_tokens=8_192),
                "nomic-embed-text-v1": EmbeddingModel(768, max_tokens=8_192),
                "gte-multilingual-base": EmbeddingModel(768, max_tokens=8_192),
            }
        ),
    ),
)
