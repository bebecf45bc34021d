"""BGE's reranker, on a small model of its layout, against FlagEmbedding."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, TruncationWarning
from milvine.model.reranker import BGERerankFunction
from tiny_tasks import CLASSIFIERS, write_model
from tiny_token_models import DATA, QUERIES, RERANKER_LENGTHS, TEXTS, write_bge_reranker

GOLDEN = np.load(DATA / "bge_reranker_golden.npz")
"""Scores by FlagEmbedding's BaseReranker; see tests/reference/make_bge_reranker_golden.py."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


def scores_of(rf: BGERerankFunction, query: str, texts: tuple[str, ...]) -> list[float]:
    scores = {result.index: result.score for result in rf(query, texts, top_k=99)}
    return [scores[at] for at in range(len(texts))]


@pytest.mark.parametrize("label", RERANKER_LENGTHS)
@pytest.mark.parametrize("normalize", [True, False])
def test_scores_are_flagembeddings_alone_together_and_in_any_order(tmp_path: Path, label: str, normalize: bool) -> None:
    folder, (query_length, length) = write_bge_reranker(tmp_path), RERANKER_LENGTHS[label]
    for options in ({"threads": 2}, {"threads": 1, "batch_tokens": 60}):
        rf = BGERerankFunction(
            folder, normalize=normalize, query_max_length=query_length, max_length=length, **options
        )  # fmt: skip
        for number, query in enumerate(QUERIES):
            expected = GOLDEN[f"{label}_{'scores' if normalize else 'logits'}_{number}"]
            np.testing.assert_allclose(scores_of(rf, query, TEXTS), expected, atol=1e-5, rtol=0)
            np.testing.assert_allclose(scores_of(rf, query, TEXTS[::-1]), expected[::-1], atol=1e-5, rtol=0)
            alone = [scores_of(rf, query, (text,))[0] for text in TEXTS]
            np.testing.assert_allclose(alone, expected, atol=1e-5, rtol=0)


def test_results_are_the_best_first_and_json(tmp_path: Path) -> None:
    rf = BGERerankFunction(write_bge_reranker(tmp_path), True, 4, True, "cpu", 9, 19)
    best = rf(QUERIES[0], TEXTS, top_k=3)
    expected = GOLDEN["long_scores_0"]
    assert [result.index for result in best] == np.argsort(-expected, kind="stable")[:3].tolist()
    assert json.loads(json.dumps(best[0].to_dict()))["text"] == TEXTS[best[0].index]
    assert rf(QUERIES[0], []) == []


def test_a_query_always_leaves_room_for_the_document(tmp_path: Path) -> None:
    rf = BGERerankFunction(write_bge_reranker(tmp_path), max_length=12)  # by default a query may have 256
    assert rf.query_max_length == 7
    first, second = (scores_of(rf, QUERIES[1], (text,)) for text in ("a", "b"))
    assert first != second


def test_what_was_cut_is_counted(tmp_path: Path) -> None:
    rf = BGERerankFunction(write_bge_reranker(tmp_path), query_max_length=4, max_length=13)
    with pytest.warns(TruncationWarning, match="1 of 2 pairs .* longer than the 13 tokens"):
        rf("a b", ["a", TEXTS[2]])
    assert (rf._model.truncation.texts, rf._model.truncation.tokens) == (1, 24 + 2 - (13 - 4))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_length": 5}, "max_length must be at least 6, not 5"),
        ({"max_length": 19, "query_max_length": 0}, "query_max_length must be at least 1, not 0"),
        ({}, "max_length must be from 5 to 19, not 512"),
        ({"normalize": "no"}, r"normalize must be True or False, not str \('no'\)"),
        ({"max_length": 19, "devices": ["cpu", "cuda"]}, "devices must name one device"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    folder = write_bge_reranker(tmp_path)
    with pytest.raises((InputError, InputTypeError), match=says):
        BGERerankFunction(folder, **options)


def test_a_classifier_of_several_labels_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path, CLASSIFIERS["roberta"])
    with pytest.raises(InputError, match="tells 3 labels apart, and a reranker has one"):
        BGERerankFunction(folder, max_length=19)


def test_the_identity_names_the_model(tmp_path: Path) -> None:
    identity = BGERerankFunction(write_bge_reranker(tmp_path / "mine"), max_length=19).identity()
    assert (identity["function"], identity["model"], len(identity["fingerprint"])) == ("BGERerankFunction", "mine", 64)
