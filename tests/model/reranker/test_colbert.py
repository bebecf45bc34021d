"""Reranking by late interaction, on small models, against PyLate's scores."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from milvine.errors import TruncationWarning
from milvine.model.reranker import ColBERTRerankFunction
from tiny_token_models import DATA, LATE, PYLATE, QUERIES, STANFORD, TEXTS

GOLDEN = np.load(DATA / "late_interaction_golden.npz")
"""See tests/reference/make_late_interaction_golden.py."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.mark.parametrize("name", [*STANFORD, *PYLATE])
def test_scores_are_pylates(tmp_path: Path, name: str) -> None:
    rf = ColBERTRerankFunction(LATE[name](tmp_path, name), threads=2)
    for query, expected in zip(QUERIES, GOLDEN[f"{name}_scores"], strict=True):
        results = rf(query, TEXTS, top_k=99)
        assert [result.score for result in results] == sorted((result.score for result in results), reverse=True)
        scores = {result.index: result.score for result in results}
        np.testing.assert_allclose([scores[at] for at in range(len(TEXTS))], expected, atol=2e-5)
        json.dumps(results[0].to_dict())


def test_the_identity_names_the_model(tmp_path: Path) -> None:
    rf = ColBERTRerankFunction(LATE["pylate"](tmp_path / "late", "pylate"))
    identity = rf.identity()
    assert (identity["function"], identity["model"], rf.model_name) == ("ColBERTRerankFunction", "late", "late")
    assert rf("a", []) == []
