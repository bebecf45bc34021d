"""Which analyzer is which."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from milvine.analysis.analyzer import get_analyzer
from milvine.errors import InputError, InputTypeError

AnyAnalyzer: TypeAlias = Callable[[str], list[str]]


def as_analyzer(analyzer: AnyAnalyzer | str | None) -> AnyAnalyzer:
    """The analyzer that a caller names: by itself, by its language, or English.

    Raises:
        InputError: There is none for the language.
        InputTypeError: It is not callable.
    """
    if analyzer is None or isinstance(analyzer, str):
        return get_analyzer(analyzer or "en")
    if not callable(analyzer):
        raise InputTypeError(
            f"analyzer must be a callable that turns a text into a list of terms, not {type(analyzer).__name__}"
        )
    return analyzer


def identity_of(analyzer: AnyAnalyzer) -> Any:
    """What identifies an analyzer, as JSON gives it back: its `identity`, or else its name."""
    named: Any = analyzer if hasattr(analyzer, "__qualname__") else type(analyzer)
    identity = getattr(analyzer, "identity", None) or f"{named.__module__}.{named.__qualname__}"
    return json.loads(json.dumps(identity))


def analyzer_with(identity: Any, analyzer: AnyAnalyzer, *, or_another: bool) -> AnyAnalyzer | None:
    """The analyzer with this identity: the one given, or if another may be taken, milvine's for the language.

    Returns:
        `None` if neither has it.
    """
    if identity == identity_of(analyzer):
        return analyzer
    language = identity.get("language") if isinstance(identity, dict) else None
    if or_another and isinstance(language, str):
        with suppress(InputError):
            found = get_analyzer(language)
            return found if identity == identity_of(found) else None
    return None
