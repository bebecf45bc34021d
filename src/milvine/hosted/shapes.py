"""Bodies of requests and answers in the forms that several providers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer
    from milvine.hosted.spec import EmbedRequest, RerankRequest

__all__ = ["item_scores", "item_vectors", "items", "openai_body", "rerank_body", "top_n_body"]


def openai_body(request: EmbedRequest) -> dict[str, Any]:
    """OpenAI's form: `{"model", "input"}`, and `"dimensions"` where some are asked for."""
    body = {"model": request.model, "input": list(request.texts), **request.fields}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def item_vectors(answer: Answer) -> list[Any]:
    """OpenAI's form: `{"data": [{"index", "embedding"}, ...]}`, in the order of `index`.

    Raises:
        ProviderResponseError: The answer has another form.
    """
    found = items(answer, "data")
    vectors: dict[int, Any] = {}
    for item in found:
        index = item.get("index")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(found):
            raise answer.malformed(f"a result has no index from 0 to {len(found) - 1}")
        if index in vectors:
            raise answer.malformed(f"two results have the index {index}")
        if "embedding" not in item:
            raise answer.malformed(f"result {index} has no embedding")
        vectors[index] = item["embedding"]
    return [vectors[index] for index in range(len(found))]


def rerank_body(request: RerankRequest) -> dict[str, Any]:
    """What reranking requests have in common: `{"model", "query", "documents"}`."""
    return {"model": request.model, "query": request.query, "documents": list(request.documents), **request.fields}


def top_n_body(request: RerankRequest) -> dict[str, Any]:
    """Cohere's and Jina AI's form: the number of documents that are wanted is `"top_n"`."""
    return {**rerank_body(request), "top_n": request.top_k}


def item_scores(answer: Answer, field: str = "results") -> list[tuple[Any, Any]]:
    """Cohere's and Jina AI's form: `{"results": [{"index", "relevance_score"}, ...]}`.

    Raises:
        ProviderResponseError: The answer has no list of objects there.
    """
    return [(item.get("index"), item.get("relevance_score")) for item in items(answer, field)]


def items(answer: Answer, field: str) -> list[dict[str, Any]]:
    """The list of objects that stands under a field of the answer.

    Raises:
        ProviderResponseError: There is none.
    """
    found = answer.data.get(field) if isinstance(answer.data, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise answer.malformed(f"it has no list of objects named {field!r}")
    return found
