"""What providers call the kinds of their vectors, in milvine's words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from milvine.errors import InputError, InputTypeError

__all__ = ["output_of"]

_OUTPUTS: Final[Mapping[str | None, str]] = MappingProxyType(
    {
        None: "float32",
        "float": "float32",
        "float32": "float32",
        "int8": "int8",
        # The same bits: a provider's "binary" are its "ubinary" less 128.
        "binary": "binary",
        "ubinary": "binary",
    }
)


def output_of(name: str, kind: str | None) -> str:
    """The kind of vectors that an argument asks for: `"float32"`, `"int8"` or `"binary"`.

    Args:
        name: The argument's name, for the message.
        kind: Its value.

    Raises:
        InputError: There is no such kind, or Milvus has no field for it.
        InputTypeError: It is no string.
    """
    if not (kind is None or isinstance(kind, str)):
        raise InputTypeError(f"{name} must be a string, not {type(kind).__name__} ({kind!r})")
    if kind in _OUTPUTS:
        return _OUTPUTS[kind]
    why = "; Milvus has no vectors of uint8, take 'int8'" if kind == "uint8" else ""
    raise InputError(f"{name} must be 'float', 'int8', 'binary' or 'ubinary', not {kind!r}{why}")
