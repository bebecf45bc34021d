"""Chains of modules that a `modules.json` names, against what sentence-transformers makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from milvine.errors import ModelFileError
from milvine.local.encoder import LocalModel
from tiny_heads import CHAIN, TEXTS, dense, write_chain, write_json, write_model

DATA = Path(__file__).parents[2] / "data"
GOLDEN = DATA / "heads_golden.npz"
"""The vectors of TEXTS by sentence-transformers, from the same folders; see tests/reference/make_heads_golden.py."""


pytestmark = pytest.mark.filterwarnings("ignore::milvine.errors.TruncationWarning")


def encode(folder: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    return LocalModel(folder, "dense", threads=1).encode(texts)


def test_modules_in_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "chain")
    modules = json.loads((folder / "modules.json").read_text())
    for module, place in ((modules[2], "a/Same"), (modules[5], "b/Same")):
        (folder / place).parent.mkdir()
        (folder / module["path"]).rename(folder / place)
        module["path"] = place
    write_json(folder / "modules.json", modules)
    np.testing.assert_allclose(encode(folder, list(TEXTS)), np.load(GOLDEN)["chain_query"], atol=1e-5, rtol=0)


def test_a_dense_layer_may_come_as_what_pytorch_saved(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "chain")
    (folder / "2_Dense" / "model.safetensors").unlink()
    shutil.copy(DATA / "dense.bin", folder / "2_Dense" / "pytorch_model.bin")  # by torch.save
    np.testing.assert_allclose(encode(folder, list(TEXTS)), np.load(GOLDEN)["chain_query"], atol=1e-5, rtol=0)


POOLING, DENSE = CHAIN[0], CHAIN[1]


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ((POOLING, ("models.CNN", {})), "modules.json: the module sentence_transformers.models.CNN is not known here"),
        (
            (("models.WeightedLayerPooling", {}),),
            "models.WeightedLayerPooling is not known here; sentence-transformers",
        ),
        ((), "plain: modules.json has no pooling, so it is of no dense model"),
        ((DENSE, POOLING), "1_Dense: Dense cannot stand here; a dense model has one pooling, and first"),
        ((POOLING, POOLING), "2_Pooling: Pooling cannot stand here"),
        ((("models.Pooling", {"word_embedding_dimension": 22}),), "is for vectors of 22 dimensions, and gets 21"),
        ((("models.Pooling", {"pooling_mode": "sum"}),), "1_Pooling/config.json: the pooling 'sum' is not one of cls"),
        ((("models.Pooling", {"pooling_mode": []}),), r"the pooling \[\] is not one of"),
        ((("models.Pooling", {"pooling_mode_median": True}),), "pooling_mode_median is not known here"),
        ((POOLING, ("models.Dense", dense(20, 8, "activation.Tanh"))), "vectors of 20 dimensions, and gets 21"),
        (
            (POOLING, ("models.Dense", dense(21, 8, "activation.Softmax"))),
            "Softmax' is not known here; known are Ident",
        ),
        ((POOLING, ("models.Dense", DENSE[1] | {"activation_function": "mine.Tanh"})), "'mine.Tanh' is not known here"),
        ((POOLING, ("models.Dense", DENSE[1] | {"out_features": 0})), "out_features is 0; it must be a whole number"),
        ((POOLING, ("models.Dense", DENSE[1] | {"use_residual": True})), "use_residual is True; only False is known"),
        (
            (POOLING, ("models.Dense", DENSE[1] | {"module_input_name": "token_embeddings"})),
            "module_input_name is 'token_embeddings'; only 'sentence_embedding' is known here",
        ),
        ((POOLING, ("models.LayerNorm", {"dimension": 3})), "for vectors of 3 dimensions, and gets 21"),
    ],
)
def test_a_chain_that_cannot_be_run_is_refused_at_once(tmp_path: Path, chain: Any, says: str) -> None:
    folder = write_model(tmp_path, "plain")
    write_chain(folder, chain)
    with pytest.raises(ModelFileError, match=says):
        LocalModel(folder, "dense")


def test_weights_that_contradict_the_chain_are_named_at_first_use(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "chain")
    save_file({"linear.weight": np.ones((7, 21), np.float32)}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"'2_Dense/linear\.weight' has shape \(7, 21\).* says \(8, 21\)"):
        encode(folder, ["a"])
    save_file({"other": np.ones(3, np.float32)}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"holds no tensor '2_Dense/linear\.weight'"):
        encode(folder, ["a"])
