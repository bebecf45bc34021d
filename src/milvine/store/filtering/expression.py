"""Milvus' boolean expressions, read: a filter in, a checked tree out.

Source:
    https://milvus.io/docs/boolean.md and the pages on operators below it; the grammar of Milvus 2.6
    (internal/parser/planparserv2/Plan.g4) for words, literals and what binds tighter than what. In one thing the
    documentation is followed and not the grammar: `not color == "green"` is `not (color == "green")`.
"""

from __future__ import annotations

import json
import re
from ast import literal_eval
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Literal, NoReturn

from milvine._records import RESERVED_KEYS
from milvine.errors import FilterError

Type = Literal["boolean", "number", "string", "array", "any"]
ID, TEXT = "$id", "$text"  # no metadata key begins with $
MAX_DEPTH = 100
EQUALITY, ORDER = {"==", "!="}, {"<", "<=", ">", ">="}
ARITHMETIC = {"+", "-", "*", "/", "%", "**"}

_LOOSE_TO_TIGHT = (
    {"or"}, {"and"}, {"not"}, EQUALITY, ORDER, {"in", "not in"}, {"+", "-"}, {"*", "/", "%"}, {"sign"}, {"**"},
    {"like"}, {"is null", "is not null"},
)  # fmt: skip
_POWERS = {op: power for power, level in enumerate(_LOOSE_TO_TIGHT, 1) for op in level}
_SPELLINGS = {"&&": "and", "||": "or", "!": "not"}
_WORDS = {"and", "or", "not", "in", "like", "exists", "is", "null", "iso", "interval"}
_CONTAINS = {f"{kind}_{op}": op for kind in ("json", "array") for op in ("contains", "contains_all", "contains_any")}
_SERVER_ONLY = re.compile(
    r"iso|interval|(?:text|phrase)_match|random_sample|element_filter|match_(?:all|any|least|most|exact)|st_\w+"
    r"|=~|!~|<<|>>|[&|^~$]"
)
_HINTS = {
    "": "something is missing",
    '"': "a quote is never closed",
    "null": "write: field is null",
    "=": "to compare write == (or >=, <=)",
    "is": "write == (or, for what is not there: field is null)",
    "<>": "write !=",
    "≠": "write !=",
    "≥": "write >=",
    "≤": "write <=",
    "“": 'write straight quotes: "',
    "”": 'write straight quotes: "',
    "contains": 'write array_contains(field, "x") of a list, field like "%x%" of a string',
    "between": "write 1 <= field and field <= 5",
    ".": 'what is within a value is written field["key"]',
    ")": "to close it there must be one that opens",
}
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
    (?P<number> 0[xX][0-9a-fA-F]+ | 0[bB][01]+ | (?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? )
  | (?P<string> [rRuU]?(?: "(?:[^"\\\r\n]|\\.)*" | '(?:[^'\\\r\n]|\\.)*' ) )
  | (?P<phrase> (?i: not\s+in | is\s+null | is\s+not\s+null )\b )
  | (?P<word>   \$meta\b | [^\W\d]\w* )
  | (?P<sign>   \*\* | [=!<>]= | && | \|\| | =~ | !~ | << | >> | <> | . )
    )?""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_ITEM = re.compile(r"""[ \t\r\n]*(["'])([^"'\\\r\n]*)\1[ \t\r\n]*,""")
_ESCAPE = re.compile(r"""\\([abfnrtvxuU0-7\\"']?)""")
_JSON = json.JSONDecoder()


@dataclass(frozen=True)
class Expression:
    """A filter, or a part of one.

    Attributes:
        op: What it does: an operator, a function, "constant" or "field".
        args: What it does it to.
        value: A constant's value; a field's metadata key, or `ID` or `TEXT`.
        steps: Where a field's value is within the metadata key's: keys and indices.
        type: What comes of it.
        depth: Levels of the tree.
    """

    op: str
    args: tuple[Expression, ...] = ()
    value: Any = None
    steps: tuple[str | int, ...] = ()
    type: Type = "boolean"
    depth: int = 1

    @cached_property
    def keys(self) -> frozenset[str]:
        """The metadata keys that it reads, and `ID` and `TEXT`."""
        return frozenset([self.value] if self.op == "field" else []).union(*(arg.keys for arg in self.args))


def parse(filter: str) -> Expression:
    """Read a Milvus expression.

    Raises:
        FilterError: It is none, or has what this store has not; the message tells the character.
    """
    parser = _Parser(filter)
    whole = parser.expression(0)
    if parser.kind:
        parser.refuse()
    parser.check(whole, "boolean", "the filter", 0)
    return whole


