"""Ollama's `/api/embed` as its source has it: server/routes.go, EmbedHandler (read 2026-11-23).

The official `ollama` package talks to it in `tests/model/dense/test_ollama.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from provider_server import RefusalError, Request, vector_of

RESPONSE_HEADERS: dict[str, str] = {}

PULLED = {"nomic-embed-text": 768, "nomic-embed-text:v1.5": 768, "all-minilm": 384}
ROOM = 2048
"""Tokens that a model reads; here every word is a token."""


def vector(text: str, dim: int, size: int) -> npt.NDArray[np.float32]:
    """The vector of a text, cut to a size and brought to length 1 again."""
    cut = vector_of(text, dim)[:size]
    return cut / np.linalg.norm(cut)


def embed(request: Request) -> Any:
    """`POST /api/embed`."""
    body = request.body
    unknown = set(body) - {"model", "input", "truncate", "options", "keep_alive", "dimensions"}
    if unknown:  # the real one ignores what it does not know
        raise RefusalError(400, {"error": f"unknown field {sorted(unknown)[0]}"})
    model = body.get("model")
    if model not in PULLED:
        raise RefusalError(404, {"error": f"model '{model}' not found"})
    texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RefusalError(400, {"error": "invalid input type"})
    words = [text.split() for text in texts]
    if body.get("truncate") is False and any(len(text) > ROOM for text in words):
        raise RefusalError(400, {"error": "the input length exceeds the context length"})
    read = [" ".join(text[:ROOM]) if len(text) > ROOM else texts[place] for place, text in enumerate(words)]
    size = body.get("dimensions") or PULLED[model]
    return {
        "model": model,
        "embeddings": [vector(text, PULLED[model], size).tolist() for text in read],
        "total_duration": 14_143_917,
        "load_duration": 1_019_500,
        "prompt_eval_count": sum(min(len(text), ROOM) for text in words),
    }


ROUTES = {"POST /ollama/api/embed": embed}
