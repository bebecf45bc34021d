from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.t5 import T5Config
from tiny_modern_encoders import HEADS, HIDDEN, LENGTHS, T5, TinyEncoder, t5_weights, token_ids

GOLDEN = Path(__file__).parents[3] / "data" / "t5_golden.npz"
"""The states by transformers' T5EncoderModel; see tests/reference/make_modern_encoders_golden.py."""

CONFIG = T5["relu"]


@pytest.mark.parametrize("case", T5)
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(case: str) -> None:
    config = T5[case]
    assert config["d_kv"] * HEADS != HIDDEN  # the heads together are not as wide as the states
    TinyEncoder(config, t5_weights(config)).assert_states(np.load(GOLDEN)[case])


def test_the_farthest_distances_of_a_text_share_a_bucket() -> None:
    assert max(LENGTHS) - 1 > T5["gated"]["relative_attention_max_distance"]


def test_the_table_of_token_vectors_may_have_either_of_its_names() -> None:
    weights = t5_weights(CONFIG)
    weights["encoder.embed_tokens.weight"] = weights.pop("shared.weight")
    states = TinyEncoder(CONFIG, weights).states(token_ids())
    np.testing.assert_allclose(np.concatenate(states), np.load(GOLDEN)["relu"], atol=1e-5)


def test_positions_have_no_end() -> None:
    assert T5Config.read(CONFIG).max_tokens is None


def test_what_a_configuration_leaves_out_is_as_in_t5_base() -> None:
    # The defaults of transformers' T5Config.
    lean = {name: value for name, value in CONFIG.items() if name not in ("feed_forward_proj", "layer_norm_epsilon")}
    read = T5Config.read(lean)
    assert (read.feed_forward_proj, read.layer_norm_epsilon) == ("relu", 1e-6)
    assert read.relative_attention_max_distance == 128


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"feed_forward_proj": "gated-silu"},
            "the feed_forward_proj 'gated-silu' is not known here; known are relu, g",
        ),
        ({"num_heads": 0}, "num_heads is 0; it must be a whole number above 0"),
        ({"d_kv": "64"}, "d_kv is '64'; it must be a whole number above 0"),
        ({"relative_attention_num_buckets": 6}, "relative_attention_num_buckets is 6; it must be a multiple of 4"),
        (
            {"relative_attention_max_distance": 2},
            "relative_attention_max_distance is 2; for 8 buckets it must be above 2",
        ),
        (
            {"relative_attention_max_distance": 1 << 30},
            "relative_attention_max_distance is 1073741824; more than 65536 is not known here",
        ),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        T5Config.read(CONFIG | changes, "/m/config.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_layers": 4}, "holds no tensor 'encoder.block.3.layer.0.layer_norm.weight'"),
        ({"num_layers": 2}, "holds 'encoder.block.2.layer.0.layer_norm.weight', a layer more"),
        ({"vocab_size": 54}, "the tensor 'shared.weight' has shape (53, 24)"),
        ({"d_kv": 8}, "the tensor 'encoder.block.0.layer.0.SelfAttention.q.weight' has shape (15, 24)"),
        ({"feed_forward_proj": "gated-gelu"}, "holds no tensor 'encoder.block.0.layer.1.DenseReluDense.wi_0.weight'"),
        ({"relative_attention_num_buckets": 32}, "relative_attention_bias.weight' has shape (8, 3)"),
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(says)):
        TinyEncoder(CONFIG | changes, t5_weights(CONFIG))


def test_a_checkpoint_without_the_table_of_token_vectors_is_refused() -> None:
    weights = t5_weights(CONFIG)
    del weights["shared.weight"]
    with pytest.raises(ModelFileError, match=r"holds no tensor 'shared\.weight'"):
        TinyEncoder(CONFIG, weights)
