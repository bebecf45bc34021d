r"""Filters, evaluated: an expression and a segment in, the rows that pass out.

A condition is true, false or unknown. Unknown are comparisons and computations with what is not there or null, with
types that do not go, and by zero; `not` of unknown is unknown, and what is unknown does not pass. Values of different
types are different, and a boolean is no number. `in`, `json_contains` and the like are false of what is not there,
and `array_length` of what is no array is 0.

Milvus Lite does the same, but for what follows; there the documentation is followed, and where it is silent, servers.
It takes `true` for 1; gives infinity for `n / 0`; lets integers wrap at 64 bits; repeats a string or an array that is
multiplied; reads a string that looks like JSON as the array or object; where types differ, or a path is in the filter,
lets `not in` fail where the key is missing, and knows no backslash in patterns; and does not know `%`, `**`,
`1 < a < 5`, `a == [1]`, `in` after a path, `json_contains($meta["a"], 1)`, `array_length(a["b"])`, lists of several
types, hexadecimal numbers, raw strings, and escapes in strings but for quotes, backslash, `\n`, `\r` and `\t`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from functools import cached_property, partial, reduce
from typing import Any, Protocol, TypeAlias

import numpy as np

from milvine.errors import FilterError
from milvine.store.filtering.columns import EXACT, Column, MetadataPart, canonical, numbered
from milvine.store.filtering.expression import EQUALITY, ID, TEXT, Expression
from milvine.store.filtering.strings import Array, Mask, Strings

FALSE, UNKNOWN, TRUE = 0, 1, 2  # so "and" is the least, "or" the greatest, and "not" 2 minus
FEW_IDS = 50
Row: TypeAlias = "dict[str, Any]"

_JOIN: dict[str, Callable[[Array, Array], Array]] = {"and": np.minimum, "or": np.maximum}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Segment(Protocol):
    """What of a segment is read."""

    numbers: Any
    ids: Strings
    metadata: MetadataPart


def passing(expression: Expression, segment: Segment, texts: Callable[[], Iterator[str]]) -> Mask:
    """The rows that pass a filter, as booleans of shape `(n,)`.

    Args:
        expression: The filter.
        segment: The rows.
        texts: Reads the text of each of the segment's rows, in order; called once at most, and only where it matters.
    """
    try:
        return np.asarray(_Rows(segment, texts).truth(expression) == TRUE)
    except RecursionError as error:
        raise FilterError("the filter looks at metadata that are nested too deep for it") from error


class _Rows:
    """The rows of a segment, for one filter."""

    def __init__(self, segment: Segment, texts: Callable[[], Iterator[str]]) -> None:
        self.segment, self.texts, self.count = segment, texts, len(segment.numbers)

    def truth(self, node: Expression) -> Array:
        """Of each row whether it is `TRUE`; uint8 of shape `(n,)`."""
        if node.op == "not":
            return np.subtract(TRUE, self.truth(node.args[0]))
        if node.op in _JOIN and len(node.keys) > 1:
            result = None
            for arg in sorted(node.args, key=lambda arg: TEXT in arg.keys):
                if result is not None and TEXT in arg.keys and (result == (FALSE if node.op == "and" else TRUE)).all():
                    break  # the texts need not be read
                result = self.truth(arg) if result is None else _JOIN[node.op](result, self.truth(arg))
            return np.asarray(result)
        if node.keys == {ID} and (wanted := _wanted(node)) is not None:
            return _among(self.segment.ids, wanted)
        columns = {key: self.column(key) for key in node.keys}
        if len(columns) != 1:
            return self.by_combinations(node, columns)
        ((key, column),) = columns.items()
        return column.spread(_table(node, key, column), self.count)

    def by_combinations(self, node: Expression, columns: dict[str, Column]) -> Array:
        """Of what reads several keys, or none: tried once for each combination of values that there is."""
        first: Array = np.zeros(1, np.int64)
        combined: Array = np.zeros(self.count, np.int64)
        values = {}
        for key, column in columns.items():
            own = [*column.values, None]
            codes = column.spread(np.arange(len(own)), self.count)
            _, first, combined = np.unique(combined * len(own) + codes, return_index=True, return_inverse=True)
            values[key] = (own, codes)
        test = evaluator(node)
        rows = ({key: own[codes[at]] for key, (own, codes) in values.items()} for at in first.tolist())
        table = np.array([_code(test(row)) for row in rows], np.uint8)
        return np.asarray(table[combined])

    def column(self, key: str) -> Column:
        """A key's column; an empty one if no row has the key."""
        if key == TEXT:
            return self.text
        if key == ID:
            return self.ids
        return self.segment.metadata.column(key) or Column(np.empty(0, np.int32), np.empty(0, np.int32), list)

    @cached_property
    def ids(self) -> Column:
        return Column(None, np.arange(self.count), lambda: list(self.segment.ids))

    @cached_property
    def text(self) -> Column:
        codes, values = numbered(list(self.texts()))
        return Column(None, codes, lambda: values)


def _wanted(node: Expression) -> set[bytes] | None:
    """The ids that it asks for, if it asks for a few."""
    if node.op not in {"==", "in"} or len(constants := [arg.value for arg in node.args if arg.op == "constant"]) != 1:
        return None
    wanted = {id_.encode("utf-8", "surrogatepass") for id_ in (constants if node.op == "==" else constants[0])}
    return wanted if len(wanted) <= FEW_IDS else None


def _among(ids: Strings, wanted: set[bytes]) -> Array:
    """Of each id whether it is wanted. They are compared from their ends, where ids differ most."""
    found = np.full(len(ids), FALSE, np.uint8)
    ends, data = ids.arrays["ends"], ids.arrays["bytes"]
    lengths = np.diff(ends, prepend=0)
    for one in wanted:
        places = np.flatnonzero(lengths == len(one))
        for back, byte in enumerate(reversed(one), 1):
            places = places[data[ends[places] - back] == byte]
            if not len(places):
                break
        found[places] = TRUE
    return found


