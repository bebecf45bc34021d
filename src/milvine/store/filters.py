"""Values put into filters as literals, so that no value can be read as part of the expression.

Placeholders are those of Milvus' filter templating, `{name}`. They are filled here and not by a server, because Milvus
Lite and servers before 2.5 have no templating, and so that a filter means the same on every store.

Source:
    https://milvus.io/docs/filtering-templating.md for the placeholders; the grammar of Milvus' expressions
    (internal/parser/planparserv2/Plan.g4) for the literals. Of the escapes that it knows, those written here are the
    ones that Milvus Lite knows, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any

from milvine._texts import as_text
from milvine.errors import FilterError, InputTypeError

SHOWN = 300  # characters of a filter in a message
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
# A string as a whole, so that braces in it are left alone; a placeholder; a quote that begins a string without end.
_PARTS = re.compile(
    r"""
    "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'
    |   \{\s*([^\W\d]\w*)\s*\}
    |   ["']
    """,
    re.VERBOSE | re.DOTALL,
)


def fill(filter: str | None, params: Mapping[str, Any] | None) -> str | None:
    """The filter with each placeholder `{name}` replaced by the literal of `params["name"]`.

    A placeholder stands where a value stands, without quotes: `source == {source} and year in {years}`. Braces within
    quotes are text. After `like` the value is the pattern, so `%` and `_` in it are wildcards.

    Args:
        filter: A Milvus expression, or `None`.
        params: The placeholders' values: strings, integers, floats, booleans, and lists of these.

    Raises:
        FilterError: A placeholder has no value, a value no placeholder, or a string in the filter has no end; or a
            value cannot be written in a filter.
        InputTypeError: The filter is no string, `params` no mapping, or a value has a type that is not allowed.
    """
    if params is not None and not isinstance(params, Mapping):
        raise InputTypeError(f"filter_params must be a mapping of names to values, not {type(params).__name__}")
    if filter is None:
        if params:
            raise FilterError(f"filter_params has {_listed(params)}, and there is no filter to put them in")
        return None
    values = params or {}
    used = set()
    text = as_text(filter, "filter")
    shown = shown_filter(text)

    def replaced(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            if len(match.group()) == 1:
                raise FilterError(
                    f"the filter {shown} has a quote at character {match.start() + 1} that is never closed"
                )
            return match.group()
        if name not in values:
            raise FilterError(
                f"the filter {shown} has the placeholder {{{name}}}, and filter_params has no {name!r}:"
                f" it has {_listed(values) or 'nothing'}"
            )
        used.add(name)
        return literal(values[name], f"filter_params[{name!r}]")

    filled = _PARTS.sub(replaced, text)
    if unused := values.keys() - used:
        raise FilterError(
            f"filter_params has {_listed(unused)}, and the filter {shown} has no such placeholder;"
            " placeholders stand without quotes: source == {source}"
        )
    return filled


def shown_filter(filter: str) -> str:
    """The filter as a message shows it; of a long one the beginning."""
    return repr(filter if len(filter) <= SHOWN else f"{filter[:SHOWN]}…")


def literal(value: Any, what: str = "the value") -> str:
    """The value as a literal of a Milvus expression, on one line.

    Args:
        value: A string, an integer of 64 bits, a finite float, a boolean, or a list, tuple or set of these.
        what: What to call it in an error.

    Raises:
        FilterError: An integer is too large, a float not finite, or a string no valid Unicode.
        InputTypeError: It has another type.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FilterError(f"{what} is no valid Unicode: {error}") from error
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, Integral):
        if not -(2**63) <= int(value) < 2**63:
            raise FilterError(f"{what} is {value}, and integers must fit 64 bits (below 2**63)")
        return str(int(value))
    if isinstance(value, Real):
        if not isfinite(value):
            raise FilterError(f"{what} is {value}, and a filter compares finite numbers alone")
        return repr(float(value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(literal(item, f'{what}[{at}]') for at, item in enumerate(value))}]"
    raise InputTypeError(
        f"{what} must be a string, an integer, a float, a boolean or a list of these, not {type(value).__name__}"
        + ("; for what is not there write: source is null" if value is None else "")
    )


def _listed(names: Any) -> str:
    return ", ".join(sorted(repr(name) for name in names))
