"""What every function over a local model may be told besides its own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from milvine._texts import as_text
from milvine.errors import InputError, InputTypeError

QUANTIZATIONS = ("int8",)
BACKENDS = ("onnx", "torch")


class LocalOptions(TypedDict, total=False):
    """Options of a local model, all by keyword and all optional.

    Attributes:
        folder: Where the files of a model of the catalogue lie, if they are not to be looked for.
        revision: The commit, branch or tag of a model of the hub; by default the catalogue's, else `"main"`.
        max_length: Tokens of a text that are read, special tokens included; by default, and for a model of the
            catalogue at most, what the model was made for.
        batch_tokens: Tokens that run together, padding included; small batches stay in the processor's cache.
        threads: Batches that run at once; by default the number of processors.
        quantize: `"int8"` to run the model's matrix products in 8 bits.
        show_progress: Show a bar; by default on a terminal only.
        backend: `"onnx"`, the default; or `"torch"` to run the model by sentence-transformers, which needs
            `pip install 'milvine[torch]'`: for architectures that milvine does not know.
    """

    folder: str | Path | None
    revision: str | None
    max_length: int | None
    batch_tokens: int | None
    threads: int | None
    quantize: str | None
    show_progress: bool | None
    backend: str | None


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that there are not, and places and switches that can be none.

    Raises:
        InputTypeError: A name is not one of `LocalOptions`, or a value is of the wrong type.
        InputError: There is no such backend, or a place is blank.
    """
    known = LocalOptions.__annotations__
    for name in options:
        if name not in known:
            raise InputTypeError(f"there is no option {name!r} for a local model; there are {', '.join(known)}")
    if (folder := options.get("folder")) is not None:
        check_place("folder", folder)
    if (revision := options.get("revision")) is not None and not as_text(revision, "revision").strip():
        raise InputError("revision is blank; name a commit, branch or tag, or leave it out")
    check_switch("show_progress", options.get("show_progress"))
    if options.get("backend") not in (None, *BACKENDS):
        raise InputError(f"backend must be {' or '.join(map(repr, BACKENDS))}, not {options['backend']!r}")


def check_place(name: str, value: str | Path) -> None:
    """Refuse what can be neither a path nor a name.

    Raises:
        InputTypeError: `value` is neither a string nor a `Path`.
        InputError: It is blank.
    """
    if not isinstance(value, (str, Path)):
        raise InputTypeError(f"{name} must be a string or a Path, not {type(value).__name__} ({value!r})")
    if not str(value).strip():
        raise InputError(f"{name} is blank ({value!r}); give a path, or leave it out")


def check_switch(name: str, value: bool | None) -> None:
    """Refuse what is neither true nor false nor `None`.

    Raises:
        InputTypeError: `value` is something else.
    """
    if value is not None and not isinstance(value, bool):
        raise InputTypeError(f"{name} must be True or False, not {type(value).__name__} ({value!r})")


def check_count(name: str, value: int, least: int = 1, most: int | None = None) -> None:
    """Refuse what is no whole number from `least` to `most`.

    Raises:
        InputTypeError: `value` is no integer.
        InputError: It is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        hint = "; convert it with int()" if hasattr(value, "__index__") else ""  # such as a number of numpy's
        raise InputTypeError(f"{name} must be a whole number, not {type(value).__name__} ({value!r}){hint}")
    if value < least or (most is not None and value > most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be {allowed}, not {value}")


def check_quantize(quantize: str | None, device: str | None = "cpu") -> None:
    """Refuse a quantisation that is not known, or that the device cannot run.

    Raises:
        InputError: It is not one of `QUANTIZATIONS`, nor `None`; or `device` is a CUDA device.
    """
    if quantize is not None and quantize not in QUANTIZATIONS:
        raise InputError(f"quantize must be {' or '.join(map(repr, QUANTIZATIONS))} or None, not {quantize!r}")
    if quantize is not None and (device or "").lower().startswith("cuda"):
        raise InputError(
            f"quantize={quantize!r} is for the processor; onnxruntime has no such operation for CUDA devices: leave it"
            f" out, or use device='cpu' instead of {device!r}"
        )
