"""Attention biased by the distance between tokens (T5, Raffel et al. 2019, https://arxiv.org/abs/1910.10683, 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milvine.local.building.architectures.base import Attention
from milvine.local.building.graph import Graph

if TYPE_CHECKING:
    import numpy.typing as npt


def buckets_by_distance(buckets: int, farthest: int) -> npt.NDArray[np.int64]:
    """The buckets of the distances from `-farthest` to `farthest`: int64, shape `(2 * farthest + 1,)`.

    Half the buckets are for keys after the query. Of each half, half hold one distance each, and the others ever more,
    their bounds spaced evenly by logarithm; from `farthest` on, all distances share the last.
    """
    half, near = buckets // 2, buckets // 4
    distances = np.arange(-farthest, farthest + 1)
    away = np.abs(distances)
    far = half - near
    bounds = np.round(near * (farthest / near) ** (np.arange(1, far) / far), 6)  # a bound that is whole is exactly so
    of_half: npt.NDArray[np.int64] = np.where(away < near, away, near + np.searchsorted(bounds, away, side="right"))
    return of_half + half * (distances > 0)


def relative_bias(g: Graph, at: Attention, name: str, buckets: int, farthest: int) -> str:
    """What each head adds to the scores of each query with each key: `(heads, length, length)`, queries first.

    Args:
        g: The graph.
        at: The heads, and the length of the texts.
        name: The checkpoint's table of biases, of shape `(buckets, heads)`.
        buckets: A multiple of 4.
        farthest: The distance from which on there is no difference.
    """
    position = g.op("Range", g.integer(0), g.op("Squeeze", at.length), g.integer(1))
    distance = g.op("Sub", g.op("Unsqueeze", position, g.ints(0)), g.op("Unsqueeze", position, g.ints(1)))
    distance = g.op("Clip", distance, g.integer(-farthest), g.integer(farthest))
    bucket = g.op("Gather", g.ints(*buckets_by_distance(buckets, farthest)), g.op("Add", distance, g.integer(farthest)))
    biases = g.op("Transpose", g.weight(name, (buckets, at.heads)), perm=[1, 0])
    return g.op("Gather", biases, bucket, axis=1)
