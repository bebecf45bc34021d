"""Ollama, a server that one runs oneself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from milvine.hosted.shapes import openai_body
from milvine.hosted.spec import EmbeddingEndpoint, Provider, Role

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = ["OLLAMA", "PREFIXES"]


def _vectors(answer: Answer) -> list[Any]:
    """`{"embeddings": [[...], ...]}`."""
    found = answer.data.get("embeddings") if isinstance(answer.data, dict) else None
    if not isinstance(found, list):
        raise answer.malformed("it has no list named 'embeddings'")
    return found


_SEARCHING_PASSAGES: Final[Mapping[Role, str]] = MappingProxyType(
    {"query": "Represent this sentence for searching relevant passages: "}
)

PREFIXES: Final[Mapping[str, Mapping[Role, str]]] = MappingProxyType(
    {
        "nomic-embed-text": MappingProxyType({"query": "search_query: ", "document": "search_document: "}),
        "embeddinggemma": MappingProxyType(
            {"query": "task: search result | query: ", "document": "title: none | text: "}
        ),
        "mxbai-embed-large": _SEARCHING_PASSAGES,
        "snowflake-arctic-embed": _SEARCHING_PASSAGES,
        "snowflake-arctic-embed2": MappingProxyType({"query": "query: "}),
        "qwen3-embedding": MappingProxyType(
            {
                "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
            }
        ),
    }
)
"""What models want before a text, by their name in Ollama's library, without its tag.

The server puts nothing there (server/routes.go, as below). Each is from its model card: nomic-ai/nomic-embed-text-v1.5,
https://ai.google.dev/gemma/docs/embeddinggemma/model_card, mixedbread-ai/mxbai-embed-large-v1,
Snowflake/snowflake-arctic-embed-l and -l-v2.0, Qwen/Qwen3-Embedding-0.6B.
"""

OLLAMA: Final = Provider(
    # The server's source, ollama/ollama, server/routes.go (EmbedHandler, commit 0018813), and its Python client, ollama
    # 0.6.3 (both read 2026-11-23). OLLAMA_HOST may lack scheme and port, so the public function reads it.
    name="ollama",
    base_url="http://localhost:11434",
    base_url_variables=(),
    key_variables=("OLLAMA_API_KEY",),
    key_page="https://docs.ollama.com/api/authentication (ollama.com alone asks for a key)",
    needs_key=False,
    error_messages=(("error",),),
    # HTTP 400, where "truncate" is false: "the input length exceeds the context length", or "input exceeds maximum
    # context length and cannot be truncated further".
    too_long=re.compile(r"exceeds (?:the |maximum |the maximum )?context length", re.IGNORECASE),
    # HTTP 404, "model 'x' not found".
    advice=MappingProxyType({404: "Pull it first, where the server runs: ollama pull {model}"}),
    # No limit on the number of texts is documented; 64 of them keep an answer of a slow machine within the timeout. A
    # text that is too long loses its end unless "truncate" is false. Vectors have length 1, shortened ones too. Whether
    # an empty text has a vector depends on the model: the server judges.
    embeddings=EmbeddingEndpoint(
        path="/api/embed",
        body=openai_body,
        vectors=_vectors,
        max_texts=64,
        takes_empty=True,
        usage=("prompt_eval_count",),
    ),
)
