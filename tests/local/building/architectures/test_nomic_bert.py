from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.nomic_bert import NomicBertConfig
from tiny_modern_encoders import NOMIC_BERT, TinyEncoder, nomic_bert_weights, token_ids

GOLDEN = Path(__file__).parents[3] / "data" / "nomic_bert_golden.npz"
"""The states by transformers' NomicBertModel; "biased" by a reference of our own, which agrees with it where both run.

See tests/reference/make_modern_encoders_golden.py.
"""

OWN, NATIVE = NOMIC_BERT["own"], NOMIC_BERT["transformers_5"]


@pytest.mark.parametrize("case", ["own", "biased"])
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(case: str) -> None:
    config = NOMIC_BERT[case]
    TinyEncoder(config, nomic_bert_weights(config)).assert_states(np.load(GOLDEN)[case])


@pytest.mark.parametrize("config", [NATIVE, OWN | NATIVE], ids=["native", "both"])
def test_what_transformers_5_writes_is_the_same_model(config: dict[str, Any]) -> None:
    # The hub's nomic-embed-text-v1.5 has the names of both; transformers saves checkpoints under nomic-ai's names.
    states = TinyEncoder(config, nomic_bert_weights(OWN)).states(token_ids())
    np.testing.assert_allclose(np.concatenate(states), np.load(GOLDEN)["own"], atol=1e-5)


def test_the_theta_that_transformers_takes_by_itself_is_1000() -> None:
    assert NomicBertConfig.read({name: NATIVE[name] for name in NATIVE if "rope" not in name}).rotary_emb_base == 1000


def test_texts_end_where_the_angles_would_be_stretched_for_a_whole_batch() -> None:
    assert NomicBertConfig.read(OWN).max_tokens == 64
    assert NomicBertConfig.read(OWN | {"rotary_scaling_factor": 2}).max_tokens == 32
    assert NomicBertConfig.read(OWN | {"rotary_scaling_factor": 2, "n_positions": 16}).max_tokens == 16
    assert NomicBertConfig.read(NATIVE).max_tokens == 64


@pytest.mark.parametrize(
    ("config", "changes", "says"),
    [
        (OWN, {"activation_function": "gelu"}, "the activation 'gelu' is not known here; known is swiglu"),
        (NATIVE, {"hidden_act": "gelu"}, "the activation 'gelu' is not known here; known is silu"),
        (OWN, {"n_head": 5}, "n_embd 24 is no multiple of n_head 5"),
        (NATIVE, {"num_attention_heads": 5}, "hidden_size 24 is no multiple of num_attention_heads 5"),
        (OWN, {"n_layer": 0}, "n_layer is 0; it must be a whole number above 0"),
        (OWN, {"type_vocab_size": 0}, "type_vocab_size is 0; it must be a whole number above 0"),
        (OWN, {"rotary_emb_fraction": 0.0}, "rotary_emb_fraction is 0.0; it must be a number above 0"),
        (OWN, {"rotary_emb_fraction": 0.4}, "rotary_emb_fraction is 0.4; it must be the share of an even number of a"),
        (OWN, {"rotary_emb_fraction": 2}, "rotary_emb_fraction is 2; it must be the share of an even number of a head"),
        (OWN, {"rotary_emb_interleaved": True}, "rotary_emb_interleaved is True; only False is known here"),
        (OWN, {"rotary_emb_scale_base": 512}, "rotary_emb_scale_base is 512; only None is known here"),
        (OWN, {"rotary_scaling_factor": "2"}, "rotary_scaling_factor is '2'; it must be a number above 0"),
        (OWN, {"prenorm": True}, "prenorm is True; only False is known here"),
        (OWN, {"parallel_block": True}, "parallel_block is True; only False is known here"),
        (OWN, {"causal": True}, "causal is True; only False is known here"),
        (OWN, {"use_rms_norm": True}, "use_rms_norm is True; only False is known here"),
        (OWN, {"moe_every_n_layers": 2}, "moe_every_n_layers is 2; only 0 is known here"),  # nomic-embed-text-v2-moe
        (OWN, {"num_heads_kv": 1}, "num_heads_kv is 1; only 3 is known here"),
        (NATIVE, {"head_dim": 6}, "head_dim is 6; only 8 is known here"),
        (NATIVE, {"rope_parameters": {"rope_type": "dynamic"}}, "rotary embeddings of type 'dynamic' are not known"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(
    config: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        NomicBertConfig.read(config | changes, "/m/config.json")


def test_what_a_configuration_lacks_is_named_as_it_names_things() -> None:
    for config, names in ((OWN, "n_inner, n_positions"), (NATIVE, "intermediate_size, max_position_embeddings")):
        lacking = {name: value for name, value in config.items() if name not in names.split(", ")}
        with pytest.raises(ModelFileError, match=f"/m/config.json lacks {names}$"):
            NomicBertConfig.read(lacking, "/m/config.json")
    with pytest.raises(ModelFileError, match=r"lacks rotary_emb_base$"):
        NomicBertConfig.read({name: OWN[name] for name in OWN if name != "rotary_emb_base"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_layer": 4}, "holds no tensor 'encoder.layers.3.attn.Wqkv.weight'"),
        ({"n_layer": 2}, "holds 'encoder.layers.2.norm2.weight', a layer more"),
        ({"n_embd": 24 << 20}, "the tensor 'embeddings.word_embeddings.weight' has shape (53, 24)"),
        ({"qkv_proj_bias": True}, "holds no tensor 'encoder.layers.0.attn.Wqkv.bias'"),
        ({"n_inner": 38}, "the tensor 'encoder.layers.0.mlp.fc11.weight' has shape (37, 24)"),
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(says)):
        TinyEncoder(OWN | changes, nomic_bert_weights(OWN))
