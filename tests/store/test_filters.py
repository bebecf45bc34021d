from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine import Collection, Record
from milvine.errors import FilterError, InputTypeError, MilvineError
from milvine.store.filters import fill, literal
from small_functions import HashedWords


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.md", '"a.md"'),
        ("", '""'),
        ('say "no"', r'"say \"no\""'),
        ("it's", '"it\'s"'),
        ("C:\\new", r'"C:\\new"'),
        ("one\ntwo\r\n\tthree", r'"one\ntwo\r\n\tthree"'),
        ('\\" or 1 == 1', r'"\\\" or 1 == 1"'),
        ("👩‍👩‍👧 {x}", '"👩‍👩‍👧 {x}"'),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-(2**63), "-9223372036854775808"),
        (2.5, "2.5"),
        (-1e-7, "-1e-07"),
        (1e300, "1e+300"),
        ([], "[]"),
        ([1, "a", True, 0.5], '[1, "a", true, 0.5]'),
        (("x",), '["x"]'),
        ({"only"}, '["only"]'),
        (np.int64(7), "7"),
        (np.float64(0.1), "0.1"),
        (np.str_("text"), '"text"'),
        (Enum("Kind", {"A": "a"}, type=str).A, '"a"'),  # type: ignore[attr-defined]
    ],
)
def test_literals(value: Any, expected: str) -> None:
    assert literal(value) == expected


def test_filling() -> None:
    assert fill("source == {source} and year in {years}", {"source": 'a"b', "years": [1, 2]}) == (
        'source == "a\\"b" and year in [1, 2]'
    )
    assert fill("{ a } < n or n < {b}", {"a": 1, "b": {2}}) == "1 < n or n < [2]"
    assert fill("n > {n} and m > {n}", {"n": 1}) == "n > 1 and m > 1"
    # A value is not looked at again, whatever it holds.
    assert fill("s == {a} and t == {b}", {"a": "{b}", "b": '" or {a}'}) == r't == "\" or {a}"'.join(
        ['s == "{b}" and ', ""]
    )
    # Within quotes braces are text.
    assert (
        fill("""s == "{a}" and t == '{a} "' and u == {a}""", {"a": 1}) == """s == "{a}" and t == '{a} "' and u == 1"""
    )
    assert fill(r"""s == "\"{a}" and t == {a}""", {"a": 1}) == r"""s == "\"{a}" and t == 1"""
    for untouched in (None, "", "n > 1", 'tags["{x}"] == 1'):
        assert fill(untouched, None) == fill(untouched, {}) == untouched


@pytest.mark.parametrize(
    ("filter_", "params", "error", "match"),
    [
        ("s == {a}", None, FilterError, r"has the placeholder \{a\}, and filter_params has no 'a': it has nothing"),
        ("s == {a}", {"b": 1}, FilterError, "no 'a': it has 'b'"),
        ("s == {a}", {"a": 1, "b": 2, "c": 3}, FilterError, "filter_params has 'b', 'c', and the filter"),
        ('s == "{a}"', {"a": "x"}, FilterError, "placeholders stand without quotes"),
        (None, {"a": 1}, FilterError, "filter_params has 'a', and there is no filter"),
        ('s == "no end and t == {a}', {"a": 1}, FilterError, "has a quote at character 6 that is never closed"),
        ("s == 'it's' and t == {a}", {"a": 1}, FilterError, "character 11"),
        ("s == {a}", {"a": None}, InputTypeError, r"filter_params\['a'\] must be .* not NoneType; .* source is null"),
        ("s in {a}", {"a": [1, None]}, InputTypeError, r"filter_params\['a'\]\[1\] must be a string"),
        ("s == {a}", {"a": b"x"}, InputTypeError, "not bytes"),
        ("s == {a}", {"a": {"k": 1}}, InputTypeError, "not dict"),
        ("s == {a}", {"a": np.array([1])}, InputTypeError, "not ndarray"),
        ("s == {a}", {"a": float("nan")}, FilterError, "is nan, and a filter compares finite numbers"),
        ("s == {a}", {"a": -float("inf")}, FilterError, "is -inf"),
        ("s == {a}", {"a": 2**63}, FilterError, "integers must fit 64 bits"),
        ("s == {a}", {"a": "\ud800"}, FilterError, "no valid Unicode"),
        ("s == {a}", ["a"], InputTypeError, "filter_params must be a mapping of names to values, not list"),
        (5, None, InputTypeError, "filter must be one string, not int"),
    ],
)
def test_what_cannot_be_filled(filter_: Any, params: Any, error: type[MilvineError], match: str) -> None:
    with pytest.raises(error, match=match):
        fill(filter_, params)


