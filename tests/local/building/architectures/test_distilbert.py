from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.architectures.distilbert import DistilBertConfig
from tiny_encoders import MODELS, check_states, session, token_ids, weights

GOLDEN = Path(__file__).parents[3] / "data" / "distilbert_golden.npz"
"""The states by transformers' DistilBertModel; see tests/reference/make_encoders_golden.py."""

CONFIG = MODELS["distilbert"]["gelu"]


@pytest.mark.parametrize("name", MODELS["distilbert"])
def test_hidden_states_are_the_references_alone_padded_and_in_any_order(tmp_path: Path, name: str) -> None:
    config = MODELS["distilbert"][name]
    check_states(session(tmp_path, config), token_ids(config), np.load(GOLDEN)[name])


def test_the_epsilon_is_not_the_configurations_to_choose(tmp_path: Path) -> None:
    config = CONFIG | {"layer_norm_eps": 0.5}
    check_states(session(tmp_path, config), token_ids(config), np.load(GOLDEN)["gelu"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dim": "21"}, "dim is '21'; it must be a whole number above 0"),
        ({"activation": "swish"}, "the activation 'swish' is not known here; known are gelu"),
        ({"n_heads": 4}, "dim 21 is no multiple of n_heads 4"),
        ({"position_embedding_type": "relative_key"}, "position embeddings of type 'relative_key' are not known here"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_named_with_its_file(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(f"/m/config.json: {says}")):
        DistilBertConfig.read(CONFIG | changes, "/m/config.json")


def test_what_a_configuration_lacks_is_named_as_the_file_names_it() -> None:
    lacking = {name: value for name, value in CONFIG.items() if name not in ("dim", "activation")}
    with pytest.raises(ModelFileError, match=r"/m/config.json lacks dim, activation$"):
        DistilBertConfig.read(lacking, "/m/config.json")


@pytest.mark.parametrize(
    "change", [{"n_layers": 4}, {"n_layers": 2}, {"hidden_dim": 38}, {"max_position_embeddings": 20}]
)
def test_a_configuration_that_contradicts_the_weights_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="the checkpoint"):
        session(tmp_path, CONFIG | change, weights(CONFIG))
