"""Jina AI's embeddings and reranking API as it is documented.

https://docs.jina.ai/v14, and the error table of https://api.jina.ai/openapi.json; refusals as users report them, see
`milvine/hosted/providers/jina.py` (read 2026-11-23).
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from provider_server import KEY, REQUEST_ID, RefusalError, Reply, Request, relevance_of, vector_of

BASE_PATH = "/v1"
RESPONSE_HEADERS: dict[str, str] = {}  # Jina AI names the request in the body of an error alone.

RERANKERS = {
    "jina-reranker-v2-base-multilingual",
    "jina-reranker-v3",
    "jina-reranker-v3.5",
    "jina-reranker-m0",
    "jina-colbert-v2",
}
RETRIEVAL = {"retrieval.query", "retrieval.passage"}
# The dimension, whether it can be shortened, the tasks, and the fields that not all models have.
MODELS: dict[str, tuple[int, bool, set[str], set[str]]] = {
    "jina-embeddings-v5-text-small": (
        1024,
        True,
        {*RETRIEVAL, "text-matching", "classification", "clustering"},
        {"normalized", "late_chunking"},
    ),
    "jina-embeddings-v4": (
        2048,
        True,
        {*RETRIEVAL, "text-matching", "code.query", "code.passage"},
        {"late_chunking", "return_multivector"},
    ),
    "jina-embeddings-v3": (
        1024,
        True,
        {*RETRIEVAL, "text-matching", "classification", "separation"},
        {"normalized", "late_chunking"},
    ),
    "jina-code-embeddings-0.5b": (896, True, {"nl2code.query", "nl2code.passage", "qa.query", "qa.passage"}, set()),
    "jina-embeddings-v2-base-en": (768, False, set(), set()),
    "tiny": (8, True, {*RETRIEVAL, "text-matching"}, {"late_chunking"}),
}
ROOM = 8194
"""The tokens of a text that a model reads; here every word is a token."""


def error(status: int, detail: Any, code: str) -> Reply:
    """An error in Jina AI's form."""
    return Reply(status, {"detail": detail, "code": code, "request_id": REQUEST_ID})


def _check(request: Request, wrong: dict[str, bool], fields: set[str], models: Any) -> None:
    if request.headers.get("authorization") != f"Bearer {KEY}":
        raise RefusalError(401, error(401, "Invalid API key", "AUTH_INVALID_API_KEY").body)
    listed = [
        {"loc": ["body", name], "msg": f"Field {name} is wrong", "type": "value_error"} for name in wrong if wrong[name]
    ]
    unknown = set(request.body) - fields
    if listed or unknown or request.headers.get("accept") != "application/json":
        raise RefusalError(422, {"detail": listed or [{"msg": f"unexpected {sorted(unknown)}"}]})
    model = request.body["model"]
    if model not in models:
        raise RefusalError(400, error(400, f"Model '{model}' not found", "INPUT_MODEL_NOT_FOUND").body)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(text, str) for text in value)


def vector(text: str, task: str | None, dim: int) -> npt.NDArray[np.float32]:
    """The unit vector of a text for a task."""
    return vector_of(f"{task}: {text}", dim)


def embeddings(request: Request) -> Any:
    """`POST /v1/embeddings`."""
    body = request.body
    model = body.get("model")
    dim, shortens, tasks, further = MODELS.get(model, (0, False, set(), set()))
    asked, kind = body.get("dimensions"), body.get("embedding_type", "float")
    _check(
        request,
        {
            "model": not isinstance(model, str),
            "input": not _are_texts(body.get("input")),
            "task": "task" in body and model in MODELS and body["task"] not in tasks,
            "dimensions": asked is not None and not (type(asked) is int and shortens and 1 <= asked <= dim),
            "embedding_type": kind not in ("float", "base64", "binary", "ubinary"),
            **{name: type(body.get(name, True)) is not bool for name in ("late_chunking", "normalized", "truncate")},
        },
        {"model", "input", "embedding_type", "task", "dimensions", "truncate", *further},
        MODELS,
    )
    texts = body["input"]
    if len(texts) > 512:
        detail = f"Validation error: 'body -> {model}' Each input list can contain at most 512 items."
        raise RefusalError(422, error(422, detail, "VALIDATION").body)
    late = body.get("late_chunking", False)
    tokens = [len(text.split()) for text in texts]
    if (sum(tokens) if late else max(tokens)) > ROOM and not body.get("truncate", False):
        message = f"Input text exceeds the model's maximum of {ROOM} tokens. Use 'truncate: true', or split."
        raise RefusalError(400, error(400, {"message": message}, "INPUT_TOKEN_LIMIT_EXCEEDED").body)
    size = asked or dim
    # With late chunking a text's vector depends on all others, and on its place among them.
    names = [f"{' | '.join(texts)} #{place} {text}" for place, text in enumerate(texts)] if late else texts
    # Unless "normalized" is set, vectors have other lengths than 1.
    length = 1.0 if body.get("normalized") else 3.0
    vectors = [vector(name, body.get("task"), size) * np.float32(length) for name in names]
    return {
        "model": model,
        "object": "list",
        "usage": {"total_tokens": sum(tokens), "prompt_tokens": sum(tokens)},
        "data": [
            {"object": "embedding", "index": index, "embedding": _written(vector, kind)}
            for index, vector in enumerate(vectors)
        ],
    }


def _written(vector: npt.NDArray[np.float32], kind: str) -> Any:
    if kind == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    if kind == "float":
        return vector.tolist()
    packed = np.packbits(vector > 0)
    return (packed if kind == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)).tolist()


def rerank(request: Request) -> Any:
    """`POST /v1/rerank`."""
    body = request.body
    _check(
        request,
        {
            "model": not isinstance(body.get("model"), str),
            "query": not isinstance(body.get("query"), str),
            "documents": not _are_texts(body.get("documents")),
            "top_n": not (type(body.get("top_n", 1)) is int and body.get("top_n", 1) >= 1),
            "return_documents": type(body.get("return_documents", True)) is not bool,
        },
        {"model", "query", "documents", "top_n", "return_documents"},
        RERANKERS,
    )
    documents = body["documents"]
    if sum(len(document.split()) for document in documents) > ROOM:
        message = f"Input text exceeds the model's maximum of {ROOM} tokens."
        raise RefusalError(400, error(400, {"message": message}, "INPUT_TOKEN_LIMIT_EXCEEDED").body)
    scores = [relevance_of(body["query"], document) for document in documents]
    best = sorted(range(len(documents)), key=lambda index: -scores[index])[: body.get("top_n", len(documents))]
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in best]
    if body.get("return_documents", True):
        for result in results:
            result["document"] = {"text": documents[result["index"]]}
    return {"model": body["model"], "object": "list", "usage": {"total_tokens": 1}, "results": results}


ROUTES = {"POST /jina/v1/embeddings": embeddings, "POST /jina/v1/rerank": rerank}
