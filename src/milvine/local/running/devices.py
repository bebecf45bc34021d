"""Where a session runs: the processor, or a CUDA device."""

from __future__ import annotations

import re
from typing import Any

from milvine.errors import InputError, InputTypeError, MissingExtraError
from milvine.local.options import check_count

Provider = str | tuple[str, dict[str, Any]]
"""An execution provider of onnxruntime's, perhaps with options."""

CUDA = "CUDAExecutionProvider"


def is_cuda(device: str | None) -> bool:
    """Whether `device`, which `providers` admits, is a CUDA device."""
    return (device or "").lower().startswith("cuda")


def providers(device: str | None) -> list[Provider]:
    """The execution providers that run a session on a device.

    Args:
        device: `"cpu"`, which an empty string and `None` mean too; `"cuda"`; or `"cuda:1"`, the second such device.

    Raises:
        InputTypeError: `device` is no string.
        InputError: It names no such device.
        MissingExtraError: It is a CUDA device, and the onnxruntime that is installed cannot use one.
    """
    name = _checked(device)
    if name == "cpu":
        return ["CPUExecutionProvider"]
    import onnxruntime as ort

    if CUDA not in ort.get_available_providers():
        raise MissingExtraError(
            f"device={name!r} needs an onnxruntime that has {CUDA}, and the one installed ({ort.__version__}) has"
            f" {', '.join(ort.get_available_providers())}. The two packages exclude each other, so: pip uninstall -y"
            " onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'. Or use device='cpu'."
        )
    if hasattr(ort, "preload_dlls"):  # finds the CUDA libraries that pip installed
        ort.preload_dlls()
    number = int(name.partition(":")[2] or 0)
    # TF32 would keep 10 bits of each factor; results are to be float32's.
    return [(CUDA, {"device_id": number, "use_tf32": 0}), "CPUExecutionProvider"]


def check_device(device: str | None, batch_size: int = 1) -> None:
    """Refuse a device that `providers` would not know, without loading onnxruntime.

    Raises:
        InputTypeError: `device` is no string, or `batch_size` no integer.
        InputError: There is no such device, or `batch_size` is less than 1.
    """
    _checked(device)
    check_count("batch_size", batch_size)


def _checked(device: str | None) -> str:
    if device is not None and not isinstance(device, str):
        raise InputTypeError(f'device must be a string such as "cuda", not {type(device).__name__} ({device!r})')
    name = (device or "cpu").lower()
    if name != "cpu" and not re.fullmatch(r"cuda(:\d+)?", name):
        raise InputError(f'device must be "cpu", "cuda" or "cuda:N" with the number of a device, not {device!r}')
    return name
