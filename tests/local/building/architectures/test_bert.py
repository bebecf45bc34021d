from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from milvine.errors import ModelFileError
from milvine.local.building.architectures import BertConfig, bert
from milvine.local.building.graph import Graph
from milvine.local.building.heads import POOLINGS
from milvine.local.reading.weights import read_weights
from milvine.local.running.engine import session_options
from tiny_bert import CONFIG, token_ids, weights

GOLDEN = Path(__file__).parents[3] / "data" / "bert_golden.npz"
"""The hidden states by transformers' BertModel, one text at a time; see tests/reference/make_bert_golden.py."""


def build(path: Path, pooling: str | None = None, **changes: Any) -> Any:
    """A session over the tiny model, by way of a safetensors file."""
    save_file(weights(), path / "model.safetensors")
    config = BertConfig.read(CONFIG | changes)
    g = Graph(read_weights(path / "model.safetensors"))
    ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
    states = bert(g, config, ids, mask)
    if pooling:
        g.output("vectors", POOLINGS[pooling](g, states, mask), ["batch", config.hidden_size])
    else:
        g.output("states", states, ["batch", "length", config.hidden_size])
    return g.session(session_options(), ["CPUExecutionProvider"])


def run(session: Any, texts: list[list[int]], padding: int = 0) -> np.ndarray[Any, Any]:
    ids = np.full((len(texts), max(map(len, texts))), padding, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    result: np.ndarray[Any, Any] = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    return result


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(tmp_path: Path, activation: str) -> None:
    expected = np.load(GOLDEN)[activation]
    session, texts = build(tmp_path, hidden_act=activation), token_ids()
    for row, text in enumerate(texts):
        np.testing.assert_allclose(run(session, [text])[0], expected[row, : len(text)], atol=1e-5)
    for order in ([*range(8)], [*reversed(range(8))], [3, 3, 0, 1]):
        for padding in (0, 52):
            states = run(session, [texts[row] for row in order], padding)
            for at, row in enumerate(order):
                length = len(texts[row])
                np.testing.assert_allclose(states[at, :length], expected[row, :length], atol=1e-5)


def test_poolings_leave_padding_out(tmp_path: Path) -> None:
    expected, texts = np.load(GOLDEN)["gelu"], token_ids()
    means = np.stack([expected[row, : len(text)].mean(axis=0) for row, text in enumerate(texts)])
    np.testing.assert_allclose(run(build(tmp_path, "mean"), texts, 52), means, atol=1e-5)
    np.testing.assert_allclose(run(build(tmp_path, "cls"), texts, 52), expected[:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_act": "swish"}, "the activation 'swish' is not known here; known are gelu, gelu_new, relu"),
        ({"hidden_act": None}, "hidden_act is None; it must be a string"),
        ({"hidden_size": "21"}, "hidden_size is '21'; it must be a whole number above 0"),
        ({"hidden_size": 21.0}, "hidden_size is 21.0; it must be a whole number above 0"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0; it must be a whole number above 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_attention_heads": 4}, "hidden_size 21 is no multiple of num_attention_heads 4"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps is 'tiny'; it must be a number above 0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan; it must be a number above 0"),
        ({"layer_norm_eps": float("inf")}, "layer_norm_eps is inf, which is too large"),
        ({"layer_norm_eps": 10**400}, "layer_norm_eps is 1000"),
        ({"vocab_size": 1 << 31}, "vocab_size is 2147483648, which is too large"),
        ({"position_embedding_type": "relative_key"}, "position embeddings of type 'relative_key' are not known"),
    ],
)
def test_a_configuration_that_cannot_be_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        BertConfig.read(CONFIG | changes, "/m/config.json")


def test_what_a_configuration_lacks_is_named() -> None:
    lacking = {name: value for name, value in CONFIG.items() if name not in ("vocab_size", "hidden_act")}
    with pytest.raises(ModelFileError, match=r"/m/config.json lacks vocab_size, hidden_act$"):
        BertConfig.read(lacking, "/m/config.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 54},
        {"num_hidden_layers": 4},
        {"num_hidden_layers": 2},
        {"intermediate_size": 38},
        {"type_vocab_size": 1},
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="the checkpoint"):
        build(tmp_path, **changes)
