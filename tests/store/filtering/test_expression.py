"""Filters, read. What they mean is pinned by filters that are written out with parentheses."""

from __future__ import annotations

import pytest

from milvine.errors import FilterError
from milvine.store.filtering.expression import ID, TEXT, Expression, parse


@pytest.mark.parametrize(
    ("filter_", "meant"),
    [
        ("a == 1 or b == 2 and c == 3", "(a == 1) or ((b == 2) and (c == 3))"),
        ("not a == 1 and b == 2", "(not (a == 1)) and (b == 2)"),
        ("not a in [1]", "not (a in [1])"),
        ("a not in [1]", "not (a in [1])"),
        ("not not exists a", "not (not (exists a))"),
        ("not a like 'x%' or b is null", "(not (a like 'x%')) or (b is null)"),
        ("a + 2 * b ** 2 > 3 - 1 - 1", "(a + (2 * (b ** 2))) > ((3 - 1) - 1)"),
        ("-a ** 2 < 1", "(-(a ** 2)) < 1"),
        ("a % 2 * 3 == 0", "((a % 2) * 3) == 0"),
        ("2 ** 3 ** 2 == a", "((2 ** 3) ** 2) == a"),
        ("1 < a + 1 == (b > 2)", "(1 < (a + 1)) == (b > 2)"),
        ("1 < a <= 5", "1 < a and a <= 5"),
        ("5 > a['b'] >= 1", "5 > a['b'] and a['b'] >= 1"),
        ("a == 1 && !(b == 2) || c == 3", "a == 1 and not (b == 2) or c == 3"),
        ("A == TRUE AND b IN [1] OR NOT EXISTS c", "A == true and b in [1] or not exists c"),
        ("a LIKE 'x' And b NOT IN [1] and c IS  NOT\nNULL", "a like 'x' and b not in [1] and c is not null"),
        ("exists a and b is not null", "a is not null and exists b"),
        ("a==1", "\t a\r\n==\n1 "),
        ("$meta['a'] == 1", "a == 1"),
        ("$meta[\"a\"]['b'][0] == 1", "a['b'][0] == 1"),
        ("JSON_CONTAINS(a, 1)", "array_contains(a, 1)"),
        ("json_contains_any(a, [1])", "Array_Contains_Any(a, [1])"),
        ("a in [1, 2,]", "a in [1,2]"),
        ("a in ['x', \"y\", 'z']", 'a in ["x","y","z"]'),
        ("a in [1, -2, +3, 0x10, 1e3, true]", "a in [1,-2,3,16,1000.0,true]"),
        ("a == [[1, 'x'], []]", 'a == [[1,"x"],[]]'),
        ("a == 0b101 or a == .5 or a == 5.", "a == 5 or a == 0.5 or a == 5.0"),
        ("(((a))) == ((1))", "a == 1"),
    ],
)
def test_what_is_meant(filter_: str, meant: str) -> None:
    assert parse(filter_) == parse(meant)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"'it\'s'", "it's"),
        (r'"say \"hi\""', 'say "hi"'),
        ("'say \"hi\"'", 'say "hi"'),
        (r'"\\n\n\t\r\a\b\f\v"', "\\n\n\t\r\a\b\f\v"),
        (r'"\x41\u00e9\U0001F600\101"', "Aé😀A"),
        (r'"100\%\_"', r"100\%\_"),
        (r"r'\d\n'", r"\d\n"),
        ('"\x00"', "\x00"),
        ('"數據庫 😀 \u2028 {a} -- # and or"', "數據庫 😀 \u2028 {a} -- # and or"),
        ('""', ""),
    ],
)
def test_strings(written: str, value: str) -> None:
    assert parse(f"a == {written}").args[1].value == value
    assert parse(f"a in [{written}, 'x', {written}]").args[1].value == [value, "x", value]


def test_numbers_keep_their_type() -> None:
    values = {"-9223372036854775808": -(2**63), "9223372036854775807": 2**63 - 1, "1.0": 1.0, "-0.5": -0.5, "00": 0}
    for written, value in values.items():
        read = parse(f"a == {written}").args[1].value
        assert (read, type(read)) == (value, type(value))


def test_a_name_may_be_any_word() -> None:
    for name in ["größe", "class", "_a1", "inside", "order", "nota", "isnull", "contains", "likes"]:
        assert parse(f"{name} == 1").keys == {name}


def test_what_is_read() -> None:
    read = parse("id in ['a'] and text like '%x' or a[0]['b'] > $meta['c d'] and true")
    assert read.keys == {ID, TEXT, "a", "c d"}
    assert parse("a[0]['b'] == 1").args[0] == Expression("field", value="a", steps=(0, "b"), type="any")


