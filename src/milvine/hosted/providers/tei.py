"""Hugging Face's Text Embeddings Inference (TEI), a server that one runs oneself or rents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from milvine.hosted.spec import EmbeddingEndpoint, EmbedRequest, Provider, RerankEndpoint, RerankRequest

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = ["TEI"]


def _body(request: EmbedRequest) -> dict[str, Any]:
    """A server has one model, so the request names none."""
    body = {"inputs": list(request.texts), **request.fields}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def _vectors(answer: Answer) -> list[Any]:
    """`[[...], ...]`, without an object around it."""
    if not isinstance(answer.data, list):
        raise answer.malformed("it is no list of vectors")
    return answer.data


def _rerank_body(request: RerankRequest) -> dict[str, Any]:
    return {"query": request.query, "texts": list(request.documents), **request.fields}


def _scores(answer: Answer) -> list[tuple[Any, Any]]:
    """`[{"index", "score"}, ...]`, without an object around it."""
    if not isinstance(answer.data, list) or not all(isinstance(item, dict) for item in answer.data):
        raise answer.malformed("it is no list of objects")
    return [(item.get("index"), item.get("score")) for item in answer.data]


TEI: Final = Provider(
    # The server's own source: huggingface/text-embeddings-inference, router/src/http/server.rs and types.rs and
    # router/src/lib.rs (commits bc0fa32 and 265deb2; read 2026-11-23).
    name="tei",
    base_url=None,
    base_url_variables=(),
    # A server asks for a key only if it was started with --api-key. No variable for clients is documented; this one is
    # milvine's own. HF_TOKEN is not read: it would go to whatever server the URL names.
    key_variables=("TEI_API_KEY",),
    key_page="https://huggingface.co/docs/text-embeddings-inference/cli_arguments (--api-key)",
    needs_key=False,
    # {"error", "error_type"}: 413 Validation, 422 Tokenizer, 424 Backend, 429 Overloaded ("Model is overloaded"), 400
    # Empty, 503 Unhealthy. 401 has no body. A 429 names no time to wait.
    error_messages=(("error",), ("message",)),
    error_codes=(("error_type",),),
    # "batch size 33 > maximum allowed batch size 32"; "Input validation error: `inputs` must have less than 512 tokens.
    # Given: 785": https://huggingface.co/BAAI/bge-large-en-v1.5/discussions/22 (read 2026-11-23); and what the server's
    # framework says of a body of more than --payload-limit bytes, 2,000,000 by default.
    too_long=re.compile(
        r"batch size \d+ > maximum allowed|must have less than \d+ tokens|length limit exceeded", re.IGNORECASE
    ),
    # At most --max-client-batch-size texts, 32 by default; GET /info tells it. A text that is too long is refused, or
    # loses its end, as --auto-truncate says. An empty one is refused ("`inputs` cannot be empty"). "dimensions" came
    # with https://github.com/huggingface/text-embeddings-inference/pull/676 (read 2026-11-23), in July 2025; an older
    # server ignores it, which shows in the vectors' dimensions.
    embeddings=EmbeddingEndpoint(path="/embed", body=_body, vectors=_vectors, max_texts=32, usage=()),
    # Every document is scored alone, and every one comes back; there is no way to ask for the best few.
    rerank=RerankEndpoint(
        path="/rerank", body=_rerank_body, scores=_scores, max_documents=32, scores_all=True, usage=()
    ),
)
