"""mGTE's outputs, on a small model of its layout, against transformers and the model's own recipe."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from milvine.errors import InputError, ModelFileError, TruncationWarning
from milvine.model.hybrid import MGTEEmbeddingFunction
from tiny_token_models import DATA, MGTE_CONFIG, TEXTS, write_json, write_mgte

GOLDEN = np.load(DATA / "token_models_golden.npz")
"""See tests/reference/make_token_models_golden.py; its dense vectors are not normalised."""
HIDDEN, KNOWN = 24, 49


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mgte(tmp_path / "mgte")


def test_both_outputs_are_the_references_alone_together_and_in_any_order(folder: Path) -> None:
    for options in ({"threads": 2}, {"threads": 1, "batch_tokens": 40}):
        ef = MGTEEmbeddingFunction(folder, normalize_embeddings=False, max_length=19, **options)
        for order in ([0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], *([at] for at in range(8))):
            found = ef.encode_documents([TEXTS[at] for at in order])
            assert list(found) == ["dense", "sparse"]
            np.testing.assert_allclose(np.stack(found["dense"]), GOLDEN["mgte_dense"][order], atol=1e-5, rtol=0)
            np.testing.assert_allclose(found["sparse"].toarray(), GOLDEN["mgte_sparse"][order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dimensions", [None, 24, 7])
def test_dense_vectors_are_cut_and_then_normalised(folder: Path, dimensions: int | None) -> None:
    cut = GOLDEN["mgte_dense"][:, :dimensions]
    expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    for ef in (
        MGTEEmbeddingFunction(folder, dimensions=dimensions, max_length=19),
        MGTEEmbeddingFunction(folder, dimension=dimensions, max_length=19),
    ):
        assert ef.dim == {"dense": dimensions or HIDDEN, "sparse": KNOWN}
        np.testing.assert_allclose(np.stack(ef(TEXTS)["dense"]), expected, atol=1e-5, rtol=0)


def test_dimensions_out_of_range_or_contradictory_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="must be from 1 to 24, not 25"):
        MGTEEmbeddingFunction(folder, dimensions=25)
    with pytest.raises(InputError, match="dimensions=3 and dimension=4 contradict each other"):
        MGTEEmbeddingFunction(folder, dimensions=3, dimension=4)


def test_one_output_alone(folder: Path) -> None:
    assert list(MGTEEmbeddingFunction(folder, return_sparse=False)(TEXTS)) == ["dense"]
    assert list(MGTEEmbeddingFunction(folder, return_dense=False)(TEXTS)) == ["sparse"]


def test_a_classifier_of_several_labels_is_refused(folder: Path) -> None:
    write_json(folder / "config.json", MGTE_CONFIG | {"id2label": {"0": "O", "1": "PERSON"}})
    with pytest.raises(ModelFileError, match="tells 2 labels of tokens apart; a token's weight is one number"):
        MGTEEmbeddingFunction(folder)


def test_the_identity_makes_the_function_again(folder: Path) -> None:
    identity = json.loads(json.dumps(MGTEEmbeddingFunction(folder, dimensions=5, return_sparse=False).identity()))
    again = MGTEEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    assert again.dim["dense"] == 5
