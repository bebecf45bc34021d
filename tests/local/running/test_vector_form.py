from __future__ import annotations

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError
from milvine.local.running.vector_form import vector_form

VECTORS = np.array([[3.0, -4.0, 12.0, 0, 0, 0, 84.0, 0.5], [0] * 8], dtype=np.float32)


def test_vectors_are_cut_then_scaled_to_length_1() -> None:
    form = vector_form(8, 3, True, "float32")
    # The first three of the first vector have length 13; by hand.
    np.testing.assert_allclose(form.apply(VECTORS), [[3 / 13, -4 / 13, 12 / 13], [0, 0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(vector_form(8, 2, False, "float32").apply(VECTORS), [[3, -4], [0, 0]])
    assert form.dim == 3
    assert form.empty(5).shape == (5, 3)


def test_int8_spans_each_vectors_own_range() -> None:
    # By hand: 84 becomes 127, so 12 becomes 18.14, -4 becomes -6.05, 3 becomes 4.54 and 0.5 becomes 0.76.
    form = vector_form(8, None, False, "int8")
    np.testing.assert_array_equal(form.apply(VECTORS), [[5, -6, 18, 0, 0, 0, 127, 1], [0] * 8])
    np.testing.assert_array_equal(form.apply(-VECTORS), -form.apply(VECTORS))
    assert form.apply(VECTORS).dtype == form.empty(1).dtype == np.int8
    random = np.random.RandomState(1).randn(200, 384).astype(np.float32)
    made = vector_form(384, None, True, "int8").apply(random).astype(np.float32)
    cosines = (made * random).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(random, axis=1)
    # The rounding error of a component is uniform with variance 1/12; components here are about 127/3.
    assert cosines.min() > 1 - 2 * (1 / 12) / (127 / 4) ** 2
    np.testing.assert_array_equal(vector_form(384, None, True, "int8").apply(random[7:8]), made[7:8])


def test_binary_is_a_bit_a_dimension_the_first_the_highest() -> None:
    form = vector_form(8, None, True, "binary")
    np.testing.assert_array_equal(form.apply(VECTORS), [[0b10100011], [0]])
    assert (form.dim, form.empty(3).shape, form.empty(3).dtype) == (8, (3, 1), np.uint8)


def test_float16_keeps_eleven_bits() -> None:
    made = vector_form(8, None, False, "float16").apply(VECTORS + 1 / 3)
    assert made.dtype == np.float16
    np.testing.assert_allclose(made, VECTORS + 1 / 3, rtol=2**-11)


def test_what_cannot_be_made_is_refused() -> None:
    for arguments, says in (
        ((8, 9, True, "float32"), "truncate_dim must be from 1 to 8, not 9"),
        ((8, 0, True, "float32"), "truncate_dim must be from 1 to 8, not 0"),
        ((8, 4, True, "binary"), "8 dimensions into a byte, and 4 is no multiple of 8"),
        ((8, None, True, "uint8"), "output must be one of float32, float16, int8, binary, not 'uint8'"),
    ):
        with pytest.raises(InputError, match=says):
            vector_form(*arguments)
    with pytest.raises(InputTypeError, match="truncate_dim must be a whole number, not float"):
        vector_form(8, 4.0, True, "float32")  # type: ignore[arg-type]
