"""Nomic's recipe, by the vectors of tests/reference/make_nomic_golden.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ModelUnavailableError
from milvine.model.dense import NomicEmbeddingFunction
from tiny_modern_encoders import HIDDEN
from tiny_nomic import DIMENSIONS, TASKS, TEXTS, write_model

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "nomic_golden.npz")


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("task", TASKS)
def test_vectors_are_made_as_the_model_card_says(tmp_path: Path, task: str, dimensions: int) -> None:
    ef = NomicEmbeddingFunction(write_model(tmp_path), task, dimensions)
    assert ef.dim == dimensions
    for vectors in (ef(TEXTS), ef.encode_documents(TEXTS)):
        np.testing.assert_allclose(vectors, GOLDEN[f"{task}_{dimensions}"], atol=1e-5, rtol=0)
    # Queries are queries whatever documents are for, which pymilvus.model forgets.
    np.testing.assert_allclose(ef.encode_queries(TEXTS), GOLDEN[f"search_query_{dimensions}"], atol=1e-5, rtol=0)


def test_the_names_of_nomics_client_are_known(tmp_path: Path) -> None:
    ef = NomicEmbeddingFunction(
        write_model(tmp_path), dimensionality=5, inference_mode="local", long_text_mode="truncate"
    )
    assert (ef.dim, ef.dimensions, ef.task_type) == (5, 5, "search_document")
    np.testing.assert_allclose(ef(TEXTS), GOLDEN["search_document_5"], atol=1e-5, rtol=0)


def test_a_model_that_was_not_trained_to_be_cut_is_whole(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "nomic-embed-text-v1")
    ef = NomicEmbeddingFunction(folder, dimensions=HIDDEN)
    np.testing.assert_allclose(ef(TEXTS), GOLDEN["search_document_whole"], atol=1e-5, rtol=0)
    with pytest.raises(InputError, match=f"nomic-embed-text-v1 has {HIDDEN} dimensions and was not trained to be cut"):
        NomicEmbeddingFunction(folder, dimensions=16)


def test_the_default_is_the_catalogues_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("MILVINE_OFFLINE", "1")
    with pytest.raises(ModelUnavailableError, match=r"deliver nomic-ai/nomic-embed-text-v1\.5 at"):
        NomicEmbeddingFunction()


def test_an_identity_makes_the_function_again(tmp_path: Path) -> None:
    made = NomicEmbeddingFunction(write_model(tmp_path), "clustering", 16, max_length=30)
    identity = json.loads(json.dumps(made.identity()))
    assert (identity["task_type"], identity["dimensions"]) == ("clustering", 16)
    again = NomicEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(TEXTS), made(TEXTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task_type": "search"}, "task_type must be one of search_document, search_query, classification, clustering"),
        ({"inference_mode": "dynamic"}, 'inference_mode must be "local" or "remote", not \'dynamic\''),
        ({"long_text_mode": "mean"}, "long_text_mode must be \"truncate\", not 'mean'"),
        ({"dimensions": 0}, "dimensions must be from 1 to 24, not 0"),
        ({"dimensions": 25}, "dimensions must be from 1 to 24, not 25"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        NomicEmbeddingFunction(write_model(tmp_path), **options)


def test_options_of_a_wrong_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputTypeError, match="dimensions must be a whole number, not str"):
        NomicEmbeddingFunction(write_model(tmp_path), dimensions="768")  # type: ignore[arg-type]


def test_prompts_are_the_models_own() -> None:
    wrong: Any = {"query_instruction": "q: "}
    with pytest.raises(InputTypeError, match="there is no option 'query_instruction'"):
        NomicEmbeddingFunction(**wrong)
