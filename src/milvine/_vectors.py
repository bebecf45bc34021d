"""The check that an embedding function's vectors pass before they are stored or searched with, and their conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from milvine.errors import InputError
from milvine.local.running.vector_form import as_binary, as_int8

if TYPE_CHECKING:
    from milvine.store import SparseRow, VectorType
    from milvine.types import DenseMatrix

_WHOLE: dict[str, Any] = {"int8": np.int8, "binary": np.uint8}
_CONVERSIONS: dict[str, Callable[[DenseMatrix], npt.NDArray[Any]]] = {"int8": as_int8, "binary": as_binary}
_LARGEST_FLOAT16 = 65_504
_LARGEST = 1e17
"""Of numbers beyond it the squares of some thousand add up to infinity in float32, and every score with them to NaN."""

_TOKENS = '; if it gives a vector a token, its class must have TASK = "multivector"'


def checked_dense(
    vectors: Any, count: int, dim: int, function: str, type_: VectorType = "float32", given: VectorType = "float32"
) -> list[npt.NDArray[Any]]:
    """The vectors as a field of this type takes them, if they are `count` of that dimension, all finite.

    Of floats a field of type "int8" gets each vector scaled so that its largest component is 127 or -127, and rounded:
    the cosine does not change by scale. One of type "binary" gets a bit a dimension, 1 where it is above 0.

    Milvus Lite would store NaN, and find it everywhere or nowhere.

    Args:
        vectors: What a function gave, or a file holds.
        count: How many they must be.
        dim: Dimensions; of binary vectors the number of bits.
        function: Who gave them, for messages.
        type_: The field's type.
        given: The type of what was given: that of the field, or one of floats.

    Returns:
        Arrays as `milvine.store.DenseField` says: float32 or int8 of shape `(dim,)`, or uint8 of shape `(dim / 8,)`.

    Raises:
        InputError: They are not.
    """
    if given in _WHOLE:
        matrix = _matrix(vectors, count, dim // 8 if given == "binary" else dim, function, None)
        if matrix.dtype != _WHOLE[given]:
            wanted = _WHOLE[given].__name__
            raise InputError(f"{function} gave vectors of {matrix.dtype}; {given} ones must be of {wanted}")
        return list(matrix)
    matrix = _matrix(vectors, count, dim, function, np.float32)
    finite = _are_usable(matrix, type_).all(axis=1)
    if not finite.all():
        raise InputError(f"{function} gave a vector with {_beyond(type_)} for text {int(np.argmin(finite))} of {count}")
    return list(_CONVERSIONS[type_](matrix) if type_ in _CONVERSIONS else matrix)


def checked_multi(
    vectors: Any, count: int, dim: int, function: str, type_: VectorType = "float32"
) -> list[npt.NDArray[np.float32]]:
    """The vectors of several texts' tokens as float32 arrays of shape `(tokens, dim)`, if they are that, all finite.

    Args:
        vectors: What a function gave, or a file holds: an array a text. One may have no tokens.
        count: How many texts there are.
        dim: Dimensions of a vector.
        function: Who gave them, for messages.
        type_: The field's type: "float32" or "float16".

    Raises:
        InputError: They are not.
    """
    if not isinstance(vectors, (Sequence, np.ndarray)) or len(vectors) != count:
        shown = f"{type(vectors).__name__} of {len(vectors) if hasattr(vectors, '__len__') else '?'}"
        raise InputError(f"{function} gave a {shown} for {count} texts; it must be a list with an array a text")
    checked = []
    for text, one in enumerate(vectors):
        try:
            matrix = np.asarray(one, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"{function} gave no array of vectors for text {text} of {count}: {error}") from error
        if matrix.ndim != 2 or matrix.shape[1] != dim:
            raise InputError(
                f"{function} gave vectors of shape {matrix.shape} for text {text} of {count}, not (tokens, {dim})"
            )
        if not _are_usable(matrix, type_).all():
            raise InputError(f"{function} gave a vector with {_beyond(type_)} for text {text} of {count}")
        checked.append(matrix)
    return checked


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


def _matrix(vectors: Any, count: int, width: int, function: str, dtype: Any) -> npt.NDArray[Any]:
    try:
        matrix = np.asarray(vectors, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"{function} gave no list of {count} vectors of one length: {error}{_TOKENS}") from error
    if matrix.shape != (count, width):
        raise InputError(
            f"{function} gave vectors of shape {matrix.shape} for {count} texts; the shape must be {(count, width)}"
            + (_TOKENS if matrix.ndim == 3 else "")
        )
    return matrix


def _are_usable(matrix: npt.NDArray[np.float32], type_: VectorType) -> npt.NDArray[np.bool_]:
    usable: npt.NDArray[np.bool_] = np.abs(matrix) <= (_LARGEST_FLOAT16 if type_ == "float16" else _LARGEST)
    return usable  # NaN is not


def _beyond(type_: VectorType) -> str:
    if type_ == "float16":
        return f"NaN, infinity or a number beyond {_LARGEST_FLOAT16:,}, which float16 cannot hold (bfloat16 can),"
    return f"NaN, infinity or a number beyond {_LARGEST:g}"
