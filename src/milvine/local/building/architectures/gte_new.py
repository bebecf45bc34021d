"""The GTE "new" model (Zhang et al. 2024, https://arxiv.org/abs/2407.19669): BERT with rotary positions and GeGLU.

It runs as Alibaba-NLP/new-impl does (`model_type` "new"), and as transformers' `GteModel` ("gte"), which reads the same
checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milvine.local.building.architectures.base import (
    ACTIVATIONS,
    VALUE,
    Architecture,
    Attention,
    check,
    check_activation,
    check_heads,
    check_no_more,
    check_switches,
    read_config,
    type_vectors,
)
from milvine.local.building.architectures.rotary import Rotary, check_even, frequencies
from milvine.local.building.graph import Graph


@dataclass(frozen=True)
class GteNewConfig:
    """The numbers of a `config.json` that shape the graph.

    The names are its own, but for `rope_type` and `rope_factor`, which come from its `rope_scaling` or
    `rope_parameters`: "default" leaves the angles as they are, "linear" divides them by the factor, "ntk" multiplies
    theta by the factor and divides the angles by the factor's `2 / head_size`-th power (https://kexue.fm/archives/9706,
    equation 6).
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    layer_norm_eps: float
    hidden_act: str
    rope_theta: float
    type_vocab_size: int = 0
    rope_type: str = "default"
    rope_factor: float = 1.0

    @property
    def max_tokens(self) -> int:
        """The most tokens that a text may have."""
        return self.max_position_embeddings

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str = "config.json") -> GteNewConfig:
        """Take them from the object of a `config.json`, whose path is `source`.

        Raises:
            ModelFileError: One is missing or of the wrong type, or this architecture does not know what it says.
        """
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        check(source, (isinstance(rope, Mapping), f"rope_scaling is {rope!r}; it must be an object"))
        default_theta = 160_000.0 if config.get("model_type") == "gte" else None
        flat = {
            **config,
            "rope_theta": rope.get("rope_theta", config.get("rope_theta", default_theta)),
            "rope_type": rope.get("rope_type", rope.get("type", "default")),
            "rope_factor": rope.get("factor", 1.0),
        }
        if not flat.get("type_vocab_size"):
            flat.pop("type_vocab_size", None)
        read = read_config(cls, flat, source)
        check_activation(source, read.hidden_act)
        check_heads(source, read.hidden_size, read.num_attention_heads)
        check_switches(
            source,
            config,
            layer_norm_type="layer_norm",
            position_embedding_type="rope",
            pack_qkv=True,
            logn_attention_scale=False,
        )
        check_even(source, read.hidden_size // read.num_attention_heads)
        check(
            source,
            (
                read.rope_type in ("default", "linear", "ntk"),
                f"rotary embeddings of type {read.rope_type!r} are not known here; known are default, linear, ntk",
            ),
            (read.rope_factor >= 1, f"the factor of rope_scaling is {read.rope_factor}; it must be 1 or more"),
            (rope.get("mixed_b") is None, f"mixed_b of rope_scaling is {rope.get('mixed_b')!r}; it is not known here"),
        )
        return read


def gte_new(g: Graph, config: GteNewConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    hidden, wide, factor = config.hidden_size, config.intermediate_size, config.rope_factor
    words = g.weight("embeddings.word_embeddings.weight", (config.vocab_size, hidden))  # so that `hidden` is no lie
    at = Attention(g, ids, mask, hidden, config.num_attention_heads)
    activation, options = ACTIVATIONS[config.hidden_act]
    angles = {
        "default": frequencies(config.rope_theta, at.head_size),
        "linear": frequencies(config.rope_theta, at.head_size) / factor,
        "ntk": frequencies(config.rope_theta * factor, at.head_size) / factor ** (2 / at.head_size),
    }
    turn = Rotary(g, at, angles[config.rope_type])

    def attention(x: str, layer: str) -> str:
        query, key, value = map(at.split, g.linears(x, f"{layer}.attention.qkv_proj", hidden, hidden, 3, exact=VALUE))
        return g.linear(at.mix(turn(query), turn(key), value), f"{layer}.attention.o_proj", hidden, hidden)

    def feed_forward(x: str, layer: str) -> str:
        inner, gate = g.linears(x, f"{layer}.mlp.up_gate_proj", hidden, wide, 2, bias=False)
        gated = g.op("Mul", inner, g.op(activation, gate, **options))
        return g.linear(gated, f"{layer}.mlp.down_proj", wide, hidden)

    def normalized(x: str, name: str) -> str:
        return g.layer_norm(x, name, hidden, config.layer_norm_eps)

    x = g.op("Gather", words, ids)
    if config.type_vocab_size:
        types = type_vectors(g, "embeddings.token_type_embeddings.weight", config.type_vocab_size, hidden)
        x = g.op("Add", x, types)
    x = at.rows(normalized(x, "embeddings.LayerNorm"))
    for number in range(config.num_hidden_layers):
        layer = f"encoder.layer.{number}"
        x = normalized(g.op("Add", x, attention(x, layer)), f"{layer}.attn_ln")
        x = normalized(g.op("Add", x, feed_forward(x, layer)), f"{layer}.mlp_ln")
    check_no_more(g, f"encoder.layer.{config.num_hidden_layers}.mlp_ln.weight")
    return at.by_text(x)


GTE_NEW = Architecture(("new", "gte"), GteNewConfig.read, gte_new, prefixes=("new.", "gte."))
