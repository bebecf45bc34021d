"""Ready ONNX files: what they take and give is found out; results are those of tests/reference/make_onnx_golden.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from milvine.errors import InputError, ModelError, ModelFileError
from milvine.local.encoder import LocalModel
from milvine.local.reading.onnx_file import find_onnx_file, read_onnx_file
from tiny_heads import write_json
from tiny_onnx import DATA, QUERY, TEXTS, write_model

GOLDEN = np.load(DATA.parent / "onnx_golden.npz")
POOLING = {"word_embedding_dimension": 12, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


def check_encoding(encode: Callable[[list[str]], Any], expected: Any, atol: float = 1e-5) -> None:
    """The vectors are the reference's, alone, together and in the other order; and a text's own in any company."""
    together = encode(list(TEXTS))
    np.testing.assert_allclose(together, expected, atol=atol, rtol=0)
    np.testing.assert_allclose(encode(list(TEXTS)[::-1])[::-1], together, atol=1e-5, rtol=0)
    np.testing.assert_allclose(np.concatenate([encode([text]) for text in TEXTS]), together, atol=1e-5, rtol=0)


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "expected", "atol"),
    [
        ("states", GOLDEN["states_mean"], 1e-5),  # without modules.json the mean is taken; the pooler is none of ours
        ("vectors", unit(GOLDEN["states_mean"]), 1e-5),  # taken as it is
        ("positions", GOLDEN["positions"], 1e-5),  # 32-bit integers, and positions that begin behind the padding's id
        ("half", GOLDEN["states_mean"], 4e-3),  # float16 states, and other names
    ],
)
def test_dense_vectors_are_the_references(tmp_path: Path, name: str, expected: Any, atol: float) -> None:
    model = LocalModel(write_model(tmp_path, name), "dense")
    assert model.dim == 12
    assert model.encode(["a"]).dtype == np.float32
    check_encoding(model.encode, expected, atol)


@pytest.mark.parametrize("batch_tokens", [1, 7, 4096])
def test_scores_are_the_references(tmp_path: Path, batch_tokens: int) -> None:
    model = LocalModel(write_model(tmp_path, "logits"), "reranker", batch_tokens=batch_tokens)
    np.testing.assert_allclose(model.logits(QUERY, list(TEXTS)), GOLDEN["logits"], atol=1e-5, rtol=0)


def test_terms_are_the_references(tmp_path: Path) -> None:
    model = LocalModel(write_model(tmp_path, "terms"), "sparse")
    assert model.dim == 53
    check_encoding(lambda texts: model.encode_sparse(texts).toarray(), GOLDEN["terms"])


def test_a_folder_of_sentence_transformers_decides_the_pooling_and_what_follows(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "states", "onnx/model.onnx")
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    entries = [{"path": place, "type": f"sentence_transformers.models.{kind}"} for place, kind in kinds.items()]
    write_json(folder / "modules.json", entries)
    write_json(folder / "1_Pooling" / "config.json", POOLING)
    model = LocalModel(folder, "dense")
    assert model.spec.pooling == "cls, normalize"
    check_encoding(model.encode, unit(GOLDEN["states_cls"]))


def test_a_pooling_without_modules_is_read(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "states")
    write_json(folder / "1_Pooling" / "config.json", POOLING)
    model = LocalModel(folder, "dense")
    assert model.spec.pooling == "cls"
    check_encoding(model.encode, GOLDEN["states_cls"])


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "states")
    model = onnx.load(folder / "model.onnx")
    onnx.save_model(
        model, folder / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0
    )
    assert (folder / "model.onnx_data").stat().st_size > 4 * 53 * 12
    check_encoding(LocalModel(folder, "dense").encode, GOLDEN["states_mean"])
    (folder / "model.onnx_data").unlink()
    with pytest.raises(ModelFileError, match=r"weights in model\.onnx_data, and there is no such file"):
        LocalModel(folder, "dense")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["onnx/model.onnx", "model_quantized.onnx"], "onnx/model.onnx"),
        (["model_optimized.onnx", "onnx/model_int8.onnx"], "model_optimized.onnx"),
        (["onnx/model_int8.onnx"], "onnx/model_int8.onnx"),
        (["model.bin"], None),
    ],
)
def test_the_first_file_by_its_name_is_taken(tmp_path: Path, names: list[str], expected: str | None) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_onnx_file(tmp_path)
    assert found == (None if expected is None else tmp_path / expected)
    assert find_onnx_file(tmp_path / "onnx" / "nowhere") is None


def test_dynamic_quantisation_is_found_and_texts_run_alone(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    folder = write_model(tmp_path, "states")
    assert read_onnx_file(folder / "model.onnx").quantization is None
    quantize_dynamic(folder / "model.onnx", folder / "int8.onnx")
    (folder / "int8.onnx").replace(folder / "model.onnx")
    assert read_onnx_file(folder / "model.onnx").quantization == "int8"
    model = LocalModel(folder, "dense")
    assert model.spec.quantization == "int8"
    together = model.encode(list(TEXTS))
    np.testing.assert_array_equal(together[::-1], model.encode(list(TEXTS)[::-1]))
    assert 0 < np.abs(together - GOLDEN["states_mean"]).max() < 0.1
    shared = LocalModel(folder, "dense", batch_tokens=4096).encode(list(TEXTS))
    assert np.abs(shared - together).max() > 1e-4  # which is why they run alone


def test_a_float_file_cannot_be_quantised_as_it_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"quantize='int8' cannot be had of .*, which is a ready ONNX file"):
        LocalModel(write_model(tmp_path, "states"), "dense", quantize="int8").encode(["a"])


def altered(folder: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(folder / "model.onnx")
    change(model)
    onnx.save(model, folder / "model.onnx")
    return folder


def fix(model: Any) -> None:
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, (1, 128), strict=True):
            dim.dim_value = size


def rename_input(old: str, new: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for value in model.graph.input:
            value.name = new if value.name == old else value.name
        for node in model.graph.node:
            for at, name in enumerate(node.input):
                node.input[at] = new if name == old else name

    return change


def without_mask(model: Any) -> None:
    kept = [value for value in model.graph.input if value.name != "attention_mask"]
    mask = helper.make_tensor("attention_mask", TensorProto.INT64, [1, 1], [1])
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.append(mask)


def as_float(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def two_of_a_kind(model: Any) -> None:
    states = model.graph.output[0]
    other = onnx.ValueInfoProto()
    other.CopyFrom(states)
    for name, value in (("one", states), ("two", other)):
        model.graph.node.append(helper.make_node("Identity", [states.name], [name]))
        value.name = name
    model.graph.node[-1].input[0] = model.graph.node[-2].input[0]
    del model.graph.output[:]
    model.graph.output.extend([states, other])


def no_floats(model: Any) -> None:
    for value in model.graph.output:
        value.type.tensor_type.elem_type = TensorProto.INT64


def weights_at(place: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fix, r"takes the input 'input_ids' in the fixed shape \(1, 128\) only; export it again"),
        (rename_input("token_type_ids", "pixels"), "wants the input 'pixels'; known are input_ids"),
        (rename_input("input_ids", "mask"), "wants the input 'attention_mask'"),
        (rename_input("input_ids", "segment_ids"), "wants the input 'token_type_ids'"),
        (without_mask, "has no input for the attention mask"),
        (as_float, "wants the input 'input_ids' as FLOAT; known are INT64 and INT32"),
        (two_of_a_kind, "gives one of rank 3, two of rank 3; for a dense model one output must be clear"),
        (no_floats, "gives no output; for a dense model one output must be clear"),
        (weights_at("/etc/passwd"), "weights in '/etc/passwd', which leaves its folder"),
        (weights_at("../other/model.onnx_data"), "which leaves its folder"),
        (weights_at("C:\\weights"), "which leaves its folder"),
        (weights_at("elsewhere"), "weights in elsewhere, and there is no such file"),
    ],
)
def test_a_file_that_cannot_be_run_says_why_before_it_is_loaded(
    tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    folder = altered(write_model(tmp_path, "states"), change)
    with pytest.raises(ModelFileError, match=message):
        LocalModel(folder, "dense")


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x00" * 200, b"\x08\x07"])
def test_a_file_that_is_no_graph_is_named(tmp_path: Path, content: bytes) -> None:
    folder = write_model(tmp_path, "states")
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.onnx is not a usable ONNX file"):
        LocalModel(folder, "dense")


def test_a_graph_that_onnxruntime_refuses_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    def unknown(model: Any) -> None:
        model.graph.node[0].op_type = "Frobnicate"

    model = LocalModel(altered(write_model(tmp_path, "states"), unknown), "dense")
    with pytest.raises(ModelFileError, match=r"onnxruntime cannot load .*model\.onnx"):
        model.encode(["a"])


@pytest.mark.parametrize("damage", [np.nan, np.inf])
@pytest.mark.parametrize(("name", "task"), [("states", "dense"), ("vectors", "dense"), ("terms", "sparse")])
def test_nan_in_the_weights_never_leaves_the_engine(tmp_path: Path, name: str, task: str, damage: float) -> None:
    def damaged(model: Any) -> None:
        table = next(each for each in model.graph.initializer if list(each.dims) == [53, 12])
        rows = onnx.numpy_helper.to_array(table).copy()
        rows[:, 3] = damage
        table.CopyFrom(onnx.numpy_helper.from_array(rows, table.name))

    model = LocalModel(altered(write_model(tmp_path, name), damaged), task)
    with pytest.raises(ModelError, match=r"model\.onnx gave NaN or infinity"):
        model.encode_sparse(["a b"]) if task == "sparse" else model.encode(["a b"])


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("states", "reranker", "gives last_hidden_state of rank 3, pooler_output of rank 2; for a reranker"),
        ("states", "hybrid", "a ready ONNX file is not run as a hybrid model"),
        ("terms", "reranker", "gives logits of rank 3; for a reranker model one output must be clear"),
    ],
)
def test_a_file_for_another_task_is_refused(tmp_path: Path, name: str, task: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        LocalModel(write_model(tmp_path, name), task)


def test_a_width_that_neither_the_file_nor_its_config_says_is_asked_for(tmp_path: Path) -> None:
    def forget(model: Any) -> None:
        for value in model.graph.output:
            value.type.tensor_type.shape.dim[-1].dim_param = "hidden"

    folder = altered(write_model(tmp_path, "states"), forget)
    check_encoding(LocalModel(folder, "dense").encode, GOLDEN["states_mean"])  # its config.json says it
    write_json(folder / "config.json", {})
    with pytest.raises(ModelFileError, match="does not say the dimensions of last_hidden_state"):
        LocalModel(folder, "dense")


def test_positions_set_the_longest_text(tmp_path: Path) -> None:
    assert LocalModel(write_model(tmp_path, "states"), "dense").max_length == 40
    assert LocalModel(write_model(tmp_path, "positions"), "dense").max_length == 40  # 42, two of them padding's
    with pytest.raises(InputError, match="max_length must be from 3 to 40, not 41"):
        LocalModel(tmp_path / "states", "dense", max_length=41)
    long = LocalModel(write_model(tmp_path / "no_config", "states", config=None), "dense", max_length=30)
    np.testing.assert_allclose(long.encode(list(TEXTS)), GOLDEN["states_mean"], atol=1e-5, rtol=0)


def test_a_checkpoint_beside_the_file_is_preferred(tmp_path: Path) -> None:
    import tiny_heads

    folder = tiny_heads.write_model(tmp_path, "mean_tokens")
    expected = LocalModel(folder, "dense").encode(["a b"])
    (folder / "model.onnx").write_bytes(b"never read")
    np.testing.assert_array_equal(LocalModel(folder, "dense").encode(["a b"]), expected)