# Tables: of each distinct value of one key, and last of none


def _table(node: Expression, key: str, column: Column) -> Array:
    if node.op in _JOIN:
        return reduce(_JOIN[node.op], (_table(arg, key, column) for arg in node.args))
    if node.op == "not":
        return np.subtract(TRUE, _table(node.args[0], key, column))
    if node.args and (known := _known(node, column)) is not None:
        return known
    test = evaluator(node)
    return np.array([_code(test({key: value})) for value in [*column.values, None]], np.uint8)


def _known(node: Expression, column: Column) -> Array | None:
    """The table of a field and a constant, if that is looked up, or done for all numbers at once."""
    left, op, right = node.args[0], node.op, node.args[-1]
    if op in _COMPARE and left.op == "constant":
        left, op, right = right, _MIRRORED.get(op, op), left
    if left.op != "field" or left.steps or right.op != "constant":
        return None
    if op in EQUALITY or op == "in":
        sought = [right.value] if op in EQUALITY else right.value
        codes = [column.lookup.get(canonical(one), -1) for one in sought]  # -1: the last, which is set below
        table = np.full(len(column.values) + 1, TRUE if op == "!=" else FALSE, np.uint8)
        table[codes] = FALSE if op == "!=" else TRUE
        table[-1] = FALSE if op == "in" else UNKNOWN
        return table
    if op in _COMPARE and right.type == "number" and (numbers := column.numbers):
        value, values = right.value, numbers.values
        if (numbers.exact and abs(value) <= EXACT) or (values.dtype == np.int64 and type(value) is int):
            are = np.where(numbers.are, TRUE * _COMPARE[op](values, value).astype(np.uint8), np.uint8(UNKNOWN))
            return np.append(are, np.uint8(UNKNOWN))
    return None


def _code(truth: bool | None) -> int:
    return UNKNOWN if truth is None else TRUE if truth else FALSE


# Conditions on one row


def evaluator(node: Expression) -> Callable[[Row], Any]:
    """What an expression is of a row, of which the values of its keys are given; `None` where that is unknown."""
    if node.op == "constant":
        return lambda _: node.value
    if node.op == "field":
        return partial(_at, node.value, node.steps)
    first, *others = parts = [evaluator(arg) for arg in node.args]
    if node.op in _JOIN:
        return partial(_joined, parts, node.op == "or")
    if node.op in _COMPARE:
        return lambda row: _compared(node.op, first(row), others[0](row))
    if node.op in _COMPUTE:
        return lambda row: _computed(node.op, first(row), others[0](row))
    test = _TESTS.get(node.op) or _sought(node.op, node.args[-1].value)
    return lambda row: test(first(row))


_TESTS: dict[str, Callable[[Any], Any]] = {
    "not": lambda value: None if value is None else not value,
    "is null": lambda value: value is None,
    "is not null": lambda value: value is not None,
    "array_length": lambda value: len(value) if isinstance(value, list) else 0,
}


def _sought(op: str, sought: Any) -> Callable[[Any], Any]:
    if op == "like":
        matches = _pattern(sought).fullmatch
        return lambda value: None if value is None else isinstance(value, str) and matches(value) is not None
    wanted = set(map(canonical, [sought] if op == "contains" else sought))
    if op == "in":
        return lambda value: canonical(value) in wanted
    if op == "contains_any":
        return lambda value: isinstance(value, list) and not wanted.isdisjoint(map(canonical, value))
    return lambda value: isinstance(value, list) and wanted.issubset(map(canonical, value))


def _at(key: str, steps: tuple[str | int, ...], row: Row) -> Any:
    value = row[key]
    for step in steps:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    return value


def _joined(parts: list[Callable[[Row], Any]], settled: bool, row: Row) -> bool | None:
    truths = {part(row) for part in parts}
    return settled if settled in truths else None if None in truths else not settled


def _compared(op: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    if op in EQUALITY:
        return (canonical(left) == canonical(right)) == (op == "==")
    kind = _kind(left)
    return bool(_COMPARE[op](left, right)) if kind == _kind(right) and kind not in {list, dict} else None


def _computed(op: str, left: Any, right: Any) -> float | None:
    if _kind(left) is not int or _kind(right) is not int:
        return None
    try:
        return _COMPUTE[op](left, right)
    except (ArithmeticError, ValueError):  # by zero, or too large
        return None


def _kind(value: Any) -> type:
    return int if type(value) is float else type(value)


def _modulo(left: float, right: float) -> float:
    rest = abs(left) % abs(right)  # with the sign of what is divided, as in C
    return -rest if left < 0 else rest


def _power(left: float, right: float) -> float:
    is_small = type(left) is type(right) is int and right >= 0 and right * left.bit_length() < 1024
    return left**right if is_small else math.pow(left, right)


_COMPUTE: dict[str, Callable[[Any, Any], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": _modulo, "**": _power,
}  # fmt: skip


def _pattern(like: str) -> re.Pattern[str]:
    """The regular expression of a pattern. What is between two `%` is found once, so none takes long to fail."""
    pieces = [""]
    for found in re.finditer(r"\\(.)|.", like, re.DOTALL):
        if found[0] == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if found[0] == "_" else re.escape(found[1] or found[0])
    head, *others = pieces
    atoms = "".join(f"(?=(?P<_{at}>.*?{piece}))(?P=_{at})" for at, piece in enumerate(others[:-1]))
    return re.compile(head + atoms + "".join(f".*{piece}" for piece in others[-1:]), re.DOTALL)