# What comes back of Milvus Lite is what a comparison in Python says, and nothing else.

STRINGS = [
    *("", " ", '"', "'", "\\", '\\"', "\\'", "\\\\", "a\\", 'end\\\\"', "\n", "\r\n", "\t", "\x00", "\x01\x1f\x7f"),
    *("\x0b\x0c\x85", "\u2028", "\u2029", "\ufeff", "\u202e", "\ufffe", "\U0010ffff", "\\n", "\\u0041", "\\x41"),
    *('" or 1 == 1 or "" == "', "' or true or '", '\\" or true or \\"', '") or (true', '"] or s in ["a', "--", "/*"),
    *("{v}", "{name}", "%", "_", "a%", "a", "A", "true", "null", "1", "$meta", "é", "e\u0301", "東京", "🎉", "👩‍👩‍👧"),
    "x" * 3000,
]
NUMBERS = [0, 1, -1, 7, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, -0.5, 3.0, 1e-300, 1e300, 1e16]
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "s == {v}": operator.eq,
    "s != {v}": operator.ne,
    "s < {v}": operator.lt,
    "s >= {v}": operator.ge,
    "s in {v}": lambda own, value: own in value,
    "not (s in {v})": lambda own, value: own not in value,
    '$meta["s"] == {v}': operator.eq,
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    path: Path = tmp_path_factory.mktemp("filters") / "kb.db"
    with Collection(path, embedding_function=HashedWords()) as docs:
        docs.add([Record(f"s{at}", "text", {"s": value}) for at, value in enumerate(STRINGS)])
        docs.add([Record(f"n{at}", "text", {"n": value}) for at, value in enumerate(NUMBERS)])
        docs.add([Record(f"b{at}", "text", {"b": value}) for at, value in enumerate((True, False))])
        yield docs


@pytest.mark.parametrize("expression", list(COMPARED))
def test_strings_in_milvus_lite(filled: Collection, expression: str) -> None:
    for value in STRINGS:
        given = [value] if " in " in expression else value
        expected = {f"s{at}" for at, own in enumerate(STRINGS) if COMPARED[expression](own, given)}
        found = {id_ for id_ in filled.ids(expression, {"v": given}) if id_.startswith("s")}
        assert found == expected, value


def test_lists_of_strings_in_milvus_lite(filled: Collection) -> None:
    random = np.random.default_rng(0)
    for size in (0, 1, 2, 10, len(STRINGS)):
        chosen = sorted(random.choice(len(STRINGS), size, replace=False).tolist())
        found = filled.ids("s in {v}", {"v": [STRINGS[at] for at in chosen]})
        assert set(found) == {f"s{at}" for at in chosen}
        assert filled.count("s in {v}", {"v": [STRINGS[at] for at in chosen]}) == size


@pytest.mark.parametrize("operation", [operator.eq, operator.ne, operator.lt, operator.ge])
def test_numbers_in_milvus_lite(filled: Collection, operation: Callable[[Any, Any], bool]) -> None:
    sign = {operator.eq: "==", operator.ne: "!=", operator.lt: "<", operator.ge: ">="}[operation]
    for value in NUMBERS:
        expected = {f"n{at}" for at, own in enumerate(NUMBERS) if operation(own, value)}
        assert set(filled.ids(f"n {sign} {{v}}", {"v": value})) == expected, value


def test_booleans_in_milvus_lite(filled: Collection) -> None:
    assert set(filled.ids("b == {v}", {"v": True})) == {"b0"}
    assert set(filled.ids("b == {v}", {"v": False})) == {"b1"}


@pytest.mark.parametrize("value", STRINGS)
def test_searching_and_deleting_by_any_value(filled: Collection, value: str) -> None:
    for mode in ("dense", "lexical", "hybrid"):
        hits = filled.search("text", mode=mode, filter="s == {v}", filter_params={"v": value})  # type: ignore[call-overload]
        assert [hit.metadata for hit in hits] == [{"s": value}]
    before = filled.count()
    at = STRINGS.index(value)
    assert filled.delete(filter="s == {v} and id != {id}", filter_params={"v": value, "id": f"s{at}"}) == 0
    assert filled.delete(filter="s == {v}", filter_params={"v": value}) == 1
    assert (filled.count(), filled.get([f"s{at}"])) == (before - 1, [None])
    filled.add([Record(f"s{at}", "text", {"s": value})])
