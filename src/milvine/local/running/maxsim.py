"""Late interaction: how well the vectors of a query's tokens meet those of a document's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import InputError, InputTypeError

if TYPE_CHECKING:
    import numpy.typing as npt

QUERY_TOKENS, DOCUMENT_TOKENS = 128, 1 << 15
"""Tokens of a query, and of documents, that are compared at a time; a longer document is compared alone."""


def maxsim(query: npt.NDArray[Any], documents: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """How well each document answers a query: the sum of what each token of the query meets best in the document.

    Khattab and Zaharia 2020 (https://arxiv.org/abs/2004.12832), equation 3: for each token of the query the largest dot
    product with a token of the document, summed. With vectors of length 1, a score is at most the number of the query's
    tokens. Memory holds a part of the documents at a time, and 16 MB of products.

    Args:
        query: The vectors of the query's tokens, shape `(tokens, dim)`.
        documents: Each document's, shape `(its tokens, dim)`. One without tokens scores 0.

    Returns:
        float32 of shape `(len(documents),)`.

    Raises:
        InputTypeError: Something is not an array of numbers.
        InputError: An array is of another shape, dimensions differ, or a vector holds NaN or infinity.
    """
    _check(query, "query", None)
    for position, document in enumerate(documents):
        _check(document, f"documents[{position}]", query.shape[1])
    scores = np.zeros(len(documents), dtype=np.float64)
    asked = np.ascontiguousarray(query, dtype=np.float32)
    for positions in _parts([len(document) for document in documents]):
        together = np.concatenate([documents[at] for at in positions]).astype(np.float32, copy=False)
        starts = np.cumsum([0, *(len(documents[at]) for at in positions[:-1])])
        for start in range(0, len(asked), QUERY_TOKENS):
            best = np.maximum.reduceat(together @ asked[start : start + QUERY_TOKENS].T, starts, axis=0)
            scores[positions] += best.sum(axis=1, dtype=np.float64)
    return scores.astype(np.float32)


def _parts(lengths: list[int]) -> Iterator[list[int]]:
    """Positions of documents that are compared together; those without tokens are left out."""
    part: list[int] = []
    tokens = 0
    for position, length in enumerate(lengths):
        if part and tokens + length > DOCUMENT_TOKENS:
            yield part
            part, tokens = [], 0
        if length:
            part.append(position)
            tokens += length
    if part:
        yield part


def _check(vectors: npt.NDArray[Any], what: str, dim: int | None) -> None:
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind not in "fiu":
        kind = f"an array of {vectors.dtype}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise InputTypeError(f"{what} must be a numpy array of numbers, shape (tokens, dim), not {kind}")
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise InputError(f"{what} must be of shape (tokens, dim), not {vectors.shape}")
    if dim is not None and vectors.shape[1] != dim:
        raise InputError(f"{what} has vectors of {vectors.shape[1]} dimensions, and the query's have {dim}")
    if not np.isfinite(vectors).all():
        raise InputError(f"{what} holds NaN or infinity, which cannot be compared")
