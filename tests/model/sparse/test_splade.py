"""SPLADE: real weights, which are fetched once into the user's cache, and models of folders."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ModelUnavailableError, TruncationWarning, UnknownModelError
from milvine.model.sparse import SpladeEmbeddingFunction
from tiny_heads import TEXTS
from tiny_tasks import SPARSE, VOCABULARY, write_model

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "tasks_golden.npz")
"""The vectors of TEXTS by sentence-transformers; see tests/reference/make_tasks_golden.py."""


@pytest.fixture(scope="module")
def ef() -> SpladeEmbeddingFunction:
    return SpladeEmbeddingFunction("splade-tiny", threads=2)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


def terms(ef: SpladeEmbeddingFunction, row: Any) -> dict[str, float]:
    order = np.argsort(-row.data, kind="stable")
    return {ef.tokenizer.id_to_token(int(row.indices[at])): float(row.data[at]) for at in order}


def test_the_published_models_top_terms(ef: SpladeEmbeddingFunction) -> None:
    # By sentence-transformers 6.2 in float32: today 2.5437, lovely 2.1207, weather 2.0432.
    best = list(terms(ef, ef(["The weather is lovely today."])[[0]]).items())[:3]
    assert [term for term, _ in best] == ["today", "lovely", "weather"]
    assert [weight for _, weight in best] == pytest.approx([2.5437, 2.1207, 2.0432], abs=1e-4)


def test_vectors_are_sorted_float32_rows_that_depend_on_no_other_text(ef: SpladeEmbeddingFunction) -> None:
    texts = ["one", "The weather is lovely today. " * 20, "", "one", "search engines", "word " * 800]
    together = ef.encode_documents(texts)
    assert (together.shape, together.dtype, ef.dim) == ((6, 30522), np.float32, 30522)
    assert together.has_sorted_indices
    assert (together.data > 0).all()
    assert together.format == "csr"
    assert together.indices.dtype == together.indptr.dtype == np.int32  # half of what int64 would take
    for at, text in enumerate(texts):
        alone = ef.encode_documents([text])
        np.testing.assert_allclose(alone.toarray()[0], together[[at]].toarray()[0], atol=1e-5)
    np.testing.assert_array_equal(together[[0]].toarray(), together[[3]].toarray())
    reversed_ = ef.encode_queries(texts[::-1])
    np.testing.assert_allclose(reversed_.toarray()[::-1], together.toarray(), atol=1e-5)


def test_nothing_gives_an_empty_matrix(ef: SpladeEmbeddingFunction) -> None:
    assert ef([]).shape == ef.encode_queries(()).shape == (0, 30522)


def test_the_largest_weights_are_kept(ef: SpladeEmbeddingFunction) -> None:
    short = SpladeEmbeddingFunction("splade-tiny", k_tokens_query=3, k_tokens_document=5)
    texts = ["The weather is lovely today.", "How are vectors stored?"]
    whole = ef(texts)
    for matrix, count in ((short.encode_queries(texts), 3), (short.encode_documents(texts), 5), (short(texts), 5)):
        assert np.diff(matrix.indptr).tolist() == [count, count]
        for at in range(2):
            kept = terms(ef, matrix[[at]])
            expected = list(terms(ef, whole[[at]]).items())[:count]
            assert list(kept) == [term for term, _ in expected]
            assert list(kept.values()) == pytest.approx([weight for _, weight in expected], abs=1e-5)


def test_rows_are_never_held_in_full() -> None:
    ef = SpladeEmbeddingFunction("splade-tiny", threads=1, batch_tokens=64, k_tokens_document=8)
    texts = [f"text {number}" for number in range(600)]  # 73 MB in full
    ef(texts[:2])
    tracemalloc.start()
    try:
        matrix = ef(texts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert matrix.shape == (600, 30522)
    assert peak < 30e6


@pytest.mark.parametrize("name", SPARSE)
def test_a_folders_model_has_the_references_vectors(tmp_path: Path, name: str) -> None:
    ef = SpladeEmbeddingFunction(write_model(tmp_path, SPARSE[name]))
    assert ef.dim == VOCABULARY
    np.testing.assert_allclose(ef.encode_queries(TEXTS).toarray(), GOLDEN[f"{name}_query"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(ef.encode_documents(TEXTS).toarray(), GOLDEN[f"{name}_document"], atol=1e-5, rtol=0)


def test_the_identity_makes_the_function_again(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "terms", SPARSE["bert"])
    for made in (
        SpladeEmbeddingFunction("splade-tiny", query_instruction="q: ", k_tokens_query=7, max_length=99),
        SpladeEmbeddingFunction(folder, k_tokens_document=3),
    ):
        identity = json.loads(json.dumps(made.identity()))
        assert SpladeEmbeddingFunction.from_identity(identity).identity() == identity
        assert identity["function"] == "SpladeEmbeddingFunction"
    assert (identity["model"], identity["folder"], identity["dim"]) == ("terms", str(folder), VOCABULARY)
    folder.rename(tmp_path / "moved")
    with pytest.raises(ModelUnavailableError, match=r"pass SpladeEmbeddingFunction\(PATH\)"):
        SpladeEmbeddingFunction.from_identity(identity)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model_name": "splade"}, UnknownModelError, "no model 'splade' in the catalogue.* Did you mean 'splade-"),
        ({"model_name": "all-MiniLM-L6-v2"}, InputError, "is a dense model; a sparse model is needed here"),
        ({"k_tokens_query": 0}, InputError, "k_tokens_query must be at least 1, not 0"),
        ({"k_tokens_document": "5"}, InputTypeError, "k_tokens_document must be a whole number, not str"),
        ({"device": "tpu"}, InputError, "device must be"),
        ({"model_name": "splade-tiny", "max_length": 513}, InputError, "max_length must be from 3 to 512, not 513"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        SpladeEmbeddingFunction(**options)
