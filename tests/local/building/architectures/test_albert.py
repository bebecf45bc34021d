from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.albert import AlbertConfig
from tiny_encoders import MODELS, check_states, session, token_ids, weights

GOLDEN = Path(__file__).parents[3] / "data" / "albert_golden.npz"
"""The states by transformers' AlbertModel; see tests/reference/make_encoders_golden.py."""

CONFIG = MODELS["albert"]["one_group"]


@pytest.mark.parametrize("name", MODELS["albert"])
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(tmp_path: Path, name: str) -> None:
    config = MODELS["albert"][name]
    check_states(session(tmp_path, config), token_ids(config), np.load(GOLDEN)[name])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"embedding_size": 0}, "embedding_size is 0; it must be a whole number above 0"),
        ({"num_hidden_layers": 1001}, "the model has 1001 layers; more than 1000 are not run here"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is 1000000000000, which is too large"),
        ({"inner_group_num": None}, "inner_group_num is None; it must be a whole number above 0"),
        ({"hidden_act": "swish"}, "the activation 'swish' is not known here; known are gelu"),
        ({"num_attention_heads": 4}, "hidden_size 21 is no multiple of num_attention_heads 4"),
        ({"position_embedding_type": "relative_key"}, "position embeddings of type 'relative_key' are not known here"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        AlbertConfig.read(CONFIG | changes, "/m/config.json")


@pytest.mark.parametrize(
    "change",
    [
        {"embedding_size": 21},
        {"num_hidden_groups": 2},
        {"inner_group_num": 2},
        {"intermediate_size": 38},
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="the checkpoint"):
        session(tmp_path, CONFIG | change, weights(CONFIG))


@pytest.mark.parametrize("fewer", [{"num_hidden_groups": 1}, {"inner_group_num": 1}])
def test_a_checkpoint_that_holds_more_layers_than_the_configuration_counts_is_refused(
    tmp_path: Path, fewer: dict[str, Any]
) -> None:
    config = CONFIG | {"num_hidden_layers": 2, "num_hidden_groups": 2, "inner_group_num": 2}
    with pytest.raises(
        ModelFileError, match=r"the checkpoint holds 'encoder\.albert_layer_groups\.[01]\.albert_layers"
    ):
        session(tmp_path, config | fewer, weights(config))
