"""The public function over classifiers of folders; tests/local/test_task_heads.py compares their logits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from milvine.errors import ModelFileError, TruncationWarning
from milvine.model.reranker import CrossEncoderRerankFunction
from tiny_tasks import DOCUMENTS, QUERY, RERANKERS, write_json, write_model

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "tasks_golden.npz")
"""Scores and logits by sentence-transformers' CrossEncoder; see tests/reference/make_tasks_golden.py."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.mark.parametrize("name", RERANKERS)
def test_scores_are_those_that_sentence_transformers_makes_by_default(tmp_path: Path, name: str) -> None:
    rf = CrossEncoderRerankFunction(write_model(tmp_path, RERANKERS[name]))
    scores = {result.index: result.score for result in rf(QUERY, DOCUMENTS, top_k=99)}
    np.testing.assert_allclose([scores[at] for at in range(len(DOCUMENTS))], GOLDEN[f"{name}_scores"], atol=1e-5)


def test_the_callers_activation_comes_before_the_models(tmp_path: Path) -> None:
    folder = write_model(tmp_path, RERANKERS["roberta"])  # whose own is the sigmoid
    by_index = {result.index: result.score for result in CrossEncoderRerankFunction(folder, activation_fct=float)(
        QUERY, DOCUMENTS, top_k=99
    )}  # fmt: skip
    expected = GOLDEN["roberta_logits"]
    np.testing.assert_allclose([by_index[at] for at in range(len(DOCUMENTS))], expected, atol=1e-5)


def test_an_activation_that_is_not_known_must_be_passed(tmp_path: Path) -> None:
    folder = write_model(tmp_path, RERANKERS["bert_saved_by_6"])
    write_json(folder / "config_sentence_transformers.json", {"activation_fn": "torch.nn.modules.activation.Tanh"})
    with pytest.raises(ModelFileError, match=r"the activation that .* names is not known here; pass activation_fct"):
        CrossEncoderRerankFunction(folder)
    (result,) = CrossEncoderRerankFunction(folder, activation_fct=math.tanh)(QUERY, ["a"])
    assert -1 < result.score < 1


def test_the_identity_names_the_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", RERANKERS["albert"])
    identity = CrossEncoderRerankFunction(folder).identity()
    assert (identity["model"], identity["revision"], identity["folder"]) == ("mine", None, str(folder))
    assert len(identity["fingerprint"]) == 64
