"""Analyzers' classes by name, and the YAML files that put them together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from milvine.errors import InputError, InputTypeError, ReadError

_registry: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound="type[Any]")
_ENTRY = ("tokenizer", "preprocessors", "filters")
_PART = ("class", "params")


def register_class(register_as: str) -> Callable[[_Class], _Class]:
    """A class decorator: `build_analyzer_from_yaml` finds the class by this name; a later one of the same name wins.

    Raises:
        InputTypeError: The name is no string; the decorator is used without one.
    """
    if not isinstance(register_as, str):
        raise InputTypeError(f'register_class needs a name: @register_class("Mine"), not {register_as!r}')

    def register(cls: _Class) -> _Class:
        _registry[register_as] = cls
        return cls

    return register


def check_part(part: Any, method: str, what: str) -> Any:
    """A part of an analyzer, seen to be an object with a method.

    Raises:
        InputTypeError: It is not; or it is a class, and nobody has called it.
    """
    if isinstance(part, type):
        raise InputTypeError(f"{what} must be an object, not the class {part.__name__}; write {part.__name__}()")
    if not callable(getattr(part, method, None)):
        raise InputTypeError(f"{what} must have a method {method}, and {type(part).__name__} has none")
    return part


def parts_from_yaml(filepath: str | os.PathLike[str], name: str) -> tuple[Any, list[Any], list[Any]]:
    """The tokenizer, preprocessors and filters that a file describes under a name, see `build_analyzer_from_yaml`."""
    entries = _read(filepath)
    if name not in entries:
        known = ", ".join(map(repr, entries)) or "none"
        raise InputError(f"{filepath} describes no analyzer {name!r}; its entries: {known}")
    where = f"{filepath}: {name}"
    entry = _mapping(entries[name], where, _ENTRY)
    if "tokenizer" not in entry:
        raise InputError(f"{where} lacks the key tokenizer")
    return (
        _build(entry["tokenizer"], f"{where}.tokenizer", "tokenize"),
        _build_each(entry.get("preprocessors"), f"{where}.preprocessors"),
        _build_each(entry.get("filters"), f"{where}.filters"),
    )


def _read(filepath: str | os.PathLike[str]) -> dict[Any, Any]:
    import yaml

    try:
        entries = yaml.safe_load(Path(filepath).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"Cannot read analyzers from {filepath}: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ReadError(f"{filepath} is not YAML: {error}") from error
    if not isinstance(entries, dict):
        raise InputError(f"{filepath} must map names to analyzers, and is {_kind(entries)}")
    return entries


def _build_each(parts: Any, where: str) -> list[Any]:
    if parts is None:
        return []
    if not isinstance(parts, list):
        raise InputError(f"{where} must be a list, and is {_kind(parts)}")
    return [_build(part, f"{where}[{at}]", "apply") for at, part in enumerate(parts)]


def _build(part: Any, where: str, method: str) -> Any:
    part = _mapping(part, where, _PART)
    if "class" not in part:
        raise InputError(f"{where} lacks the key class")
    name = part["class"]
    if not isinstance(name, str) or name not in _registry:
        known = ", ".join(sorted(_registry))
        raise InputError(
            f"{where}.class: there is no analyzer class {name!r}; register_class adds one, and there are {known}"
        )
    params = _mapping(part.get("params") or {}, f"{where}.params")
    try:
        made = _registry[name](**params)
    except InputError as error:
        raise InputError(f"{where}.params: {error}") from error
    except TypeError as error:
        raise InputTypeError(f"{where}.params: {name} does not take {params!r}: {error}") from error
    return check_part(made, method, f"{where}.class: {name}")


def _mapping(value: Any, where: str, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        keys = f" with the keys {', '.join(allowed)}" if allowed else ""
        raise InputError(f"{where} must be a mapping{keys}, and is {_kind(value)}")
    if allowed and (unknown := [key for key in value if key not in allowed]):
        raise InputError(f"{where} has the unknown key {unknown[0]!r}; there are {', '.join(allowed)}")
    return value


def _kind(value: Any) -> str:
    return "empty" if value is None else f"of type {type(value).__name__}"
