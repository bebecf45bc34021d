"""Dense vectors of every type: as they are stored, what Milvus calls them, and how they are compared there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from milvine.errors import InputError
from milvine.store.base import DenseField, Field, MultiVectorField, VectorType

Array = npt.NDArray[Any]

DATA_TYPES: dict[VectorType, str] = {
    "float32": "FLOAT_VECTOR",
    "float16": "FLOAT16_VECTOR",
    "bfloat16": "BFLOAT16_VECTOR",
    "int8": "INT8_VECTOR",
    "binary": "BINARY_VECTOR",
}
"""The names of Milvus' data types."""

SINCE: dict[VectorType, tuple[int, int]] = {"float16": (2, 4), "bfloat16": (2, 4), "int8": (2, 6)}
"""The versions of Milvus that types came with, where they have not always been there."""

HAMMING = "HAMMING"
_STORED: dict[VectorType, str] = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int8": "i1", "binary": "u1"}


def to_stored(vectors: Array | Sequence[Array], type_: VectorType) -> Array:
    """Vectors as a field of this type keeps them.

    Args:
        vectors: float32 of any shape, or int8 or uint8, as `DenseField` says.
        type_: The field's type.

    Returns:
        float32, float16, uint16 (of bfloat16, the upper halves of float32, rounded to the nearest, of two to the even
        one), int8, or uint8; of the same shape.
    """
    if type_ != "bfloat16":
        return np.asarray(vectors).astype(_STORED[type_], copy=False)
    bits = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def from_stored(vectors: Array, type_: VectorType) -> Array:
    """Vectors as `DenseField` says, of what a field of this type keeps; from float types float32."""
    if type_ == "bfloat16":
        return (vectors.astype(np.uint32) << 16).view(np.float32)
    return vectors if type_ in ("int8", "binary") else vectors.astype(np.float32, copy=False)


def other_types(fields: Iterable[Field]) -> dict[str, VectorType]:
    """Dense fields to the types of their vectors, of those that are not float32."""
    return {field.name: field.type for field in fields if isinstance(field, DenseField) and field.type != "float32"}


def to_milvus(vector: Array, type_: VectorType) -> Any:
    """A vector as Milvus' client takes it, in a row or in a search: an array of float32, or bytes."""
    return vector if type_ == "float32" else to_stored(vector, type_).tobytes()


def from_milvus(value: Any, type_: VectorType) -> Array:
    """A vector of what Milvus' client gave: numbers, or bytes, in a list of one where they come of a query."""
    if type_ == "float32":
        return np.asarray(value, dtype=np.float32)
    data = value[0] if isinstance(value, list) else value
    return from_stored(np.frombuffer(data, dtype=_STORED[type_]), type_)


def metric_of(field: Field) -> str:
    """What Milvus calls the way in which a field is compared."""
    if not isinstance(field, DenseField):
        return "IP"
    return HAMMING if field.type == "binary" else field.metric


def to_score(distance: float, metric: str, dim: int = 1) -> float:
    """What Milvus calls a distance as a score of which more is better.

    Of unit vectors, L2 (a squared distance) becomes the cosine; so does HAMMING (the bits that differ) of vectors of -1
    and 1.

    Args:
        distance: As Milvus gives it.
        metric: "COSINE", "IP", "L2" or "HAMMING".
        dim: The field's dimensions, for "HAMMING".
    """
    if metric == HAMMING:
        return 1 - 2 * distance / dim
    return 1 - distance / 2 if metric == "L2" else distance


def dense_scores(query: Array, matrix: Array, metric: str) -> list[float]:
    """The scores that a search would give vectors, the rows of a matrix."""
    if metric == HAMMING:
        differing = np.unpackbits(np.bitwise_xor(matrix, query, dtype=np.uint8), axis=1).sum(axis=1)
        return [to_score(float(bits), metric, 8 * len(query)) for bits in differing]
    matrix, query = matrix.astype(np.float32, copy=False), query.astype(np.float32, copy=False)
    if metric == "L2":
        return [to_score(float(squared), metric) for squared in np.square(matrix - query).sum(axis=1)]
    inner = matrix @ query
    if metric == "COSINE":
        lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
        inner = np.divide(inner, lengths, out=np.zeros_like(inner), where=lengths > 0)
    return [float(score) for score in inner]


def check_single(fields: Sequence[Field], where: str) -> None:
    """Refuse fields of several vectors a text.

    Args:
        fields: A new collection's.
        where: What has no such field, as a message names it.

    Raises:
        InputError: There is one.
    """
    for field in fields:
        if isinstance(field, MultiVectorField):
            raise InputError(
                f"the field {field.name!r} holds a vector a token, and {where} has no field for that; the built-in"
                ' store can hold them (a path such as "kb.milvine"), or leave it out and pass'
                " reranker=ColBERTRerankFunction(...) to order what other fields find"
            )


def check_lite(fields: Sequence[Field]) -> None:
    """Refuse what Milvus Lite has no fields for.

    Raises:
        InputError: A field holds several vectors a text, or vectors of another type than float32.
    """
    check_single(fields, "Milvus Lite")
    for field in fields:
        if isinstance(field, DenseField) and field.type != "float32":
            since = ".".join(map(str, SINCE.get(field.type, ())))
            server = f"a Milvus server (from {since} on)" if since else "a Milvus server"
            raise InputError(
                f"the field {field.name!r} holds {field.type} vectors, and Milvus Lite has float32 ones alone; {server}"
                ' and the built-in store (a path such as "kb.milvine") can hold them; or have float32 ones here'
            )
