"""The check that every function makes of the texts it is given, and what may be shown of a URI."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def as_texts(texts: Iterable[str], what: str = "texts") -> list[str]:
    """The texts as a list, or an error that says which one is no string.

    Raises:
        InputTypeError: `texts` is a bare string, no iterable, or holds something that is no string.
    """
    from milvine.errors import InputTypeError

    if isinstance(texts, str):
        raise InputTypeError(f"{what} must be a list of strings, not one string; wrap it: [{_shorten(texts)}]")
    if isinstance(texts, (bytes, bytearray, dict)) or not isinstance(texts, Iterable):
        raise InputTypeError(f"{what} must be a list of strings, not {type(texts).__name__} ({_shorten(texts)})")
    try:
        iterator = iter(texts)
    except TypeError as error:  # such as of an array without dimensions
        raise InputTypeError(f"{what} must be a list of strings, not {_shorten(texts)}: {error}") from error
    listed = list(iterator)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise InputTypeError(
                f"{what}[{position}] must be a string, not {type(text).__name__} ({_shorten(text)});"
                " convert it with str() or leave it out"
            )
    return listed


def as_text(text: str, what: str) -> str:
    """The text itself, or an error that says it is no string.

    Raises:
        InputTypeError: `text` is no string.
    """
    from milvine.errors import InputTypeError

    if not isinstance(text, str):
        raise InputTypeError(f"{what} must be one string, not {type(text).__name__} ({_shorten(text)})")
    return text


def _shorten(value: Any, limit: int = 60) -> str:
    shown = repr(value[: limit + 1] if isinstance(value, (str, bytes, list, tuple)) else value)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def shown_uri(uri: str | Path) -> str:
    """The URI as it may be shown: without the user and the password that it may hold."""
    scheme, separator, rest = str(uri).partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else str(uri)
