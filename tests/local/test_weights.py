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
from milvine.local.weights import read_weights


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


@pytest.mark.parametrize("before", ["", "import onnx; "])  # onnx may teach numpy bfloat16, and must change nothing
@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_a_type_that_numpy_lacks_is_refused(tmp_path: Path, before: str, kind: str, size: int) -> None:
    # The format: https://huggingface.co/docs/safetensors, a length, a header in JSON, the bytes.
    header = json.dumps({"a": {"dtype": kind, "shape": [4], "data_offsets": [0, 4 * size]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * size))
    script = (
        "import pathlib, sys; from milvine.local.weights import read_weights; read_weights(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", before + script, str(path)], capture_output=True, text=True)
    error = f"milvine.errors.ModelFileError: {path} holds a tensor of a type that numpy lacks: "
    assert done.stderr.splitlines()[-1].startswith(error)
