"""Models run through sentence-transformers, where it is installed; values are those of the reference scripts."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import (
    InputError,
    InputTypeError,
    MissingExtraError,
    ModelError,
    ModelFileError,
    TruncationWarning,
    UnknownModelError,
)
from milvine.model.dense import InstructorEmbeddingFunction, OnnxEmbeddingFunction, SentenceTransformerEmbeddingFunction
from milvine.model.reranker import CrossEncoderRerankFunction
from milvine.model.sparse import SpladeEmbeddingFunction
from tiny_bert import CONFIG, weights
from tiny_heads import TEXTS, write_json, write_model, write_transformer
from tiny_onnx import write_model as write_onnx
from tiny_tasks import DOCUMENTS, QUERY, RERANKERS, SPARSE
from tiny_tasks import write_model as write_task

DATA = Path(__file__).parents[2] / "data"
HEADS, TASKS = np.load(DATA / "heads_golden.npz"), np.load(DATA / "tasks_golden.npz")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.fixture
def _torch() -> None:
    pytest.importorskip("sentence_transformers", reason="milvine[torch] is not installed")


def write_unknown(folder: Path, architecture: str = "ElectraForSequenceClassification") -> Path:
    """A tiny ELECTRA, which milvine does not know, with a classifier's head or without."""
    import torch
    import transformers

    write_transformer(folder)
    config = transformers.ElectraConfig(**{**CONFIG, "model_type": "electra", "embedding_size": 21, "num_labels": 1})
    torch.manual_seed(4)
    getattr(transformers, architecture)(config).save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("_torch")
