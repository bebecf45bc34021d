"""The form in which dense vectors are given out: how many dimensions, of what length, of what type.

Matryoshka models put what matters most into the first dimensions (Kusupati et al. 2022,
https://arxiv.org/abs/2205.13147), so that the rest can be cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import InputError
from milvine.local.options import check_count
from milvine.types import DenseMatrix

if TYPE_CHECKING:
    import numpy.typing as npt

Array = np.ndarray[Any, Any]


def normalized(vectors: DenseMatrix) -> DenseMatrix:
    """Vectors of length 1, along the last axis; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def layer_normalized(vectors: DenseMatrix) -> DenseMatrix:
    """Vectors of mean 0 and variance 1, along the last axis, as PyTorch's `layer_norm` makes them without weights."""
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + 1e-5), dtype=np.float32)


def as_int8(vectors: DenseMatrix) -> Array:
    """int8 of the same shape: each vector scaled so that its largest component is 127 or -127, and rounded.

    The scale is a vector's own, so nothing has to be calibrated on other texts, and directions are kept but for the
    rounding: such vectors are compared by cosine. A vector of zeros stays one.
    """
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    scaled: Array = np.rint(vectors * (127 / np.maximum(largest, 1e-12))).astype(np.int8)
    return scaled


def as_binary(vectors: DenseMatrix) -> Array:
    """uint8 of shape `(n, dim / 8)`: one bit a dimension, 1 where it is above 0, the first dimension's the highest.

    Such vectors are compared by Hamming distance. This is what Milvus' BINARY_VECTOR takes, and what sentence-
    transformers calls "ubinary".
    """
    return np.packbits(vectors > 0, axis=-1)


@dataclass(frozen=True)
class _Output:
    dtype: Any
    convert: Callable[[DenseMatrix], Array]
    bits: int


OUTPUTS: dict[str, _Output] = {
    "float32": _Output(np.float32, lambda vectors: vectors, 32),
    "float16": _Output(np.float16, lambda vectors: vectors.astype(np.float16), 16),
    "int8": _Output(np.int8, as_int8, 8),
    "binary": _Output(np.uint8, as_binary, 1),
}
"""The types of vectors that Milvus has fields for: FLOAT_VECTOR, FLOAT16_VECTOR, INT8_VECTOR, BINARY_VECTOR."""


@dataclass(frozen=True)
class VectorForm:
    """What is done to a model's dense vectors before they are given out.

    Attributes:
        dim: Dimensions of a vector as it is given out.
        normalize: Whether vectors are scaled to length 1, after what is too much has been cut off.
        output: A name of `OUTPUTS`.
        layer_norm: Whether vectors are layer-normalised before they are cut, which some models want.
    """

    dim: int
    normalize: bool = False
    output: str = "float32"
    layer_norm: bool = False

    def empty(self, count: int) -> npt.NDArray[Any]:
        """An array for `count` vectors."""
        kind = OUTPUTS[self.output]
        columns = self.dim // 8 if kind.bits == 1 else self.dim
        return np.empty((count, columns), dtype=kind.dtype)

    def apply(self, vectors: DenseMatrix) -> Array:
        """Vectors in this form; `vectors` are float32 of shape `(n, dim or more)`."""
        kept = (layer_normalized(vectors) if self.layer_norm else vectors)[:, : self.dim]
        return OUTPUTS[self.output].convert(normalized(kept) if self.normalize else kept)


def vector_form(full: int, truncate_dim: int | None, normalize: bool, output: str) -> VectorForm:
    """The form of a model's vectors.

    Args:
        full: Dimensions that the model gives.
        truncate_dim: Dimensions that are kept, the first; by default all.
        normalize: Whether vectors are scaled to length 1.
        output: A name of `OUTPUTS`.

    Raises:
        InputTypeError: `truncate_dim` is no integer.
        InputError: `truncate_dim` is out of range, `output` is no such name, or a vector's bits fill no whole bytes.
    """
    if truncate_dim is not None:
        check_count("truncate_dim", truncate_dim, 1, full)
    dim = truncate_dim or full
    if not isinstance(output, str) or output not in OUTPUTS:
        raise InputError(f"output must be one of {', '.join(OUTPUTS)}, not {output!r}")
    if output == "binary" and dim % 8:
        raise InputError(f"output='binary' packs 8 dimensions into a byte, and {dim} is no multiple of 8")
    return VectorForm(dim, normalize, output)
