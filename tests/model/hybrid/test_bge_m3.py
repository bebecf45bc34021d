"""BGE-M3's three outputs, on a small model of its layout, against FlagEmbedding."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ModelFileError, TruncationWarning
from milvine.model.hybrid import BGEM3EmbeddingFunction
from tiny_token_models import DATA, TEXTS, XLM_R_CONFIG, ragged, write_bge_m3, write_json

GOLDEN = np.load(DATA / "token_models_golden.npz")
"""What FlagEmbedding makes of TEXTS; see tests/reference/make_token_models_golden.py."""
HIDDEN, KNOWN = 21, 49


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bge_m3(tmp_path / "m3")


def assert_same(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-5) -> None:
    assert list(found) == ["dense", "sparse", "colbert_vecs"]
    np.testing.assert_allclose(np.stack(found["dense"]), np.stack(expected["dense"]), atol=tolerance, rtol=0)
    np.testing.assert_allclose(found["sparse"].toarray(), expected["sparse"], atol=tolerance, rtol=0)
    assert len(found["colbert_vecs"]) == len(expected["colbert_vecs"])
    for ours, theirs in zip(found["colbert_vecs"], expected["colbert_vecs"], strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0)


def golden(name: str, order: list[int]) -> dict[str, Any]:
    vectors = ragged(GOLDEN, f"{name}_colbert_vecs")
    return {
        "dense": GOLDEN[f"{name}_dense"][order],
        "sparse": GOLDEN[f"{name}_sparse"][order],
        "colbert_vecs": [vectors[at] for at in order],
    }


@pytest.mark.parametrize(("name", "normalize"), [("bge_m3", True), ("bge_m3_raw", False)])
def test_all_outputs_are_flagembeddings_alone_together_and_in_any_order(
    folder: Path, name: str, normalize: bool
) -> None:
    for options in ({"threads": 2}, {"threads": 1, "batch_tokens": 40}):
        ef = BGEM3EmbeddingFunction(
            folder, normalize_embeddings=normalize, return_colbert_vecs=True, **options
        )  # fmt: skip
        for order in ([0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [2, 0, 2], *([at] for at in range(8))):
            texts = [TEXTS[at] for at in order]
            assert_same(ef.encode_documents(texts), golden(name, order))
            assert_same(ef.encode_queries(texts), golden(name, order))


def test_a_text_does_not_depend_on_its_batch_mates(folder: Path) -> None:
    ef = BGEM3EmbeddingFunction(folder, return_colbert_vecs=True, threads=1)
    together = ef(TEXTS)
    for at, text in enumerate(TEXTS):
        alone = ef([text])
        np.testing.assert_allclose(alone["dense"][0], together["dense"][at], atol=1e-5)
        np.testing.assert_allclose(alone["sparse"].toarray(), together["sparse"][[at]].toarray(), atol=1e-5)
        np.testing.assert_allclose(alone["colbert_vecs"][0], together["colbert_vecs"][at], atol=1e-5)


def test_the_kinds_of_the_outputs(folder: Path) -> None:
    ef = BGEM3EmbeddingFunction(folder, return_colbert_vecs=True)
    assert ef.dim == {"dense": HIDDEN, "sparse": KNOWN, "colbert_vecs": HIDDEN}
    found = ef(TEXTS)
    assert isinstance(found["dense"], list)
    assert [(row.shape, row.dtype) for row in found["dense"]] == [((HIDDEN,), np.float32)] * len(TEXTS)
    sparse = found["sparse"]
    assert (sparse.format, sparse.shape, sparse.dtype) == ("csr", (len(TEXTS), KNOWN), np.float32)
    assert sparse.has_sorted_indices
    assert (sparse.data > 0).all()
    assert set(range(4)) & set(sparse.indices) == set()  # <s> <pad> </s> <unk>
    empty = ef([])
    assert (empty["dense"], empty["sparse"].shape, empty["colbert_vecs"]) == ([], (0, KNOWN), [])


@pytest.mark.parametrize(
    ("asked", "outputs"),
    [
        ({}, ["dense", "sparse"]),
        ({"return_sparse": False}, ["dense"]),
        ({"return_dense": False}, ["sparse"]),
        ({"return_dense": False, "return_sparse": False, "return_colbert_vecs": True}, ["colbert_vecs"]),
    ],
)
def test_what_is_not_asked_for_is_not_computed(folder: Path, asked: dict[str, bool], outputs: list[str]) -> None:
    ef = BGEM3EmbeddingFunction(folder, **asked)
    assert list(ef(TEXTS)) == outputs
    _, engine = ef._model._load()
    assert [value.name for value in engine.session(1).get_outputs()] == outputs
    assert ef.dim == {"dense": HIDDEN, "sparse": KNOWN, "colbert_vecs": HIDDEN}


def test_generators_of_dicts(folder: Path) -> None:
    ef = BGEM3EmbeddingFunction(folder, return_colbert_vecs=True)
    found = list(ef.iter_documents((text for text in TEXTS), batch_size=3))
    np.testing.assert_allclose(found[4]["dense"], GOLDEN["bge_m3_dense"][4], atol=1e-5)
    np.testing.assert_allclose(found[4]["sparse"].toarray()[0], GOLDEN["bge_m3_sparse"][4], atol=1e-5)
    assert len(found) == len(TEXTS)


def test_nothing_asked_for_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="at least one output is needed; m3 has dense, sparse, colbert_vecs"):
        BGEM3EmbeddingFunction(folder, return_dense=False, return_sparse=False)


def test_a_switch_is_true_or_false(folder: Path) -> None:
    for name in ("return_dense", "return_sparse", "return_colbert_vecs", "normalize_embeddings"):
        with pytest.raises(InputTypeError, match=rf"{name} must be True or False, not str \('no'\)"):
            BGEM3EmbeddingFunction(folder, **{name: "no"})  # type: ignore[arg-type]


def test_an_output_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    folder = write_bge_m3(tmp_path / "half", layers=("sparse_linear",))
    with pytest.raises(InputError, match="half has no output colbert_vecs; it has dense, sparse"):
        BGEM3EmbeddingFunction(folder, return_colbert_vecs=True)
    assert BGEM3EmbeddingFunction(folder).dim == {"dense": HIDDEN, "sparse": KNOWN}


def test_a_model_without_its_layers_is_no_hybrid_model(tmp_path: Path) -> None:
    folder = write_bge_m3(tmp_path, layers=())
    with pytest.raises(ModelFileError, match=r"XLMRobertaModel is of no hybrid model; one is .* has sparse_linear\.pt"):
        BGEM3EmbeddingFunction(folder)


def test_a_layer_that_contradicts_the_encoder_is_refused(folder: Path) -> None:
    (folder / "sparse_linear.pt").write_bytes((DATA / "bge_m3_colbert_linear.pt").read_bytes())
    with pytest.raises(ModelFileError, match=r"'sparse_linear\.\w+' has shape \(21,.* says \(1,"):
        BGEM3EmbeddingFunction(folder)(["a"])


def test_a_layer_that_is_no_checkpoint_is_refused(folder: Path) -> None:
    (folder / "colbert_linear.pt").write_bytes(b"no archive")
    with pytest.raises(ModelFileError, match=r"colbert_linear\.pt is not a usable checkpoint"):
        BGEM3EmbeddingFunction(folder)


def test_pymilvus_models_arguments_are_taken(folder: Path) -> None:
    ef = BGEM3EmbeddingFunction(str(folder), 4, "cpu", True, True, True, True, False)
    assert list(ef.encode_queries(["a b"])) == ["dense", "sparse"]
    assert BGEM3EmbeddingFunction(folder, devices=["cpu"]).model_name == "m3"
    with pytest.raises(InputError, match=r"devices must name one device, not \['cpu', 'cpu'\]"):
        BGEM3EmbeddingFunction(folder, devices=["cpu", "cpu"])
    with pytest.raises(InputTypeError, match="there is no option 'pooling_method' for a local model"):
        BGEM3EmbeddingFunction(folder, pooling_method="cls")  # type: ignore[call-arg]


def test_truncation_is_said(folder: Path) -> None:
    ef = BGEM3EmbeddingFunction(folder, max_length=6)
    with pytest.warns(TruncationWarning, match="are longer than the 6 tokens that m3 is set to read"):
        found = ef([TEXTS[2], "a"])
    assert (ef.truncation.texts, ef.truncation.tokens) == (1, 24 - 4)
    assert len(found["sparse"].indices) > 0


def test_the_identity_makes_the_function_again(folder: Path) -> None:
    made = BGEM3EmbeddingFunction(folder, return_sparse=False, return_colbert_vecs=True, max_length=9)
    identity = json.loads(json.dumps(made.identity()))
    again = BGEM3EmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    assert list(again(["a b"])) == ["dense", "colbert_vecs"]
    write_json(folder / "config.json", XLM_R_CONFIG)
    (folder / "sparse_linear.pt").unlink()
    with pytest.raises(ModelFileError, match="are not those of m3 any more"):
        BGEM3EmbeddingFunction.from_identity(identity)
