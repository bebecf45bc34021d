"""Reading a checkpoint: safetensors, or PyTorch's `.bin` by a reader that admits tensors alone; nothing is run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import ModelFileError
from milvine.local.reading.torch_file import read_torch_file, widened

if TYPE_CHECKING:
    import numpy.typing as npt

WEIGHTS_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The names of published checkpoints, in the order in which they are looked for."""

RENAMES = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))
"""Ends of names in checkpoints that come from TensorFlow, and what they are called now."""

WRAPPERS = ("module.", "0.auto_model.")
"""What training tools have left before the names of some checkpoints."""

_FLOATS = {"F64", "F32", "F16", "BF16"}
_OTHERS = {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"}


def read_weights(path: Path) -> dict[str, npt.NDArray[Any]]:
    """A checkpoint's floating-point tensors by name; bfloat16 becomes float32.

    Args:
        path: A `.safetensors`, `.bin` or `.pt` file, or the `.index.json` of a checkpoint in several.

    Raises:
        ModelFileError: A file is missing, is no checkpoint, is cut short, would run code, or a tensor holds NaN or
            infinity, or numbers of a type that is not known here.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    for part in weights_files(path):
        for name, tensor in _read_torch(part) if part.suffix in (".bin", ".pt") else _read_safetensors(part):
            # A sum is NaN or infinite if any part is; it needs no second array the size of the tensor.
            with np.errstate(invalid="ignore"):
                total = tensor.sum(dtype=np.float64)
            if not np.isfinite(total):
                raise ModelFileError(f"{part}: the tensor {name!r} holds NaN or infinity; the file is damaged")
            tensors[name] = tensor
    return tensors


def weights_files(path: Path) -> tuple[Path, ...]:
    """The files of a checkpoint, in the order of their names: itself, or what its `.index.json` names.

    Raises:
        ModelFileError: The index is missing or no index.
    """
    if path.suffix != ".json":
        return (path,)
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path} is not a usable index of a checkpoint: {error!r}") from error
    for name in names:
        if Path(name).name != name or not name.endswith((".safetensors", ".bin")):
            raise ModelFileError(f"{path} names {name!r}, which is no weights file beside it")
    return tuple(path.with_name(name) for name in names)


def find_weights(folder: Path) -> Path | None:
    """The checkpoint of a folder, or its index, if it has one."""
    return next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)


def weights_file(folder: Path) -> Path:
    """The checkpoint of a folder, or its index.

    Raises:
        ModelFileError: There is none.
    """
    found = find_weights(folder)
    if found is None:
        raise ModelFileError(f"{folder} holds no weights; looked for {', '.join(WEIGHTS_FILES)}")
    return found


def encoder_names(tensors: Mapping[str, npt.NDArray[Any]], prefixes: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """The tensors under the names that architectures and heads use: without what some checkpoints put before them.

    Args:
        tensors: A checkpoint.
        prefixes: What may stand before the encoder's names; one is taken off a name.
    """
    return {_renamed(name, prefixes): tensor for name, tensor in tensors.items()}


def _renamed(name: str, prefixes: Iterable[str]) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    name = name.removeprefix(next((prefix for prefix in prefixes if name.startswith(prefix)), ""))
    for old, new in RENAMES:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name


def _read_safetensors(path: Path) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            header = _header(path)
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - it is no dict
            for name, kind in kinds.items():
                if kind not in _FLOATS | _OTHERS:
                    raise ModelFileError(f"{path} holds a tensor of a type that is not known here: {name!r} is {kind}")
                if kind in _FLOATS - {"BF16"}:
                    yield name, file.get_tensor(name)
        if "BF16" in kinds.values():
            names = [name for name, kind in kinds.items() if kind == "BF16"]
            yield from _read_bfloat16(path, {name: header[name] for name in names})
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} is not a usable safetensors file: {error}") from error


def _header(path: Path) -> dict[str, Any]:
    """The header of a file that safetensors has found right, but for a name that comes twice: it takes the last."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ModelFileError(f"{path} is not a usable safetensors file: its header has a name twice")
        return found

    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")), object_pairs_hook=unique)
        return header


def _read_bfloat16(
    path: Path, entries: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Tensors that numpy has no type for, by their entries in the header."""
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            yield name, widened(file.read(end - begin)).reshape(entry["shape"])


def _read_torch(path: Path) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for name, tensor in read_torch_file(path).items():
        if tensor.dtype.kind == "f":
            yield name, tensor
