from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.roberta import RobertaConfig
from tiny_encoders import MODELS, check_states, session, token_ids, weights

GOLDEN = Path(__file__).parents[3] / "data" / "roberta_golden.npz"
"""The states by transformers' RobertaModel and its kin; see tests/reference/make_encoders_golden.py."""

CONFIG = MODELS["roberta"]["roberta"]


@pytest.mark.parametrize("name", MODELS["roberta"])
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(tmp_path: Path, name: str) -> None:
    config = MODELS["roberta"][name]
    check_states(session(tmp_path, config), token_ids(config), np.load(GOLDEN)[name])


def test_positions_start_behind_the_padding_tokens_id() -> None:
    published = {"max_position_embeddings": 8194, "pad_token_id": 1}  # bge-m3, whose card promises 8,192 tokens
    assert RobertaConfig.read(CONFIG | published).max_tokens == 8192
    assert RobertaConfig.read(CONFIG | {"max_position_embeddings": 514, "pad_token_id": 3}).max_tokens == 510
    assert (
        RobertaConfig.read({name: value for name, value in CONFIG.items() if name != "pad_token_id"}).max_tokens == 19
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pad_token_id": None}, "pad_token_id is None; it must be a whole number above 0"),
        ({"pad_token_id": 0}, "pad_token_id is 0; it must be a whole number above 0"),
        (
            {"max_position_embeddings": 2},
            "max_position_embeddings is 2; it must be above 2, the first token's position",
        ),
        ({"hidden_act": "swish"}, "the activation 'swish' is not known here; known are gelu"),
        ({"num_attention_heads": 4}, "hidden_size 21 is no multiple of num_attention_heads 4"),
        # jina-embeddings-v3 calls itself xlm-roberta, and is another architecture.
        ({"position_embedding_type": "rotary"}, "position embeddings of type 'rotary' are not known here"),
        ({"is_decoder": True}, "is_decoder is set, but decoders cannot be run here"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        RobertaConfig.read(CONFIG | changes, "/m/config.json")


@pytest.mark.parametrize("change", [{"type_vocab_size": 2}, {"max_position_embeddings": 22}, {"vocab_size": 54}])
def test_a_configuration_that_contradicts_the_weights_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="the model's configuration says"):
        session(tmp_path, CONFIG | change, weights(CONFIG))
