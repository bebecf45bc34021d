"""Gathering rows that are nearly all zero, batch by batch, so that they are never held in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from milvine.types import DenseMatrix, SparseMatrix

if TYPE_CHECKING:
    import numpy.typing as npt


class SparseRows:
    """The positive values of rows, which may come in any order and from several threads.

    Args:
        count: How many rows there will be.
        width: Dimensions of a row.
        keep: How many values of a row are kept, the largest; of equal ones, those of the first dimensions.
    """

    def __init__(self, count: int, width: int, keep: int | None = None) -> None:
        self._width, self._keep = width, keep
        empty = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
        self._rows: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]] = [empty] * count

    def store(self, positions: Sequence[int], rows: DenseMatrix) -> None:
        """Take rows, float32 of shape `(len(positions), width)`, that stand at these positions."""
        for position, row in zip(positions, rows, strict=True):
            terms = np.flatnonzero(row > 0)
            if self._keep is not None and len(terms) > self._keep:
                largest = np.argsort(-row[terms], kind="stable")[: self._keep]
                terms = np.sort(terms[largest])
            self._rows[position] = terms.astype(np.int32), row[terms]

    def put(self, position: int, terms: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> None:
        """Take one row's positive values, those of the dimensions `terms`, which ascend."""
        self._rows[position] = terms, values

    def matrix(self, order: Sequence[int]) -> SparseMatrix:
        """The rows at these positions, in this order; a position may come again."""
        from scipy.sparse import csr_array

        rows = [self._rows[position] for position in order]
        ends = np.cumsum([0, *(len(terms) for terms, _ in rows)])
        terms = np.concatenate([terms for terms, _ in rows]) if rows else np.empty(0, dtype=np.int32)
        values = np.concatenate([values for _, values in rows]) if rows else np.empty(0, dtype=np.float32)
        if ends[-1] <= np.iinfo(np.int32).max:  # else scipy widens the terms to the type of the ends
            ends = ends.astype(np.int32)
        return csr_array((values, terms, ends), shape=(len(rows), self._width))
