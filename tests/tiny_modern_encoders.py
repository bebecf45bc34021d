"""Small ModernBERT, NomicBERT, GTE and T5 encoders of odd sizes, for the tests and for the reference.

The numbers come from `RandomState`, whose streams NumPy has frozen, so nothing but the golden results is stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

VOCABULARY, HIDDEN, WIDE, HEADS, LAYERS = 53, 24, 37, 3, 3
LENGTHS = (1, 9, 19, 2, 12)
"""Tokens of the texts that the reference was run on."""

SIZES = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_attention_heads": HEADS, "intermediate_size": WIDE}
BERT_SIZES = SIZES | {"num_hidden_layers": LAYERS, "layer_norm_eps": 1e-12, "max_position_embeddings": 64}

MODERNBERT: dict[str, dict[str, Any]] = {
    # As transformers 4 wrote it for ModernBERT-base, gte-modernbert-base and modernbert-embed-base, but for the sizes.
    "transformers_4": SIZES
    | {
        "model_type": "modernbert",
        "num_hidden_layers": LAYERS,
        "attention_bias": False,
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 160000.0,
        "hidden_activation": "gelu",
        "layer_norm_eps": 1e-05,
        "local_attention": 6,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 64,
        "mlp_bias": False,
        "norm_bias": False,
        "norm_eps": 1e-05,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
    },
    # As transformers 5 writes it, with every switch the other way.
    "transformers_5": SIZES
    | {
        "model_type": "modernbert",
        "num_hidden_layers": LAYERS,
        "attention_bias": True,
        "hidden_activation": "gelu_pytorch_tanh",
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "local_attention": 9,
        "max_position_embeddings": 64,
        "mlp_bias": True,
        "norm_bias": True,
        "norm_eps": 1e-03,
        "pad_token_id": 0,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 20.0, "rope_type": "default"},
        },
    },
}
NOMIC_BERT: dict[str, dict[str, Any]] = {
    # As published with nomic-embed-text-v1, but for the sizes.
    "own": {
        "model_type": "nomic_bert",
        "activation_function": "swiglu",
        "causal": False,
        "layer_norm_epsilon": 1e-12,
        "max_trained_positions": 32,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "n_embd": HIDDEN,
        "n_head": HEADS,
        "n_inner": WIDE,
        "n_layer": LAYERS,
        "n_positions": 64,
        "parallel_block": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "type_vocab_size": 2,
        "use_rms_norm": False,
        "vocab_size": VOCABULARY,
    },
    # As transformers 5 writes it.
    "transformers_5": BERT_SIZES
    | {
        "model_type": "nomic_bert",
        "head_dim": HIDDEN // HEADS,
        "hidden_act": "silu",
        "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"},
        "type_vocab_size": 2,
    },
}
NOMIC_BERT["biased"] = NOMIC_BERT["own"] | {
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "qkv_proj_bias": True,
    "rotary_emb_fraction": 0.5,
    "type_vocab_size": 1,
}
_NEW = BERT_SIZES | {
    "model_type": "new",
    "hidden_act": "gelu",
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "pack_qkv": True,
    "position_embedding_type": "rope",
    "unpad_inputs": False,
}
GTE: dict[str, dict[str, Any]] = {
    # As published with gte-multilingual-base and gte-large-en-v1.5, with gte-base-en-v1.5, and with
    # snowflake-arctic-embed-m-v2.0, but for the sizes; then as transformers 5 writes it.
    "ntk": _NEW | {"rope_theta": 20000, "rope_scaling": {"factor": 8.0, "type": "ntk"}, "type_vocab_size": 2},
    "untyped": _NEW | {"rope_theta": 500000, "type_vocab_size": 0},
    "snowflake": _NEW | {"model_type": "gte", "rope_theta": 160000, "rope_scaling": None, "type_vocab_size": 1},
    "transformers_5": BERT_SIZES
    | {
        "model_type": "gte",
        "hidden_act": "relu",
        "rope_parameters": {"rope_theta": 100.0, "rope_type": "linear", "factor": 1.5},
        "type_vocab_size": 1,
    },
}
T5: dict[str, dict[str, Any]] = {
    # As published with gtr-t5-base, sentence-t5-base and instructor-base, but for the sizes.
    "relu": {
        "model_type": "t5",
        "d_ff": WIDE,
        "d_kv": 5,
        "d_model": HIDDEN,
        "feed_forward_proj": "relu",
        "layer_norm_epsilon": 1e-06,
        "num_heads": HEADS,
        "num_layers": LAYERS,
        "relative_attention_num_buckets": 8,
        "vocab_size": VOCABULARY,
    },
}
T5["gated"] = T5["relu"] | {"feed_forward_proj": "gated-gelu", "relative_attention_max_distance": 11}


class _Tensors(dict[str, "np.ndarray[Any, Any]"]):
    """Tensors made one by one, so large that every part of the model leaves its mark on the result."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = np.random.RandomState(seed)

    def add(self, name: str, *shape: int, scale: float = 0.3, around: float = 0.0) -> None:
        self[name] = (around + scale * self._random.standard_normal(shape)).astype(np.float32)

    def add_norm(self, name: str, *, bias: bool = True) -> None:
        self.add(f"{name}.weight", HIDDEN, around=1.0)
        if bias:
            self.add(f"{name}.bias", HIDDEN)

    def add_linear(self, name: str, outputs: int, inputs: int, *, bias: bool = True) -> None:
        self.add(f"{name}.weight", outputs, inputs, scale=0.2)
        if bias:
            self.add(f"{name}.bias", outputs)


