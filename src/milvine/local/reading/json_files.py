"""JSON files of a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from milvine.errors import ModelFileError

Json = TypeVar("Json", dict[str, Any], list[Any])


def read_json(path: Path, kind: type[Json]) -> Json:
    """A JSON file that holds an object (`dict`) or a list.

    Raises:
        ModelFileError: It is missing, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFileError(f"{path} is not JSON: {error}") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(value, kind):
        what = "object" if kind is dict else "list"
        raise ModelFileError(f"{path} must hold a JSON {what}, not {type(value).__name__}")
    return value


def read_optional_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file; an empty one, if there is no such file."""
    return read_json(path, dict) if path.is_file() else {}
