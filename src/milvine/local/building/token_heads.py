"""Heads that give something for each token: the token weights of a sparse vector, or the vectors of late interaction.

Where they come from is said by the readers in `hybrid_heads.py` and `late_interaction.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.local.building.graph import Graph
from milvine.local.building.heads import Linear, Step, width_of

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class EachToken:
    """Does to the state of each token what the steps do to a vector: `(batch, length, hidden)` to the steps' width."""

    steps: tuple[Step, ...]

    def width(self, inputs: int) -> int:
        """See `Step`."""
        return width_of(self.steps, inputs)

    def build(self, g: Graph, x: str, mask: str) -> str:
        """See `Step`; but float32 of shape `(batch, length, width)`."""
        x = g.op("Flatten", x, axis=2)
        for step in self.steps:
            x = step.build(g, x, mask)
        return g.op("Reshape", x, g.op("Concat", g.op("Shape", mask), g.ints(-1), axis=0))

    def __str__(self) -> str:
        return f"each token: {', '.join(map(str, self.steps))}"


@dataclass(frozen=True)
class Residual:
    """A layer's result and what went into it, summed; the latter through a matrix where the widths differ."""

    layer: Linear
    shortcut: Linear | None = None

    def width(self, inputs: int) -> int:
        """See `Step`."""
        return self.layer.width(inputs)

    def build(self, g: Graph, x: str, mask: str) -> str:
        """See `Step`."""
        return g.op("Add", self.layer.build(g, x, mask), self.shortcut.build(g, x, mask) if self.shortcut else x)

    def __str__(self) -> str:
        return f"{self.layer} residual"


def largest_weights(
    ids: list[int], weights: npt.NDArray[Any], unused: frozenset[int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """A text's sparse vector: each token id's largest weight, where that is above 0.

    Args:
        ids: The text's tokens.
        weights: Their weights, shape `(len(ids),)`.
        unused: Token ids that have no weight.

    Returns:
        The ids, ascending, and their weights.
    """
    terms, at = np.unique(np.array(ids, dtype=np.int32), return_inverse=True)
    largest = np.zeros(len(terms), dtype=np.float32)
    np.maximum.at(largest, at, weights)
    kept = largest > 0
    kept &= ~np.isin(terms, list(unused))
    return terms[kept], largest[kept]
