"""Reading a checkpoint: safetensors, which hold tensors and nothing that could run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import ModelFileError

if TYPE_CHECKING:
    import numpy.typing as npt


def read_weights(path: Path) -> dict[str, npt.NDArray[Any]]:
    """A checkpoint's floating-point tensors by name.

    Raises:
        ModelFileError: The file is no safetensors file, is cut short, or a tensor holds NaN or infinity, or numbers
            of a type that numpy has no arrays of, such as bfloat16.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is not a usable safetensors file: {error}") from error
    except (AttributeError, TypeError) as error:
        raise ModelFileError(f"{path} holds a tensor of a type that numpy lacks: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "biuf":  # once another library has taught numpy bfloat16, such tensors load
            raise ModelFileError(f"{path} holds a tensor of a type that numpy lacks: {name!r} is {tensor.dtype}")
    floats = {name: tensor for name, tensor in tensors.items() if tensor.dtype.kind == "f"}
    for name, tensor in floats.items():
        # A sum is NaN or infinite if any part is; it needs no second array the size of the tensor.
        with np.errstate(invalid="ignore"):
            total = tensor.sum(dtype=np.float64)
        if not np.isfinite(total):
            raise ModelFileError(f"{path}: the tensor {name!r} holds NaN or infinity; the file is damaged")
    return floats
