from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.mpnet import MPNetConfig
from tiny_encoders import MODELS, check_states, session, token_ids, weights

GOLDEN = Path(__file__).parents[3] / "data" / "mpnet_golden.npz"
"""The states by transformers' MPNetModel; see tests/reference/make_encoders_golden.py."""

CONFIG = MODELS["mpnet"]["gelu"]


@pytest.mark.parametrize("name", MODELS["mpnet"])
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(tmp_path: Path, name: str) -> None:
    config = MODELS["mpnet"][name]
    texts = token_ids(config)
    assert max(map(len, texts)) > 128 + 1  # so that the farthest distances share a bucket
    check_states(session(tmp_path, config), texts, np.load(GOLDEN)[name])


def test_two_positions_are_kept_for_padding_whatever_its_id() -> None:
    assert MPNetConfig.read(CONFIG | {"max_position_embeddings": 514}).max_tokens == 512  # all-mpnet-base-v2
    assert MPNetConfig.read(CONFIG | {"max_position_embeddings": 514, "pad_token_id": 7}).max_tokens == 512


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"relative_attention_num_buckets": 64}, "relative_attention_num_buckets is 64; it must be 32"),
        (
            {"max_position_embeddings": 2},
            "max_position_embeddings is 2; it must be above 2, the first token's position",
        ),
        ({"hidden_act": "swish"}, "the activation 'swish' is not known here; known are gelu"),
        ({"num_attention_heads": 4}, "hidden_size 21 is no multiple of num_attention_heads 4"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        MPNetConfig.read(CONFIG | changes, "/m/config.json")


@pytest.mark.parametrize(
    "change",
    [{"num_attention_heads": 7}, {"intermediate_size": 38}, {"num_hidden_layers": 4}, {"num_hidden_layers": 2}],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="the checkpoint"):
        session(tmp_path, CONFIG | change, weights(CONFIG))
