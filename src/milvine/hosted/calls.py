"""What the endpoints do: texts to vectors, a query and documents to scores."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from milvine.errors import InputError
from milvine.hosted.client import Answer, HostedClient
from milvine.hosted.providers import EmbeddingEndpoint, RerankEndpoint
from milvine.types import DenseMatrix, DenseVector

__all__ = ["embed", "rerank"]

_LARGEST: Final = sys.float_info.max
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def embed(
    client: HostedClient,
    endpoint: EmbeddingEndpoint,
    model: str,
    texts: Sequence[str],
    *,
    dimensions: int | None = None,
    dim: int | None = None,
) -> DenseMatrix:
    """The vectors of texts, in their order; texts that occur several times are sent once.

    Requests are split so that each keeps to the endpoint's number of texts and of tokens. A text is taken to have as
    many tokens as bytes in UTF-8: a byte-level BPE tokenizer cannot make more, so no request is refused for its size.

    Args:
        client: The provider's client.
        endpoint: The provider's embedding endpoint.
        model: The model, as the provider names it.
        texts: At least one text.
        dimensions: How many dimensions to ask for, where the model can shorten its vectors.
        dim: How many dimensions must come back, if that is known.

    Returns:
        float32, shape `(len(texts), dim)`.

    Raises:
        InputError: A text is empty and the provider takes no empty text, or it is not valid Unicode.
        ProviderError: As `HostedClient.post` raises it.
        ProviderResponseError: The answer has too few or too many vectors, or one that is not finite numbers of the
            right dimension.
    """
    unique = list(dict.fromkeys(texts))
    if "" in unique and not endpoint.takes_empty:
        raise InputError(
            f"texts[{texts.index('')}] is an empty string, which {client.provider.name} refuses; leave it out"
            f" ({texts.count('')} of {len(texts)} texts are empty)"
        )
    _check_unicode(texts, "texts")
    sizes = [len(text.encode()) for text in unique]
    blocks: list[DenseMatrix] = []
    for start, stop in _batches(sizes, endpoint.max_texts, endpoint.max_tokens):
        body = {"model": model, "input": unique[start:stop], **endpoint.fixed}
        if dimensions is not None:
            body["dimensions"] = dimensions
        vectors = _read_vectors(client.post(endpoint.path, body), stop - start, dim)
        blocks.append(np.stack(vectors))
        dim = blocks[0].shape[1]
    matrix: DenseMatrix = np.concatenate(blocks)
    if len(unique) == len(texts):
        return matrix
    row = {text: position for position, text in enumerate(unique)}
    return matrix[[row[text] for text in texts]]


def rerank(
    client: HostedClient, endpoint: RerankEndpoint, model: str, query: str, documents: Sequence[str], top_k: int
) -> list[tuple[int, float]]:
    """The indices and scores of the most relevant documents, in one request.

    Documents that occur several times are sent once and share their score, so more than `top_k` pairs may come back.

    Args:
        client: The provider's client.
        endpoint: The provider's reranking endpoint.
        model: The model, as the provider names it.
        query: The query.
        documents: At least one document.
        top_k: How many documents are wanted, at least 1.

    Raises:
        InputError: A text is not valid Unicode.
        ProviderError: As `HostedClient.post` raises it.
        ProviderResponseError: The answer names a document that was not sent, the same one twice, too few of them, or
            a score that is no finite number.
    """
    unique = list(dict.fromkeys(documents))
    _check_unicode([query], "query")
    _check_unicode(documents, "documents")
    wanted = min(top_k, len(unique))
    body = {"model": model, "query": query, "documents": unique, "top_n": wanted, **endpoint.fixed}
    scores = _read_scores(client.post(endpoint.path, body), len(unique), wanted)
    row = {text: position for position, text in enumerate(unique)}
    return [(index, scores[row[document]]) for index, document in enumerate(documents) if row[document] in scores]


def _check_unicode(texts: Sequence[str], what: str) -> None:
    for position, text in enumerate(texts):
        surrogate = _SURROGATE.search(text)
        if surrogate:
            raise InputError(
                f"{what}[{position}] is not valid Unicode: it has a lone surrogate at character {surrogate.start()}."
                " Mend it with text.encode('utf-8', 'replace').decode()"
            )


def _batches(sizes: Sequence[int], max_texts: int, max_tokens: int) -> Iterator[tuple[int, int]]:
    """The bounds of consecutive batches; a text over the limit goes alone, for the server to judge."""
    start = tokens = 0
    for position, size in enumerate(sizes):
        if position > start and (position - start == max_texts or tokens + size > max_tokens):
            yield start, position
            start, tokens = position, 0
        tokens += size
    if start < len(sizes):
        yield start, len(sizes)


def _items(answer: Answer, field: str) -> list[dict[str, Any]]:
    items = answer.data.get(field)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise answer.malformed(f"it has no list of objects named {field!r}")
    return items


def _index(answer: Answer, item: dict[str, Any], count: int, seen: set[int]) -> int:
    index = item.get("index")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
        raise answer.malformed(f"a result has no index from 0 to {count - 1}")
    if index in seen:
        raise answer.malformed(f"two results have the index {index}")
    seen.add(index)
    return index


def _read_vectors(answer: Answer, count: int, dim: int | None) -> list[DenseVector]:
    items = _items(answer, "data")
    if len(items) != count:
        raise answer.malformed(f"it has {len(items)} vectors for {count} texts")
    seen: set[int] = set()
    vectors = {_index(answer, item, count, seen): _read_vector(answer, item.get("embedding")) for item in items}
    dim = len(vectors[0]) if dim is None else dim
    for index, vector in vectors.items():
        if len(vector) != dim:
            raise answer.malformed(f"vector {index} has {len(vector)} dimensions, not {dim}")
        if not np.isfinite(vector).all():
            raise answer.malformed(f"vector {index} has a number that is not finite")
    return [vectors[index] for index in range(count)]


def _read_vector(answer: Answer, value: Any) -> DenseVector:
    """A vector from base64 or from a list of numbers: servers that know no base64 send the latter unasked."""
    if isinstance(value, str):
        try:
            vector = np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
        except (binascii.Error, ValueError) as error:
            raise answer.malformed("a vector is not the base64 of float32 numbers") from error
    else:
        try:
            numbers = np.asarray(value)
        except ValueError as error:
            raise answer.malformed("a vector is not a list of numbers") from error
        if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
            raise answer.malformed("a vector is not a list of numbers")
        with np.errstate(over="ignore"):
            vector = numbers.astype(np.float32)
    if not len(vector):
        raise answer.malformed("a vector is empty")
    return vector


def _read_scores(answer: Answer, count: int, wanted: int) -> dict[int, float]:
    items = _items(answer, "results")
    if len(items) < wanted:
        raise answer.malformed(f"it has {len(items)} results where {wanted} were asked for")
    seen: set[int] = set()
    scores = {}
    for item in items:
        score = item.get("relevance_score")
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not abs(score) <= _LARGEST:
            raise answer.malformed("a result has no relevance_score that is a finite number")
        scores[_index(answer, item, count, seen)] = float(score)
    return scores