class _Parser:
    """Precedence climbing. `kind`, `lexeme` and `at` are of the next token; at the end `kind` is empty."""

    def __init__(self, source: str) -> None:
        self.source, self.depth = source, 0
        self.go(0)

    def go(self, to: int) -> None:
        found = _TOKEN.match(self.source, to)
        assert found  # noqa: S101  -- it matches nothing, too
        self.kind, self.end = found.lastgroup or "", found.end()
        self.at, self.lexeme = (found.start(self.kind), found[self.kind]) if self.kind else (self.end, "")
        if self.kind == "phrase" or self.lexeme.lower() in _WORDS:
            self.kind, self.lexeme = "sign", " ".join(self.lexeme.lower().split())
        self.lexeme = _SPELLINGS.get(self.lexeme, self.lexeme)

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        shown = self.source[max(0, at - 80) : at + 80]
        raise FilterError(f"the filter is not valid at character {at + 1}: {problem}\n    {shown!r}")

    def refuse(self) -> NoReturn:
        if _SERVER_ONLY.fullmatch(self.lexeme.lower()):
            self.fail(f"Milvus servers have {self.lexeme!r}, this store has not")
        hint = _HINTS.get(self.lexeme.lower().replace("'", '"'))
        known = hint and self.lexeme in {"", '"', "'", "null"}
        self.fail(str(hint) if known else f"{self.lexeme!r} is not expected" + (f"; {hint}" if hint else ""))

    def take(self, sign: str) -> bool:
        if self.kind != "sign" or self.lexeme != sign:
            return False
        self.go(self.end)
        return True

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            self.fail(f"{sign!r} is expected" + ("; a list is written [1, 2]" if self.lexeme == "," else ""))

    def deepen(self, depth: int) -> int:
        return depth if depth <= MAX_DEPTH else self.fail(f"it is nested deeper than {MAX_DEPTH} levels")

    def node(self, op: str, *args: Expression, is_a: Type = "boolean") -> Expression:
        return Expression(op, args, type=is_a, depth=self.deepen(1 + max(arg.depth for arg in args)))

    def operand(self, is_a: Type, what: str, least: int = 0) -> Expression:
        """An expression of a type; a value of the metadata may be of any but is no condition."""
        at, operand = self.at, self.expression(least)
        self.check(operand, is_a, what, at)
        return operand

    def check(self, operand: Expression, is_a: Type, what: str, at: int) -> None:
        if operand.type != is_a and (operand.type != "any" or is_a == "boolean"):
            alone = "a value alone; compare it: field == true"
            self.fail(f"{what} must be a {is_a}, not {alone if operand.type == 'any' else operand.type}", at)

    def constant(self, is_a: Type, what: str, least: int = 0) -> Expression:
        at, constant = self.at, self.expression(least)
        if constant.op != "constant" or is_a not in {"any", constant.type}:
            example = ", such as [1, 2]" if is_a == "array" else ""
            self.fail(f"{what} must be {'constant' if is_a == 'any' else f'a constant {is_a}{example}'}", at)
        return constant

    def key(self, what: str) -> Expression:
        at, key = self.at, self.expression(_POWERS["like"])
        if key.op != "field" or key.type != "any":
            self.fail(f"{what} must stand with a key of the metadata", at)
        return key

    def expression(self, least: int) -> Expression:
        """What follows, as far as its operators bind tighter than `least`."""
        self.depth = self.deepen(self.depth + 1)
        at, left = self.at, self.beginning()
        while self.kind == "sign" and (power := _POWERS.get(self.lexeme, 0)) > least:
            left = self.joined(left, at, power)
        self.depth -= 1
        return left

    def joined(self, left: Expression, start: int, power: int) -> Expression:
        """An operand with the operator that comes next and its other operands."""
        op, at = self.lexeme, self.at
        if op in {"and", "or"}:
            self.check(left, "boolean", f"what {op!r} joins", start)
            args = [left]
            while self.take(op):
                args.append(self.operand("boolean", f"what {op!r} joins", power))
            return self.node(op, *args)
        self.go(self.end)
        if op in ARITHMETIC:
            self.check(left, "number", f"what {op!r} takes", start)
            return self.node(op, left, self.operand("number", f"what {op!r} takes", power), is_a="number")
        if op in EQUALITY | ORDER:
            right = self.expression(power)
            compared = self.compared(op, left, right, at)
            if op in ORDER and right.op == "field" and self.lexeme in ORDER and self.lexeme[0] == op[0]:  # 1 < a < 5
                op, at = self.lexeme, self.at
                self.go(self.end)
                compared = self.node("and", compared, self.compared(op, right, self.expression(power), at))
            return compared
        if left.op != "field":
            self.fail(f"left of {op!r} must be a field", start)
        if op in {"is null", "is not null"}:
            return self.node(op, left)
        right = self.constant("string" if op == "like" else "array", f"right of {op!r}", power)
        if op != "like" and left.type == "string" and not all(isinstance(item, str) for item in right.value):
            self.fail("the field is a string, and the list has other values", at)
        return self.node("not", self.node("in", left, right)) if op == "not in" else self.node(op, left, right)

    def compared(self, op: str, left: Expression, right: Expression, at: int) -> Expression:
        types = {left.type, right.type} - {"any"}
        if len(types) > 1 or (op in ORDER and "array" in types):
            self.fail(f"{left.type} {op} {right.type} is not possible", at)
        return self.node(op, left, right)

    def beginning(self) -> Expression:
        kind, lexeme = self.kind, self.lexeme
        if kind == "number":
            return Expression("constant", value=self.number(), type="number")
        if kind == "string":
            return Expression("constant", value=self.string(), type="string")
        if kind == "word":
            return self.word()
        if lexeme == "[":
            return Expression("constant", value=self.list(), type="array")
        if self.take("("):
            inner = self.expression(0)
            self.expect(")")
            return inner
        if self.take("-") or self.take("+"):
            inner = self.operand("number", f"what {lexeme!r} stands before", _POWERS["sign"])
            if inner.op == "constant":
                return Expression("constant", value=-inner.value if lexeme == "-" else inner.value, type="number")
            return self.node(lexeme, Expression("constant", value=0, type="number"), inner, is_a="number")
        if self.take("not"):
            return self.node("not", self.operand("boolean", "what is negated", _POWERS["not"]))
        return self.node("is not null", self.key("'exists'")) if self.take("exists") else self.refuse()

    def word(self) -> Expression:
        name, at = self.lexeme, self.at
        self.go(self.end)
        if name.lower() in {"true", "false"}:
            return Expression("constant", value=name.lower() == "true")
        if not self.take("("):
            return self.field(name, at)
        name = name.lower()
        if name not in {*_CONTAINS, "array_length"}:
            servers = "Milvus servers have it" if _SERVER_ONLY.fullmatch(name) else "it is unknown"
            self.fail(f"this store has no function {name!r}; {servers}", at)
        array = self.key(repr(name))
        if name == "array_length":
            self.expect(")")
            return self.node(name, array, is_a="number")
        self.expect(",")
        sought = self.constant("any" if name.endswith("contains") else "array", f"what {name!r} looks for")
        self.expect(")")
        return self.node(_CONTAINS[name], array, sought)

    def field(self, name: str, at: int) -> Expression:
        steps: list[Any] = []
        while self.take("["):
            step = self.constant("any", "what is in brackets")
            if type(step.value) not in {str, int} or (type(step.value) is int and step.value < 0):
                self.fail("in brackets must be a key in quotes, or an index")
            steps.append(step.value)
            self.expect("]")
        if name in {"id", "text"} and not steps:
            return Expression("field", value=f"${name}", type="string")
        if name == "$meta" and steps and isinstance(steps[0], str):
            name = steps.pop(0)
        elif name in {*RESERVED_KEYS, "$meta"}:
            self.fail(f"{name!r} is no key of the metadata", at)
        return Expression("field", value=name, steps=tuple(steps), type="any")

    def number(self) -> float:
        try:
            value: float = literal_eval(self.lexeme)
        except (SyntaxError, ValueError):  # 007
            value = self.fail(f"{self.lexeme} is no number")
        if not _fits(value):
            self.fail(f"{self.lexeme} does not fit 64 bits")
        self.go(self.end)
        return value

    def string(self) -> str:
        lexeme = self.lexeme if self.lexeme[0] in "rR" else _ESCAPE.sub(_known_escape, self.lexeme)
        try:
            value = str(literal_eval(lexeme.replace("\0", r"\x00")))
        except (SyntaxError, ValueError) as error:
            self.fail(f"the string cannot be read: {error}")
        self.go(self.end)
        return value

    def list(self) -> list[Any]:
        """Constants. They may be many, so a list in JSON is read at once, and strings without escapes almost so."""
        self.depth = self.deepen(self.depth + 1)
        items: list[Any]
        try:
            items, end = _JSON.raw_decode(self.source, self.at)
        except (ValueError, RecursionError):
            items, end = [None], 0
        if not set(map(type, items)) <= {str, int, float, bool}:
            items = []
            self.go(self.end)
            while not self.take("]"):
                end = self.at
                while plain := _PLAIN_ITEM.match(self.source, end):
                    items.append(plain[2])
                    end = plain.end()
                self.go(end)
                if self.lexeme != "]":
                    items.append(self.constant("any", "what is in a list").value)
                    if self.lexeme != "]":
                        self.expect(",")
        elif all(map(_fits, items)):
            self.go(end)
        else:
            self.fail("a number in the list does not fit 64 bits")
        self.depth -= 1
        return items


def _known_escape(escape: re.Match[str]) -> str:
    return escape[0] if escape[1] else r"\\"  # the backslash stays: "100\%" is a pattern


def _fits(value: Any) -> bool:
    return isfinite(value) if isinstance(value, float) else not isinstance(value, int) or abs(value) <= 2**63
