"""Voyage AI's embeddings and reranking API as it is documented.

https://docs.voyageai.com/reference/embeddings-api, https://docs.voyageai.com/reference/reranker-api,
https://docs.voyageai.com/docs/error-codes (read 2026-11-23). The official `voyageai` package talks to it in
`tests/model/dense/test_voyageai.py` and `tests/model/reranker/test_voyageai.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from provider_apis.openai import listing
from provider_server import KEY, RefusalError, Request, relevance_of, vector_of

BASE_PATH = "/v1"

PROMPTS = {
    None: "",
    "query": "Represent the query for retrieving supporting documents: ",
    "document": "Represent the document for retrieval: ",
}
SIZES = {256, 512, 1024, 2048}
# The sizes of a model's vectors, and the tokens that one request may hold.
MODELS = {
    "voyage-3-large": (SIZES, 120_000),
    "voyage-4-lite": (SIZES, 1_000_000),
    "voyage-law-2": ({1024}, 120_000),
}
RERANKERS = {"rerank-2", "rerank-2.5"}
CONTEXT = 32_000


def quantized(vector: npt.NDArray[np.float32], kind: str | None) -> npt.NDArray[Any]:
    """A vector as one of the documented types holds it."""
    if kind == "int8":
        return np.clip(np.round(vector * 1000), -128, 127).astype(np.int8)
    if kind == "ubinary":
        return np.packbits(vector > 0)
    if kind == "binary":
        return (np.packbits(vector > 0).astype(np.int16) - 128).astype(np.int8)
    return vector.astype("<f4")


def refusal(status: int, detail: Any) -> RefusalError:
    """A refusal in Voyage AI's form."""
    return RefusalError(status, {"detail": detail})


def _check(request: Request, fields: set[str], models: Any) -> dict[str, Any]:
    body: dict[str, Any] = request.body
    if request.headers.get("authorization") != f"Bearer {KEY}":
        raise refusal(401, "Provided API key is invalid.")
    unknown = set(body) - fields
    if unknown:
        raise refusal(400, f"Argument '{sorted(unknown)[0]}' is not supported by our API.")
    if body.get("model") not in models:
        raise refusal(400, f"Model {body.get('model')} is not supported. Supported models are {sorted(models)}.")
    if type(body.get("truncation", True)) is not bool:
        raise refusal(400, "The value for 'truncation' must be a boolean.")
    return body


def _tokens(texts: list[str], body: dict[str, Any], room: int) -> list[int]:
    """A token for each byte, of each text as many as fit."""
    counts = [len(text.encode()) for text in texts]
    if not body.get("truncation", True) and max(counts) > room:
        raise refusal(400, f"An example has {max(counts)} tokens, which exceeds the context length of {room} tokens.")
    return [min(count, room) for count in counts]


def embeddings(request: Request) -> Any:
    """`POST /v1/embeddings`."""
    fields = {"input", "model", "input_type", "truncation", "output_dimension", "output_dtype", "encoding_format"}
    body = _check(request, fields, MODELS)
    sizes, most = MODELS[body["model"]]
    texts, role, kind = body.get("input"), body.get("input_type"), body.get("output_dtype") or "float"
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise refusal(400, "Input must be a non-empty list of non-empty strings.")
    if len(texts) > 1000:
        raise refusal(400, f"The batch size limit is 1000. Your batch size is {len(texts)}.")
    if role not in PROMPTS:
        raise refusal(400, f"Input type {role} is not supported.")
    dim = body.get("output_dimension") or 1024
    if dim not in sizes:
        raise refusal(400, f"Output dimension {dim} is not supported by {body['model']}: {sorted(sizes)}.")
    if kind not in ("float", "int8", "uint8", "binary", "ubinary") or (kind != "float" and len(sizes) == 1):
        raise refusal(400, f"Output dtype {kind} is not supported by {body['model']}.")
    if body.get("encoding_format") not in (None, "base64"):
        raise refusal(400, f"Encoding format {body['encoding_format']} is not supported.")
    tokens = sum(_tokens(texts, body, CONTEXT))
    if tokens > most:
        said = (
            f"Request to model '{body['model']}' failed. The max allowed tokens per submitted batch is {most}."
            f" Your batch has {tokens} tokens after truncation. Please lower the number of tokens in the batch."
        )
        raise refusal(400, said)
    vectors = [quantized(vector_of(PROMPTS[role] + text, dim), kind) for text in texts]
    return listing(body["model"], vectors, body.get("encoding_format") == "base64", tokens)


def rerank(request: Request) -> Any:
    """`POST /v1/rerank`."""
    fields = {"query", "documents", "model", "top_k", "return_documents", "truncation"}
    body = _check(request, fields, RERANKERS)
    query, documents, top_k = body.get("query"), body.get("documents"), body.get("top_k")
    if not isinstance(query, str) or not isinstance(documents, list) or not documents:
        raise refusal(400, "Query must be a string and documents a non-empty list of strings.")
    if len(documents) > 1000:
        raise refusal(400, f"The number of documents cannot exceed 1000, but is {len(documents)}.")
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        raise refusal(400, "The value for 'top_k' must be a positive integer.")
    tokens = sum(_tokens(documents, body, CONTEXT)) + len(query.encode()) * len(documents)
    if tokens > 600_000:
        raise refusal(400, f"The total number of tokens exceeds the limit of 600000: it is {tokens}.")
    scores = [relevance_of(query, document) for document in documents]
    best = sorted(range(len(documents)), key=lambda index: -scores[index])[:top_k]
    told = [{"relevance_score": scores[index], "index": index} for index in best]
    if body.get("return_documents"):
        told = [{**one, "document": documents[int(one["index"])]} for one in told]
    return {"object": "list", "data": told, "model": body["model"], "usage": {"total_tokens": tokens}}


ROUTES = {"POST /voyage/v1/embeddings": embeddings, "POST /voyage/v1/rerank": rerank}
