"""The public function over static embeddings; test_static.py of tests/local/running compares every layout."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ModelFileError, TruncationWarning
from milvine.local.finding.catalogue import find
from milvine.local.finding.files import fetch_model
from milvine.model.dense import Model2VecEmbeddingFunction, SentenceTransformerEmbeddingFunction
from tiny_static import TEXTS, write_model
from varied_texts import TEXTS as VARIED

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "static_golden.npz")
"""The vectors of Model2Vec itself; see tests/reference/make_static_golden.py."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


def test_the_default_gives_texts_of_every_kind_model2vecs_vectors() -> None:
    ef = Model2VecEmbeddingFunction()
    assert (ef.model_name, ef.dim, ef.max_length) == ("potion-base-8M", 256, 512)
    for vectors in (ef(VARIED), ef.encode_documents(VARIED), ef.encode_queries(VARIED)):
        np.testing.assert_allclose(vectors, GOLDEN["potion"], atol=1e-6, rtol=0)
    assert all(vector.dtype == np.float32 for vector in ef(["a"]))
    general = SentenceTransformerEmbeddingFunction("minishlab/potion-base-8M")
    np.testing.assert_array_equal(general(VARIED), ef(VARIED))


def test_the_default_can_be_had_of_a_folder_of_the_callers() -> None:
    row = find("potion-base-8M")
    folder = fetch_model(row)[row.weights].parent
    np.testing.assert_allclose(Model2VecEmbeddingFunction(folder)(VARIED), GOLDEN["potion"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(Model2VecEmbeddingFunction(folder=folder)(VARIED), GOLDEN["potion"], atol=1e-6, rtol=0)


def test_vectors_have_the_length_that_the_model_gives_them_unless_another_is_wanted(tmp_path: Path) -> None:
    for name, normalizes in (("normalized", True), ("weighted", False)):
        folder = write_model(tmp_path, name)
        own = Model2VecEmbeddingFunction(folder)
        assert own.normalize_embeddings is normalizes
        np.testing.assert_allclose(own(TEXTS), GOLDEN[name], atol=1e-6, rtol=0)
    lengths = np.linalg.norm(Model2VecEmbeddingFunction(folder, normalize_embeddings=True)(TEXTS), axis=1)
    np.testing.assert_allclose(lengths, GOLDEN["weighted"].any(axis=1), atol=1e-6)


def test_dimensions_can_be_cut_off(tmp_path: Path) -> None:
    # Model2Vec's dimensionality=3 cuts the table, and normalises then: the same direction.
    ef = Model2VecEmbeddingFunction(write_model(tmp_path, "normalized"), truncate_dim=3)
    kept = GOLDEN["normalized"][:, :3]
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(ef(TEXTS), kept / np.maximum(lengths, 1e-12), atol=1e-6)


def test_a_text_that_comes_again_has_the_same_vector_and_none_have_none(tmp_path: Path) -> None:
    ef = Model2VecEmbeddingFunction(write_model(tmp_path, "normalized"))
    np.testing.assert_array_equal(ef(["a", "b", "a"]), ef(["a", "b"])[:2] + ef(["a"]))
    assert ef([]) == []


def test_a_generator_goes_in_and_vectors_come_out_one_by_one(tmp_path: Path) -> None:
    ef = Model2VecEmbeddingFunction(write_model(tmp_path, "normalized"))
    np.testing.assert_array_equal([*ef.iter_documents((text for text in TEXTS), batch_size=3)], ef(TEXTS))


def test_an_identity_makes_the_function_again(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "normalized")
    made = Model2VecEmbeddingFunction(folder, truncate_dim=4, max_length=5, doc_instruction="a ")
    identity = json.loads(json.dumps(made.identity()))
    again = Model2VecEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(TEXTS), made(TEXTS))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "normalized")
    with pytest.raises(InputError, match="truncate_dim must be from 1 to 7, not 8"):
        Model2VecEmbeddingFunction(folder, truncate_dim=8)
    with pytest.raises(InputTypeError, match="no option 'token'"):
        Model2VecEmbeddingFunction(folder, token="x")  # type: ignore[call-arg]
    with pytest.raises(ModelFileError, match="cannot be read"):
        Model2VecEmbeddingFunction(tmp_path)


@pytest.mark.parametrize("option", [{"batch_size": 32}, {"device": "cpu"}])
def test_options_of_networks_are_refused_like_any_other(option: dict[str, Any]) -> None:
    with pytest.raises(InputTypeError, match=f"there is no option '{next(iter(option))}'"):
        Model2VecEmbeddingFunction(**option)
