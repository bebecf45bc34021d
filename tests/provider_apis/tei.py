"""Text Embeddings Inference as its source has it: router/src/http/server.rs, types.rs (read 2026-11-23).

Four servers: an embedding model at `/tei`, the same with a key at `/tei/private`, a reranker at `/tei/reranker`, and a
larger embedding model with prompts, that was started with --max-client-batch-size 64, at `/tei/large`.
"""

from __future__ import annotations

from typing import Any

from provider_server import KEY, RefusalError, Request, relevance_of, vector_of

RESPONSE_HEADERS: dict[str, str] = {"x-compute-type": "cpu"}

DIM = 384
ROOM = 512
"""Tokens that the model reads; here every word is a token."""
PROMPTS = {"query": "query: ", "passage": "passage: "}

INFO = {
    "model_id": "BAAI/bge-small-en-v1.5",
    "model_sha": "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
    "model_dtype": "float32",
    "model_type": {"embedding": {"pooling": "cls"}},
    "max_concurrent_requests": 512,
    "max_input_length": ROOM,
    "max_batch_tokens": 16384,
    "max_batch_requests": None,
    "max_client_batch_size": 32,
    "auto_truncate": False,
    "tokenization_workers": 4,
    "version": "1.8.3",
    "sha": None,
    "docker_label": None,
}
LARGE = {**INFO, "model_id": "intfloat/e5-small-v2", "model_sha": None, "max_client_batch_size": 64}
RERANKER = {
    **INFO,
    "model_id": "BAAI/bge-reranker-base",
    "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
}


def refusal(status: int, message: str, kind: str) -> RefusalError:
    """A refusal in TEI's form."""
    return RefusalError(status, {"error": message, "error_type": kind})


def _check(request: Request, texts: Any, batch: int, required: set[str]) -> None:
    body = request.body
    if request.path.startswith("/tei/private") and request.headers.get("authorization") != f"Bearer {KEY}":
        raise RefusalError(401, b"", {"Content-Type": "text/plain"})
    if not required <= set(body) or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise refusal(422, "Failed to deserialize the JSON body into the target type", "Tokenizer")
    if body.get("truncation_direction", "Right") not in ("Left", "Right"):
        raise refusal(422, "Failed to deserialize the JSON body into the target type", "Tokenizer")
    if not texts:
        raise refusal(400, "`inputs` cannot be empty", "Empty")
    if len(texts) > batch:
        message = f"batch size {len(texts)} > maximum allowed batch size {batch}"
        raise refusal(413, message, "Validation")
    for text in texts:
        if not text:
            raise refusal(413, "Input validation error: `inputs` cannot be empty", "Validation")
        if len(text.split()) > ROOM and not body.get("truncate", False):
            message = f"Input validation error: `inputs` must have less than {ROOM} tokens. Given: {len(text.split())}"
            raise refusal(413, message, "Validation")


def _embed(request: Request, info: dict[str, Any]) -> Any:
    body = request.body
    texts = body.get("inputs")
    _check(request, texts, info["max_client_batch_size"], {"inputs"})
    name, dim = body.get("prompt_name"), body.get("dimensions", DIM)
    if name is not None and (info is not LARGE or name not in PROMPTS):
        raise refusal(422, f"Prompt {name} not found in model prompts", "Tokenizer")
    if type(dim) is not int or not 1 <= dim <= DIM:
        raise refusal(413, f"Input validation error: `dimensions` should be positive and less than {DIM}", "Validation")
    return [vector_of(PROMPTS.get(name or "", "") + text, dim).tolist() for text in texts]


def embed(request: Request) -> Any:
    """`POST /embed`."""
    return _embed(request, INFO)


def embed_large(request: Request) -> Any:
    """`POST /embed` of the larger model."""
    return _embed(request, LARGE)


def rerank(request: Request) -> Any:
    """`POST /rerank`."""
    body = request.body
    texts, query = body.get("texts"), body.get("query")
    _check(request, texts, 32, {"query", "texts"})
    ranks = [{"index": index, "score": relevance_of(query, text)} for index, text in enumerate(texts)]
    if body.get("return_text", False):
        ranks = [{**rank, "text": texts[int(rank["index"])]} for rank in ranks]
    return sorted(ranks, key=lambda rank: float(rank["score"]), reverse=True)


def not_a_reranker(request: Request) -> Any:
    """`POST /rerank` of an embedding model."""
    raise refusal(424, "Inference failed: model is not a re-ranker model", "Backend")


ROUTES = {
    "POST /tei/embed": embed,
    "POST /tei/private/embed": embed,
    "POST /tei/large/embed": embed_large,
    "POST /tei/rerank": not_a_reranker,
    "POST /tei/reranker/rerank": rerank,
    "GET /tei/info": lambda _: INFO,
    "GET /tei/private/info": lambda _: INFO,
    "GET /tei/large/info": lambda _: LARGE,
    "GET /tei/reranker/info": lambda _: RERANKER,
}
