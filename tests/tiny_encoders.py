"""Small encoders of odd sizes, made anew from a seed wherever they are needed: for the tests and for the reference.

The numbers come from `RandomState`, whose streams NumPy has frozen, so nothing but the golden results is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SHARED: dict[str, Any] = {
    "vocab_size": 53,
    "hidden_size": 21,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
}
_ROBERTA = _SHARED | {"max_position_embeddings": 21, "type_vocab_size": 1, "pad_token_id": 1}
_DISTILBERT: dict[str, Any] = {
    "model_type": "distilbert",
    "vocab_size": 53,
    "dim": 21,
    "n_layers": 3,
    "n_heads": 3,
    "hidden_dim": 37,
    "max_position_embeddings": 19,
    "activation": "gelu",
    "sinusoidal_pos_embds": False,
}
_MPNET = _SHARED | {"model_type": "mpnet", "max_position_embeddings": 152, "relative_attention_num_buckets": 32}
_ALBERT = _SHARED | {
    "model_type": "albert",
    "type_vocab_size": 2,
    "embedding_size": 11,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "hidden_act": "gelu_new",
}

MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "roberta": {
        "roberta": _ROBERTA | {"model_type": "roberta"},
        "xlm_roberta": _ROBERTA | {"model_type": "xlm-roberta"},
        "camembert": _ROBERTA | {"model_type": "camembert"},
        "other_padding": _ROBERTA
        | {"model_type": "roberta", "pad_token_id": 3, "max_position_embeddings": 23, "type_vocab_size": 2},
    },
    "distilbert": {
        "gelu": _DISTILBERT,
        "relu": _DISTILBERT | {"activation": "relu"},
        "sinusoidal": _DISTILBERT | {"sinusoidal_pos_embds": True},
    },
    "mpnet": {"gelu": _MPNET, "relu": _MPNET | {"hidden_act": "relu"}},
    "albert": {
        "one_group": _ALBERT,
        "gelu": _ALBERT | {"hidden_act": "gelu"},
        "groups": _ALBERT | {"num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2},
    },
}
"""For each architecture, its models by name: their `config.json`s."""

BUCKETS = ((32, 128), (16, 64), (24, 100))
"""Numbers of buckets and farthest distances that the reference was asked for."""


def token_ids(config: Mapping[str, Any]) -> list[list[int]]:
    """What the reference was run on: one text as long as the model allows, none holding a padding token."""
    longest = {"mpnet": 150}.get(config["model_type"], 19)
    random = np.random.RandomState(7)
    return [random.randint(4, config["vocab_size"], length).tolist() for length in (1, 7, longest, 2, 12)]


def weights(config: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The encoder's tensors, by its names, so large that every part of the model leaves its mark on the result."""
    random = np.random.RandomState(20261123)
    tensors = {}
    for name, shape in _shapes(config):
        is_norm = name.lower().endswith("norm.weight")
        scale = 0.4 if len(shape) == 2 and "embeddings" not in name else 0.3
        tensors[name] = (float(is_norm) + scale * random.standard_normal(shape)).astype(np.float32)
    return tensors