def modernbert_weights(config: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of `ModernBertModel`, by its names."""
    tensors = _Tensors(41)
    norm_bias, attention_bias, mlp_bias = config["norm_bias"], config["attention_bias"], config["mlp_bias"]
    tensors.add("embeddings.tok_embeddings.weight", VOCABULARY, HIDDEN)
    tensors.add_norm("embeddings.norm", bias=norm_bias)
    for number in range(LAYERS):
        layer = f"layers.{number}"
        if number:
            tensors.add_norm(f"{layer}.attn_norm", bias=norm_bias)
        tensors.add_linear(f"{layer}.attn.Wqkv", 3 * HIDDEN, HIDDEN, bias=attention_bias)
        tensors.add_linear(f"{layer}.attn.Wo", HIDDEN, HIDDEN, bias=attention_bias)
        tensors.add_norm(f"{layer}.mlp_norm", bias=norm_bias)
        tensors.add_linear(f"{layer}.mlp.Wi", 2 * WIDE, HIDDEN, bias=mlp_bias)
        tensors.add_linear(f"{layer}.mlp.Wo", HIDDEN, WIDE, bias=mlp_bias)
    tensors.add_norm("final_norm", bias=norm_bias)
    return tensors


def nomic_bert_weights(config: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of nomic-ai's `NomicBertModel`, by its names."""
    tensors = _Tensors(42)
    qkv, fc1, fc2 = (config.get(name, False) for name in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"))
    tensors.add("embeddings.word_embeddings.weight", VOCABULARY, HIDDEN)
    tensors.add("embeddings.token_type_embeddings.weight", config["type_vocab_size"], HIDDEN)
    tensors.add_norm("emb_ln")
    for number in range(LAYERS):
        layer = f"encoder.layers.{number}"
        tensors.add_linear(f"{layer}.attn.Wqkv", 3 * HIDDEN, HIDDEN, bias=qkv)
        tensors.add_linear(f"{layer}.attn.out_proj", HIDDEN, HIDDEN, bias=qkv)
        tensors.add_norm(f"{layer}.norm1")
        tensors.add_linear(f"{layer}.mlp.fc11", WIDE, HIDDEN, bias=fc1)
        tensors.add_linear(f"{layer}.mlp.fc12", WIDE, HIDDEN, bias=fc1)
        tensors.add_linear(f"{layer}.mlp.fc2", HIDDEN, WIDE, bias=fc2)
        tensors.add_norm(f"{layer}.norm2")
    return tensors


def gte_weights(config: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of `NewModel` in Alibaba-NLP/new-impl, by its names."""
    tensors = _Tensors(43)
    tensors.add("embeddings.word_embeddings.weight", VOCABULARY, HIDDEN)
    if config["type_vocab_size"]:
        tensors.add("embeddings.token_type_embeddings.weight", config["type_vocab_size"], HIDDEN)
    tensors.add_norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        tensors.add_linear(f"{layer}.attention.qkv_proj", 3 * HIDDEN, HIDDEN)
        tensors.add_linear(f"{layer}.attention.o_proj", HIDDEN, HIDDEN)
        tensors.add_norm(f"{layer}.attn_ln")
        tensors.add_linear(f"{layer}.mlp.up_gate_proj", 2 * WIDE, HIDDEN, bias=False)
        tensors.add_linear(f"{layer}.mlp.down_proj", HIDDEN, WIDE)
        tensors.add_norm(f"{layer}.mlp_ln")
    return tensors


def t5_weights(config: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of `T5EncoderModel`, by its names."""
    tensors = _Tensors(44)
    inner, buckets = HEADS * config["d_kv"], config["relative_attention_num_buckets"]
    inputs = ("wi_0", "wi_1") if config["feed_forward_proj"] == "gated-gelu" else ("wi",)
    tensors.add("shared.weight", VOCABULARY, HIDDEN, scale=1.0)
    for number in range(LAYERS):
        layer = f"encoder.block.{number}.layer"
        if not number:
            tensors.add(f"{layer}.0.SelfAttention.relative_attention_bias.weight", buckets, HEADS, scale=1.0)
        for name in ("q", "k", "v"):
            tensors.add_linear(f"{layer}.0.SelfAttention.{name}", inner, HIDDEN, bias=False)
        tensors.add_linear(f"{layer}.0.SelfAttention.o", HIDDEN, inner, bias=False)
        tensors.add_norm(f"{layer}.0.layer_norm", bias=False)
        for name in inputs:
            tensors.add_linear(f"{layer}.1.DenseReluDense.{name}", WIDE, HIDDEN, bias=False)
        tensors.add_linear(f"{layer}.1.DenseReluDense.wo", HIDDEN, WIDE, bias=False)
        tensors.add_norm(f"{layer}.1.layer_norm", bias=False)
    tensors.add_norm("encoder.final_layer_norm", bias=False)
    return tensors


def token_ids() -> list[list[int]]:
    """What the reference was run on."""
    random = np.random.RandomState(8)
    return [random.randint(0, VOCABULARY, length).tolist() for length in LENGTHS]


class TinyEncoder:
    """A tiny model built by milvine from its configuration and weights.

    Args:
        config: The object of a `config.json`.
        weights: The checkpoint.
    """

    def __init__(self, config: dict[str, Any], weights: dict[str, np.ndarray[Any, Any]]) -> None:
        from milvine.local.building.architectures import find_architecture
        from milvine.local.building.graph import Graph
        from milvine.local.running.engine import session_options

        architecture = find_architecture(config, "/m/config.json")
        read = architecture.read(config, "/m/config.json")
        g = Graph(weights)
        ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
        g.output("states", architecture.build(g, read, ids, mask), ["batch", "length", read.hidden_size])
        self._session = g.session(session_options(), ["CPUExecutionProvider"])

    def states(self, texts: list[list[int]], padding: int = 0) -> list[np.ndarray[Any, Any]]:
        """The last hidden states of texts run as one batch, without those of padding."""
        ids = np.full((len(texts), max(map(len, texts))), padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        (states,) = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
        return [row[: len(text)] for row, text in zip(states, texts, strict=True)]

    def assert_states(self, expected: np.ndarray[Any, Any]) -> None:
        """Whether texts come out as the reference says, alone and in batches, in any order and with any padding.

        Args:
            expected: The states of all tokens of `token_ids`, text after text.
        """
        texts = token_ids()
        by_text = np.split(expected, np.cumsum(LENGTHS)[:-1])
        alone = [self.states([text])[0] for text in texts]
        for states, right in zip(alone, by_text, strict=True):
            np.testing.assert_allclose(states, right, atol=1e-5)
        for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 1, 0], [3, 2, 3]):
            for padding in (0, VOCABULARY - 1):
                together = self.states([texts[row] for row in order], padding)
                for row, states in zip(order, together, strict=True):
                    np.testing.assert_allclose(states, by_text[row], atol=1e-5)
                    np.testing.assert_allclose(states, alone[row], atol=1e-5)
