"""Rotary position embeddings (Su et al. 2021, https://arxiv.org/abs/2104.09864).

Each pair of a head's dimensions is turned by an angle that grows with the position. A pair is a dimension of the first
half and its counterpart of the second, as checkpoints of Hugging Face transformers have them, not two neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.local.building.architectures.base import Attention, check
from milvine.local.building.graph import Graph

if TYPE_CHECKING:
    import numpy.typing as npt


def frequencies(theta: float, size: int) -> npt.NDArray[np.float64]:
    """The angle, in radians a position, of each pair of `size` dimensions: shape `(size / 2,)`."""
    result: npt.NDArray[np.float64] = theta ** (-np.arange(0, size, 2) / size)
    return result


def check_even(source: str, size: int) -> None:
    """Refuse heads whose dimensions do not pair up."""
    check(source, (size % 2 == 0, f"a head has {size} dimensions; rotary embeddings need an even number"))


def unscaled_theta(source: str, parameters: Any, otherwise: Any) -> Any:
    """The theta of one set of `rope_parameters` as transformers 5 writes them, unchecked, or `otherwise`.

    Raises:
        ModelFileError: They are no such set, or scale the frequencies.
    """
    check(source, (isinstance(parameters, Mapping), f"rope_parameters are {parameters!r}; they must be an object"))
    kind = parameters.get("rope_type", "default")
    check(source, (kind == "default", f"rotary embeddings of type {kind!r} are not known here; known is default"))
    return parameters.get("rope_theta", otherwise)


def positions(g: Graph, at: Attention) -> str:
    """The places in a text, from 0: float32, `(length,)`."""
    return g.op("Range", g.number(0), g.op("Squeeze", g.op("Cast", at.length, to=1)), g.number(1))


class Rotary:
    """Turns queries and keys; sines and cosines are computed once a run.

    Args:
        g: The graph.
        at: The heads, and the length of the texts.
        angles: The angle a position of each pair; dimensions after the last pair stay as they are.
    """

    def __init__(self, g: Graph, at: Attention, angles: npt.NDArray[np.floating[Any]]) -> None:
        self._g, self._half, self._size = g, len(angles), at.head_size
        rest = at.head_size - 2 * self._half
        turns = g.numbers(*angles, *angles, *[0.0] * rest)
        signs = g.numbers(*[-1.0] * self._half, *[1.0] * self._half, *[0.0] * rest)
        turned = g.op("Mul", g.op("Unsqueeze", positions(g, at), g.ints(1)), turns)
        self._cosines, self._sines = g.op("Cos", turned), g.op("Mul", g.op("Sin", turned), signs)

    def __call__(self, x: str) -> str:
        """`(batch, heads, length, head_size)` to the same, turned."""
        g, half, end = self._g, self._half, 2 * self._half
        bounds = [(half, end), (0, half), (end, self._size)][: 2 + (end < self._size)]
        halves_swapped = [g.op("Slice", x, g.ints(start), g.ints(stop), g.ints(-1)) for start, stop in bounds]
        counterparts = g.op("Concat", *halves_swapped, axis=-1)
        return g.op("Add", g.op("Mul", x, self._cosines), g.op("Mul", counterparts, self._sines))
