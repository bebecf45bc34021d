"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), as `BertModel` of Hugging Face transformers runs it."""

from __future__ import annotations

from dataclasses import dataclass

from milvine.local.building.architectures.base import Architecture, Attention, check_no_more
from milvine.local.building.architectures.post_norm import LayerNames, PostNormConfig, embeddings, layer
from milvine.local.building.graph import Graph


@dataclass(frozen=True, kw_only=True)
class BertConfig(PostNormConfig):
    """The numbers of a `config.json` that shape the graph, under its own names."""

    type_vocab_size: int


LAYER = LayerNames(
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    mixed="attention.output.dense",
    mixed_norm="attention.output.LayerNorm",
    inner="intermediate.dense",
    outer="output.dense",
    outer_norm="output.LayerNorm",
)


def bert(g: Graph, config: BertConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    at = Attention(g, ids, mask, config.hidden_size, config.num_attention_heads)
    x = at.rows(embeddings(g, at, config, ids, size=config.hidden_size, types=config.type_vocab_size))
    for number in range(config.num_hidden_layers):
        x = layer(g, at, config, LAYER, x, f"encoder.layer.{number}")
    check_no_more(g, f"encoder.layer.{config.num_hidden_layers}.{LAYER.outer_norm}.weight")
    return at.by_text(x)


BERT = Architecture(("bert",), BertConfig.read, bert, prefixes=("bert.",))
