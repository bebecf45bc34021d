"""OpenAI's embeddings API as it is documented, and a server of one's own that speaks it its own way.

https://developers.openai.com/api/reference/resources/embeddings.md (read 2026-11-23). The official `openai` package
talks to it in `tests/model/dense/test_openai.py`.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy.typing as npt

from provider_server import KEY, RefusalError, Reply, Request, vector_of

BASE_PATH = "/v1"

DIMS = {
    "text-embedding-ada-002": 1536,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "tiny": 7,
}


def error(status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> Reply:
    """An error in OpenAI's form."""
    return Reply(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def refusal(status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> RefusalError:
    """A refusal in OpenAI's form."""
    return RefusalError(status, error(status, message, code, kind).body)


def embeddings(request: Request) -> Any:
    """`POST /v1/embeddings`."""
    if request.headers.get("authorization") != f"Bearer {KEY}":
        raise refusal(401, "Incorrect API key provided: sk-wrong*****.", "invalid_api_key")
    return embedded(request.body)


def embedded(body: dict[str, Any]) -> Any:
    """The answer to a body, whoever sent it."""
    unknown = set(body) - {"model", "input", "dimensions", "encoding_format", "user"}
    if unknown:
        raise refusal(400, f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}")
    model = body.get("model")
    if model not in DIMS:
        raise refusal(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
    texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
    if (
        not isinstance(texts, list)
        or not 0 < len(texts) <= 2048
        or not all(isinstance(text, str) and text for text in texts)
    ):
        raise refusal(400, "'$.input' is invalid. Please check the API reference.")
    # A tokenizer that merges nothing makes a token of every byte: the most that any byte-level BPE can make.
    tokens = [len(text.encode()) for text in texts]
    for position, count in enumerate(tokens):
        if count > 8192:
            raise refusal(400, f"Invalid 'input[{position}]': maximum input length is 8192 tokens.")
    if sum(tokens) > 300_000:
        message = f"Requested {sum(tokens)} tokens, max 300000 tokens per request"
        raise refusal(400, message, "max_tokens_per_request", "max_tokens_per_request")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise refusal(400, f"'{encoding}' is not one of ['float', 'base64'] - 'encoding_format'")
    dim = DIMS[model]
    if "dimensions" in body:
        asked = body["dimensions"]
        if model == "text-embedding-ada-002":
            raise refusal(400, "This model does not support specifying dimensions.")
        if not isinstance(asked, int) or not 1 <= asked <= dim:
            raise refusal(400, f"Invalid value for 'dimensions' = {asked}. Must be less than or equal to {dim}.")
        dim = asked
    return listing(model, [vector_of(text, dim) for text in texts], encoding == "base64", sum(tokens))


def listing(model: str, vectors: list[npt.NDArray[Any]], in_base64: bool, tokens: int) -> Any:
    """Vectors in OpenAI's form, which others took over."""
    return {
        "object": "list",
        "model": model,
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(vector.tobytes()).decode() if in_base64 else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def own(request: Request) -> Any:
    """A server of one's own: one model under any name, no key, no base64, no `dimensions`, 32 texts of 512 tokens.

    It says of what is too much what vLLM and llama.cpp say: https://github.com/vllm-project/vllm/issues/19798,
    https://github.com/ggml-org/llama.cpp/issues/12295 (read 2026-11-23).
    """
    texts = request.body["input"]
    if "authorization" in request.headers:
        raise refusal(401, "This server knows no keys.")
    if len(texts) > 32:
        raise refusal(400, "batch size is invalid, it should not be larger than 32")
    tokens = [len(text.split()) for text in texts]
    if max(tokens) > 1024:
        message = f"input ({max(tokens)} tokens) is too large to process. increase the physical batch size"
        raise RefusalError(500, {"error": {"code": 500, "message": message, "type": "server_error"}})
    if max(tokens) > 512:
        message = f"This model's maximum context length is 512 tokens. However, you requested {max(tokens)} tokens."
        raise refusal(400, message)
    return listing(request.body["model"], [vector_of(text, 5) for text in texts], False, sum(tokens))


ROUTES = {"POST /openai/v1/embeddings": embeddings, "POST /openai/own/v1/embeddings": own}
