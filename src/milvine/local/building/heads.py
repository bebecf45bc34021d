"""What is made of an encoder's hidden states: poolings, and the small layers that stand behind them.

A head is a tuple of steps. Each is data, and adds itself to a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from milvine.local.building.graph import Graph

# The names that PyTorch has for activations, and the operations that each means.
ACTIVATIONS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "Identity": (),
    "Tanh": (("Tanh", {}),),
    "ReLU": (("Relu", {}),),
    "GELU": (("Gelu", {}),),
    "Sigmoid": (("Sigmoid", {}),),
}


class Step(Protocol):
    """A part of a head."""

    def width(self, inputs: int) -> int:
        """Dimensions of what it gives for vectors of `inputs` dimensions."""

    def build(self, g: Graph, x: str, mask: str) -> str:
        """Add it to a graph.

        Args:
            g: The graph.
            x: Hidden states, `(batch, length, hidden)`, for a pooling; vectors, `(batch, inputs)`, for what follows it.
            mask: 1 for a token that counts, 0 for another, int64 of shape `(batch, length)`.

        Returns:
            float32 of shape `(batch, width)`.
        """


def width_of(head: Sequence[Step], hidden: int) -> int:
    """Dimensions of what a chain of steps gives for states of `hidden` dimensions."""
    for step in head:
        hidden = step.width(hidden)
    return hidden


@dataclass(frozen=True)
class Pooling:
    """One vector a text, by each of several modes; what they give stands side by side."""

    modes: tuple[str, ...]

    def width(self, inputs: int) -> int:
        """See `Step`."""
        return inputs * len(self.modes)

    def build(self, g: Graph, x: str, mask: str) -> str:
        """See `Step`."""
        pooled = [POOLINGS[mode](g, x, mask) for mode in self.modes]
        return pooled[0] if len(pooled) == 1 else g.op("Concat", *pooled, axis=1)

    def __str__(self) -> str:
        return "+".join(self.modes)


@dataclass(frozen=True)
class Linear:
    """A matrix, perhaps a bias, and an activation; `name` is what the checkpoint calls the matrix."""

    name: str
    inputs: int
    outputs: int
    activation: str = "Identity"
    bias: bool = True

    def width(self, inputs: int) -> int:  # noqa: ARG002
        """See `Step`."""
        return self.outputs

    def build(self, g: Graph, x: str, mask: str) -> str:  # noqa: ARG002
        """See `Step`."""
        # A head costs next to nothing beside the encoder, and nothing behind it evens out what rounding does here.
        x = g.linear(x, self.name, self.inputs, self.outputs, bias=self.bias, exact=True)
        for kind, options in ACTIVATIONS[self.activation]:
            x = g.op(kind, x, **options)
        return x

    def __str__(self) -> str:
        return f"{self.outputs} {self.activation}"


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation; `name` is what the checkpoint calls its weight and bias."""

    name: str
    size: int
    epsilon: float
    bias: bool = True

    def width(self, inputs: int) -> int:
        """See `Step`."""
        return inputs

    def build(self, g: Graph, x: str, mask: str) -> str:  # noqa: ARG002
        """See `Step`."""
        return g.layer_norm(x, self.name, self.size, self.epsilon, bias=self.bias)

    def __str__(self) -> str:
        return "layer norm"


@dataclass(frozen=True)
class Normalize:
    """Scales vectors to length 1; a vector of zeros stays one."""

    def width(self, inputs: int) -> int:
        """See `Step`."""
        return inputs

    def build(self, g: Graph, x: str, mask: str) -> str:  # noqa: ARG002
        """See `Step`."""
        length = g.op("ReduceL2", x, g.ints(1), keepdims=1)
        return g.op("Div", x, g.op("Max", length, g.number(1e-12)))

    def __str__(self) -> str:
        return "normalize"


def mean_pooling(g: Graph, states: str, mask: str) -> str:
    """The mean of a text's token vectors: `(batch, length, hidden)` to `(batch, hidden)`."""
    total, weights = _weighted(g, states, g.op("Cast", mask, to=1))
    return g.op("Div", total, weights)


def mean_sqrt_pooling(g: Graph, states: str, mask: str) -> str:
    """The sum of a text's token vectors over the square root of their number."""
    total, weights = _weighted(g, states, g.op("Cast", mask, to=1))
    return g.op("Div", total, g.op("Sqrt", weights))


def weighted_mean_pooling(g: Graph, states: str, mask: str) -> str:
    """The mean of a text's token vectors, each weighted by its position, from 1."""
    length = g.op("Squeeze", g.op("Slice", g.op("Shape", mask), g.ints(1), g.ints(2), g.ints(0)))
    positions = g.op("Range", g.integer(1), g.op("Add", length, g.integer(1)), g.integer(1))
    total, weights = _weighted(g, states, g.op("Cast", g.op("Mul", mask, positions), to=1))
    return g.op("Div", total, weights)


def max_pooling(g: Graph, states: str, mask: str) -> str:
    """The largest value that a text's tokens have in each dimension."""
    counts = g.op("Cast", g.op("Unsqueeze", mask, g.ints(2)), to=9)
    best = g.op("ReduceMax", g.op("Where", counts, states, g.number(float("-inf"))), g.ints(1), keepdims=0)
    return g.op("Add", best, not_finite(g, states))


def not_finite(g: Graph, states: str) -> str:
    """0 for each dimension of a text, `(batch, hidden)`, or NaN where any token's is NaN or infinity.

    A maximum passes over what is not a number in all but the first token; with this added, it does not.
    """
    return g.op("ReduceSum", g.op("Mul", states, g.number(0.0)), g.ints(1), keepdims=0)


def cls_pooling(g: Graph, states: str, mask: str) -> str:
    """The vector of a text's first token."""
    return _token(g, states, g.op("ArgMax", g.op("Cast", mask, to=1), axis=1, keepdims=1))


def last_token_pooling(g: Graph, states: str, mask: str) -> str:
    """The vector of a text's last token."""
    return _token(g, states, g.op("ArgMax", g.op("Cast", mask, to=1), axis=1, keepdims=1, select_last_index=1))


POOLINGS = {
    "cls": cls_pooling,
    "max": max_pooling,
    "mean": mean_pooling,
    "mean_sqrt_len_tokens": mean_sqrt_pooling,
    "weightedmean": weighted_mean_pooling,
    "lasttoken": last_token_pooling,
}
"""The names that Sentence Transformers has for poolings."""


def _weighted(g: Graph, states: str, weights: str) -> tuple[str, str]:
    """The weighted sum of a text's token vectors, `(batch, hidden)`, and the sum of the weights, `(batch, 1)`."""
    weights = g.op("Unsqueeze", weights, g.ints(2))
    total = g.op("ReduceSum", g.op("Mul", states, weights), g.ints(1), keepdims=0)
    return total, g.op("Max", g.op("ReduceSum", weights, g.ints(1), keepdims=0), g.number(1e-9))


def _token(g: Graph, states: str, position: str) -> str:
    """The vectors of the tokens at `position`, int64 of shape `(batch, 1)`."""
    return g.op("GatherND", states, position, batch_dims=1)
