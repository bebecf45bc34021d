"""NomicBERT (Nussbaum et al. 2024, https://arxiv.org/abs/2402.01613): BERT with rotary positions and SwiGLU.

It runs as `NomicBertModel` of transformers does. nomic-ai's own code can also stretch the angles when a batch is longer
than what the model was trained on (`rotary_scaling_factor`); a text's states would then depend on its batch, so where
that is switched on, texts end at the length from which it would act.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milvine.local.building.architectures.base import (
    VALUE,
    Architecture,
    Attention,
    check,
    check_heads,
    check_no_more,
    check_switches,
    read_config,
)
from milvine.local.building.architectures.rotary import Rotary, frequencies, unscaled_theta
from milvine.local.building.graph import Graph

# Transformers' names of what nomic-ai's own config.json names as GPT-2 does.
NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "activation_function": "hidden_act",
}
THETA = 1000.0  # what transformers takes where a config.json says nothing


@dataclass(frozen=True)
class NomicBertConfig:
    """The numbers of a `config.json` that shape the graph, under the names of nomic-ai's own code."""

    vocab_size: int
    type_vocab_size: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int
    n_positions: int
    layer_norm_epsilon: float
    activation_function: str
    rotary_emb_base: float
    rotary_emb_fraction: float = 1.0
    max_trained_positions: int = 2048
    rotary_scaling_factor: float = 0.0
    qkv_proj_bias: bool = False
    mlp_fc1_bias: bool = False
    mlp_fc2_bias: bool = False

    @property
    def hidden_size(self) -> int:
        """Dimensions of a hidden state."""
        return self.n_embd

    @property
    def rotary_size(self) -> float:
        """Dimensions of a head that are turned."""
        return self.n_embd // self.n_head * self.rotary_emb_fraction

    @property
    def max_tokens(self) -> int:
        """The most tokens that a text may have."""
        return min(self.n_positions, self.max_trained_positions) if self.rotary_scaling_factor else self.n_positions

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str = "config.json") -> NomicBertConfig:
        """Take them from the object of a `config.json`, whose path is `source`.

        Raises:
            ModelFileError: One is missing or of the wrong type, or this architecture does not know what it says.
        """
        is_own = "n_embd" in config
        flat = dict(config)
        if not flat.get("rotary_scaling_factor"):
            flat.pop("rotary_scaling_factor", None)
        rope = flat.get("rope_parameters") or {}
        theta = unscaled_theta(source, rope, flat.get("rope_theta", THETA))
        if rope or not is_own:
            flat.setdefault("rotary_emb_base", theta)
        read = read_config(cls, flat, source, **({} if is_own else NAMES))
        activation = "swiglu" if is_own else "silu"
        check_heads(source, read.n_embd, read.n_head, *(("n_head", "n_embd") if is_own else ()))
        check(
            source,
            (
                read.activation_function == activation,
                f"the activation {read.activation_function!r} is not known here; known is {activation}",
            ),
            (
                read.rotary_emb_fraction <= 1 and read.rotary_size % 2 == 0,
                f"rotary_emb_fraction is {read.rotary_emb_fraction}; it must be the share of an even number of a head's"
                f" {read.n_embd // read.n_head} dimensions",
            ),
        )
        check_switches(
            source,
            config,
            prenorm=False,
            parallel_block=False,
            causal=False,
            use_rms_norm=False,
            rotary_emb_interleaved=False,
            rotary_emb_scale_base=None,
            moe_every_n_layers=0,
            head_dim=read.n_embd // read.n_head,
            num_heads_kv=read.n_head,
        )
        return read


def nomic_bert(g: Graph, config: NomicBertConfig, ids: str, mask: str) -> str:
    """The hidden states of the last layer; see `Architecture.build`."""
    hidden, wide = config.n_embd, config.n_inner
    words = g.weight("embeddings.word_embeddings.weight", (config.vocab_size, hidden))  # so that `hidden` is no lie
    at = Attention(g, ids, mask, hidden, config.n_head)
    turn = Rotary(g, at, frequencies(config.rotary_emb_base, int(config.rotary_size)))

    def attention(x: str, layer: str) -> str:
        qkv = g.linears(x, f"{layer}.attn.Wqkv", hidden, hidden, 3, bias=config.qkv_proj_bias, exact=VALUE)
        query, key, value = map(at.split, qkv)
        mixed = at.mix(turn(query), turn(key), value)
        return g.linear(mixed, f"{layer}.attn.out_proj", hidden, hidden, bias=config.qkv_proj_bias)

    def feed_forward(x: str, layer: str) -> str:
        inner, gate = (
            g.linear(x, f"{layer}.mlp.{part}", hidden, wide, bias=config.mlp_fc1_bias) for part in ("fc11", "fc12")
        )
        gated = g.op("Mul", inner, g.op("Mul", gate, g.op("Sigmoid", gate)))
        return g.linear(gated, f"{layer}.mlp.fc2", wide, hidden, bias=config.mlp_fc2_bias)

    def normalized(x: str, name: str) -> str:
        return g.layer_norm(x, name, hidden, config.layer_norm_epsilon)

    types = g.weight("embeddings.token_type_embeddings.weight", (config.type_vocab_size, hidden))
    first_type = g.op("Slice", types, g.ints(0), g.ints(1), g.ints(0))  # one text, so every token is of type 0
    x = at.rows(normalized(g.op("Add", g.op("Gather", words, ids), first_type), "emb_ln"))
    for number in range(config.n_layer):
        layer = f"encoder.layers.{number}"
        x = normalized(g.op("Add", x, attention(x, layer)), f"{layer}.norm1")
        x = normalized(g.op("Add", x, feed_forward(x, layer)), f"{layer}.norm2")
    check_no_more(g, f"encoder.layers.{config.n_layer}.norm2.weight")
    return at.by_text(x)


NOMIC_BERT = Architecture(("nomic_bert",), NomicBertConfig.read, nomic_bert, prefixes=("bert.", "nomic_bert."))
