"""Folders in the layouts of Sentence Transformers and transformers, against what that library makes of them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from milvine.errors import InputError, ModelFileError, UnknownModelError
from milvine.local.encoder import LocalModel
from milvine.local.reading.folder import read_folder
from tiny_bert import CONFIG, weights
from tiny_heads import CHAIN, MODELS, TEXTS, TOKENIZER, head_weights, write_json, write_model

DATA = Path(__file__).parents[2] / "data"
GOLDEN = DATA / "heads_golden.npz"
"""The vectors of TEXTS by sentence-transformers, from the same folders; see tests/reference/make_heads_golden.py."""


pytestmark = pytest.mark.filterwarnings("ignore::milvine.errors.TruncationWarning")


def encode(folder: Path, texts: list[str], prompt: str = "", **options: Any) -> np.ndarray[Any, Any]:
    return LocalModel(folder, "dense", threads=1, **options).encode(texts, prompt=prompt)


@pytest.mark.parametrize("name", MODELS)
def test_vectors_are_sentence_transformers_alone_together_and_in_any_order(tmp_path: Path, name: str) -> None:
    golden, folder = np.load(GOLDEN), write_model(tmp_path, name)
    model = LocalModel(str(folder), "dense", threads=1)
    for side, prompt in (("query", model.spec.query_prompt), ("document", model.spec.document_prompt)):
        expected = golden[f"{name}_{side}"]
        assert model.dim == expected.shape[1]
        together = model.encode(list(TEXTS), prompt=prompt)
        np.testing.assert_allclose(together, expected, atol=1e-5, rtol=0)
        backwards = encode(folder, list(TEXTS)[::-1], prompt, batch_tokens=40)[::-1]
        np.testing.assert_allclose(backwards, together, atol=1e-5, rtol=0)
        alone = np.concatenate([model.encode([text], prompt=prompt) for text in TEXTS])
        np.testing.assert_allclose(alone, together, atol=1e-5, rtol=0)


def test_the_models_differ_where_they_should() -> None:
    # So that none of the comparisons above holds for want of a difference.
    golden = dict(np.load(GOLDEN))
    same = [
        {one, other}
        for one in golden
        for other in golden
        if one < other and golden[one].shape == golden[other].shape and np.allclose(golden[one], golden[other])
    ]
    unprompted = {name for name in MODELS if f"{name}_query" in golden} - {"prompted", "unpooled_prompt"}
    by_side = [{f"{name}_query", f"{name}_document"} for name in unprompted]
    assert all(pair in by_side or any("lowercase" in name for name in pair) for pair in same)


def test_what_a_folder_says_is_read_before_any_weights_are(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "prompted")
    for weights_file in folder.rglob("*.safetensors"):
        weights_file.write_bytes(b"")
    spec = read_folder(folder, "dense")
    assert (spec.name, spec.dim, spec.max_length, spec.limit) == ("prompted", 5, 19, 19)
    assert (spec.query_prompt, spec.document_prompt) == ("q u e r y ", "d o c ")
    assert spec.pooling == "mean, 8 Tanh, layer norm, 5 Identity, normalize"
    with pytest.raises(ModelFileError, match=r"prompted/model\.safetensors is not a usable safetensors file"):
        encode(folder, ["a"])


@pytest.mark.parametrize(
    ("setting", "of_tokenizer", "positions", "expected"),
    [
        (7, 9, 19, 7),
        (None, 9, 19, 9),
        (None, 10**30, 19, 19),
        (None, None, 19, 19),
        (512, 9, 19, 19),
    ],
)
def test_the_length_is_the_settings_else_the_tokenizers_and_fits_the_positions(
    tmp_path: Path, setting: int | None, of_tokenizer: int | None, positions: int, expected: int
) -> None:
    folder = write_model(tmp_path, "chain")
    write_json(folder / "sentence_bert_config.json", {} if setting is None else {"max_seq_length": setting})
    write_json(folder / "tokenizer_config.json", {**TOKENIZER, "model_max_length": of_tokenizer})
    assert read_folder(folder, "dense").max_length == expected
    assert LocalModel(folder, "dense", max_length=positions).max_length == positions
    with pytest.raises(InputError, match=f"max_length must be from 3 to {positions}, not {positions + 1}"):
        LocalModel(folder, "dense", max_length=positions + 1)


def test_the_transformer_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "chain")
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(inner / name)
    (folder / "sentence_bert_config.json").rename(inner / "sentence_distilbert_config.json")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write_json(folder / "modules.json", modules)
    np.testing.assert_allclose(encode(folder, list(TEXTS)), np.load(GOLDEN)["chain_query"], atol=1e-5, rtol=0)


def old_names(tensors: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """As checkpoints that came from TensorFlow have them."""
    ends = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    for new, old in ends:
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    return {f"bert.{name}": tensor for name, tensor in tensors.items()}


def write_shards(folder: Path) -> None:
    parts: list[dict[str, np.ndarray[Any, Any]]] = [{}, {}]
    for number, (name, tensor) in enumerate(weights().items()):
        parts[number % 2][name] = tensor
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for part, name in zip(parts, names, strict=True):
        save_file(part, folder / name)
    index = {tensor: name for part, name in zip(parts, names, strict=True) for tensor in part}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})
    (folder / "model.safetensors").unlink()


def write_bfloat16(folder: Path) -> None:
    header, data = {}, b""
    for name, tensor in weights().items():
        upper = (tensor.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": "BF16", "shape": tensor.shape, "data_offsets": [len(data), len(data) + len(upper)]
        }  # fmt: skip
        data += upper
    encoded = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


LAYOUTS: dict[str, Callable[[Path], Any]] = {
    "names of TensorFlow's, with a prefix": lambda at: save_file(old_names(weights()), at / "model.safetensors"),
    "names of a wrapper": lambda at: save_file(
        {f"0.auto_model.{name}": tensor for name, tensor in weights().items()}, at / "model.safetensors"
    ),
    "shards": write_shards,
    "a head and a pooler besides": lambda at: save_file(
        {f"bert.{name}": tensor for name, tensor in weights().items()}
        | {"cls.predictions.bias": np.ones(3, np.float32), "bert.pooler.dense.bias": np.ones(3, np.float32)},
        at / "model.safetensors",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_in_another_layout_is_the_same_model(tmp_path: Path, layout: str) -> None:
    folder = write_model(tmp_path, "chain")
    LAYOUTS[layout](folder)
    np.testing.assert_allclose(encode(folder, list(TEXTS)), np.load(GOLDEN)["chain_query"], atol=1e-5, rtol=0)


def test_bfloat16_runs_as_the_float32_that_it_stands_for(tmp_path: Path) -> None:
    folder, rounded = write_model(tmp_path / "a", "chain"), write_model(tmp_path / "b", "chain")
    write_bfloat16(folder)
    cut = {name: (tensor.view(np.uint32) >> 16 << 16).view(np.float32) for name, tensor in weights().items()}
    save_file(cut, rounded / "model.safetensors")
    vectors = encode(folder, list(TEXTS))
    np.testing.assert_array_equal(vectors, encode(rounded, list(TEXTS)))
    np.testing.assert_allclose(vectors, np.load(GOLDEN)["chain_query"], atol=0.05)


def test_the_fingerprint_is_that_of_all_weights(tmp_path: Path) -> None:
    import hashlib

    plain, chain = write_model(tmp_path, "plain"), write_model(tmp_path, "chain")
    of_file = hashlib.sha256((plain / "model.safetensors").read_bytes()).hexdigest()
    assert LocalModel(plain, "dense").fingerprint == of_file
    before = LocalModel(chain, "dense").fingerprint
    assert before == LocalModel(chain, "dense").fingerprint != of_file
    changed = {name: tensor + 1 for name, tensor in head_weights(2, CHAIN[1][1]).items()}
    save_file(changed, chain / "2_Dense" / "model.safetensors")
    assert LocalModel(chain, "dense").fingerprint != before
    write_shards(plain)
    sharded = LocalModel(plain, "dense").fingerprint
    assert re.fullmatch("[0-9a-f]{64}", sharded)
    assert sharded != of_file


def test_a_name_is_the_catalogues_before_it_is_a_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path, "plain").rename(tmp_path / "all-MiniLM-L6-v2")
    assert LocalModel("all-MiniLM-L6-v2", "dense").spec.row is not None
    assert LocalModel("./all-MiniLM-L6-v2", "dense").spec.row is None
    assert LocalModel(Path("all-MiniLM-L6-v2").absolute(), "dense").dim == 21
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalModel("~/all-MiniLM-L6-v2", "dense").spec.name == "all-MiniLM-L6-v2"
    with pytest.raises(UnknownModelError, match=r"no model '\./absent' in the catalogue.*no folder 'absent' either"):
        LocalModel("./absent", "dense")
    for nothing in ("", " "):
        with pytest.raises(UnknownModelError, match="There is no model"):
            LocalModel(nothing, "dense")
    with pytest.raises(InputError, match="folder='elsewhere' cannot be another one"):
        LocalModel("./all-MiniLM-L6-v2", "dense", folder="elsewhere")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", None, r"config\.json cannot be read: No such file"),
        ("config.json", "[]", "must hold a JSON object, not list"),
        ("config.json", CONFIG | {"model_type": "gpt2"}, "the architecture 'gpt2' is not known here"),
        ("config.json", CONFIG | {"num_attention_heads": 4}, "no multiple of num_attention_heads"),
        ("tokenizer.json", None, r"holds no tokenizer\.json.*save_pretrained"),
        (
            "model.safetensors",
            None,
            r"chain holds no weights; looked for model\.safetensors, model\.safetensors\.index",
        ),
        ("2_Dense/model.safetensors", None, r"2_Dense holds no weights"),
        ("2_Dense/config.json", None, r"2_Dense/config\.json cannot be read"),
        ("modules.json", "{}", "must hold a JSON list, not dict"),
        ("modules.json", "[]", "a chain of no modules must begin with its one Transformer"),
        ("modules.json", "[3]", "an entry is 3; it must be an object"),
        (
            "modules.json",
            [{"type": "custom_st.Transformer", "path": ""}],
            "the module custom_st.Transformer is not known",
        ),
        (
            "modules.json",
            [{"type": "sentence_transformers.models.Transformer", "path": "../plain"}],
            r"the path '\.\./plain' leaves the model's folder",
        ),
        ("sentence_bert_config.json", {"max_seq_length": "7"}, "max_seq_length is '7'; it must be a whole number"),
        ("sentence_bert_config.json", {"config_args": {"hidden_act": "relu"}}, "config_args is .*; only an empty one"),
        ("sentence_bert_config.json", {"query_length": 32}, "query_length is 32; only None is known here"),
        (
            "config_sentence_transformers.json",
            {"prompts": ["a"]},
            r"prompts is \['a'\]; it must be an object of strings",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named_at_once(tmp_path: Path, name: str, content: Any, says: str) -> None:
    folder = write_model(tmp_path, "chain")
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, str):
        (folder / name).write_text(content)
    else:
        write_json(folder / name, content)
    with pytest.raises(ModelFileError, match=says):
        LocalModel(folder, "dense")
