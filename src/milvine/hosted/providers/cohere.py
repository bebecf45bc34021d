"""Cohere."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from milvine.hosted.shapes import item_scores, top_n_body
from milvine.hosted.spec import (
    EmbeddingEndpoint,
    EmbeddingModel,
    EmbedRequest,
    Encoding,
    Provider,
    RerankEndpoint,
)

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = ["COHERE"]


def _body(request: EmbedRequest) -> dict[str, Any]:
    body = {"model": request.model, "texts": list(request.texts), **request.fields}
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


def _vectors(answer: Answer) -> list[Any]:
    """`{"embeddings": {"float": [[...], ...]}}`, of which only the one type that was asked for is there."""
    kinds = answer.data.get("embeddings") if isinstance(answer.data, dict) else None
    found = [rows for rows in kinds.values() if isinstance(rows, list)] if isinstance(kinds, dict) else []
    if len(found) != 1:
        raise answer.malformed("it has no object named 'embeddings' with one list of vectors")
    return list(found[0])


COHERE: Final = Provider(
    # POST https://api.cohere.com/v2/embed and /v2/rerank, bearer key: cohere 7.3.1 (read 2026-11-23). The version
    # belongs to the path here, so that CO_API_URL means what it means to the vendor's client.
    name="cohere",
    base_url="https://api.cohere.com",
    base_url_variables=("CO_API_URL",),
    # CO_API_KEY is the documented one, COHERE_API_KEY accepted: cohere 7.3.1, client.py (read 2026-11-23).
    key_variables=("CO_API_KEY", "COHERE_API_KEY"),
    key_page="https://dashboard.cohere.com/api-keys",
    # {"message", "id"}: https://docs.cohere.com/reference/errors and what users report, such as
    # https://github.com/wandb/edu/issues/155 (both read 2026-11-23). No header about rate limits is documented.
    error_messages=(("message",), ("detail",)),
    request_id_field="id",
    # "too many tokens: ...", "invalid request: total number of texts must be at most 96 - received 104":
    # https://docs.cohere.com/reference/errors (read 2026-11-23).
    too_long=re.compile(r"too many tokens|number of texts must be at most|number of total max chunks", re.IGNORECASE),
    # https://docs.cohere.com/reference/embed, as cohere 7.3.1 has it (read 2026-11-23): at most 96 texts; input_type is
    # required; a text that is too long loses its end unless truncate is NONE. No limit on the tokens of a request was
    # found, and nothing about empty texts: the server judges.
    embeddings=EmbeddingEndpoint(
        path="/v2/embed",
        body=_body,
        vectors=_vectors,
        max_texts=96,
        takes_empty=True,
        roles=MappingProxyType(
            {
                "query": MappingProxyType({"input_type": "search_query"}),
                "document": MappingProxyType({"input_type": "search_document"}),
            }
        ),
        # ubinary is eight bits a number (cohere 7.3.1); in which order was not found. Hamming distances do not depend
        # on it. The bytes behind embedding type base64 are not documented, so lists of numbers are asked for.
        encodings=MappingProxyType(
            {
                "float32": Encoding(MappingProxyType({"embedding_types": ("float",)})),
                "int8": Encoding(MappingProxyType({"embedding_types": ("int8",)})),
                "binary": Encoding(MappingProxyType({"embedding_types": ("ubinary",)})),
            }
        ),
        usage=("meta", "billed_units", "input_tokens"),
        # https://docs.cohere.com/docs/cohere-embed (cohere-ai/cohere-developer-experience, 8efc60bf); embed-v4.0:
        # https://deepwiki.com/cohere-ai/cohere-developer-experience/3.2-embed-models; embed-v5.0-fast:
        # https://www.developersdigest.tech/models/embeddings/cohere-embed-v5-0-fast (all read 2026-11-23). The v2.0
        # models are shut down: https://docs.lancedb.com/enterprise/v1-13-0/integrations/embedding/cohere (read
        # 2026-11-23).
        models=MappingProxyType(
            {
                "embed-v5.0-fast": EmbeddingModel(
                    2_048, True, (256, 512, 768, 1_024, 1_536, 2_048), max_tokens=128_000
                ),
                "embed-v4.0": EmbeddingModel(1_536, True, (256, 512, 1_024, 1_536), max_tokens=128_000),
                "embed-english-v3.0": EmbeddingModel(1_024, max_tokens=512),
                "embed-english-light-v3.0": EmbeddingModel(384, max_tokens=512),
                "embed-multilingual-v3.0": EmbeddingModel(1_024, max_tokens=512),
                "embed-multilingual-light-v3.0": EmbeddingModel(384, max_tokens=512),
            }
        ),
    ),
    # cohere 7.3.1 (read 2026-11-23): at most 1,000 documents a request are recommended; a long document is cut at
    # max_tokens_per_doc; return_documents is gone with version 2 of the API. A document is scored with the query alone,
    # and scores are normalised to 0..1 (https://docs.cohere.com/docs/reranking-best-practices, read 2026-11-23), so the
    # scores of two requests compare.
    rerank=RerankEndpoint(
        path="/v2/rerank",
        body=top_n_body,
        scores=item_scores,
        max_documents=1_000,
        # What is billed are searches, not tokens.
        usage=(),
    ),
)
