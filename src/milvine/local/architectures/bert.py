"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), as `BertModel` of Hugging Face transformers runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milvine.local.architectures.base import (
    ACTIVATIONS,
    Architecture,
    Attention,
    check,
    check_activation,
    check_heads,
    read_config,
)
from milvine.local.graph import Graph


@dataclass(frozen=True)
class BertConfig:
    """The numbers of a `config.json` that shape the graph, under its own names."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    hidden_act: str

    @property
    def max_tokens(self) -> int:
        """The most tokens that a text may have."""
        return self.max_position_embeddings

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str = "config.json") -> BertConfig:
        """Take them from the object of a `config.json`, whose path is `source`.

        Raises:
            ModelFileError: One is missing or of the wrong type, or this architecture does not know what it says.
        """
        read = read_config(cls, config, source)
        check_activation(source, read.hidden_act)
        check_heads(source, read.hidden_size, read.num_attention_heads)
        kind = config.get("position_embedding_type", "absolute")
        check(source, (kind == "absolute", f"position embeddings of type {kind!r} are not known here"))
        return read


def bert(g: Graph, config: BertConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    hidden, wide = config.hidden_size, config.intermediate_size
    at = Attention(g, ids, mask, hidden, config.num_attention_heads)
    activation, options = ACTIVATIONS[config.hidden_act]

    def attention(x: str, layer: str) -> str:
        query, key, value = (
            at.split(g.linear(x, f"{layer}.attention.self.{name}", hidden, hidden))
            for name in ("query", "key", "value")
        )
        return g.linear(at.mix(query, key, value), f"{layer}.attention.output.dense", hidden, hidden)

    def feed_forward(x: str, layer: str) -> str:
        inner = g.op(activation, g.linear(x, f"{layer}.intermediate.dense", hidden, wide), **options)
        return g.linear(inner, f"{layer}.output.dense", wide, hidden)

    def normalized(x: str, name: str) -> str:
        return g.layer_norm(x, f"{name}.LayerNorm", hidden, config.layer_norm_eps)

    words = g.weight("embeddings.word_embeddings.weight", (config.vocab_size, hidden))
    positions = g.weight("embeddings.position_embeddings.weight", (config.max_position_embeddings, hidden))
    types = g.weight("embeddings.token_type_embeddings.weight", (config.type_vocab_size, hidden))
    x = g.op("Add", g.op("Gather", words, ids), g.op("Slice", positions, g.ints(0), at.length, g.ints(0)))
    x = g.op("Add", x, g.op("Slice", types, g.ints(0), g.ints(1), g.ints(0)))  # one text, so every token is of type 0
    x = at.rows(normalized(x, "embeddings"))
    for number in range(config.num_hidden_layers):
        layer = f"encoder.layer.{number}"
        x = normalized(g.op("Add", x, attention(x, layer)), f"{layer}.attention.output")
        x = normalized(g.op("Add", x, feed_forward(x, layer)), f"{layer}.output")
    return at.by_text(x)


BERT = Architecture(("bert",), BertConfig.read, bert, prefixes=("bert.",))
