"""Reading what `torch.save` wrote, without PyTorch: tensors, and nothing that could run.

Such a file is a zip archive: a pickle that says which tensors there are, and their numbers beside it. A pickle can
name any function to be called as it is read; this reader knows the three that put tensors together, and refuses the
rest.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milvine.errors import ModelFileError

if TYPE_CHECKING:
    import numpy.typing as npt

# The classes of PyTorch's storages, and how their numbers lie in the file (little-endian).
STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<?",
}
LARGEST_PICKLE = 16 << 20  # bytes; a model of a thousand layers needs one or two


def read_torch_file(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a saved state dict by name; those of bfloat16 as float32.

    Raises:
        ModelFileError: The file is missing, is cut short, is of the format before PyTorch 1.6, holds anything but a
            dict of tensors, or would call a function that makes no tensor.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            state = _Reader(archive, path).load()
    except zipfile.BadZipFile as error:
        raise ModelFileError(
            f"{path} is not a usable checkpoint: {error}. If PyTorch older than 1.6 wrote it, load it with PyTorch and"
            " save it as model.safetensors"
        ) from error
    except OSError as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} is not a usable checkpoint: {error}") from error
    if not isinstance(state, Mapping):
        raise ModelFileError(f"{path} holds a {type(state).__name__}, not a dict of tensors")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, np.ndarray):
            raise ModelFileError(f"{path} holds {name!r}, a {type(tensor).__name__}, among its tensors")
    return dict(state)


def widened(data: bytes) -> npt.NDArray[np.float32]:
    """Numbers of bfloat16, which are the upper halves of float32 (little-endian), as float32."""
    return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)


class _StorageType(NamedTuple):
    """What stands for a storage's class: how its numbers lie. It is a tuple, so that no pickle can change it."""

    layout: str


class _Reader:
    """Reads the pickle of an archive, and the numbers that it asks for."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        self._storages: dict[str, npt.NDArray[Any]] = {}
        # Members that lie over each other, each read for itself, would take many times the file's size.
        if sum(member.compress_size for member in archive.infolist()) > path.stat().st_size:
            raise ModelFileError(f"{path} is refused: its members are larger together than the file")
        pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1 or archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE:
            raise ModelFileError(f"{path} is not a checkpoint that torch.save wrote: it holds no data.pkl")
        self._root = pickles[0].removesuffix("data.pkl")

    def load(self) -> Any:
        try:
            if self._root + "byteorder" in self._archive.namelist() and self._bytes("byteorder") != b"little":
                raise ModelFileError(f"{self._path} holds big-endian numbers, which are not read here")
            data = self._bytes("data.pkl")
            for opcode, argument, _ in pickletools.genops(data):
                if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                    raise ModelFileError(f"{self._path} is refused: reading it would take all memory")
            return _TensorUnpickler(data, self).load()
        except ModelFileError:
            raise
        except Exception as error:  # a pickle that torch.save did not write can fail in any way
            raise ModelFileError(f"{self._path} is not a usable checkpoint: {error!r}") from error

    def refuse(self, what: str) -> ModelFileError:
        return ModelFileError(
            f"{self._path} is refused: it would run {what} as it is read, and a checkpoint holds tensors alone;"
            " get the model as safetensors, from someone you trust"
        )

    def storage(self, reference: Any) -> npt.NDArray[Any]:
        """The numbers that a persistent id means."""
        kind, storage, key, _, count = reference
        if kind != "storage" or not isinstance(storage, _StorageType) or not isinstance(key, str):
            raise ModelFileError(f"{self._path} refers to {kind!r}, which is no storage")
        if key not in self._storages:
            data = self._bytes(f"data/{key}")
            numbers = widened(data) if storage.layout == "bfloat16" else np.frombuffer(data, dtype=storage.layout)
            if len(numbers) != count:
                raise ModelFileError(f"{self._path}: the storage {key!r} holds {len(numbers)} numbers, not {count}")
            self._storages[key] = numbers
        return self._storages[key]

    def tensor(self, storage: Any, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
        """`torch._utils._rebuild_tensor_v2`: a view of a storage, both in numbers."""
        is_array = isinstance(storage, np.ndarray) and storage.ndim == 1
        sizes = (offset, *shape, *stride)
        if not is_array or len(shape) != len(stride) or any(type(size) is not int or size < 0 for size in sizes):
            raise ModelFileError(f"{self._path} holds a tensor of shape {shape!r} and stride {stride!r}")
        count = int(np.prod(shape, dtype=object))
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if count and (last >= len(storage) or count > len(storage)):
            raise ModelFileError(f"{self._path} holds a tensor of shape {shape} that reaches beyond its storage")
        if not count:
            return np.empty(shape, storage.dtype)
        strides = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides, writeable=False)

    def _bytes(self, name: str) -> bytes:
        """A member of the archive, which lies there as it is: a compressed one could be larger than the memory."""
        member = self._archive.getinfo(self._root + name)
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ModelFileError(f"{self._path} is not a checkpoint that torch.save wrote: {name} is compressed")
        return self._archive.read(member)


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, reader: _Reader) -> None:
        super().__init__(io.BytesIO(data))
        self._reader = reader

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: self._reader.tensor(*parts)  # a pickle may set attributes of what it gets
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return _StorageType(STORAGES[name])
        raise self._reader.refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return self._reader.storage(pid)
