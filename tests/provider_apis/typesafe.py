"""TypeSafe's System One API: https://api.typesafe.ai/openapi.json as typesafe-sdk 0.7.5 has it (read 2026-11-23).

The official `typesafe-sdk` package talks to it in `tests/model/reranker/test_jev.py`.
"""

from __future__ import annotations

from typing import Any

from provider_server import KEY, REQUEST_ID, RefusalError, Request, relevance_of

RESPONSE_HEADERS = {"x-typesafe-request-id": REQUEST_ID}

ROOM = 2_000
"""Tokens of the state and all questions; here every word is a token, and the limit far below the real one."""


def _words(value: Any) -> int:
    return len(str(value).split())


def system_one(request: Request) -> Any:
    """`POST /v1/systemone`, questions of the type "noul" alone."""
    body = request.body
    if "authorization" not in request.headers:
        raise RefusalError(403, {"detail": "Not authenticated"})
    if request.headers["authorization"] != f"Bearer {KEY}":
        raise RefusalError(401, {"detail": "Invalid API key"})
    missing = [name for name in ("model", "state", "questions") if name not in body]
    if missing or set(body) - {"model", "state", "questions", "assets"}:
        listed = [{"loc": ["body", name], "msg": "Field required", "type": "missing"} for name in missing]
        raise RefusalError(422, {"detail": listed or [{"loc": ["body"], "msg": "Extra inputs are not permitted"}]})
    if body["model"] not in ("jev-latest", "jev-1.13.0"):
        raise RefusalError(400, {"detail": f"Unknown model: {body['model']}"})
    questions = body["questions"]
    if not isinstance(questions, dict) or not questions:
        raise RefusalError(422, {"detail": [{"loc": ["body", "questions"], "msg": "Dictionary should have 1 item"}]})
    for name, question in questions.items():
        if question.get("type") != "noul" or not isinstance(question.get("instructions"), str):
            where = ["body", "questions", name]
            raise RefusalError(422, {"detail": [{"loc": where, "msg": "Input should be a valid question"}]})
    tokens = _words(body["state"]) + sum(_words(question["instructions"]) for question in questions.values())
    if tokens > ROOM:
        raise RefusalError(400, {"detail": {"error_type": "max_tokens_exceeded"}})
    return {
        "model": "jev-1.13.0",
        "answers": {
            name: {"type": "noul", "noul": relevance_of(str(body["state"]), question["instructions"])}
            for name, question in questions.items()
        },
        "usage": {"input_tokens": tokens, "output_tokens": len(questions)},
    }


ROUTES = {"POST /typesafe/v1/systemone": system_one}
