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


def highest(scores: Array, count: int) -> npt.NDArray[np.int64]:
    """The positions of so many highest scores, ascending; of equal ones the first. None may be NaN."""
    if len(scores) <= count:
        return np.arange(len(scores))
    least = np.partition(scores, -count)[-count]
    above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def best(scores: Array, limit: int) -> npt.NDArray[np.int64]:
    """The same, best first."""
    positions = highest(scores, limit)
    return positions[np.argsort(-scores[positions], kind="stable")]
