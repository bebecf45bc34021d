from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.gte_new import GteNewConfig
from tiny_modern_encoders import GTE, TinyEncoder, gte_weights

GOLDEN = Path(__file__).parents[3] / "data" / "gte_new_golden.npz"
"""The states by transformers' GteModel, told the scaling of "ntk" in its own terms.

See tests/reference/make_modern_encoders_golden.py.
"""

NTK, NATIVE = GTE["ntk"], GTE["transformers_5"]


@pytest.mark.parametrize("case", GTE)
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(case: str) -> None:
    config = GTE[case]
    TinyEncoder(config, gte_weights(config)).assert_states(np.load(GOLDEN)[case])


def test_the_theta_that_transformers_takes_by_itself_is_160000() -> None:
    assert GteNewConfig.read({name: NATIVE[name] for name in NATIVE if "rope" not in name}).rope_theta == 160_000
    with pytest.raises(ModelFileError, match="rope_theta is None; it must be a number above 0"):
        GteNewConfig.read({name: NTK[name] for name in NTK if "rope" not in name})


def test_texts_may_be_as_long_as_there_are_positions() -> None:
    assert GteNewConfig.read(NTK | {"max_position_embeddings": 8192}).max_tokens == 8192


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_act": "swish"}, "the activation 'swish' is not known here; known are gelu"),
        ({"num_attention_heads": 5}, "hidden_size 24 is no multiple of num_attention_heads 5"),
        ({"num_attention_heads": 8}, "a head has 3 dimensions; rotary embeddings need an even number"),
        ({"type_vocab_size": -1}, "type_vocab_size is -1; it must be a whole number above 0"),
        ({"layer_norm_type": "rms_norm"}, "layer_norm_type is 'rms_norm'; only 'layer_norm' is known here"),
        ({"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute'; only 'rope' is known here"),
        ({"pack_qkv": False}, "pack_qkv is False; only True is known here"),
        ({"logn_attention_scale": True}, "logn_attention_scale is True; only False is known here"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, "rotary embeddings of type 'dynamic' are not known here"),
        ({"rope_scaling": {"type": "ntk", "factor": 0.5}}, "the factor of rope_scaling is 0.5; it must be 1 or more"),
        ({"rope_scaling": {"type": "ntk", "factor": "8"}}, "rope_factor is '8'; it must be a number above 0"),
        ({"rope_scaling": {"type": "ntk", "mixed_b": 0.6}}, "mixed_b of rope_scaling is 0.6; it is not known here"),
        ({"rope_scaling": "ntk"}, "rope_scaling is 'ntk'; it must be an object"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        GteNewConfig.read(NTK | changes, "/m/config.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_hidden_layers": 4}, "holds no tensor 'encoder.layer.3.attention.qkv_proj.weight'"),
        ({"num_hidden_layers": 2}, "holds 'encoder.layer.2.mlp_ln.weight', a layer more"),
        ({"hidden_size": 24 << 20}, "the tensor 'embeddings.word_embeddings.weight' has shape (53, 24)"),
        ({"type_vocab_size": 1}, "the tensor 'embeddings.token_type_embeddings.weight' has shape (2, 24)"),
        ({"intermediate_size": 36}, "the tensor 'encoder.layer.0.mlp.up_gate_proj.weight' has shape (74, 24)"),
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(says)):
        TinyEncoder(NTK | changes, gte_weights(NTK))
