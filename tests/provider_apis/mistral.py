"""Mistral AI's embeddings API as it is documented, and as its refusals are reported.

https://docs.mistral.ai/api/endpoint/embeddings, mistralai 3.7.0; the limits as
`milvine/hosted/providers/mistral.py` cites them (all read 2026-11-23).
"""

from __future__ import annotations

from typing import Any

from provider_apis.openai import listing
from provider_apis.voyage import quantized
from provider_server import KEY, RefusalError, Request, vector_of

BASE_PATH = "/v1"
RESPONSE_HEADERS: dict[str, str] = {}

MODELS = {"mistral-embed": 1024, "codestral-embed": 1536}


def refusal(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> RefusalError:
    """A refusal in Mistral AI's form."""
    return RefusalError(status, {"object": "error", "message": message, "type": kind, "param": None, "code": code})


def embeddings(request: Request) -> Any:
    """`POST /v1/embeddings`."""
    body = request.body
    if request.headers.get("authorization") != f"Bearer {KEY}":
        raise RefusalError(401, {"detail": "Unauthorized"})
    unknown = set(body) - {"model", "input", "metadata", "output_dimension", "output_dtype", "encoding_format"}
    if unknown:
        wrong = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs"} for name in unknown]
        raise RefusalError(422, {"object": "error", "message": {"detail": wrong}, "type": "invalid_request_error"})
    model, texts, kind = body.get("model"), body.get("input"), body.get("output_dtype", "float")
    if model not in MODELS:
        raise refusal(400, f"Invalid model: {model}", "invalid_model", "1500")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise refusal(400, "Please provide at least one input element.")
    if len(texts) > 256:
        raise refusal(400, "Too many inputs in request, split into more batches.", "invalid_request_prompt", "3210")
    tokens = sum(len(text.encode()) for text in texts)
    if tokens > 16_384:
        raise refusal(400, "Too many tokens overall, split into more batches.", "invalid_request_prompt", "3210")
    dim = body.get("output_dimension", MODELS[model])
    if dim != MODELS[model] and (model != "codestral-embed" or not 1 <= dim <= 3072):
        raise refusal(400, f"Model {model} does not support output_dimension {dim}")
    if model == "mistral-embed" and kind != "float":
        raise refusal(400, f"Model {model} does not support output_dtype {kind}")
    vectors = [quantized(vector_of(text, dim), kind) for text in texts]
    return {"id": "embd-1", **listing(model, vectors, body.get("encoding_format") == "base64", tokens)}


ROUTES = {"POST /mistral/v1/embeddings": embeddings}