def test_an_unknown_architecture_names_the_extra_and_runs_by_it(tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    folder = write_unknown(tmp_path / "electra", "ElectraModel")
    with pytest.raises(
        ModelFileError, match=r"'electra' is not known here.*pip install 'milvine\[torch\]', and pass b"
    ):
        SentenceTransformerEmbeddingFunction(folder)
    ef = SentenceTransformerEmbeddingFunction(folder, backend="torch")
    expected = SentenceTransformer(str(folder), device="cpu").encode(list(TEXTS), normalize_embeddings=True)
    vectors = ef(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=0)
    assert (ef.dim, ef.model_name, vectors[0].dtype, vectors[0].shape) == (21, "electra", np.float32, (21,))
    folder = write_unknown(tmp_path / "classifier")
    reranker = CrossEncoderRerankFunction(folder, backend="torch")
    scores = CrossEncoder(str(folder), device="cpu").predict([(QUERY, document) for document in DOCUMENTS])
    results = reranker(QUERY, DOCUMENTS, top_k=len(DOCUMENTS))
    assert sorted(result.index for result in results) == list(range(len(DOCUMENTS)))
    np.testing.assert_allclose([result.score for result in results], np.sort(scores)[::-1], atol=1e-6)


@pytest.mark.usefixtures("_torch")
@pytest.mark.parametrize("name", ["prompted", "unpooled_prompt", "default_prompt", "short", "chain"])
def test_a_dense_model_gives_the_same_by_either_backend(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path, name)
    for backend in ("onnx", "torch"):
        ef = SentenceTransformerEmbeddingFunction(folder, normalize_embeddings=False, backend=backend)
        queries, documents = HEADS[f"{name}_query"], HEADS[f"{name}_document"]
        np.testing.assert_allclose(ef.encode_queries(TEXTS), queries, atol=1e-5, rtol=0)
        np.testing.assert_allclose(ef.encode_documents([*TEXTS, TEXTS[1]])[:-1], documents, atol=1e-5, rtol=0)
        assert ef([]) == []


@pytest.mark.usefixtures("_torch")
@pytest.mark.parametrize("name", sorted(SPARSE))
def test_a_sparse_model_gives_the_same_by_either_backend(tmp_path: Path, name: str) -> None:
    folder = write_task(tmp_path / name, SPARSE[name])
    ef = SpladeEmbeddingFunction(folder, backend="torch", k_tokens_document=3)
    np.testing.assert_allclose(ef.encode_queries(TEXTS).toarray(), TASKS[f"{name}_query"], atol=1e-5, rtol=0)
    kept = ef.encode_documents(TEXTS)
    own = SpladeEmbeddingFunction(folder, k_tokens_document=3).encode_documents(TEXTS)
    np.testing.assert_allclose(kept.toarray(), own.toarray(), atol=1e-5, rtol=0)
    assert kept.dtype == np.float32
    assert kept.has_sorted_indices


@pytest.mark.usefixtures("_torch")
@pytest.mark.parametrize("name", sorted(RERANKERS))
def test_a_reranker_gives_the_same_by_either_backend(tmp_path: Path, name: str) -> None:
    folder = write_task(tmp_path / name, RERANKERS[name])
    try:
        own = CrossEncoderRerankFunction(folder, activation_fct=float)
    except (InputError, ModelError):
        own = CrossEncoderRerankFunction(folder, activation_fct=float, label=0)
    ef = CrossEncoderRerankFunction(folder, activation_fct=float, label=own.label, backend="torch")
    one, other = ef(QUERY, DOCUMENTS), own(QUERY, DOCUMENTS)
    assert [result.index for result in one] == [result.index for result in other]
    np.testing.assert_allclose([each.score for each in one], [each.score for each in other], atol=1e-5)
    assert ef._model.spec.labels == own._model.spec.labels
    assert ef._model.spec.activation == own._model.spec.activation


@pytest.mark.usefixtures("_torch")
def test_forms_lengths_and_identities_are_as_ever(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mean_tokens")
    made = SentenceTransformerEmbeddingFunction(folder, backend="torch", truncate_dim=8, output="binary", max_length=9)
    own = SentenceTransformerEmbeddingFunction(folder, truncate_dim=8, output="binary", max_length=9)
    np.testing.assert_array_equal(made(TEXTS), own(TEXTS))
    assert (made.max_length, made.truncation) == (own.max_length, own.truncation)
    assert made.truncation.texts > 0
    assert made.count_tokens(TEXTS) == own.count_tokens(TEXTS)
    assert made.tokenizer.encode("a b").ids == own.tokenizer.encode("a b").ids
    identity = json.loads(json.dumps(made.identity()))
    assert identity["backend"] == "torch"
    again = SentenceTransformerEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(TEXTS), made(TEXTS))
    vectors = list(made.iter_documents(iter(TEXTS), batch_size=2))
    np.testing.assert_array_equal(vectors, made(TEXTS))


@pytest.mark.usefixtures("_torch")
def test_what_is_too_long_is_said(tmp_path: Path) -> None:
    ef = SentenceTransformerEmbeddingFunction(write_model(tmp_path, "short"), backend="torch")
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than the 7 tokens") as caught:
        ef(["a", TEXTS[2]])
    assert caught[0].filename == __file__
    assert (ef.truncation.texts, ef.truncation.tokens) == (1, 19 - 7)


@pytest.mark.usefixtures("_torch")
def test_what_cannot_be_loaded_or_run_is_said(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "no such"})
    with pytest.raises(ModelFileError, match=r"sentence-transformers cannot load .* as a SentenceTransformer"):
        SentenceTransformerEmbeddingFunction(tmp_path, backend="torch")
    folder = write_model(tmp_path, "mean_tokens")
    with pytest.raises(InputError, match="surrogate"):
        SentenceTransformerEmbeddingFunction(folder, backend="torch")(["\ud800"])
    from safetensors.numpy import save_file

    tensors = weights() | {"embeddings.LayerNorm.weight": np.full(21, np.nan, dtype=np.float32)}
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match="gave NaN or infinity"):
        SentenceTransformerEmbeddingFunction(folder, backend="torch")(["a"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "tf"}, InputError, "backend must be 'onnx' or 'torch', not 'tf'"),
        ({"backend": "torch", "quantize": "int8"}, InputError, 'quantize= is not for backend="torch"'),
        ({"backend": "torch", "threads": 2}, InputError, 'threads= is not for backend="torch"'),
        ({"backend": "torch", "batch_tokens": 64}, InputError, 'batch_tokens= is not for backend="torch"'),
        ({"backend": "torch", "batch_size": 0}, InputError, "batch_size must be at least 1"),
        ({"backend": "torch", "device": "tpu"}, InputError, "device must be"),
        ({"backend": "torch", "model_name": "nowhere"}, UnknownModelError, "no model 'nowhere'"),
        ({"backends": "torch"}, InputTypeError, "no option 'backends'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    folder = write_model(tmp_path, "mean_tokens")
    with pytest.raises(error, match=message):
        SentenceTransformerEmbeddingFunction(**{"model_name": folder, **options})


def test_functions_that_milvine_runs_itself_refuse_the_backend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='backend="torch" is not for states, which is run by onnxruntime'):
        OnnxEmbeddingFunction(write_onnx(tmp_path, "states"), backend="torch")
    with pytest.raises(InputError, match='backend="torch" is not for Instructor models'):
        InstructorEmbeddingFunction(tmp_path, backend="torch")


def test_without_the_extra_its_command_is_printed(tmp_path: Path) -> None:
    # In a process of its own, where the import fails as it does where nothing is installed.
    folder = write_model(tmp_path, "mean_tokens")
    code = f"""
import sys
sys.modules["sentence_transformers"] = None
from milvine.model.dense import SentenceTransformerEmbeddingFunction
SentenceTransformerEmbeddingFunction({str(folder)!r}, backend="torch")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"milvine.errors.{MissingExtraError.__name__}: ")
    assert last.endswith("which is not installed: pip install 'milvine[torch]'")
