"""The encoder of T5 (Raffel et al. 2019, https://arxiv.org/abs/1910.10683), as transformers' `T5EncoderModel` runs it.

Scores are not scaled, and every layer adds the same biases by distance to them; norms leave the mean where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milvine.local.building.architectures.base import (
    ACTIVATIONS,
    Architecture,
    Attention,
    check,
    check_no_more,
    read_config,
)
from milvine.local.building.architectures.relative import relative_bias
from milvine.local.building.graph import Graph

FEED_FORWARDS = {"relu": ("relu", ("wi",)), "gated-gelu": ("gelu_new", ("wi_0", "wi_1"))}
"""What `feed_forward_proj` says: the activation, the matrix before it, and the one that gates it, if any."""
FARTHEST = 1 << 16
"""The most that `relative_attention_max_distance` may say: each distance up to it takes memory."""
TABLES = ("shared.weight", "encoder.embed_tokens.weight")
"""What checkpoints call the table of token vectors; most have it once, under either name."""


@dataclass(frozen=True)
class T5Config:
    """The numbers of a `config.json` that shape the graph, under its own names."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"

    @property
    def hidden_size(self) -> int:
        """Dimensions of a hidden state."""
        return self.d_model

    @property
    def max_tokens(self) -> None:
        """Positions have no end."""
        return

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str = "config.json") -> T5Config:
        """Take them from the object of a `config.json`, whose path is `source`.

        Raises:
            ModelFileError: One is missing or of the wrong type, or this architecture does not know what it says.
        """
        read = read_config(cls, config, source)
        kind, buckets, farthest = (
            read.feed_forward_proj,
            read.relative_attention_num_buckets,
            read.relative_attention_max_distance,
        )
        check(
            source,
            (
                kind in FEED_FORWARDS,
                f"the feed_forward_proj {kind!r} is not known here; known are {', '.join(FEED_FORWARDS)}",
            ),
            (buckets % 4 == 0, f"relative_attention_num_buckets is {buckets}; it must be a multiple of 4"),
            (
                farthest > buckets // 4,
                f"relative_attention_max_distance is {farthest}; for {buckets} buckets it must be above {buckets // 4}",
            ),
            (
                farthest <= FARTHEST,
                f"relative_attention_max_distance is {farthest}; more than {FARTHEST} is not known here",
            ),
        )
        return read


def t5(g: Graph, config: T5Config, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    hidden, wide, inner = config.d_model, config.d_ff, config.num_heads * config.d_kv
    at = Attention(g, ids, mask, inner, config.num_heads)
    activation, matrices = FEED_FORWARDS[config.feed_forward_proj]
    kind, options = ACTIVATIONS[activation]
    by_distance = relative_bias(
        g,
        at,
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        config.relative_attention_num_buckets,
        config.relative_attention_max_distance,
    )
    bias = g.op("Add", at.padding_scores, by_distance)

    def attention(x: str, name: str) -> str:
        def linear(part: str) -> str:
            return at.split(g.linear(x, f"{name}.{part}", hidden, inner, bias=False, exact=part == "v"))

        query, key, value = map(linear, "qkv")
        return g.linear(at.mix(query, key, value, scale=1.0, bias=bias), f"{name}.o", inner, hidden, bias=False)

    def feed_forward(x: str, name: str) -> str:
        product, *gates = (g.linear(x, f"{name}.{matrix}", hidden, wide, bias=False) for matrix in matrices)
        activated = g.op(kind, product, **options)
        for gate in gates:
            activated = g.op("Mul", activated, gate)
        return g.linear(activated, f"{name}.wo", wide, hidden, bias=False)

    def normalized(x: str, name: str) -> str:
        mean_square = g.op("ReduceMean", g.op("Pow", x, g.number(2.0)), g.ints(-1), keepdims=1)
        root = g.op("Sqrt", g.op("Add", mean_square, g.number(config.layer_norm_epsilon)))
        return g.op("Mul", g.op("Div", x, root), g.weight(f"{name}.weight", (hidden,)))

    table = next(filter(g.holds, TABLES), TABLES[0])
    words = g.op("Gather", g.weight(table, (config.vocab_size, hidden)), ids)
    x = g.op("Reshape", words, g.ints(-1, hidden))
    for number in range(config.num_layers):
        attending, feeding = (f"encoder.block.{number}.layer.{part}" for part in (0, 1))
        x = g.op("Add", x, attention(normalized(x, f"{attending}.layer_norm"), f"{attending}.SelfAttention"))
        x = g.op("Add", x, feed_forward(normalized(x, f"{feeding}.layer_norm"), f"{feeding}.DenseReluDense"))
    check_no_more(g, f"encoder.block.{config.num_layers}.layer.0.layer_norm.weight")
    x = normalized(x, "encoder.final_layer_norm")
    return g.op("Reshape", x, g.op("Concat", at.shape, g.ints(hidden), axis=0))


T5 = Architecture(("t5",), T5Config.read, t5)
