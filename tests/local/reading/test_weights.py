from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from milvine.errors import ModelFileError
from milvine.local.reading.weights import encoder_names, read_weights


def test_floating_point_tensors_come_back_as_they_were_and_others_are_left_out(tmp_path: Path) -> None:
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "single": np.random.RandomState(1).standard_normal((3, 5)).astype(np.float32),
        "half": np.array([65504, -65504, 6e-8], dtype=np.float16),
        "double": np.array([[1e300, -1e300]]),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "position_ids": np.arange(5),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    read = read_weights(tmp_path / "model.safetensors")
    assert sorted(read) == ["double", "empty", "half", "single"]
    for name, tensor in read.items():
        assert tensor.dtype == tensors[name].dtype
        np.testing.assert_array_equal(tensor, tensors[name])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("damage", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
def test_nan_and_infinity_are_refused_with_the_tensors_name(tmp_path: Path, damage: list[float], kind: type) -> None:
    tensor = np.ones((7, 9), dtype=kind)
    tensor.flat[60 : 60 + len(damage)] = damage
    save_file({"good": np.ones(3, np.float32), "bad": tensor}, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"model.safetensors: the tensor 'bad' holds NaN or infinity"):
        read_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize("length", [0, 4, 8, 40, 300, -1])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.ones((20, 20), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelFileError, match=r"model.safetensors is not a usable safetensors file"):
        read_weights(path)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelFileError, match="not a usable safetensors file"):
        read_weights(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"absent\.safetensors is not a usable safetensors file"):
        read_weights(tmp_path / "absent.safetensors")


def write_safetensors(path: Path, entries: dict[str, Any], data: bytes) -> None:
    # The format: https://huggingface.co/docs/safetensors, a length, a header in JSON, the bytes.
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.mark.parametrize("before", ["", "import onnx; "])  # onnx may teach numpy bfloat16, and must change nothing
def test_bfloat16_becomes_float32(tmp_path: Path, before: str) -> None:
    # The bits of 1, -2, pi cut to bfloat16, and its largest number: sign, eight of exponent, seven of mantissa.
    bits = np.array([[0x3F80, 0xC000], [0x4049, 0x7F7F]], dtype="<u2")
    path = tmp_path / "model.safetensors"
    entries = {
        "first": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [4, 12]},
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [12, 20]},
    }
    write_safetensors(path, entries, struct.pack("<f", 7) + bits.tobytes() + bytes(8))
    script = (
        "import pathlib, sys; from milvine.local.reading.weights import read_weights;"
        "read = read_weights(pathlib.Path(sys.argv[1]));"
        "print(sorted(read), read['first'].tolist(), read['a'].dtype, read['a'].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", before + script, str(path)], capture_output=True, text=True)
    largest = (2 - 2**-7) * 2.0**127
    assert done.stdout == f"['a', 'first'] [7.0] float32 [[1.0, -2.0], [3.140625, {largest}]]\n", done.stderr


@pytest.mark.parametrize(("kind", "size"), [("F8_E4M3", 1), ("F8_E5M2", 1)])
def test_a_type_that_is_not_known_is_refused(tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": {"dtype": kind, "shape": [4], "data_offsets": [0, 4 * size]}}, bytes(4 * size))
    with pytest.raises(ModelFileError, match=rf"model\.safetensors holds a tensor of a type .*: 'a' is {kind}"):
        read_weights(path)


@pytest.mark.parametrize("kind", ["F32", "BF16"])
@pytest.mark.parametrize(
    ("shape", "offsets"),
    [
        ([4], [0, 1 << 40]),  # beyond the end
        ([1 << 40], [0, 16]),  # a shape that the bytes do not fill
        ([4], [8, 0]),
        ([-4], [0, 16]),
        ([4, 1 << 62, 1 << 62], [0, 16]),
        ([1 << 63], [0, 16]),
        ([1 << 64], [0, 16]),
        ([0, (1 << 63) - 1], [0, 0]),  # nothing, in a shape that numpy has no room for
        ([2, 1], [0, 16]),  # a type and a shape of fewer bytes
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, shape: list[int], offsets: list[int], kind: str) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": {"dtype": kind, "shape": shape, "data_offsets": offsets}}, bytes(16))
    with pytest.raises(ModelFileError, match=r"model\.safetensors is not a usable safetensors file"):
        read_weights(path)


ENTRY = '{"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}'


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (f'{{"a": {ENTRY}, "a": {ENTRY}}}', "a name twice"),
        (f'{{"a": {ENTRY}, "b": {ENTRY}}}', "invalid offset"),  # both over the same bytes
        (f'{{"a": {ENTRY.replace("4]", "2]").replace("[0, 16", "[8, 16")}}}', "invalid offset"),  # 8 bytes are no one's
        (f'{{"a": {ENTRY.replace("4]", "2]").replace("16", "8")}}}', "not fully covered"),
        (f'{{"a": {ENTRY.replace("F32", "F64")}}}', "invalid shape, data type, or offset"),
        (f'{{"a": {ENTRY[:-1]}, "shape": [2, 2]}}}}', "duplicate field"),
    ],
)
def test_a_header_whose_entries_contradict_each_other_is_refused(tmp_path: Path, header: str, says: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(16))
    with pytest.raises(ModelFileError, match=rf"model\.safetensors is not a usable safetensors file: .*{says}"):
        read_weights(path)


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(ModelFileError, match=r"model\.safetensors is not a usable safetensors file"):
        read_weights(path)


def write_index(folder: Path, weight_map: Any) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path


def test_a_checkpoint_in_several_files_is_read_as_one(tmp_path: Path) -> None:
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "one.safetensors")
    save_file({"b": np.zeros(2, np.float16), "ids": np.arange(3)}, tmp_path / "two.safetensors")
    read = read_weights(
        write_index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors", "ids": "two.safetensors"})
    )
    assert {name: tensor.tolist() for name, tensor in read.items()} == {"a": [1, 1, 1], "b": [0, 0]}
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"two\.safetensors is not a usable safetensors file"):
        read_weights(tmp_path / "model.safetensors.index.json")


@pytest.mark.parametrize("name", ["../one.safetensors", "/etc/passwd", "one.json", "sub/one.safetensors", ""])
def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match="which is no weights file beside it"):
        read_weights(write_index(tmp_path, {"a": name}))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": ["a"]}', '{"weight_map": {"a": []}}'])
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content)
    with pytest.raises(ModelFileError, match=r"index\.json is not a usable index of a checkpoint"):
        read_weights(path)


def test_names_lose_what_some_checkpoints_put_before_them() -> None:
    ones = np.ones(1, np.float32)
    given = ("bert.a.LayerNorm.gamma", "bert.a.LayerNorm.beta", "cls.bias", "0.auto_model.b", "module.bert.c", "gamma")
    named = encoder_names(dict.fromkeys(given, ones), ("bert.",))
    assert list(named) == ["a.LayerNorm.weight", "a.LayerNorm.bias", "cls.bias", "b", "c", "gamma"]
