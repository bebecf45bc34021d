"""The public function over ready ONNX files; tests/local/reading/test_onnx_file.py tests what files may be like."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest

from milvine.errors import (
    InputError,
    InputTypeError,
    MilvineError,
    ModelFileError,
    ModelUnavailableError,
    UnknownModelError,
)
from milvine.local.finding.catalogue import find
from milvine.local.finding.files import fetch_model
from milvine.model.dense import Model2VecEmbeddingFunction, OnnxEmbeddingFunction, SentenceTransformerEmbeddingFunction
from milvine.model.reranker import CrossEncoderRerankFunction
from tiny_onnx import DATA, TEXTS, write_model
from varied_texts import TEXTS as VARIED

PYMILVUS = np.load(DATA.parent / "pymilvus_onnx_golden.npy")
"""The vectors of pymilvus.model's function of the same name; see tests/reference/make_pymilvus_onnx_golden.py."""


def test_vectors_are_those_of_pymilvus_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "states")
    for ef in (OnnxEmbeddingFunction(str(folder), str(folder)), OnnxEmbeddingFunction(folder / "model.onnx")):
        assert ef.dim == 12
        for vectors in (ef(TEXTS), ef.encode_documents(TEXTS), ef.encode_queries(TEXTS)):
            np.testing.assert_allclose(vectors, PYMILVUS, atol=1e-5, rtol=0)
            assert vectors[0].dtype == np.float32


def test_the_file_and_the_tokenizer_may_lie_apart(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "states", "onnx/model_optimized.onnx")
    (tmp_path / "apart").mkdir()
    for name in ("tokenizer.json", "config.json"):
        (folder / name).replace(tmp_path / "apart" / name)
    ef = OnnxEmbeddingFunction(folder, tmp_path / "apart")
    assert ef.model_name == "states"
    np.testing.assert_allclose(ef(TEXTS), PYMILVUS, atol=1e-5, rtol=0)


def test_a_folder_with_no_checkpoint_runs_its_onnx_file_in_every_function(tmp_path: Path) -> None:
    dense = SentenceTransformerEmbeddingFunction(write_model(tmp_path, "states"))
    np.testing.assert_allclose(dense(TEXTS), PYMILVUS, atol=1e-5, rtol=0)
    reranker = CrossEncoderRerankFunction(write_model(tmp_path, "logits"), activation_fct=float)
    golden = np.load(DATA.parent / "onnx_golden.npz")["logits"][:, 0]
    results = reranker("a b q", list(TEXTS), top_k=3)
    assert [result.index for result in results] == np.argsort(-golden)[:3].tolist()
    np.testing.assert_allclose([result.score for result in results], np.sort(golden)[::-1][:3], atol=1e-5)


def test_bge_small_in_int8_gives_what_a_bare_onnxruntime_call_gives() -> None:
    # By hand: each text alone, the first token's state, scaled to length 1; as BAAI's model card says.
    import onnxruntime as ort
    from tokenizers import Tokenizer

    row = find("bge-small-en-v1.5-int8")
    files = fetch_model(row)
    tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    session = ort.InferenceSession(str(files[row.weights]))
    texts = [text for text in VARIED if len(text) < 600]
    expected = []
    for text in texts:
        encoding = tokenizer.encode(text)
        feed = {
            "input_ids": np.array([encoding.ids]),
            "attention_mask": np.array([encoding.attention_mask]),
            "token_type_ids": np.array([encoding.type_ids]),
        }
        (states,) = session.run(["last_hidden_state"], feed)
        expected.append(states[0, 0] / np.linalg.norm(states[0, 0]))
    ef = SentenceTransformerEmbeddingFunction(row.name)
    np.testing.assert_allclose(ef(texts), expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(ef(texts[::-1])[::-1], expected, atol=1e-5, rtol=0)


def test_an_identity_makes_the_function_again_and_knows_another_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "states")
    made = OnnxEmbeddingFunction(folder, max_length=9, truncate_dim=8, output="binary", doc_instruction="a ")
    identity = json.loads(json.dumps(made.identity()))
    again = OnnxEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(["a b", "q"]), made(["a b", "q"]))
    shutil.copy(DATA / "vectors.onnx", folder / "model.onnx")
    with pytest.raises(ModelFileError, match="are not those of states any more"):
        OnnxEmbeddingFunction.from_identity(identity)


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MILVINE_OFFLINE", "1")
    folder = write_model(tmp_path, "states")
    offline = r"model\.onnx of GPTCache/paraphrase-albert-onnx is not in the Hugging Face cache, and MILVINE_OFFLINE is"
    with pytest.raises(ModelUnavailableError, match=offline):
        OnnxEmbeddingFunction()
    with pytest.raises(ModelFileError, match=r"holds no tokenizer\.json, .* pass tokenizer_name="):
        OnnxEmbeddingFunction(DATA / "states.onnx")  # another model's tokenizer would give vectors of nonsense
    with pytest.raises(ModelFileError, match=r"tokenizer_name is a file, .*; pass the folder that holds it"):
        OnnxEmbeddingFunction(DATA / "states.onnx", folder / "tokenizer.json")
    with pytest.raises(UnknownModelError, match="of the catalogue are run by SentenceTransformerEmbeddingFunction"):
        OnnxEmbeddingFunction("bge-small-en-v1.5-int8")
    with pytest.raises(UnknownModelError, match="There is no file or folder 'nowhere', and it is no id"):
        OnnxEmbeddingFunction("nowhere")
    with pytest.raises(ModelFileError, match=r"holds no ONNX file, such as model\.onnx"):
        OnnxEmbeddingFunction(DATA.parent)
    with pytest.raises(InputError, match="folder= is not for an ONNX file"):
        OnnxEmbeddingFunction(folder, folder=tmp_path)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MilvineError, match=r"is not a usable tokenizer\.json"):
        OnnxEmbeddingFunction(folder)(["a"])


