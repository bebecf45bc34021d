from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from milvine.errors import InputError, InputTypeError
from milvine.model._cache.packing import pack, unpack

RANDOM = np.random.default_rng(5)
SPARSE = csr_array(np.where(RANDOM.random((4, 30)) < 0.2, RANDOM.standard_normal((4, 30)), 0).astype(np.float32))


def same(left: Any, right: Any) -> bool:
    """Whether two results are of the same types, shapes and bits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, csr_array):
        parts = ("indptr", "indices", "data")
        return left.shape == right.shape and all(same(getattr(left, part), getattr(right, part)) for part in parts)
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@pytest.mark.parametrize(
    "vectors",
    [
        *(
            list(RANDOM.standard_normal((3, 8)).astype(dtype))
            for dtype in ("<f4", "<f2", "<f8", ">f4", "i1", "u1", "?")
        ),
        [np.array([np.nan, -0.0, np.inf], np.float32), np.array([0.0, -np.inf, 1e-45], np.float32)],
        [np.zeros((tokens, 4), np.float32) for tokens in (3, 0, 1)],  # a vector a token
        [np.zeros(3, np.float32), np.zeros(4, np.float32)],
        [np.zeros(0, np.float32)],
        RANDOM.standard_normal((3, 8)),
        SPARSE,
        csr_array((SPARSE.data, SPARSE.indices, SPARSE.indptr), shape=(4, 70_000)),
        csr_array((2, 9), dtype=np.float32),
        {
            "dense": list(np.eye(4, dtype=np.float32)),
            "sparse": SPARSE,
            "colbert_vecs": [np.ones((n, 2)) for n in range(4)],
        },
        {"dense": list(np.eye(2))},
    ],
    ids=lambda vectors: type(vectors).__name__,
)
def test_what_comes_back_is_what_was_given(vectors: Any) -> None:
    packed = pack(vectors)
    assert same(unpack(packed), vectors)
    count = len(packed)
    assert same(unpack(packed[::-1])["dense"], vectors["dense"][::-1]) if isinstance(vectors, dict) else True
    assert count == (len(next(iter(vectors.values()))) if isinstance(vectors, dict) else
                     vectors.shape[0] if hasattr(vectors, "shape") else len(vectors))  # fmt: skip


def test_sparse_rows_in_another_order_and_twice() -> None:
    packed = pack(SPARSE)
    assert same(unpack([packed[2], packed[0], packed[2]]), SPARSE[[2, 0, 2]])


def test_dense_rows_are_of_one_block_and_can_be_written_to() -> None:
    first, second = unpack(pack(list(np.ones((2, 4), np.float32))))
    assert first.base is second.base
    assert first.flags.c_contiguous
    first += 1
    assert second.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        (None, "csr_arrays and dicts of those, not NoneType"),
        ("text", "not str"),
        ([[0.1, 0.2]], "lists of arrays, not of list; use np.asarray"),
        ([np.array([object()])], "arrays of numbers, not of object"),
        ([np.array(["a"])], "arrays of numbers, not of <U1"),
        (np.zeros(3), "not ndarray"),
    ],
)
def test_what_has_no_bytes_of_its_own(vectors: Any, match: str) -> None:
    with pytest.raises(InputTypeError, match=match):
        pack(vectors)


def test_outputs_of_different_lengths() -> None:
    with pytest.raises(InputError, match=r"as many as the texts, all of them \(dense: 2, sparse: 4\)"):
        pack({"dense": list(np.eye(2)), "sparse": SPARSE})


def test_texts_of_different_kinds_are_not_mixed() -> None:
    with pytest.raises(InputError, match="vectors of another kind than the function gives; `milvine cache clear`"):
        unpack(pack(list(np.eye(2))) + pack(np.eye(2)))
