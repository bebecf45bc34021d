"""Nomic Atlas' text embeddings as nomic 3.9.0, the vendor's client, asks for them (read 2026-11-23)."""

from __future__ import annotations

from typing import Any

from provider_server import KEY, RefusalError, Request, vector_of

MODELS = {"nomic-embed-text-v1.5": True, "nomic-embed-text-v1": False, "gte-multilingual-base": False}
"""Whether each can be shortened; all have 768 dimensions."""
TASKS = {"search_query", "search_document", "classification", "clustering"}


def embed(request: Request) -> Any:
    """`POST /v1/embedding/text`."""
    body = request.body
    if request.headers.get("authorization") != f"Bearer {KEY}":
        raise RefusalError(401, {"detail": "Invalid token"})
    model, texts, task = body.get("model"), body.get("texts"), body.get("task_type", "search_document")
    dim, mode = body.get("dimensionality"), body.get("long_text_mode", "truncate")
    unknown = set(body) - {"texts", "model", "task_type", "dimensionality", "long_text_mode"}
    if unknown or model not in MODELS:
        raise RefusalError(400, {"detail": f"{sorted(unknown) or model} is not supported"})
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RefusalError(422, {"detail": [{"loc": ["body", "texts"], "msg": "value is not a valid list"}]})
    if len(texts) > 10:  # what the vendor's client never exceeds
        raise RefusalError(400, {"detail": f"too many texts: {len(texts)}"})
    if task not in TASKS or mode not in ("truncate", "mean"):
        raise RefusalError(422, {"detail": [{"loc": ["body"], "msg": "value is not a valid enumeration member"}]})
    if dim is not None and not (type(dim) is int and 1 <= dim <= 768 and (MODELS[model] or dim == 768)):
        raise RefusalError(400, {"detail": f"dimensionality {dim} is not supported by {model}"})
    tokens = sum(len(text.split()) for text in texts)
    return {
        "embeddings": [vector_of(f"{task}: {text}", dim or 768).tolist() for text in texts],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "model": model,
    }


ROUTES = {"POST /nomic/v1/embedding/text": embed}
