"""Filters, evaluated: by the rules of `masks.py`, worked out by hand, and by Milvus Lite, the reference."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from milvine import Collection, Record
from milvine.errors import FilterError, StoreError
from milvine.store.filtering.columns import MetadataPart
from milvine.store.filtering.expression import parse
from milvine.store.filtering.masks import evaluator, passing
from milvine.store.filtering.strings import Strings
from milvine.store.filters import literal
from small_functions import HashedWords

Rows = list[dict[str, Any]]


class Texts:
    """The texts of a segment; counts how often they are read."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.reads = texts, 0

    def __call__(self) -> Iterator[str]:
        self.reads += 1
        return iter(self.texts)


def found(filter_: str, rows: Rows, ids: list[str] | None = None, texts: Texts | None = None) -> list[int]:
    """The rows of a segment that pass."""
    ids = [f"i{row}" for row in range(len(rows))] if ids is None else ids
    segment = SimpleNamespace(numbers=np.arange(len(rows)), ids=Strings.build(ids), metadata=MetadataPart.build(rows))
    mask = passing(parse(filter_), segment, texts or Texts([""] * len(rows)))
    assert (mask.dtype, mask.shape) == (np.bool_, (len(rows),))
    return [int(row) for row in np.flatnonzero(mask)]


# By hand

KINDS: Rows = [
    {}, {"k": None}, {"k": 1}, {"k": 1.0}, {"k": 2.5}, {"k": "1"}, {"k": True}, {"k": False}, {"k": [1, "x"]},
    {"k": [True]}, {"k": {"a": 1}}, {"k": -7}, {"k": 2**53 + 1}, {"k": []},
]  # fmt: skip


