"""What becomes of an embedding function's vectors before they are stored. Expected values are by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from milvine._vectors import checked_dense, checked_multi
from milvine.errors import InputError
from milvine.store import VectorType

FLOATS = [[0.5, -1.0, 0.25, 0.0, 1e-9, -0.0, 0.004, -0.003], [0.0] * 8]


def test_floats_for_int8_are_scaled_by_their_own_largest_component() -> None:
    first, second = checked_dense(FLOATS, 2, 8, "F", "int8")
    # 127 times each: 63.5 goes to the even 64, 31.75 to 32, .508 to 1, -.381 to 0.
    assert first.tolist() == [64, -127, 32, 0, 0, 0, 1, 0]
    assert second.tolist() == [0] * 8
    assert first.dtype == second.dtype == np.int8


def test_floats_for_binary_are_the_signs_the_first_in_the_highest_bit() -> None:
    first, second = checked_dense(FLOATS, 2, 8, "F", "binary")
    assert first.tolist() == [0b10101010]
    assert second.tolist() == [0]
    assert first.dtype == np.uint8
    wide = [[1.0] + [-1.0] * 14 + [1.0]]
    assert checked_dense(wide, 1, 16, "F", "binary")[0].tolist() == [0b10000000, 0b00000001]


@pytest.mark.parametrize("type_", ["float32", "float16", "bfloat16"])
def test_floats_for_float_types_stay_as_they_are(type_: VectorType) -> None:
    for given in (FLOATS, np.asarray(FLOATS, np.float16)):
        vectors = checked_dense(given, 2, 8, "F", type_)
        assert [vector.dtype for vector in vectors] == [np.float32] * 2
        np.testing.assert_array_equal(np.stack(vectors), np.asarray(given, np.float32))


def test_vectors_that_are_int8_or_bits_already_stay_as_they_are() -> None:
    whole = np.asarray([[-128, 127, 0], [1, 2, 3]], np.int8)
    np.testing.assert_array_equal(np.stack(checked_dense(list(whole), 2, 3, "F", "int8", "int8")), whole)
    bits = np.asarray([[255, 1], [0, 128]], np.uint8)
    np.testing.assert_array_equal(np.stack(checked_dense(list(bits), 2, 16, "F", "binary", "binary")), bits)


@pytest.mark.parametrize(
    ("vectors", "dim", "given", "match"),
    [
        ([[1.0, 2.0]], 2, "int8", "F gave vectors of float64; int8 ones must be of int8"),
        (np.zeros((1, 2), np.uint8), 2, "int8", "F gave vectors of uint8; int8 ones must be of int8"),
        (np.zeros((1, 2), np.int8), 16, "binary", "F gave vectors of int8; binary ones must be of uint8"),
        (np.zeros((1, 16), np.uint8), 16, "binary", r"of shape \(1, 16\) for 1 texts; the shape must be \(1, 2\)"),
        (np.zeros((1, 3), np.int8), 2, "int8", r"of shape \(1, 3\) for 1 texts; the shape must be \(1, 2\)"),
    ],
)
def test_vectors_of_another_type_than_the_function_says(vectors: Any, dim: int, given: VectorType, match: str) -> None:
    with pytest.raises(InputError, match=match):
        checked_dense(vectors, 1, dim, "F", given, given)


@pytest.mark.parametrize("type_", ["float32", "float16", "bfloat16", "int8", "binary"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_for_every_type(type_: VectorType, wrong: float) -> None:
    with pytest.raises(InputError, match=r"F gave a vector with NaN.* infinity .*for text 1 of 2"):
        checked_dense([[0.5] * 8, [0.5] * 7 + [wrong]], 2, 8, "F", type_)


def test_numbers_that_a_type_cannot_hold_are_refused() -> None:
    # float16 ends at 65504; elsewhere the squares of thousands of numbers must add up to less than 3.4e38.
    assert checked_dense([[65504.0]], 1, 1, "F", "float16")[0] == 65504
    for wrong in (-65520.0, 65505.0):
        with pytest.raises(InputError, match=r"a number beyond 65,504, which float16 cannot hold .*, for text 0 of 1"):
            checked_dense([[wrong]], 1, 1, "F", "float16")
    wide: tuple[VectorType, ...] = ("float32", "bfloat16")
    for type_ in wide:
        largest = checked_dense([[1e17] * 4096], 1, 4096, "F", type_)[0]
        assert np.isfinite(largest @ largest)
        with pytest.raises(InputError, match=r"a number beyond 1e\+17 for text 0 of 1"):
            checked_dense([[-1.1e17]], 1, 1, "F", type_)


def test_vectors_of_tokens_of_a_function_that_does_not_say_so() -> None:
    for vectors in (np.zeros((2, 3, 4)), [np.zeros((3, 4)), np.zeros((1, 4))]):
        with pytest.raises(InputError, match=r'; if it gives a vector a token, its class must have TASK = "multivec'):
            checked_dense(vectors, 2, 4, "F")
    with pytest.raises(InputError, match=r"the shape must be \(1, 4\)$"):
        checked_dense([[1.0]], 1, 4, "F")


def test_vectors_of_tokens() -> None:
    given = [np.asarray([[1, 2], [3, 4]], np.float16), np.zeros((0, 2)), [[5, 6]]]
    matrices = checked_multi(given, 3, 2, "F", "float16")
    assert [matrix.tolist() for matrix in matrices] == [[[1, 2], [3, 4]], [], [[5, 6]]]
    assert {(matrix.dtype.name, matrix.shape[1]) for matrix in matrices} == {("float32", 2)}


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        (None, "F gave a NoneType of [?] for 2 texts; it must be a list with an array a text"),
        ([np.zeros((1, 2))], "F gave a list of 1 for 2 texts"),
        ([np.zeros((1, 2)), np.zeros(2)], r"gave vectors of shape \(2,\) for text 1 of 2, not \(tokens, 2\)"),
        ([np.zeros((3, 3)), np.zeros((1, 2))], r"gave vectors of shape \(3, 3\) for text 0 of 2, not \(tokens, 2\)"),
        ([[[1, 2], [3]], np.zeros((1, 2))], "F gave no array of vectors for text 0 of 2"),
        (
            [np.zeros((1, 2)), [[0, float("nan")]]],
            "F gave a vector with NaN, infinity or a number beyond 1e.17 for text 1 of 2",
        ),
    ],
)
def test_vectors_of_tokens_that_are_refused(vectors: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        checked_multi(vectors, 2, 2, "F")
    with pytest.raises(InputError, match=r"beyond 65,504, which float16 cannot hold .*, for text 0 of 1"):
        checked_multi([np.full((1, 2), 7e4)], 1, 2, "F", "float16")