@pytest.mark.parametrize(
    ("filter_", "character", "problem"),
    [
        ("", 1, "missing"),
        ("   ", 4, "missing"),
        ("year >", 7, "missing"),
        ("year = 2020", 6, "'='"),
        ("(((", 4, "missing"),
        ("(a == 1", 8, "'\\)' is expected"),
        ('source == "x', 11, "never closed"),
        ("a == 'x\n'", 6, "never closed"),
        ("id == 5", 4, "string == number"),
        ("5 != text", 3, "number != string"),
        ("id in ['a', 5]", 4, "other values"),
        ("id + 1 == 2", 1, "must be a number"),
        ("year == 1) or (1 == 1", 10, "'\\)'"),
        ("a == 1 b == 2", 8, "'b'"),
        ("a", 1, "not a value alone"),
        ("a and b == 1", 1, "not a value alone"),
        ("b == 1 or a", 11, "not a value alone"),
        ("not a", 5, "not a value alone"),
        ("1 + 2", 1, "not number"),
        ("(a == 1) + 1 > 2", 1, "must be a number"),
        ("'a' + b > 2", 1, "must be a number"),
        ("1 == 'x'", 3, "number == string"),
        ("1 < a < 5 < 7", 11, "boolean < number"),
        ("a < [1]", 3, "array"),
        ("a in 5", 6, r"constant array, such as \[1, 2\]"),
        ("a in (5, 6)", 8, r"'\)' is expected; a list is written \[1, 2\]"),
        ("year = 2020", 6, "'=' is not expected; to compare write =="),
        ("source is 'a'", 8, "'is' is not expected; to compare|'is' is not expected; write =="),
        ("a <> 5", 3, "'<>' is not expected; write !="),
        ("a ≥ 5", 3, "'≥' is not expected; write >="),
        ("a == “x”", 6, "write straight quotes"),
        ("tags contains 'x'", 6, r"write array_contains\(field"),
        ("a BETWEEN 1 AND 5", 3, "'BETWEEN' is not expected; write 1 <= field"),
        ("a.b == 1", 2, r"what is within a value is written field\[.key.\]"),
        ("flag", 1, "compare it: field == true"),
        ("a in [b]", 7, "constant"),
        ("a in [1 2]", 9, "',' is expected"),
        ("a in [1, 2", 11, "expected"),
        ("a in [1, null]", 10, "is null"),
        ("1 in [1]", 1, "must be a field"),
        ("a like b", 8, "constant string"),
        ("a like 5", 8, "constant string"),
        ("'x' like 'x'", 1, "must be a field"),
        ("a == null", 6, "is null"),
        ("1 is null", 1, "must be a field"),
        ("exists id", 8, "key of the metadata"),
        ("exists 5", 8, "key of the metadata"),
        ("id['x'] == 1", 1, "'id'"),
        ("content_hash == 'x'", 1, "'content_hash'"),
        ("$meta == 1", 1, "'\\$meta'"),
        ("$meta[0] == 1", 1, "'\\$meta'"),
        ("$other == 1", 1, "this store has not"),
        ("a[-1] == 1", 5, "index"),
        ("a[b] == 1", 3, "constant"),
        ("a[1.5] == 1", 6, "index"),
        ("json_contains(a)", 16, "',' is expected"),
        ("json_contains(id, 'x')", 15, "key of the metadata"),
        ("json_contains_all(a, 1)", 22, "constant array"),
        ("array_length(5) == 1", 14, "key of the metadata"),
        ("nosuch(a) == 1", 1, "no function 'nosuch'; it is unknown"),
        ("text_match(text, 'x')", 1, "'text_match'; Milvus servers have it"),
        ("phrase_match(text, 'x')", 1, "Milvus servers have it"),
        ("random_sample(0.1)", 1, "Milvus servers have it"),
        ("st_within(a, 'POINT(1 1)')", 1, "Milvus servers have it"),
        ("a > ISO '2025-01-01T00:00:00Z'", 5, "Milvus servers have 'iso'"),
        ("a =~ 'x'", 3, "Milvus servers have '=~'"),
        ("a & 1 == 1", 3, "Milvus servers have '&'"),
        ("a == 9223372036854775809", 6, "64 bits"),
        ("a in [9223372036854775809]", 6, "64 bits"),
        ("a == 1e999", 6, "64 bits"),
        ("a in [1e999]", 6, "64 bits"),
        ("a == 017", 6, "no number"),
        ("a == '\\x4'", 6, "cannot be read"),
        ("a == {value}", 6, "'{'"),
        ("a == 1;", 7, "';'"),
        ("(" * 100_000, 101, "nested deeper"),
        ("not " * 100_000, 401, "nested deeper"),
        ("-" * 100_000 + "a < 1", 101, "nested deeper"),
        ("a == " + "[" * 100_000, 55, "nested deeper"),
        ("a" + " + 1" * 100_000 + " > 1", 403, "nested deeper"),
    ],
)
def test_an_error_points_at_the_character(filter_: str, character: int, problem: str) -> None:
    with pytest.raises(FilterError, match=rf"at character {character}: (?s:.*){problem}") as raised:
        parse(filter_)
    assert len(str(raised.value)) < 400


def test_what_is_long_and_not_deep() -> None:
    assert len(parse(" or ".join(f"a == {n}" for n in range(10_000))).args) == 10_000
    for values in ([*range(100_000)], [f"user {n}" for n in range(100_000)], [n / 7 for n in range(100_000)]):
        assert parse(f"a in {values}").args[1].value == values
    assert parse(f"a in ['it\\'s', {', '.join(['0x1'] * 1000)}]").args[1].value == ["it's", *[1] * 1000]
