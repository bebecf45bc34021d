"""ModernBERT (Warner et al. 2024, https://arxiv.org/abs/2412.13663), as transformers' `ModernBertModel` runs it.

Every third layer, or as `layer_types` has it, attends to the whole text, the others to a window around each token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from milvine.local.building.architectures.base import (
    ACTIVATIONS,
    VALUE,
    Architecture,
    Attention,
    check,
    check_activation,
    check_heads,
    check_layers,
    check_no_more,
    check_switches,
    read_config,
)
from milvine.local.building.architectures.rotary import Rotary, check_even, frequencies, positions, unscaled_theta
from milvine.local.building.graph import Graph

KINDS = GLOBAL, LOCAL = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class ModernBertConfig:
    """The numbers of a `config.json` that shape the graph, under the names that transformers 4 gave them."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    hidden_activation: str = "gelu"
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    local_attention: int = 128
    global_attn_every_n_layers: int = 3
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0
    layer_types: tuple[str, ...] = ()

    @property
    def max_tokens(self) -> int:
        """The most tokens that a text may have."""
        return self.max_position_embeddings

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str = "config.json") -> ModernBertConfig:
        """Take them from the object of a `config.json`, whose path is `source`.

        Raises:
            ModelFileError: One is missing or of the wrong type, or this architecture does not know what it says.
        """
        flat = dict(config)
        kinds = flat.pop("layer_types", None)
        if flat.get("local_rope_theta", ...) is None:  # in transformers 4: as in the global layers
            flat["local_rope_theta"] = flat.get("global_rope_theta", cls.global_rope_theta)
        rope = flat.get("rope_parameters") or {GLOBAL: None}
        is_by_kind = isinstance(rope, Mapping) and (GLOBAL in rope or LOCAL in rope)
        check(source, (is_by_kind, f"rope_parameters is {rope!r}; it must be an object with {GLOBAL!r} and {LOCAL!r}"))
        for kind, name in ((GLOBAL, "global_rope_theta"), (LOCAL, "local_rope_theta")):
            if rope.get(kind) is not None:
                flat[name] = unscaled_theta(source, rope[kind], flat.get(name, getattr(cls, name)))
        check_switches(source, config, rope_scaling=None)
        read = read_config(cls, flat, source)
        check_activation(source, read.hidden_activation)
        check_heads(source, read.hidden_size, read.num_attention_heads)
        check_layers(source, read.num_hidden_layers)
        check_even(source, read.hidden_size // read.num_attention_heads)
        every, layers = read.global_attn_every_n_layers, range(read.num_hidden_layers)
        if kinds is None:
            kinds = [LOCAL if number % every else GLOBAL for number in layers]
        are_known = isinstance(kinds, list) and len(kinds) == len(layers) and all(kind in KINDS for kind in kinds)
        says = f"layer_types is {kinds!r}; it must be a list of {GLOBAL!r} and {LOCAL!r}, one for each layer"
        check(source, (are_known, says))
        return replace(read, layer_types=tuple(kinds))


def modernbert(g: Graph, config: ModernBertConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    hidden, wide = config.hidden_size, config.intermediate_size
    words = g.weight("embeddings.tok_embeddings.weight", (config.vocab_size, hidden))  # so that `hidden` is no lie
    at = Attention(g, ids, mask, hidden, config.num_attention_heads)
    activation, options = ACTIVATIONS[config.hidden_activation]
    thetas = {GLOBAL: config.global_rope_theta, LOCAL: config.local_rope_theta}
    rotary = {kind: Rotary(g, at, frequencies(theta, at.head_size)) for kind, theta in thetas.items()}
    out_of_reach = outside_window(g, at, config.local_attention // 2)
    bias = {GLOBAL: at.padding_scores, LOCAL: g.op("Add", at.padding_scores, out_of_reach)}
    # Nothing is mixed for a token in whose window there is none to attend to: late interaction has such ones.
    best = g.op("Reshape", g.op("ReduceMax", bias[LOCAL], g.ints(3)), g.ints(-1, 1))
    sees_any = g.op("Cast", g.op("Greater", best, g.number(-0.5e9)), to=1)

    def attention(x: str, layer: str, kind: str) -> str:
        turn = rotary[kind]
        qkv = g.linears(x, f"{layer}.attn.Wqkv", hidden, hidden, 3, bias=config.attention_bias, exact=VALUE)
        query, key, value = map(at.split, qkv)
        mixed = at.mix(turn(query), turn(key), value, bias=bias[kind])
        mixed = g.op("Mul", mixed, sees_any) if kind == LOCAL else mixed
        return g.linear(mixed, f"{layer}.attn.Wo", hidden, hidden, bias=config.attention_bias)

    def feed_forward(x: str, layer: str) -> str:
        inner, gate = g.linears(x, f"{layer}.mlp.Wi", hidden, wide, 2, bias=config.mlp_bias)
        gated = g.op("Mul", g.op(activation, inner, **options), gate)
        return g.linear(gated, f"{layer}.mlp.Wo", wide, hidden, bias=config.mlp_bias)

    def normalized(x: str, name: str) -> str:
        return g.layer_norm(x, name, hidden, config.norm_eps, bias=config.norm_bias)

    x = at.rows(normalized(g.op("Gather", words, ids), "embeddings.norm"))
    for number, kind in enumerate(config.layer_types):
        layer = f"layers.{number}"
        before = normalized(x, f"{layer}.attn_norm") if number else x  # the embeddings are normalised already
        x = g.op("Add", x, attention(before, layer, kind))
        x = g.op("Add", x, feed_forward(normalized(x, f"{layer}.mlp_norm"), layer))
    check_no_more(g, f"layers.{len(config.layer_types)}.mlp_norm.weight")
    return at.by_text(normalized(x, "final_norm"))


def outside_window(g: Graph, at: Attention, reach: int) -> str:
    """What keeps a token from those more than `reach` places away: 0 or -1e9, `(length, length)`."""
    place = positions(g, at)
    distance = g.op("Abs", g.op("Sub", g.op("Unsqueeze", place, g.ints(0)), g.op("Unsqueeze", place, g.ints(1))))
    return g.op("Where", g.op("Greater", distance, g.number(reach)), g.number(-1e9), g.number(0.0))


MODERNBERT = Architecture(("modernbert",), ModernBertConfig.read, modernbert, prefixes=("model.",))
