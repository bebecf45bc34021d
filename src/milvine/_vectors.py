"""The check that an embedding function's vectors pass before they are stored or searched with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import InputError
from milvine.types import DenseVectors

if TYPE_CHECKING:
    from milvine.model.base import BaseEmbeddingFunction


def checked_vectors(vectors: Any, count: int, function: BaseEmbeddingFunction[DenseVectors]) -> DenseVectors:
    """The vectors as float32 arrays of shape `(dim,)`, if they are `count` of the function's dimension, all finite.

    Milvus Lite would store NaN, and find it everywhere or nowhere.

    Raises:
        InputError: They are not.
    """
    name = type(function).__name__
    try:
        matrix = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} gave no list of {count} vectors of one length: {error}") from error
    if matrix.shape != (count, function.dim):
        raise InputError(
            f"{name} gave vectors of shape {matrix.shape} for {count} texts; the shape must be {(count, function.dim)}"
        )
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise InputError(f"{name} gave a vector with NaN or infinity for text {int(np.argmin(finite))} of {count}")
    return list(matrix)
