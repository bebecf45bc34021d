from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.modernbert import GLOBAL, LOCAL, ModernBertConfig
from tiny_modern_encoders import HEADS, HIDDEN, LENGTHS, MODERNBERT, TinyEncoder, modernbert_weights, token_ids

GOLDEN = Path(__file__).parents[3] / "data" / "modernbert_golden.npz"
"""The states by transformers' ModernBertModel; see tests/reference/make_modern_encoders_golden.py."""

CONFIG = MODERNBERT["transformers_4"]


@pytest.mark.parametrize("case", MODERNBERT)
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(case: str) -> None:
    config = MODERNBERT[case]
    assert max(LENGTHS) > config["local_attention"]  # so that the window leaves something out
    TinyEncoder(config, modernbert_weights(config)).assert_states(np.load(GOLDEN)[case])


def test_what_transformers_5_writes_means_what_transformers_4_wrote() -> None:
    rest = {name: value for name, value in CONFIG.items() if "theta" not in name and "every" not in name}
    rope = {
        GLOBAL: {"rope_theta": 160000.0, "rope_type": "default"},
        LOCAL: {"rope_theta": 10000.0, "rope_type": "default"},
    }
    new = rest | {"layer_types": [GLOBAL, LOCAL, GLOBAL], "rope_parameters": rope, "rope_scaling": None}
    states = TinyEncoder(new, modernbert_weights(new)).states(token_ids())
    np.testing.assert_allclose(np.concatenate(states), np.load(GOLDEN)["transformers_4"], atol=1e-5)


def test_what_a_configuration_leaves_out_is_as_in_modernbert_base() -> None:
    # The defaults of transformers' ModernBertConfig, and the switches of ModernBERT-base's config.json.
    names = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings")
    read = ModernBertConfig.read({name: CONFIG[name] for name in names} | {"num_hidden_layers": 22})
    assert (read.local_attention, read.global_rope_theta, read.local_rope_theta) == (128, 160000.0, 10000.0)
    assert [number for number, kind in enumerate(read.layer_types) if kind == GLOBAL] == [0, 3, 6, 9, 12, 15, 18, 21]
    assert (read.hidden_activation, read.norm_eps) == ("gelu", 1e-5)
    assert (read.norm_bias, read.attention_bias, read.mlp_bias) == (False, False, False)


def test_a_local_theta_of_null_is_the_global_one() -> None:
    assert ModernBertConfig.read(CONFIG | {"local_rope_theta": None, "global_rope_theta": 5.0}).local_rope_theta == 5.0


def test_texts_may_be_as_long_as_there_are_positions() -> None:
    assert ModernBertConfig.read(CONFIG | {"max_position_embeddings": 8192}).max_tokens == 8192


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_activation": "silu"}, "the activation 'silu' is not known here; known are gelu"),
        ({"num_attention_heads": 5}, "hidden_size 24 is no multiple of num_attention_heads 5"),
        ({"num_attention_heads": 8}, "a head has 3 dimensions; rotary embeddings need an even number"),
        ({"attention_bias": 1}, "attention_bias is 1; it must be true or false"),
        ({"num_hidden_layers": 1001}, "the model has 1001 layers; more than 1000 are not run here"),
        ({"local_attention": 0}, "local_attention is 0; it must be a whole number above 0"),
        ({"global_rope_theta": None}, "global_rope_theta is None; it must be a number above 0"),
        ({"layer_types": [GLOBAL, LOCAL]}, "layer_types is ['full_attention', 'sliding_attention']; it must be a list"),
        ({"layer_types": [GLOBAL, LOCAL, "chunked"]}, "layer_types is ['full_attention', 'sliding_attention', 'chun"),
        ({"layer_types": GLOBAL}, "layer_types is 'full_attention'; it must be a list of"),
        ({"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters is {'rope_theta': 5.0}; it must be an object with"),
        ({"rope_parameters": [5.0]}, "rope_parameters is [5.0]; it must be an object with"),
        ({"rope_parameters": {LOCAL: {"rope_type": "yarn"}}}, "rotary embeddings of type 'yarn' are not known here"),
        ({"rope_parameters": {GLOBAL: {"rope_theta": "x"}}}, "global_rope_theta is 'x'; it must be a number above 0"),
        ({"rope_scaling": {"factor": 2}}, "rope_scaling is {'factor': 2}; only None is known here"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        ModernBertConfig.read(CONFIG | changes, "/m/config.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_hidden_layers": 4}, "holds no tensor 'layers.3.attn_norm.weight'"),
        ({"num_hidden_layers": 2}, "holds 'layers.2.mlp_norm.weight', a layer more"),
        ({"hidden_size": 24 << 20}, "the tensor 'embeddings.tok_embeddings.weight' has shape (53, 24)"),
        ({"norm_bias": True}, "holds no tensor 'embeddings.norm.bias'"),
        ({"mlp_bias": True}, "holds no tensor 'layers.0.mlp.Wi.bias'"),
        (
            {"intermediate_size": 38},
            "the tensor 'layers.0.mlp.Wi.weight' has shape (74, 24); the model's configuration",
        ),
        ({"hidden_size": 2 * HEADS}, f"the tensor 'embeddings.tok_embeddings.weight' has shape (53, {HIDDEN})"),
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(says)):
        TinyEncoder(CONFIG | changes, modernbert_weights(CONFIG))
