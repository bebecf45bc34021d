"""The public function over classifiers of folders; tests/local/building/test_task_heads.py compares their logits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ModelFileError, TruncationWarning
from milvine.model.reranker import CrossEncoderRerankFunction
from tiny_tasks import CLASSIFIERS, DOCUMENTS, QUERY, RERANKERS, write_json, write_model

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


LABELS = ["contradiction", "entailment", "neutral"]


def scores_of(rf: CrossEncoderRerankFunction) -> list[float]:
    scores = {result.index: result.score for result in rf(QUERY, DOCUMENTS, top_k=99)}
    return [scores[at] for at in range(len(DOCUMENTS))]


@pytest.mark.parametrize("label", [0, 1, 2, *LABELS])
def test_one_of_several_labels_has_its_share(tmp_path: Path, label: int | str) -> None:
    # CrossEncoder.predict(..., apply_softmax=True)
    folder = write_model(tmp_path, CLASSIFIERS["roberta"])
    column = LABELS.index(label) if isinstance(label, str) else label
    rf = CrossEncoderRerankFunction(folder, label=label)
    np.testing.assert_allclose(scores_of(rf), GOLDEN["roberta_shares"][:, column], atol=1e-5)
    assert rf.identity()["label"] == label


def test_where_several_labels_may_hold_one_has_its_own_sigmoid(tmp_path: Path) -> None:
    folder = write_model(tmp_path, CLASSIFIERS["several_at_once"])
    expected = 1 / (1 + np.exp(-GOLDEN["several_at_once_by_label"][:, 2]))
    np.testing.assert_allclose(scores_of(CrossEncoderRerankFunction(folder, label="neutral")), expected, atol=1e-5)


def test_an_activation_is_of_the_labels_own_logit(tmp_path: Path) -> None:
    folder = write_model(tmp_path, CLASSIFIERS["roberta"])
    rf = CrossEncoderRerankFunction(folder, activation_fct=float, label="entailment")
    np.testing.assert_allclose(scores_of(rf), GOLDEN["roberta_by_label"][:, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("label", "error", "says"),
    [
        (
            None,
            InputError,
            "tells 3 labels apart \\(0: 'contradiction', 1: 'entailment', 2: 'neutral'\\).* pass label=",
        ),
        ("yes", InputError, "has no label 'yes'; it has 0: 'contradiction', 1: 'entailment', 2: 'neutral'"),
        (3, InputError, "has no label 3"),
        (-1, InputError, "has no label -1"),
        (True, InputTypeError, "label must be a name or a number, not bool"),
    ],
)
def test_a_label_that_there_is_not_is_refused(
    tmp_path: Path, label: int | str | None, error: type[Exception], says: str
) -> None:
    folder = write_model(tmp_path, CLASSIFIERS["roberta"])
    with pytest.raises(error, match=says):
        CrossEncoderRerankFunction(folder, label=label)
