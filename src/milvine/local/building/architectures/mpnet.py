"""MPNet (Song et al. 2020, https://arxiv.org/abs/2004.09297), as `MPNetModel` of Hugging Face transformers runs it.

It is BERT without types of token, its positions as in RoBERTa, and its attention biased by the distance of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milvine.local.building.architectures.base import Architecture, Attention, check, check_no_more
from milvine.local.building.architectures.post_norm import LayerNames, PostNormConfig, embeddings, layer
from milvine.local.building.architectures.relative import relative_bias
from milvine.local.building.graph import Graph

# What MPNetModel runs with, whatever a config.json says.
BUCKETS, FARTHEST = 32, 128
FIRST_POSITION = 2


@dataclass(frozen=True, kw_only=True)
class MPNetConfig(PostNormConfig):
    """The numbers of a `config.json` that shape the graph, under its own names."""

    relative_attention_num_buckets: int = BUCKETS

    @property
    def first_position(self) -> int:
        """Two rows of the table are kept for padding."""
        return FIRST_POSITION

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str = "config.json") -> MPNetConfig:
        """As `PostNormConfig.read`."""
        read = super().read(config, source)
        buckets = read.relative_attention_num_buckets
        check(source, (buckets == BUCKETS, f"relative_attention_num_buckets is {buckets}; it must be {BUCKETS}"))
        return read


LAYER = LayerNames(
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    mixed="attention.attn.o",
    mixed_norm="attention.LayerNorm",
    inner="intermediate.dense",
    outer="output.dense",
    outer_norm="output.LayerNorm",
)


def mpnet(g: Graph, config: MPNetConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    at = Attention(g, ids, mask, config.hidden_size, config.num_attention_heads)
    by_distance = relative_bias(g, at, "encoder.relative_attention_bias.weight", BUCKETS, FARTHEST)
    bias = g.op("Add", at.padding_scores, by_distance)
    x = at.rows(embeddings(g, at, config, ids, size=config.hidden_size))
    for number in range(config.num_hidden_layers):
        x = layer(g, at, config, LAYER, x, f"encoder.layer.{number}", bias=bias)
    check_no_more(g, f"encoder.layer.{config.num_hidden_layers}.{LAYER.outer_norm}.weight")
    return at.by_text(x)


MPNET = Architecture(("mpnet",), MPNetConfig.read, mpnet, prefixes=("mpnet.",))
