"""ALBERT (Lan et al. 2019, https://arxiv.org/abs/1909.11942), as `AlbertModel` of Hugging Face transformers runs it.

It is BERT with narrow token vectors that a matrix widens, and with layers that share their weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from milvine.local.building.architectures.base import Architecture, Attention, check_no_more
from milvine.local.building.architectures.post_norm import LayerNames, PostNormConfig, embeddings, layer
from milvine.local.building.graph import Graph


@dataclass(frozen=True, kw_only=True)
class AlbertConfig(PostNormConfig):
    """The numbers of a `config.json` that shape the graph, under its own names."""

    type_vocab_size: int
    embedding_size: int
    num_hidden_groups: int
    inner_group_num: int


LAYER = LayerNames(
    query="attention.query",
    key="attention.key",
    value="attention.value",
    mixed="attention.dense",
    mixed_norm="attention.LayerNorm",
    inner="ffn",
    outer="ffn_output",
    outer_norm="full_layer_layer_norm",
)


def albert(g: Graph, config: AlbertConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    at = Attention(g, ids, mask, config.hidden_size, config.num_attention_heads)
    narrow = embeddings(g, at, config, ids, size=config.embedding_size, types=config.type_vocab_size)
    rows = g.op("Reshape", narrow, g.ints(-1, config.embedding_size))
    x = g.linear(rows, "encoder.embedding_hidden_mapping_in", config.embedding_size, config.hidden_size)
    for number in range(config.num_hidden_layers):
        group = int(number / (config.num_hidden_layers / config.num_hidden_groups))  # rounds as the reference does
        for inner in range(config.inner_group_num):
            x = layer(g, at, config, LAYER, x, f"encoder.albert_layer_groups.{group}.albert_layers.{inner}")
    for group, inner in ((config.num_hidden_groups, 0), (0, config.inner_group_num)):
        part = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}"
        check_no_more(g, f"{part}.{LAYER.outer_norm}.weight")
    return at.by_text(x)


ALBERT = Architecture(("albert",), AlbertConfig.read, albert, prefixes=("albert.",))
