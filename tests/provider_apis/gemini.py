"""Google's Gemini API, `models/*:batchEmbedContents`, as it is documented.

https://ai.google.dev/api/embeddings and https://ai.google.dev/gemini-api/docs/embeddings; refusals as users report
them, see `milvine/hosted/providers/gemini.py` (read 2026-11-23). The official `google-genai` package talks to it in
`tests/model/dense/test_gemini.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from provider_server import KEY, RefusalError, Reply, Request, vector_of

RESPONSE_HEADERS: dict[str, str] = {}

MODELS = {"gemini-embedding-2": 3072, "gemini-embedding-001": 3072, "gemini-embedding-exp-03-07": 3072}
TASK_TYPES = {
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
}


def error(status: int, message: str, name: str, details: list[dict[str, Any]] | None = None) -> Reply:
    """An error in the form of Google's APIs."""
    return Reply(status, {"error": {"code": status, "message": message, "status": name, "details": details or []}})


def exhausted(delay: str) -> Reply:
    """What comes back when a quota is spent; `delay` such as `"45s"`."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    return error(429, "You exceeded your current quota, please check your plan.", "RESOURCE_EXHAUSTED", details)


def _refusal(status: int, message: str, name: str, reason: str | None = None) -> RefusalError:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return RefusalError(status, error(status, message, name, details).body)


def vector(text: str, task: str | None, dim: int, *, new: bool) -> npt.NDArray[np.float32]:
    """The vector of a text; shortened ones of the older models do not have length 1."""
    whole = vector_of(text if new else f"{task}: {text}", 3072)[:dim]
    return whole / np.linalg.norm(whole) if new else whole


def batch_embed_contents(request: Request) -> Any:
    """`POST /v1beta/models/{model}:batchEmbedContents`."""
    if request.headers.get("x-goog-api-key") != KEY or request.query:
        message = "API key not valid. Please pass a valid API key."
        raise _refusal(400, message, "INVALID_ARGUMENT", "API_KEY_INVALID")
    model = request.path.rsplit("/", 1)[1].removesuffix(":batchEmbedContents")
    if model not in MODELS:
        message = f"models/{model} is not found for API version v1beta, or is not supported for embedContent."
        raise _refusal(404, message, "NOT_FOUND")
    parts = request.body.get("requests")
    if set(request.body) != {"requests"} or not isinstance(parts, list) or not parts:
        raise _refusal(400, "Invalid JSON payload received.", "INVALID_ARGUMENT")
    if len(parts) > 100:
        message = "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"
        raise _refusal(400, message, "INVALID_ARGUMENT")
    embeddings = []
    tokens = 0
    for part in parts:
        unknown = set(part) - {"model", "content", "taskType", "title", "outputDimensionality"}
        if unknown:
            message = f"Invalid JSON payload received. Unknown name \"{sorted(unknown)[0]}\" at 'requests[0]'"
            raise _refusal(400, message, "INVALID_ARGUMENT")
        if part.get("model") != f"models/{model}":
            message = "* BatchEmbedContentsRequest.model: must match the model of each request"
            raise _refusal(400, message, "INVALID_ARGUMENT")
        dim, task = part.get("outputDimensionality", MODELS[model]), part.get("taskType")
        if type(dim) is not int or not 1 <= dim <= MODELS[model] or (task is not None and task not in TASK_TYPES):
            raise _refusal(400, "Request contains an invalid argument.", "INVALID_ARGUMENT")
        (piece,) = part["content"]["parts"]
        text = piece["text"]
        tokens += len(text.split())
        embeddings.append({"values": vector(text, task, dim, new=model == "gemini-embedding-2").tolist()})
    return {"embeddings": embeddings, "usageMetadata": {"promptTokenCount": tokens}}


ROUTES = {
    "POST /gemini/v1beta/models/*:batchEmbedContents": batch_embed_contents,  # as documented
    "POST /gemini/v1/models/*:batchEmbedContents": batch_embed_contents,  # as google-genai 3.4.0 asks
}
