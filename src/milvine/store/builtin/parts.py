"""What the parts of a segment have in common: sparse rows, and the best of many scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from milvine.store.filtering.strings import Array


class Entries(NamedTuple):
    """Sparse rows, one after another.

    Attributes:
        ends: Where each row ends in the other two, int64 of shape `(n,)`.
        indices: The dimensions or terms that the rows have, ascending within a row, uint32.
        values: Their weights, float32, or how often a text has each term, uint16.
    """

    ends: npt.NDArray[np.int64]
    indices: npt.NDArray[np.uint32]
    values: Array


def best(scores: Array, limit: int, above: float = -np.inf) -> npt.NDArray[np.int64]:
    """The positions of the highest scores above a value, best first, of equal ones the first. None may be NaN."""
    least, folds = np.float32(above), min(64, len(scores) // (4 * limit))
    if folds > 1:  # as many scores reach `least` as columns do, and hardly more; of columns there are few
        columns = scores[: len(scores) // folds * folds].reshape(folds, -1).max(axis=0)
        least = np.partition(columns, -limit)[-limit]
    found = np.flatnonzero(scores >= least if least > above else scores > above)
    return found[np.argsort(-scores[found], kind="stable")[:limit]]