@pytest.mark.parametrize(
    ("filter_", "rows"),
    [
        ("k == 1", [2, 3]),
        ("k == 1.0", [2, 3]),
        ("k == '1'", [5]),
        ("k == true", [6]),
        ("k != 1", [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("not (k == 1)", [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("k > 0", [2, 3, 4, 12]),
        ("not (k > 0)", [11]),
        ("0 < k", [2, 3, 4, 12]),
        ("k >= 'a' or k < 'a'", [5]),
        ("false < k", [6]),
        ("k == [1, 'x']", [8]),
        ("k != [1, 'x']", [2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13]),
        ("k == [1]", []),
        ("k in [1, true]", [2, 3, 6]),
        ("k in [[1, 'x'], '1']", [5, 8]),
        ("k not in [1, 2.5]", [0, 1, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("k in []", []),
        ("k is null", [0, 1]),
        ("exists k", [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("k['a'] == 1 or k[0] == 1", [8, 10]),
        ("k[0] == true", [9]),
        ("k[2] is null and k is not null", [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("k['a']['b']['c'] == 1", []),
        ("k[1] in ['x']", [8]),
        ("k like '%'", [5]),
        ("not (k like '1')", [2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("json_contains(k, 1)", [8]),
        ("json_contains(k, true)", [9]),
        ("not json_contains(k, 1)", [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13]),
        ("json_contains_all(k, [1, 'x'])", [8]),
        ("json_contains_all(k, [])", [8, 9, 13]),
        ("json_contains_any(k, [5, 1.0, true])", [8, 9]),
        ("array_length(k) == 2", [8]),
        ("array_length(k) == 0", [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13]),
        ("k + 1 == 2", [2, 3]),
        ("k * 2 == 5", [4]),
        ("k % 3 == -1", [11]),  # as in C, and not as in Python
        ("k ** 2 == 49", [11]),
        ("k / 0 == 1 or not (k / 0 == 1)", []),
        ("k ** 0.5 < 0 or k ** 1000000 > 0", [2, 3]),  # the others are too large, or have no real root
        ("k ** 3 == -343", [11]),
        ("-k == 7", [11]),
        ("k == 9007199254740993", [12]),
        ("k == 9007199254740992", []),
        ("k > 9007199254740992", [12]),
        ("k - 9007199254740992 == 1", [12]),
        ("k == k", [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("k < k + 1", [2, 3, 4, 11, 12]),
        ("true", list(range(14))),
        ("1 > 2", []),
        ("1 == 1 and k == 1", [2, 3]),
        ("k > 1 or true", list(range(14))),
        ("nosuch == 1 or not (nosuch == 1)", []),
        ("nosuch is null and nosuch not in [1] and array_length(nosuch) == 0", list(range(14))),
        ("-8 < k < 2", [2, 3, 11]),
        ("2 > k >= -7", [2, 3, 11]),
        ("(k == 1) == true", [2, 3]),
        ("(k == 1) != (k > 0)", [4, 12]),
    ],
)  # fmt: skip
def test_what_passes(filter_: str, rows: list[int]) -> None:
    assert found(filter_, KINDS) == rows


def test_numbers_beyond_what_float64_holds() -> None:
    rows: Rows = [{"k": k} for k in (2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0.5, 1e300, 2.0**60, "x")]
    for chosen in ([0, 1, 2, 3], [0, 1, 2, 3, 4], [4, 5, 6], [0, 4], [0, 1, 2, 3, 4, 5, 6, 7], [3], [7]):
        some = [rows[row] for row in chosen]
        for constant in (2**53, 2**53 + 1, 2**53 + 0.0, 2**60, 2**63 - 1, -(2**63), 0.5, 1e300):
            numbers = [row["k"] if row["k"] != "x" else float("nan") for row in some]
            assert found(f"k < {constant!r}", some) == [at for at, k in enumerate(numbers) if k < constant]
            assert found(f"k >= {constant!r}", some) == [at for at, k in enumerate(numbers) if k >= constant]
            assert found(f"k == {constant!r}", some) == [at for at, k in enumerate(numbers) if k == constant]


def test_several_keys() -> None:
    rows = [{"a": a, "b": b} for a in (1, 2, None) for b in (1, "x", None)]
    assert found("a == b", rows) == [0]
    assert found("a != b", rows) == [1, 3, 4]
    assert found("not (a == b)", rows) == [1, 3, 4]
    assert found("a == 1 or b == 1", rows) == [0, 1, 2, 3, 6]
    assert found("not (a == 1 or b == 1)", rows) == [4]
    assert found("not (a == 1 and b == 1)", rows) == [1, 3, 4, 5, 7]  # false and unknown is false
    assert found("a + b == 3 or a * 2 == b + 1", rows) == [0, 3]


def test_patterns() -> None:
    values = ["", "a", "abc", "a%c", "a_c", "100%", "a\nb", "back\\slash", "ends \\", "é", "abcabc", ".*", "[a]"]
    rows = [{"k": value} for value in values]

    def matching(pattern: str) -> list[str]:
        return [values[row] for row in found(f"k like {literal(pattern)}", rows)]

    assert matching("%") == values
    assert matching("") == [""]
    assert matching("a") == ["a"]
    assert matching("_") == ["a", "é"]
    assert matching("a_c") == ["abc", "a%c", "a_c"]
    assert matching(r"a\_c") == ["a_c"]
    assert matching(r"%\%") == ["100%"]
    assert matching(r"%\%%") == ["a%c", "100%"]
    assert matching("a%") == ["a", "abc", "a%c", "a_c", "a\nb", "abcabc"]
    assert matching("%b%") == ["abc", "a\nb", "back\\slash", "abcabc"]
    assert matching("a%b%c") == ["abc", "abcabc"]
    assert matching("abc%abc") == ["abcabc"]
    assert matching("%c%a%") == ["back\\slash", "abcabc"]
    assert matching(r"%\\%") == ["back\\slash", "ends \\"]
    assert matching("%\\") == ["ends \\"]  # a backslash at the end is one
    assert matching(".*") == [".*"]
    assert matching("[a]") == ["[a]"]


def test_no_pattern_takes_long_to_fail() -> None:
    assert found(f"k like '{'%a' * 60}%b'", [{"k": "a" * 60_000}]) == []
    assert found(f"k like '{'%a' * 150}%'", [{"k": "a" * 60_000}, {"k": "a" * 149}]) == [0]


def test_ids_and_texts() -> None:
    ids = ["a", "b", "ab", "é", "it's", "", "x" * 300, "数", "\x00"]
    rows: Rows = [{"id_": id_} for id_ in ids]
    for at, id_ in enumerate(ids):
        assert found(f"id == {literal(id_)}", rows, ids) == [at]
        assert found(f"{literal(id_)} == id", rows, ids) == [at]
        assert found(f"id in {literal([id_, 'nosuch'])}", rows, ids) == [at]
    assert found("id in ['b', 'é', 'b', 'c']", rows, ids) == [1, 3]
    assert found("id in []", rows, ids) == []
    assert found("id not in ['b']", rows, ids) == [0, 2, 3, 4, 5, 6, 7, 8]
    assert found("id != 'b' and not (id == 'a')", rows, ids) == [2, 3, 4, 5, 6, 7, 8]
    assert found(f"id in {[*map(str, range(1000)), 'ab']}", rows, ids) == [2]
    assert found("id < 'b'", rows, ids) == [0, 2, 5, 8]
    assert found("id like 'a%' or id > 'z'", rows, ids) == [0, 2, 3, 7]
    assert found("id is null", rows, ids) == []
    assert found("id == id_", rows, ids) == list(range(9))
    assert found(r"id == '\ud800' or id == 'x'", rows, ids) == []
    texts = Texts(["a", "b", "ab", "é", "b", "", "b", "数", "z"])
    assert found("text == 'b'", rows, ids, texts) == [1, 4, 6]
    assert found("text like '%b' and id != 'b' and text > 'b'", rows, ids, texts) == []
    assert found("id == text", rows, ids, texts) == [0, 1, 2, 3, 5, 7]
    assert texts.reads == 3


def test_texts_are_read_only_where_they_matter() -> None:
    texts = Texts(["x", "y"])
    assert found("text == 'x' and n > 5", [{"n": 1}, {"n": 2}], texts=texts) == []
    assert found("text == 'x' or n < 5", [{"n": 1}, {"n": 2}], texts=texts) == [0, 1]
    assert found("n < 5", [{"n": 1}, {"n": 2}], texts=texts) == [0, 1]
    assert texts.reads == 0
    assert found("text == 'x' and n > 1", [{"n": 2}, {"n": 1}], texts=texts) == [0]
    assert texts.reads == 1


def test_no_rows() -> None:
    for filter_ in ["true", "n == 1", "n == m", "id == 'x'", "id like 'x'", "text == 'x'", "not (n > 1 and m > 1)"]:
        assert found(filter_, []) == []


def test_metadata_nested_too_deep_are_an_error() -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    test = evaluator(parse("k == [1]"))
    with pytest.raises(RecursionError):
        test({"k": nested})
    segment = SimpleNamespace(numbers=np.arange(1), ids=Strings.build(["a"]), metadata=MetadataPart.build([{"k": 1}]))
    segment.metadata.column("k").values[0] = nested
    with pytest.raises(FilterError, match="nested too deep"):
        passing(parse("k == [1]"), segment, Texts([""]))


def test_filters_that_a_search_by_groups_makes() -> None:
    rows: Rows = [{"g": "a"}, {"g": 1}, {"g": True}, {"g": 1.5}, {}, {"g": ["a"]}, {"odd key": "a"}, {"odd key": "b"}]
    assert found('not (g in ["a"]) and not (g in [true]) and not (g in [1]) and not (g in [1.5])', rows) == [4, 5, 6, 7]
    assert found('(g is null) and not ($meta["odd key"] == "a" or $meta["odd key"] == 5)', rows) == [7]


# By Milvus Lite

UGLY = [
    "it's", 'say "hi"', "back\\slash", "ends with \\", "new\nline", "carriage\rreturn\ttab", "x', 'y", 'x", "y',
    '") or true or ("', "數據庫", "😀 👩‍👩‍👧", "{a}", "%_", " ", "--", "\u2028", "e\u0301", "é", "a_c", "abc", "",
]  # fmt: skip
COUNT = 100
# What a key may be; what it is compared with; whether it is computed with; the paths into it.
KEYS: dict[str, tuple[list[Any], list[Any], bool, list[str]]] = {
    "n": ([*range(-5, 13)], [0, 3, -5, 3.0, 2.5], True, ['$meta["n"]', "n[0]"]),
    "share": ([0.0, 0.5, 1.0, -2.25, 3.0, 1e-3], [0, 0.5, 1, -2.25, 3], True, []),
    "flag": ([True, False], [True, False], False, []),
    "kind": (UGLY, UGLY, False, ['kind["x"]']),
    "tags": ([[], [1], [2, 1], ["1", "x"], [2.5, 3], [[1]], [None]], ["x"], False, ["tags[0]", "tags[1]"]),
    "mixed": ([1, 1.0, "1", "x", 2.5, -3, [1], {"a": 1}], [1, "1", "x", 2.5], False, ['mixed["a"]', "mixed[0]"]),
    "big": ([2**53, 2**53 + 1, -(2**53) - 1, 2**60, 2**60 + 1, 5], [2**53, 2**53 + 1, 2**60 + 1, 5], False, []),
    "deep": (
        [{"a": {"b": [0, 1, {"c": "x"}]}}, {"a": {"b": 3}}, {"a": [{"b": 1}]}, {"a": None}, {"a": 7}, {}, {"b": 1}],
        [1],
        False,
        ['deep["a"]', 'deep["a"]["b"]', 'deep["a"]["b"][2]["c"]', 'deep["a"][0]["b"]', '$meta["deep"]["b"]'],
    ),
    "größe": ([3, 4], [3], True, []),
    "with space": ([1, 2], [], False, ['$meta["with space"]']),
    "none": ([None], [1, "x"], False, []),
    "nosuch": ([], [1, "x"], False, []),
}


def any_metadata(chance: random.Random) -> dict[str, Any]:
    return {key: chance.choice(values) for key, (values, *_) in KEYS.items() if values and chance.random() < 0.8}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collection, Collection]]:
    """The same rows in the built-in store and in Milvus Lite."""
    chance, folder = random.Random(1), tmp_path_factory.mktemp("parity")  # noqa: S311
    ids = [f"i{row}" for row in range(COUNT - len(UGLY))] + [f"{value}." for value in UGLY]
    records = [Record(id_, chance.choice(["a fox", "", "x%y", *UGLY]), any_metadata(chance)) for id_ in ids]
    collections = [Collection(folder / name, embedding_function=HashedWords()) for name in ("kb.milvine", "kb.db")]
    for docs in collections:
        docs.add(records)
    yield collections[0], collections[1]
    for docs in collections:
        docs.close()


def conditions(key: str) -> Iterator[str]:
    _, constants, is_number, paths = KEYS.get(key, ([], ["i5", "it's.", "x%y", "a fox", ""], False, []))
    for place in [key, *paths] if key != "with space" else paths:
        for constant in map(literal, constants):
            yield from (f"{place} {op} {constant}" for op in ("==", "!=", "<", "<=", ">", ">="))
            yield from (f"{constant} {op} {place}" for op in ("==", ">"))
        yield from (f"{place} is null", f"{place} is not null", f'{place} like "%x%"')
        if key not in {"id", "text"}:
            yield f"exists {place}"
    if key == "with space":
        return
    for pattern in ["%", "a%", "_", "a_c", r"a\_c", "%'%", "%\\", "i_", "%x%y%", "%\n%"]:
        yield f"{key} like {literal(pattern)}"
    if key not in {"mixed", "tags", "deep", "none", "nosuch"}:  # Lite cannot, or see DIFFERENCES
        for kind in {type(constant) for constant in constants}:
            some = literal([constant for constant in constants if type(constant) is kind])
            yield from (f"{key} in {some}", f"{key} not in {some}")
        yield from (f"{key} in []", f"{key} not in []")
    if key not in {"id", "text"}:
        for value in [1, "1", "x", 2.5]:
            yield f"json_contains({key}, {literal(value)})"
            yield from (f"array_contains_{how}({key}, {literal([value, 2])})" for how in ("any", "all"))
        yield from (f"array_length({key}) {op} 2" for op in ("==", "<", ">="))
        yield from (
            f"{key} {op} {other}" for op in ("==", "!=", "<") for other in ("n", "kind", "share") if key != "flag"
        )
    if is_number:
        computed = ["+ 1", "- 2", "* 3", "/ 2", "* 1.5", "+ n", "- share * 2"]
        yield from (f"{key} {rest} {test}" for rest in computed for test in ("> 2", "== 4", "!= n"))
        yield from (f"-{key} < 1", f"2 - {key} < 1", f"(1 + {key}) * 2 == 4")


def ids_of(docs: Collection, filter_: str) -> set[str] | None:
    try:
        return set(docs.ids(filter_))
    except StoreError:
        return None


def test_the_same_rows_as_milvus_lite(both: tuple[Collection, Collection]) -> None:
    ours, lites = both
    chance = random.Random(2)  # noqa: S311
    every = [condition for key in [*KEYS, "id", "text"] for condition in conditions(key)]
    simple = [one for one in every if " in [" not in one and r"\\_" not in one]  # see DIFFERENCES
    tried = chance.sample(every, 500)
    for _ in range(200):
        first, second, third = chance.sample(simple, 3)
        tried.append(f"{chance.choice(['', 'not '])}({first} {chance.choice(['and', '||'])} not ({second})) or {third}")
    passed, empty = 0, 0
    for filter_ in tried:
        expected = ids_of(lites, filter_)
        assert ids_of(ours, filter_) == expected, filter_
        passed += expected is not None
        empty += not expected
    assert passed > 600
    assert empty < 0.6 * len(tried)


# Where Milvus Lite differs, its answer stands last; an error is `None`. If one of these fails it has changed.
DIFFERENCES: dict[str, tuple[Rows, str, list[int] | None, list[int] | None]] = {
    "true is 1": ([{"k": True}, {"k": 1}], "k == 1", [1], [0, 1]),
    "true is an element 1": ([{"k": [True]}, {"k": [1]}], "json_contains(k, true)", [0], [0, 1]),
    "division by zero is infinite": ([{"k": 1}, {"k": -1}], "k / 0 > 1", [], [0]),
    "integers wrap": ([{"k": 2**63 - 1}], "k + 1 > 0", [0], []),
    "strings are multiplied": ([{"k": "x"}], "k * 3 != 5", [], [0]),
    "strings are read as JSON": ([{"k": "[1]"}, {"k": [1]}], "json_contains(k, 1)", [1], [0, 1]),
    "missing keys fail `not in` where types differ": ([{"k": 1}, {"k": "x"}, {}], "k not in [1]", [1, 2], [1]),
    "missing keys fail `not in` beside a path": ([{"k": 1}, {}], "k not in [2] or k[0] == 1", [0, 1], [0]),
    "escapes in patterns beside a path": ([{"k": "a_c"}], r'k like "a\\_c" or k[0] == 1', [0], []),
    "modulo": ([{"k": 3}], "k % 2 == 1", [0], None),
    "power": ([{"k": 3}], "k ** 2 == 9", [0], None),
    "ranges": ([{"k": 3}], "1 < k < 5", [0], None),
    "equal arrays": ([{"k": [3]}], "k == [3]", [0], None),
    "arrays as elements": ([{"k": [[3]]}], "json_contains(k, [3])", [0], None),
    "in after a path": ([{"k": [3]}], "k[0] in [3]", [0], None),
    "in of arrays": ([{"k": [3]}], "k in [3]", [], None),
    "contains in $meta": ([{"k": [3]}], 'json_contains($meta["k"], 3)', [0], None),
    "length in a path": ([{"k": {"a": [3]}}], 'array_length(k["a"]) == 1', [0], None),
    "lists of several types": ([{"k": 3}, {"k": "x"}], 'k in [3, "x"]', [0, 1], None),
    "hexadecimal numbers": ([{"k": 255}], "k == 0xff", [0], None),
    "escapes": ([{"k": "é"}], r'k == "\u00e9"', [0], None),
    "raw strings": ([{"k": "\\d"}], r"k == r'\d'", [0], None),
    "text_match": ([{"k": "x"}], 'text_match(text, "x")', None, []),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_differs_from_milvus_lite(name: str, tmp_path: Path) -> None:
    rows, filter_, ours, lites = DIFFERENCES[name]
    for path, expected in (("kb.milvine", ours), ("kb.db", lites)):
        with Collection(tmp_path / path, embedding_function=HashedWords(), lexical=False) as docs:
            docs.add([f"text {row}" for row in range(len(rows))], ids=map(str, range(len(rows))), metadata=rows)
            there = ids_of(docs, filter_)
            assert (None if there is None else sorted(map(int, there))) == expected
