"""Static embeddings give the vectors of the libraries that publish them: tests/reference/make_static_golden.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from milvine.errors import InputError, ModelFileError, TruncationWarning
from milvine.local.encoder import LocalModel
from milvine.local.reading.folder import read_folder
from milvine.local.running.static import is_static, read_static_folder
from milvine.types import Truncation
from tiny_static import MODEL2VEC, SENTENCE_TRANSFORMERS, TEXTS, tensors, write_model

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "static_golden.npz")


def encode(folder: Path, texts: list[str]) -> Any:
    return LocalModel(folder, "dense").encode(texts)


@pytest.mark.filterwarnings("ignore::milvine.errors.TruncationWarning")
@pytest.mark.parametrize("name", [*MODEL2VEC, *SENTENCE_TRANSFORMERS])
def test_every_layout_has_its_own_librarys_vectors(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path, name)
    assert is_static(folder)
    vectors = encode(folder, list(TEXTS))
    assert vectors.dtype == np.float32
    # Model2Vec averages a float16 table in float16; here it is averaged in float32.
    np.testing.assert_allclose(vectors, GOLDEN[name], atol=1e-3 if name == "plain" else 1e-6, rtol=0)


def test_a_float16_table_is_averaged_in_float32(tmp_path: Path) -> None:
    vectors = encode(write_model(tmp_path, "plain"), ["a b"])
    expected = tensors("plain")["embeddings"][[4, 5]].astype(np.float64).mean(axis=0)  # by hand: ids 4 and 5
    np.testing.assert_allclose(vectors[0], expected, atol=1e-7, rtol=0)


@pytest.mark.filterwarnings("ignore::milvine.errors.TruncationWarning")
def test_a_vector_depends_neither_on_batch_mates_nor_on_order(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "weighted")
    together = encode(folder, list(TEXTS))
    np.testing.assert_array_equal(encode(folder, list(TEXTS)[::-1])[::-1], together)
    np.testing.assert_array_equal(np.concatenate([encode(folder, [text]) for text in TEXTS]), together)
    np.testing.assert_array_equal(encode(folder, list(TEXTS) * 120), np.tile(together, (120, 1)))


def test_no_texts_have_no_vectors(tmp_path: Path) -> None:
    assert encode(write_model(tmp_path, "normalized"), []).shape == (0, 7)


@pytest.mark.parametrize(
    ("name", "max_length", "text", "lost"),
    [
        ("normalized", None, "a b c d e f", 0),
        ("normalized", None, "a b c d e f g", 1),
        # The median token of the tokenizer has 3 characters, so 18 are read, 9 tokens; 6 more make about 3.
        ("normalized", None, "a b c d e f g h i j k l ", 3 + 3),
        ("normalized", None, "a" + " " * 30, 0),
        ("normalized", 7, "a b c d e f g", 0),
        ("endless", None, "a " * 5000, 0),
        ("endless", 3, "a b c d e", 2),
        ("module", None, "a " * 5000, 0),
        ("module_alone", None, "a b c d e f", 0),
        ("module_alone", None, "a b c d e f g", 1),
        ("module_alone", 7, "a b c d e f g", 0),
    ],
)
def test_what_texts_lose_is_counted(tmp_path: Path, name: str, max_length: int | None, text: str, lost: int) -> None:
    model = LocalModel(write_model(tmp_path, name), "dense", max_length=max_length)
    if not lost:
        model.encode([text, "a"])
        assert model.truncation == Truncation()
        return
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer"):
        model.encode([text, "a"])
    assert model.truncation == Truncation(1, lost)


def test_tokens_are_counted_in_full(tmp_path: Path) -> None:
    model = LocalModel(write_model(tmp_path, "normalized"), "dense")
    assert model.count_tokens(["", "a z b", "a b c d e f g"]) == [0, 3, 7]


def test_a_prompt_is_put_before_texts(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "module_alone")
    settings = {"prompts": {"query": "q u "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    model = LocalModel(folder, "dense")
    assert (model.spec.query_prompt, model.spec.document_prompt) == ("q u ", "")
    np.testing.assert_array_equal(model.encode(["a"], prompt="q u "), model.encode(["q u a"]))


def test_half_of_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="surrogate"):
        encode(write_model(tmp_path, "normalized"), ["fine", "\ud800"])


def broken(folder: Path, **changes: Any) -> Path:
    """The quantized model with other tensors; `None` leaves one out."""
    held = {name: tensor for name, tensor in (tensors("quantized") | changes).items() if tensor is not None}
    save_file(held, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": np.zeros(5, dtype=np.float32)}, r"have shape \(5,\)"),
        ({"embeddings": np.zeros((0, 7), dtype=np.float32)}, r"have shape \(0, 7\)"),
        ({"embeddings": np.full((9, 7), np.nan, dtype=np.float32)}, "'embeddings' holds NaN"),
        ({"mapping": None}, "has 9 vectors, but its tokenizer.json knows 48 tokens"),
        ({"mapping": np.full(48, 9)}, "a mapping beyond its 9 vectors"),
        ({"mapping": np.full(48, -1)}, "a mapping beyond its 9 vectors"),
        ({"mapping": np.zeros(47, dtype=np.int64)}, r"a mapping of type int64 and shape \(47,\)"),
        ({"mapping": np.zeros(48, dtype=np.float32)}, "a mapping of type float32"),
        ({"weights": np.ones(47, dtype=np.float32)}, r"weights of shape \(47,\)"),
    ],
)
def test_a_table_that_lacks_a_tokens_vector_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = broken(write_model(tmp_path, "quantized"), **changes)
    with pytest.raises(ModelFileError, match=message):
        encode(folder, ["a"])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", "no safetensors", "is not a usable safetensors file"),
        ("model.safetensors", None, "there is no model.safetensors"),
        ("tokenizer.json", None, "is not a usable tokenizer.json"),
        ("tokenizer.json", "{}", "is not a usable tokenizer.json"),
        ("config.json", None, "config.json cannot be read"),
        ("config.json", json.dumps({"max_length": 0}), "max_length is 0"),
        ("config.json", json.dumps({"max_length": "long"}), "max_length is 'long'"),
    ],
)
def test_a_folder_with_a_bad_file_is_refused(tmp_path: Path, file: str, content: str | None, message: str) -> None:
    folder = write_model(tmp_path, "normalized")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(ModelFileError, match=message):
        LocalModel(read_static_folder(folder), "dense").encode(["a"])


def test_a_chain_that_does_more_than_normalise_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "module")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[1]["type"] = "sentence_transformers.models.Dense"
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(ModelFileError, match="StaticEmbedding, Dense is not known here"):
        read_folder(folder, "dense")


def test_static_embeddings_are_of_no_sparse_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="static embeddings are of no sparse model"):
        LocalModel(write_model(tmp_path, "plain"), "sparse")


def test_a_table_has_nothing_to_quantise(tmp_path: Path) -> None:
    model = LocalModel(write_model(tmp_path, "plain"), "dense", quantize="int8")
    with pytest.raises(InputError, match="quantize='int8' is for networks; plain is a table"):
        model.encode(["a"])


@pytest.mark.parametrize("kept", ["modules.json", "config.json"])
def test_a_folder_that_says_that_it_holds_a_table_is_read_as_one(tmp_path: Path, kept: str) -> None:
    said = {"modules.json": [{"type": "sentence_transformers.models.StaticEmbedding", "path": "."}]}
    said["config.json"] = {"model_type": "model2vec"}  # type: ignore[assignment]
    (tmp_path / kept).write_text(json.dumps(said[kept]), encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"holds no static embeddings: there is no model\.safetensors in it"):
        LocalModel(tmp_path, "dense")
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelFileError, match=r"model\.safetensors is not a usable safetensors file"):
        LocalModel(tmp_path, "dense")
