"""Cohere's embeddings and reranking API, version 2, as it is documented.

https://docs.cohere.com/reference/embed and /rerank as cohere 7.3.1 has them, https://docs.cohere.com/reference/errors
(read 2026-11-23). The official `cohere` package talks to it in `tests/model/dense/test_cohere.py` and
`tests/model/reranker/test_cohere.py`.
"""

from __future__ import annotations

from typing import Any

from provider_apis.voyage import quantized
from provider_server import KEY, REQUEST_ID, RefusalError, Request, relevance_of, vector_of

RESPONSE_HEADERS: dict[str, str] = {}

# The sizes of a model's vectors, its own first, and the tokens of a text that it reads.
MODELS = {
    "embed-english-light-v3.0": ((384,), 512),
    "embed-english-v3.0": ((1024,), 512),
    "embed-v4.0": ((1536, 1024, 512, 256), 128_000),
}
RERANKERS = {"rerank-english-v3.0", "rerank-v3.5"}
INPUT_TYPES = {"search_document", "search_query", "classification", "clustering"}
KINDS = {"float", "int8", "uint8", "binary", "ubinary", "base64"}


def refusal(status: int, message: str) -> RefusalError:
    """A refusal in Cohere's form."""
    return RefusalError(status, {"id": REQUEST_ID, "message": message})


def _check(request: Request, fields: set[str], models: Any) -> dict[str, Any]:
    body: dict[str, Any] = request.body
    if request.headers.get("authorization") != f"Bearer {KEY}":
        raise refusal(401, "invalid api token")
    unknown = set(body) - fields
    if unknown:
        raise refusal(422, f"invalid request: unknown field {sorted(unknown)[0]}")
    if body.get("model") not in models:
        raise refusal(404, f"model '{body.get('model')}' not found, make sure the correct model ID was used")
    return body


def embed(request: Request) -> Any:
    """`POST /v2/embed`."""
    fields = {"model", "texts", "input_type", "max_tokens", "output_dimension", "embedding_types", "truncate"}
    body = _check(request, fields, MODELS)
    sizes, room = MODELS[body["model"]]
    texts, role, kinds = body.get("texts"), body.get("input_type"), body.get("embedding_types", ["float"])
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise refusal(400, "invalid request: texts must be a non-empty list of strings")
    if len(texts) > 96:
        raise refusal(400, f"invalid request: total number of texts must be at most 96 - received {len(texts)}")
    if role not in INPUT_TYPES:
        raise refusal(400, "invalid request: valid input_type must be provided with the provided model")
    if not isinstance(kinds, list) or not kinds or not set(kinds) <= KINDS:
        raise refusal(400, f"invalid request: embedding_types {kinds} is not valid")
    dim = body.get("output_dimension", sizes[0])
    if dim not in sizes:
        raise refusal(400, f"invalid request: output_dimension {dim} is not supported by {body['model']}")
    if body.get("truncate", "END") not in ("NONE", "START", "END"):
        raise refusal(400, "invalid request: truncate must be one of NONE, START, END")
    tokens = [len(text.split()) for text in texts]
    if body.get("truncate") == "NONE" and max(tokens) > room:
        raise refusal(400, f"too many tokens: the maximum input length is {room} tokens - received {max(tokens)}.")
    vectors = [vector_of(f"{role}: {text}", dim) for text in texts]
    return {
        "id": "e1",
        "response_type": "embeddings_by_type",
        "texts": texts,
        "embeddings": {kind: [quantized(vector, kind).tolist() for vector in vectors] for kind in kinds},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": sum(tokens)}},
    }


def rerank(request: Request) -> Any:
    """`POST /v2/rerank`."""
    body = _check(request, {"model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"}, RERANKERS)
    query, documents, top_n = body.get("query"), body.get("documents"), body.get("top_n")
    if not isinstance(query, str) or not query.strip():
        raise refusal(400, "invalid request: query must not be empty or be only whitespace")
    if not isinstance(documents, list) or not documents:
        raise refusal(400, "invalid request: list of documents must not be empty")
    if len(documents) > 1000:
        raise refusal(400, "invalid request: number of total max chunks must be less than 1000")
    if top_n is not None and (type(top_n) is not int or top_n < 1):
        raise refusal(400, "invalid request: top_n must be greater than 0")
    scores = [relevance_of(query, document) for document in documents]
    best = sorted(range(len(documents)), key=lambda index: -scores[index])[:top_n]
    return {
        "id": "r1",
        "results": [{"index": index, "relevance_score": scores[index]} for index in best],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1 + len(documents) // 100}},
    }


ROUTES = {"POST /cohere/v2/embed": embed, "POST /cohere/v2/rerank": rerank}
