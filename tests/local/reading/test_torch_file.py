"""Reading what torch.save wrote: torch_saved.bin is PyTorch's own, see tests/reference/make_heads_golden.py."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.reading.torch_file import read_torch_file
from milvine.local.reading.weights import read_weights

DATA = Path(__file__).parents[2] / "data"
SAVED = DATA / "torch_saved.bin"


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(SAVED) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repack(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def with_pickle(path: Path, data: bytes) -> Path:
    return repack(path, members() | {"torch_saved/data.pkl": data})


def test_every_tensor_is_as_pytorch_saved_it() -> None:
    read, saved = read_torch_file(SAVED), np.load(DATA / "torch_saved.npz")
    assert list(read) == list(saved)
    for name, tensor in read.items():
        assert tensor.shape == saved[name].shape
        np.testing.assert_array_equal(tensor, saved[name])
    kinds = {name: str(tensor.dtype) for name, tensor in read.items()}
    assert (kinds["single"], kinds["half"], kinds["bfloat16"], kinds["double"]) == (
        "float32", "float16", "float32", "float64"
    )  # fmt: skip
    assert (kinds["position_ids"], kinds["flags"]) == ("int64", "bool")
    np.testing.assert_array_equal(read["transposed"], read["shared"].T)  # they share their numbers in the file


def test_a_checkpoint_has_its_floating_point_tensors() -> None:
    assert set(read_torch_file(SAVED)) - set(read_weights(SAVED)) == {"position_ids", "flags"}
    assert {name: tensor.shape for name, tensor in read_weights(DATA / "dense.bin").items()} == {
        "linear.weight": (8, 21),
        "linear.bias": (8,),
    }


class Trap:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch sprung",), "system"),
        (eval, ("open('sprung', 'w')",), "builtins.eval|__builtin__.eval"),
        (Path.touch, (Path("sprung"),), "pathlib|getattr"),
        (getattr, ({}, "pop"), "getattr"),
        (np.array, ([1],), "numpy"),
        (pickle.loads, (pickle.dumps(Trap(os.mkdir, "sprung")),), "pickle.loads"),
    ],
)
def test_a_pickle_that_would_run_something_is_refused_by_name_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Any, arguments: Any, named: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (Trap(function, *arguments), {"weight": Trap(function, *arguments)}):
        path = with_pickle(tmp_path / "trap.bin", pickle.dumps(content, protocol))
        with pytest.raises(ModelFileError, match=rf"trap\.bin is refused: it would run \S*({named})"):
            read_torch_file(path)
    assert not (tmp_path / "sprung").exists()


def test_a_name_that_goes_through_what_is_admitted_is_refused(tmp_path: Path) -> None:
    # GLOBAL takes dotted names in protocol 4: collections.OrderedDict.__init__ and on to anything.
    for module, name in (
        ("collections", "OrderedDict.__init__.__globals__"),
        ("torch", "FloatStorage.__class__"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch", "load"),
    ):
        data = pickle.PROTO + b"\x04" + pickle.GLOBAL + f"{module}\n{name}\n".encode() + pickle.STOP
        with pytest.raises(ModelFileError, match=f"it would run {module}.{name}"):
            read_torch_file(with_pickle(tmp_path / "trap.bin", data))


def test_a_memo_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    data = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f" + pickle.STOP
    with pytest.raises(ModelFileError, match="reading it would take all memory"):
        read_torch_file(with_pickle(tmp_path / "large.bin", data))


def test_what_pytorch_saved_other_than_a_state_dict_is_refused(tmp_path: Path) -> None:
    for content, says in (
        ([1, 2], "holds a list, not a dict of tensors"),
        ({"epoch": 3}, "holds 'epoch', a int, among its tensors"),
        ({3: "a"}, "holds 3, a str, among its tensors"),
    ):
        with pytest.raises(ModelFileError, match=says):
            read_torch_file(with_pickle(tmp_path / "other.bin", pickle.dumps(content)))


def rebuilt(
    offset: int, shape: tuple[int, ...], stride: tuple[int, ...], count: int = 12, kind: str = "FloatStorage"
) -> bytes:
    """A pickle as torch.save writes it: one tensor over the storage "0", which holds 12 numbers of float32."""
    stream = io.BytesIO()

    def dumps(value: Any) -> bytes:
        stream.seek(0)
        stream.truncate()
        pickle.Pickler(stream, 2).dump(value)
        return stream.getvalue()[2:-1]  # without PROTO and STOP

    call = pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
    storage = pickle.MARK + dumps("storage") + pickle.GLOBAL + f"torch\n{kind}\n".encode()
    storage += dumps("0") + dumps("cpu") + dumps(count) + pickle.TUPLE + pickle.BINPERSID
    arguments = pickle.MARK + storage + dumps(offset) + dumps(shape) + dumps(stride) + dumps(False) + pickle.NONE
    tensor = call + arguments + pickle.TUPLE + pickle.REDUCE
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + dumps("w") + tensor + pickle.SETITEM + pickle.STOP


def test_strides_are_as_pytorch_has_them(tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=np.float32)
    contents = members() | {"torch_saved/data/0": numbers.tobytes()}
    for offset, shape, stride in ((0, (3, 4), (4, 1)), (1, (4, 2), (1, 4)), (11, (), ()), (0, (12, 1), (1, 5))):
        path = repack(tmp_path / "a.bin", contents | {"torch_saved/data.pkl": rebuilt(offset, shape, stride)})
        expected = np.lib.stride_tricks.as_strided(numbers[offset:], shape, [4 * step for step in stride])
        np.testing.assert_array_equal(read_torch_file(path)["w"], expected)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (rebuilt(0, (13,), (1,)), "reaches beyond its storage"),
        (rebuilt(1, (12,), (1,)), "reaches beyond its storage"),
        (rebuilt(0, (2,), (12,)), "reaches beyond its storage"),
        (rebuilt(0, (1 << 30, 1 << 30), (0, 0)), "reaches beyond its storage"),  # one number, shown without end
        (rebuilt(-1, (2,), (1,)), "holds a tensor of shape"),
        (rebuilt(3, (2,), (-1,)), "holds a tensor of shape"),
        (rebuilt(0, (-2,), (1,)), "holds a tensor of shape"),
        (rebuilt(0, (2, 2), (1,)), "holds a tensor of shape"),
        (rebuilt(0, (1,), (1,), count=1 << 40), "'0' holds 12 numbers, not 1099511627776"),
        (rebuilt(0, (1,), (1,), kind="DoubleStorage"), "'0' holds 6 numbers, not 12"),
        (rebuilt(0, (1,), (1,), kind="ComplexFloatStorage"), "it would run torch.ComplexFloatStorage"),
        (rebuilt(0, (1,), (1,))[:-9], "is not a usable checkpoint"),
        (b"", "is not a usable checkpoint"),
    ],
)
def test_a_pickle_that_lies_about_its_tensors_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    contents = members() | {"torch_saved/data/0": np.arange(12, dtype=np.float32).tobytes()}
    with pytest.raises(ModelFileError, match=rf"a\.bin.*{says}"):
        read_torch_file(repack(tmp_path / "a.bin", contents | {"torch_saved/data.pkl": data}))


@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_with_the_file_and_the_tensor(tmp_path: Path, damage: float) -> None:
    numbers = np.arange(12, dtype=np.float32)
    numbers[7] = damage
    contents = {"torch_saved/data.pkl": rebuilt(0, (3, 4), (4, 1)), "torch_saved/data/0": numbers.tobytes()}
    with pytest.raises(ModelFileError, match=r"a\.bin: the tensor 'w' holds NaN or infinity; the file is damaged"):
        read_weights(repack(tmp_path / "a.bin", contents))


def test_members_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    # A thousand directory entries for one member's bytes: each, read for itself, would be held.
    path = tmp_path / "a.bin"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members().items():
            archive.writestr(name, data)
        archive.writestr("torch_saved/data/large", bytes(100_000))
        large = archive.infolist()[-1]
        archive.filelist += [large] * 1000
    with pytest.raises(ModelFileError, match=r"a\.bin is refused: its members are larger together than the file"):
        read_torch_file(path)


def test_an_archive_that_torch_save_did_not_write_is_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.bin", members()
    without = {name: data for name, data in whole.items() if name != "torch_saved/data/0"}
    for contents, compression, says in (
        (whole, zipfile.ZIP_DEFLATED, "data.pkl is compressed|byteorder is compressed"),
        ({"a/b": b""}, zipfile.ZIP_STORED, "holds no data.pkl"),
        (without, zipfile.ZIP_STORED, "no item named 'torch_saved/data/0'"),
        (whole | {"torch_saved/byteorder": b"big"}, zipfile.ZIP_STORED, "big-endian"),
    ):
        with pytest.raises(ModelFileError, match=rf"a\.bin.*({says})"):
            read_torch_file(repack(path, contents, compression))
    for data in (b"", SAVED.read_bytes()[:-200], pickle.dumps({})):
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"a\.bin is not a usable checkpoint.*PyTorch older than 1\.6"):
            read_torch_file(path)
    with pytest.raises(ModelFileError, match=r"absent\.bin is not a usable checkpoint"):
        read_torch_file(tmp_path / "absent.bin")