def test_a_model_in_the_hugging_face_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("MILVINE_OFFLINE", "1")
    made = write_model(tmp_path, "states")
    for name, files in (("onnx", ["model.onnx"]), ("small-v2", ["config.json", "tokenizer.json"])):
        repo = cache / f"models--GPTCache--paraphrase-albert-{name}"
        snapshot = repo / "snapshots" / ("a" * 40)
        snapshot.mkdir(parents=True)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("a" * 40, encoding="utf-8")
        for file in files:
            shutil.copy(made / file, snapshot / file)
    ef = OnnxEmbeddingFunction()
    np.testing.assert_allclose(ef(TEXTS), PYMILVUS, atol=1e-5, rtol=0)


def test_a_model_of_the_hub_has_its_own_tokenizer_not_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MILVINE_OFFLINE", "1")
    made = write_model(tmp_path, "states")
    for name, files in (
        ("someone--states", ["model.onnx"]),
        ("GPTCache--paraphrase-albert-small-v2", ["config.json", "tokenizer.json"]),
    ):
        repo = tmp_path / "hub" / f"models--{name}"
        snapshot = repo / "snapshots" / ("a" * 40)
        snapshot.mkdir(parents=True)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("a" * 40, encoding="utf-8")
        for file in files:
            shutil.copy(made / file, snapshot / file)
    with pytest.raises(ModelUnavailableError, match=r"config\.json of someone/states is not in the Hugging Face cache"):
        OnnxEmbeddingFunction("someone/states")
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(made / file, tmp_path / "hub/models--someone--states/snapshots" / ("a" * 40) / file)
    np.testing.assert_allclose(OnnxEmbeddingFunction("someone/states")(TEXTS), PYMILVUS, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((None,), InputTypeError, "model_name must be a string or a Path, not NoneType"),
        (("",), InputError, "model_name is blank"),
        (("a/b", 5), InputTypeError, "tokenizer_name must be a string or a Path, not int"),
    ],
)
def test_what_names_nothing_is_refused(arguments: tuple[Any, ...], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        OnnxEmbeddingFunction(*arguments)


def test_an_identity_keeps_the_quantisation_of_a_quantised_file() -> None:
    row = find("bge-small-en-v1.5-int8")
    made = OnnxEmbeddingFunction(fetch_model(row)[row.weights], quantize="int8")
    assert OnnxEmbeddingFunction.from_identity(made.identity()).identity() == made.identity()


@pytest.mark.parametrize("function", [OnnxEmbeddingFunction, SentenceTransformerEmbeddingFunction])
def test_what_is_no_identity_of_the_function_is_refused(function: Any) -> None:
    for wrong in ({}, {"function": function.__name__, "model": None}, None, "all-MiniLM-L6-v2"):
        with pytest.raises(InputError, match=f"is no identity; pass what identity.. of a {function.__name__} gave"):
            function.from_identity(wrong)
    with pytest.raises(InputError, match=f"the identity of 'Model2VecEmbeddingFunction', not of {function.__name__}"):
        function.from_identity(Model2VecEmbeddingFunction().identity())
