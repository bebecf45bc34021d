"""The check that an embedding function's vectors pass before they are stored or searched with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import InputError
from milvine.types import DenseVectors

if TYPE_CHECKING:
    from milvine.store import SparseRow


def checked_dense(vectors: Any, count: int, dim: int, function: str) -> DenseVectors:
    """The vectors as float32 arrays of shape `(dim,)`, if they are `count` of that dimension, all finite.

    Milvus Lite would store NaN, and find it everywhere or nowhere.

    Raises:
        InputError: They are not.
    """
    try:
        matrix = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{function} gave no list of {count} vectors of one length: {error}") from error
    if matrix.shape != (count, dim):
        raise InputError(
            f"{function} gave vectors of shape {matrix.shape} for {count} texts; the shape must be {(count, dim)}"
        )
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise InputError(f"{function} gave a vector with NaN or infinity for text {int(np.argmin(finite))} of {count}")
    return list(matrix)


def checked_sparse(matrix: Any, count: int, function: str) -> list[SparseRow]:
    """The rows of a sparse matrix, float32, without explicit zeros, if there are `count` of non-negative weights.

    Milvus Lite would store NaN, and refuse what is negative once all has been computed.

    Raises:
        InputError: They are not.
    """
    from scipy.sparse import csr_array, issparse

    if not issparse(matrix) or matrix.ndim != 2 or matrix.shape[0] != count:
        shown = f"{type(matrix).__name__} of shape {getattr(matrix, 'shape', '?')}"
        raise InputError(f"{function} gave a {shown} for {count} texts; it must be a scipy csr_array with a row a text")
    rows = csr_array(matrix, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    wrong = ~(np.isfinite(rows.data) & (rows.data >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        text = int(np.searchsorted(rows.indptr, at, side="right")) - 1
        raise InputError(
            f"{function} gave the weight {rows.data[at]} for text {text} of {count}; sparse weights must be finite and"
            " at least 0"
        )
    rows.eliminate_zeros()
    return [rows[at : at + 1] for at in range(count)]
