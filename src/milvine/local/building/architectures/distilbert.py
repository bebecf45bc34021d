"""DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108), as transformers' `DistilBertModel` runs it.

It is BERT without types of token. Positions made of sines, if a checkpoint has them, are stored as learned ones are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from milvine.local.building.architectures.base import Architecture, Attention, check_no_more
from milvine.local.building.architectures.post_norm import LayerNames, PostNormConfig, embeddings, layer
from milvine.local.building.graph import Graph


@dataclass(frozen=True, kw_only=True)
class DistilBertConfig(PostNormConfig):
    """The numbers of a `config.json` that shape the graph, under BERT's names."""

    NAMES: ClassVar[Mapping[str, str]] = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    }

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str = "config.json") -> DistilBertConfig:
        """As `PostNormConfig.read`; the epsilon is the same for all models, whatever a `config.json` says."""
        return super().read({**config, "layer_norm_eps": 1e-12}, source)


LAYER = LayerNames(
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    mixed="attention.out_lin",
    mixed_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    outer_norm="output_layer_norm",
)


def distilbert(g: Graph, config: DistilBertConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    at = Attention(g, ids, mask, config.hidden_size, config.num_attention_heads)
    x = at.rows(embeddings(g, at, config, ids, size=config.hidden_size))
    for number in range(config.num_hidden_layers):
        x = layer(g, at, config, LAYER, x, f"transformer.layer.{number}")
    check_no_more(g, f"transformer.layer.{config.num_hidden_layers}.{LAYER.outer_norm}.weight")
    return at.by_text(x)


DISTILBERT = Architecture(("distilbert",), DistilBertConfig.read, distilbert, prefixes=("distilbert.",))