def _shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a model, as transformers names them."""
    kind = "roberta" if "roberta" in config["model_type"] else config["model_type"]
    hidden, wide = config.get("hidden_size") or config["dim"], config.get("intermediate_size") or config["hidden_dim"]
    size = config.get("embedding_size", hidden)
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], size)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], size)
    if "type_vocab_size" in config:
        yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], size)
    yield from _both("embeddings.LayerNorm", size)
    if kind == "mpnet":
        yield "encoder.relative_attention_bias.weight", (32, config["num_attention_heads"])
    if kind == "albert":
        yield from _both("encoder.embedding_hidden_mapping_in", hidden, size)
    linear, norms, wider, narrower = _PARTS.get(kind, _PARTS["roberta"])
    for layer in _layers(config):
        for name in linear:
            yield from _both(f"{layer}.{name}", hidden, hidden)
        for name in norms:
            yield from _both(f"{layer}.{name}", hidden)
        yield from _both(f"{layer}.{wider}", wide, hidden)
        yield from _both(f"{layer}.{narrower}", hidden, wide)


def _both(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _layers(config: Mapping[str, Any]) -> list[str]:
    if config["model_type"] == "albert":
        groups, inner = range(config["num_hidden_groups"]), range(config["inner_group_num"])
        return [f"encoder.albert_layer_groups.{group}.albert_layers.{number}" for group in groups for number in inner]
    if config["model_type"] == "distilbert":
        return [f"transformer.layer.{number}" for number in range(config["n_layers"])]
    return [f"encoder.layer.{number}" for number in range(config["num_hidden_layers"])]


# A layer's square matrices, its norms, the matrix that widens and the one that narrows.
_PARTS = {
    "roberta": (
        [*(f"attention.self.{name}" for name in ("query", "key", "value")), "attention.output.dense"],
        ["attention.output.LayerNorm", "output.LayerNorm"],
        "intermediate.dense",
        "output.dense",
    ),
    "distilbert": (
        [f"attention.{name}_lin" for name in ("q", "k", "v", "out")],
        ["sa_layer_norm", "output_layer_norm"],
        "ffn.lin1",
        "ffn.lin2",
    ),
    "mpnet": (
        [f"attention.attn.{name}" for name in "qkvo"],
        ["attention.LayerNorm", "output.LayerNorm"],
        "intermediate.dense",
        "output.dense",
    ),
    "albert": (
        [f"attention.{name}" for name in ("query", "key", "value", "dense")],
        ["attention.LayerNorm", "full_layer_layer_norm"],
        "ffn",
        "ffn_output",
    ),
}


def session(path: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Any:
    """An onnxruntime session over the model of a configuration, by way of a safetensors file in the folder `path`."""
    from safetensors.numpy import save_file

    from milvine.local.building.architectures import find_architecture
    from milvine.local.building.graph import Graph
    from milvine.local.reading.weights import read_weights
    from milvine.local.running.engine import session_options

    save_file(dict(weights(config) if tensors is None else tensors), path / "model.safetensors")
    architecture = find_architecture(config, "config.json")
    read = architecture.read(config, "config.json")
    g = Graph(read_weights(path / "model.safetensors"))
    ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
    g.output("states", architecture.build(g, read, ids, mask), ["batch", "length", read.hidden_size])
    return g.session(session_options(), ["CPUExecutionProvider"])


def run(session: Any, texts: list[list[int]], padding: int = 0) -> list[np.ndarray[Any, Any]]:
    """Each text's hidden states, all texts run as one batch that is padded with the id `padding`."""
    ids = np.full((len(texts), max(map(len, texts))), padding, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    states = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    return [states[row, : len(text)] for row, text in enumerate(texts)]


def check_states(session: Any, texts: list[list[int]], expected: np.ndarray[Any, Any]) -> None:
    """The states are the reference's, alone, padded with any id and in any order, and a text's own in any company.

    Args:
        session: The model.
        texts: Token ids.
        expected: The reference's states of all texts, one after the other.
    """
    references = np.split(expected, np.cumsum([len(text) for text in texts])[:-1])
    alone = [run(session, [text])[0] for text in texts]
    for states, reference in zip(alone, references, strict=True):
        np.testing.assert_allclose(states, reference, atol=1e-5, rtol=0)
    for order in ([*range(len(texts))], [*reversed(range(len(texts)))], [3, 3, 0, 1]):
        for padding in (0, 1, 52):
            for states, row in zip(run(session, [texts[row] for row in order], padding), order, strict=True):
                np.testing.assert_allclose(states, references[row], atol=1e-5, rtol=0)
                np.testing.assert_allclose(states, alone[row], atol=1e-5, rtol=0)
