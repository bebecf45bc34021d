"""What stands in an answer -> arrays and scores that are checked."""

from __future__ import annotations

import base64
import binascii
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = ["read_scores", "read_vectors"]

DTYPES: Final[dict[str, type[np.generic]]] = {"float32": np.float32, "int8": np.int8, "binary": np.uint8}
"""The element type of each kind of output; eight dimensions of a binary vector are one element."""

_BYTES: Final = {"float32": "<f4", "int8": "i1", "uint8": "u1"}
_LARGEST: Final = sys.float_info.max


def read_vectors(
    answer: Answer, raw: list[Any], count: int, output: str, form: str, width: int | None, normalize: bool
) -> npt.NDArray[Any]:
    """The vectors of an answer.

    Args:
        answer: The answer, for errors.
        raw: The vectors as they are written there: lists of numbers, or strings of base64.
        count: How many there must be.
        output: `"float32"`, `"int8"` or `"binary"`.
        form: What the base64 holds: `"float32"`, `"int8"` or `"uint8"`.
        width: How many elements a vector must have, if that is known.
        normalize: Whether float32 vectors are brought to length 1; zeros stay zeros.

    Returns:
        float32, int8, or uint8 with eight dimensions an element, highest bit first; shape `(count, width)`.

    Raises:
        ProviderResponseError: There are too few or too many, or one is empty, is of another width, or holds what is no
            finite number of the type.
    """
    if len(raw) != count:
        raise answer.malformed(f"it has {len(raw)} vectors for {count} texts")
    dtype = DTYPES[output]
    vectors = [_vector(answer, value, form, dtype) for value in raw]
    width = len(vectors[0]) if width is None else width
    for index, vector in enumerate(vectors):
        if len(vector) != width:
            unit = "dimensions" if output != "binary" else "bytes"
            raise answer.malformed(f"vector {index} has {len(vector)} {unit}, not {width}")
    matrix = np.stack(vectors)
    if dtype is not np.float32:
        return matrix
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise answer.malformed(f"vector {int(np.argmin(finite))} has a number that is not finite")
    if normalize:
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        matrix = (matrix / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
    return matrix


def read_scores(answer: Answer, raw: list[tuple[Any, Any]], count: int, wanted: int) -> dict[int, float]:
    """The scores of an answer by the documents' indices.

    Raises:
        ProviderResponseError: There are fewer than `wanted`, one is no finite number, or an index is not one of the
            `count` documents, or comes twice.
    """
    if len(raw) < wanted:
        raise answer.malformed(f"it has {len(raw)} results where {wanted} were asked for")
    scores: dict[int, float] = {}
    for index, score in raw:
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not abs(score) <= _LARGEST:
            raise answer.malformed("a result has no relevance_score that is a finite number")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            raise answer.malformed(f"a result has no index from 0 to {count - 1}")
        if index in scores:
            raise answer.malformed(f"two results have the index {index}")
        scores[index] = float(score)
    return scores


def _vector(answer: Answer, value: Any, form: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
    if isinstance(value, str):
        try:
            numbers = np.frombuffer(base64.b64decode(value, validate=True), dtype=_BYTES.get(form, "<f4"))
        except (binascii.Error, ValueError) as error:
            raise answer.malformed(f"a vector is not the base64 of {form} numbers") from error
    else:
        try:
            numbers = np.asarray(value)
        except ValueError as error:
            raise answer.malformed("a vector is not a list of numbers") from error
        if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iuf"):
            raise answer.malformed("a vector is not a list of numbers")
    if not len(numbers):
        raise answer.malformed("a vector is empty")
    with np.errstate(over="ignore", invalid="ignore"):
        vector = numbers.astype(dtype)
    if dtype is not np.float32 and not np.array_equal(vector, numbers):
        raise answer.malformed(f"a vector has numbers that are no {np.dtype(dtype).name}")
    return vector
