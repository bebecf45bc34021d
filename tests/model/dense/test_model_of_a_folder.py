"""The public function over models of folders; test_folder.py of tests/local/reading compares the vectors."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from milvine._identity import field_set, new_config
from milvine.errors import CollectionMismatchError, InputError, ModelFileError, ModelUnavailableError, TruncationWarning
from milvine.model.dense import SentenceTransformerEmbeddingFunction
from tiny_bert import weights
from tiny_heads import TEXTS, write_model

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "heads_golden.npz")
"""The vectors of TEXTS by sentence-transformers; see tests/reference/make_heads_golden.py."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.mark.parametrize("name", ["prompted", "unpooled_prompt", "default_prompt", "plain"])
def test_queries_and_documents_get_the_models_own_prompts(tmp_path: Path, name: str) -> None:
    ef = SentenceTransformerEmbeddingFunction(str(write_model(tmp_path, name)), normalize_embeddings=False)
    np.testing.assert_allclose(ef.encode_queries(TEXTS), GOLDEN[f"{name}_query"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(ef.encode_documents(TEXTS), GOLDEN[f"{name}_document"], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(ef(TEXTS), ef.encode_documents(TEXTS))


def test_the_callers_instructions_come_before_the_models(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "prompted")
    ef = SentenceTransformerEmbeddingFunction(folder, query_instruction="a ", doc_instruction="b ")
    assert (ef.query_instruction, ef.doc_instruction) == ("a ", "b ")
    plain = SentenceTransformerEmbeddingFunction(write_model(tmp_path, "chain"))
    np.testing.assert_allclose(ef.encode_queries(["q"]), plain(["a q"]), atol=1e-6)
    np.testing.assert_allclose(ef.encode_documents(["q"]), plain(["b q"]), atol=1e-6)


def test_vectors_have_length_one_by_default_and_where_the_model_says_so(tmp_path: Path) -> None:
    for name, normalize, expected in (("mean_tokens", True, 1), ("mean_tokens", False, None), ("chain", False, 1)):
        ef = SentenceTransformerEmbeddingFunction(
            write_model(tmp_path / str(normalize), name), normalize_embeddings=normalize
        )
        lengths = np.linalg.norm(ef(TEXTS), axis=1)
        assert np.allclose(lengths, 1, atol=1e-6) == (expected == 1)


def test_a_text_longer_than_the_folder_says_is_said_to_be_cut(tmp_path: Path) -> None:
    ef = SentenceTransformerEmbeddingFunction(write_model(tmp_path, "short"))
    assert ef.max_length == 7
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than the 7 tokens that short is set to read"):
        ef(["a", "a b c d e f"])


def test_the_identity_names_the_folder_and_the_weights(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "prompted")
    ef = SentenceTransformerEmbeddingFunction(folder, max_length=9)
    identity = json.loads(json.dumps(ef.identity()))
    assert identity == {
        "function": "SentenceTransformerEmbeddingFunction",
        "model": "prompted",
        "revision": None,
        "fingerprint": ef._model.fingerprint,
        "dim": 5,
        "pooling": "mean, 8 Tanh, layer norm, 5 Identity, normalize",
        "max_length": 9,
        "normalize_embeddings": True,
        "truncate_dim": None,
        "output": "float32",
        "quantize": None,
        "query_instruction": "q u e r y ",
        "doc_instruction": "d o c ",
        "folder": str(folder),
    }
    again = SentenceTransformerEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(TEXTS), ef(TEXTS))


@pytest.mark.parametrize("name", ["someone/chain", "all-MiniLM-L12-v2"])
def test_a_model_whose_files_lie_in_a_given_folder_is_rebuilt_under_its_own_name(tmp_path: Path, name: str) -> None:
    made = SentenceTransformerEmbeddingFunction(name, folder=write_model(tmp_path, "prompted"))
    rebuilt = field_set(new_config(made, "en")).functions["dense"]
    assert rebuilt.identity() == made.identity()
    assert made.identity()["model"] == name
    np.testing.assert_array_equal(rebuilt(TEXTS), made(TEXTS))


def test_it_is_rebuilt_only_from_the_same_weights_where_they_were(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mean_tokens")
    stored = new_config(SentenceTransformerEmbeddingFunction(folder), "en")
    assert field_set(stored).functions["dense"].identity()["folder"] == str(folder)
    # At another place it is the same model, as long as it is passed.
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "mean_tokens")
    shutil.rmtree(folder)
    with pytest.raises(
        ModelUnavailableError, match=r"mean_tokens lay in .*no such folder now; .*pass Sentence.*\(PATH\)"
    ):
        field_set(stored)
    function = SentenceTransformerEmbeddingFunction(moved)
    assert field_set(stored, function).functions["dense"] is function
    # With other weights it is another model.
    save_file({name: tensor * 1.01 for name, tensor in weights().items()}, moved / "model.safetensors")
    with pytest.raises(CollectionMismatchError, match="fingerprint: '"):
        field_set(stored, SentenceTransformerEmbeddingFunction(moved))
    moved.rename(folder)
    with pytest.raises(ModelFileError, match="are not those of mean_tokens any more"):
        field_set(stored)


def test_a_folder_is_no_second_source_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder with a model"):
        SentenceTransformerEmbeddingFunction(write_model(tmp_path, "plain"), folder=tmp_path)
