"""What is made of an encoder's hidden states: one vector a text."""

from __future__ import annotations

from milvine.local.graph import Graph


def mean_pooling(g: Graph, states: str, mask: str) -> str:
    """The mean of a text's token vectors, padding left out: `(batch, length, hidden)` to `(batch, hidden)`."""
    weights = g.op("Unsqueeze", g.op("Cast", mask, to=1), g.ints(2))
    total = g.op("ReduceSum", g.op("Mul", states, weights), g.ints(1), keepdims=0)
    return g.op("Div", total, g.op("ReduceSum", weights, g.ints(1), keepdims=0))


def cls_pooling(g: Graph, states: str, mask: str) -> str:  # noqa: ARG001
    """The vector of a text's first token: `(batch, length, hidden)` to `(batch, hidden)`."""
    return g.op("Squeeze", g.op("Slice", states, g.ints(0), g.ints(1), g.ints(1)), g.ints(1))


POOLINGS = {"mean": mean_pooling, "cls": cls_pooling}
