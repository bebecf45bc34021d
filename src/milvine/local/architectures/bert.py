"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805), as `BertModel` of Hugging Face transformers runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milvine.errors import ModelFileError
from milvine.local.graph import Graph

ACTIVATIONS = {"gelu": ("Gelu", {}), "gelu_new": ("Gelu", {"approximate": "tanh"}), "relu": ("Relu", {})}


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

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> BertConfig:
        """Take them from a `config.json`.

        Raises:
            ModelFileError: One is missing, or says something that this architecture does not know.
        """
        missing = [name for name in cls.__dataclass_fields__ if name not in config]
        if missing:
            raise ModelFileError(f"the model's config.json lacks {', '.join(missing)}")
        read = cls(**{name: config[name] for name in cls.__dataclass_fields__})
        if read.hidden_act not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ModelFileError(f"the activation {read.hidden_act!r} is not known here; known are {known}")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ModelFileError(
                f"position embeddings of type {config['position_embedding_type']!r} are not known here"
            )
        if read.hidden_size % read.num_attention_heads:
            raise ModelFileError(
                f"hidden_size {read.hidden_size} is no multiple of num_attention_heads {read.num_attention_heads}"
            )
        return read


def bert(g: Graph, config: BertConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer.

    Args:
        g: The graph, over a checkpoint with `BertModel`'s names.
        config: The model's numbers.
        ids: Token ids, int64, shape `(batch, length)`.
        mask: 1 for a token, 0 for padding, int64, shape `(batch, length)`.

    Returns:
        float32, shape `(batch, length, hidden)`.
    """
    hidden, heads = config.hidden_size, config.num_attention_heads
    batch_and_length = g.op("Shape", ids)
    length = g.op("Slice", batch_and_length, g.ints(1), g.ints(2), g.ints(0))
    rows = g.ints(-1, hidden)
    per_head = g.op("Concat", batch_and_length, g.ints(heads, hidden // heads), axis=0)
    by_text = g.op("Concat", batch_and_length, g.ints(hidden), axis=0)
    # Padding gets a score so low that its share of the softmax is exactly 0.
    is_padding = g.op("Sub", g.number(1.0), g.op("Cast", mask, to=1))
    padding_scores = g.op("Unsqueeze", g.op("Mul", is_padding, g.number(-1e9)), g.ints(1, 2))

    def attention(x: str, layer: str) -> str:
        def head_of(name: str, order: list[int]) -> str:
            rows = g.linear(x, f"{layer}.attention.self.{name}", hidden, hidden)
            return g.op("Transpose", g.op("Reshape", rows, per_head), perm=order)

        query, key, value = head_of("query", [0, 2, 1, 3]), head_of("key", [0, 2, 3, 1]), head_of("value", [0, 2, 1, 3])
        scale = g.number((hidden // heads) ** -0.5)
        scores = g.op("Add", g.op("Mul", g.op("MatMul", query, key), scale), padding_scores)
        mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), value)
        joined = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), rows)
        return g.linear(joined, f"{layer}.attention.output.dense", hidden, hidden)

    def feed_forward(x: str, layer: str) -> str:
        kind, options = ACTIVATIONS[config.hidden_act]
        wide = g.linear(x, f"{layer}.intermediate.dense", hidden, config.intermediate_size)
        return g.linear(g.op(kind, wide, **options), f"{layer}.output.dense", config.intermediate_size, hidden)

    def normalized(x: str, name: str) -> str:
        return g.layer_norm(x, f"{name}.LayerNorm", hidden, config.layer_norm_eps)

    words = g.weight("embeddings.word_embeddings.weight", (config.vocab_size, hidden))
    positions = g.weight("embeddings.position_embeddings.weight", (config.max_position_embeddings, hidden))
    types = g.weight("embeddings.token_type_embeddings.weight", (config.type_vocab_size, hidden))
    x = g.op("Add", g.op("Gather", words, ids), g.op("Slice", positions, g.ints(0), length, g.ints(0)))
    x = g.op("Add", x, g.op("Slice", types, g.ints(0), g.ints(1), g.ints(0)))  # one text, so every token is of type 0
    x = g.op("Reshape", normalized(x, "embeddings"), rows)
    for number in range(config.num_hidden_layers):
        layer = f"encoder.layer.{number}"
        x = normalized(g.op("Add", x, attention(x, layer)), f"{layer}.attention.output")
        x = normalized(g.op("Add", x, feed_forward(x, layer)), f"{layer}.output")
    return g.op("Reshape", x, by_text)
