"""What BERT and its descendants share: learned positions, and layers that normalise after each sum.

The layer is the encoder's of Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762); the descendants differ in what
their checkpoints call its parts, and in what stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from milvine.local.building.architectures.base import (
    ACTIVATIONS,
    Attention,
    check,
    check_activation,
    check_heads,
    check_layers,
    read_config,
    type_vectors,
)
from milvine.local.building.graph import Graph

ConfigT = TypeVar("ConfigT", bound="PostNormConfig")


@dataclass(frozen=True, kw_only=True)
class PostNormConfig:
    """The numbers of a `config.json` that shape the graph, under the names that BERT has for them."""

    NAMES: ClassVar[Mapping[str, str]] = {}
    """What the `config.json` calls a field, where that is another name."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    layer_norm_eps: float
    hidden_act: str

    @property
    def first_position(self) -> int:
        """The row of the table of positions that a text's first token has."""
        return 0

    @property
    def max_tokens(self) -> int:
        """The most tokens that a text may have."""
        return self.max_position_embeddings - self.first_position

    @classmethod
    def read(cls: type[ConfigT], config: Mapping[str, Any], source: str = "config.json") -> ConfigT:
        """Take them from the object of a `config.json`, whose path is `source`.

        Raises:
            ModelFileError: One is missing or of the wrong type, or this architecture does not know what it says.
        """
        read = read_config(cls, config, source, **cls.NAMES)
        check_activation(source, read.hidden_act)
        heads_name, hidden_name = (cls.NAMES.get(name, name) for name in ("num_attention_heads", "hidden_size"))
        check_heads(source, read.hidden_size, read.num_attention_heads, heads_name, hidden_name)
        check_layers(source, read.num_hidden_layers)
        kind = config.get("position_embedding_type", "absolute")
        check(
            source,
            (
                read.max_tokens > 0,
                f"max_position_embeddings is {read.max_position_embeddings};"
                f" it must be above {read.first_position}, the first token's position",
            ),
            (kind == "absolute", f"position embeddings of type {kind!r} are not known here"),
            (not config.get("is_decoder"), "is_decoder is set, but decoders cannot be run here, only encoders"),
        )
        return read


@dataclass(frozen=True)
class LayerNames:
    """What a checkpoint calls the parts of a layer, in the order in which they act."""

    query: str
    key: str
    value: str
    mixed: str
    mixed_norm: str
    inner: str
    outer: str
    outer_norm: str


def embeddings(g: Graph, at: Attention, config: PostNormConfig, ids: str, *, size: int, types: int = 0) -> str:
    """Each token's vector and its position's, summed and normalised: `(batch, length, size)`.

    Args:
        g: The graph.
        at: The length of the texts.
        config: The model's numbers.
        ids: Token ids, `(batch, length)`.
        size: Dimensions of a vector.
        types: How many types of token the checkpoint knows; see `type_vectors`.
    """
    words = g.weight("embeddings.word_embeddings.weight", (config.vocab_size, size))
    positions = g.weight("embeddings.position_embeddings.weight", (config.max_position_embeddings, size))
    first = g.ints(config.first_position)
    end = g.op("Add", at.length, first) if config.first_position else at.length
    x = g.op("Add", g.op("Gather", words, ids), g.op("Slice", positions, first, end, g.ints(0)))
    if types:
        x = g.op("Add", x, type_vectors(g, "embeddings.token_type_embeddings.weight", types, size))
    return g.layer_norm(x, "embeddings.LayerNorm", size, config.layer_norm_eps)


def layer(
    g: Graph, at: Attention, config: PostNormConfig, names: LayerNames, x: str, number: str, *, bias: str | None = None
) -> str:
    """One layer: `(batch * length, hidden)` to the same.

    Args:
        g: The graph.
        at: The heads and the mask.
        config: The model's numbers.
        names: What the checkpoint calls the layer's parts.
        x: The states.
        number: What it calls the layer, such as `"encoder.layer.0"`.
        bias: As `Attention.mix` takes it.
    """
    hidden, wide = config.hidden_size, config.intermediate_size
    activation, options = ACTIVATIONS[config.hidden_act]

    def linear(x: str, part: str, inputs: int, outputs: int) -> str:
        return g.linear(x, f"{number}.{part}", inputs, outputs, exact=part == names.value)

    def plus(x: str, change: str, norm: str) -> str:
        return g.layer_norm(g.op("Add", x, change), f"{number}.{norm}", hidden, config.layer_norm_eps)

    query, key, value = (at.split(linear(x, part, hidden, hidden)) for part in (names.query, names.key, names.value))
    mixed = at.mix(query, key, value, bias=bias)
    x = plus(x, linear(mixed, names.mixed, hidden, hidden), names.mixed_norm)
    inner = g.op(activation, linear(x, names.inner, hidden, wide), **options)
    return plus(x, linear(inner, names.outer, wide, hidden), names.outer_norm)
