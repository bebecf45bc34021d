from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from milvine import Record
from milvine._records import MAX_METADATA_BYTES, MAX_TEXT_BYTES, content_hash, in_batches, read_records
from milvine.errors import InputError, InputTypeError


def read(records: Any, ids: Any = None, metadata: Any = None) -> list[Record]:
    return list(read_records(records, ids, metadata))


def test_every_form_of_a_record() -> None:
    records = [
        "a text",
        Record("r", "a record", {"year": 2024}),
        {"text": "a mapping"},
        {"id": "m", "text": "a whole mapping", "metadata": {"year": 2025}},
        {"id": None, "text": "a mapping with nothing", "metadata": None},
    ]
    read_back = read(iter(records))
    assert [record.text for record in read_back] == [
        "a text",
        "a record",
        "a mapping",
        "a whole mapping",
        "a mapping with nothing",
    ]
    assert [record.metadata for record in read_back] == [{}, {"year": 2024}, {}, {"year": 2025}, {}]
    assert read_back[1].id == "r"
    assert read_back[3].id == "m"
    # The id that ids default to, by hashlib alone.
    assert read_back[0].id == hashlib.blake2b(b"a text", digest_size=16).hexdigest()


def test_ids_and_metadata_beside_the_texts() -> None:
    assert read(["a", "b"], ids=(i for i in "xy"), metadata=[{"n": 1}, {}]) == [
        Record("x", "a", {"n": 1}),
        Record("y", "b"),
    ]
    assert read([], ids=[], metadata=[]) == []


def test_nothing_is_read_before_it_is_needed() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            yield str(number)
            number += 1

    stream = read_records(endless(), None, None)
    assert [next(stream).text for _ in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("one text",), "records must be a list, not one str; wrap it"),
        ((b"bytes",), "records must be a list, not one bytes"),
        (({"text": "t"},), "records must be a list, not one dict"),
        ((Record("i", "t"),), "records must be a list, not one Record"),
        ((None,), "records must be a list, not NoneType"),
        ((5,), "records must be a list, not int"),
        ((["a"], "x"), "ids must be a list, not one str"),
        ((["a"], None, {"n": 1}), "metadata must be a list, not one dict"),
        ((["a", 5],), r"records\[1\] must be a string, a Record or a mapping, not int"),
        ((["a", None],), r"records\[1\] must be .* not NoneType"),
        ((["a", b"b"],), r"records\[1\] must be .* not bytes"),
        (([{"text": 5}],), r"records\[0\]: the text must be a string, not int"),
        (([Record("i", None)],), r"records\[0\]: the text must be a string, not NoneType"),  # type: ignore[arg-type]
        (([{"text": "t", "id": 5}],), r"records\[0\]: the id must be a string, not int \(5\); use str\(5\)"),
        ((["a"], [7]), r"records\[0\]: the id must be a string, not int"),
        ((["a"], None, [["n"]]), r"records\[0\]: the metadata must be a mapping, not list"),
        ((["a"], None, [{"x": {1, 2}}]), r"records\[0\]: the metadata is not JSON: .*set"),
        ((["a"], None, [{"x": float("nan")}]), r"records\[0\]: the metadata is not JSON: Out of range float"),
        ((["a"], None, [{"x": [{"y": float("inf")}]}]), "the metadata is not JSON: Out of range float"),
        ((["a"], None, [{"x": np.float32(1)}]), "the metadata is not JSON: .*float32"),
        ((["a"], None, [{5: 1}]), "metadata keys must be strings that are not empty, not 5"),
        ((["a"], None, [{"": 1}]), "metadata keys must be strings that are not empty, not ''"),
    ],
)
def test_types_that_are_not_allowed(arguments: tuple[Any, ...], match: str) -> None:
    with pytest.raises(InputTypeError, match=match):
        read(*arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((["a", "b"], ["x"]), "ids ends at position 1, and records do not; give one a record"),
        ((["a"], ["x", "y"]), "ids has more items than the 1 records"),
        ((["a", "b"], None, [{}]), "metadata ends at position 1"),
        (([], None, [{}]), "metadata has more items than the 0 records"),
        (([{"txt": "t"}],), r"records\[0\] has the unknown key 'txt'"),
        (([{"id": "i"}],), r'records\[0\] has no "text"'),
        (([{"id": "i", "text": "t"}], ["x"]), "has its own id, and the argument gives it another"),
        (([Record("i", "t", {"n": 1})], None, [{"n": 2}]), "has its own metadata"),
        ((["a"], [""]), "the id is empty"),
        ((["a"], ["x" * 4097]), "the id has 4,097 bytes in UTF-8, and 4,096 are allowed"),
        ((["é" * 32768],), "the text has 65,536 bytes in UTF-8, and 65,535 are allowed; pass split=True"),
        ((["x" * 2_000_000],), "the text has 2,000,000 bytes"),
        ((["a\ud800"],), r"records\[0\]: the text is no valid Unicode"),
        ((["a"], ["\udfff"]), "the id is no valid Unicode"),
        ((["a"], None, [{"k": "\ud800"}]), "the metadata is no valid Unicode"),
        ((["a"], None, [{"\ud800": 1}]), "the metadata is no valid Unicode"),
        ((["a"], None, [{"text": "x"}]), "the metadata key 'text' is reserved; rename it"),
        ((["a"], None, [{"_seq": 1}]), "the metadata key '_seq' is reserved"),
        ((["a"], None, [{"$meta": 1}]), r"the metadata key '\$meta' is reserved"),
        ((["a"], None, [{"n": 2**63}]), "the metadata holds 9223372036854775808, and integers must fit 64 bits"),
        ((["a"], None, [{"n": [{"m": -(2**63) - 1}]}]), "integers must fit 64 bits"),
        ((["a"], None, [{"n": "x" * MAX_METADATA_BYTES}]), "the metadata has 65,545 bytes as JSON, and 65,536 are"),
    ],
)
def test_values_that_are_not_allowed(arguments: tuple[Any, ...], match: str) -> None:
    with pytest.raises(InputError, match=match):
        read(*arguments)


def test_the_position_of_a_bad_record_is_named() -> None:
    stream = read_records(["fine", "fine too", 3, "never read"], None, None)  # type: ignore[list-item]
    assert [next(stream).text, next(stream).text] == ["fine", "fine too"]
    with pytest.raises(InputTypeError, match=r"records\[2\]"):
        next(stream)


def test_the_longest_text_is_allowed() -> None:
    assert read(["é" * 32767 + "x"])[0].text.encode().__len__() == MAX_TEXT_BYTES


def test_metadata_becomes_json_and_the_callers_own_is_not_kept() -> None:
    mine: dict[str, Any] = {"tuple": (1, 2), "keys": {1: "one", None: "none"}, "big": 2**63 - 1, "deep": [{"a": None}]}
    (record,) = read(["a"], None, [mine])
    mine["deep"].append("later")
    assert record.metadata == {
        "tuple": [1, 2],
        "keys": {"1": "one", "null": "none"},
        "big": 9223372036854775807,
        "deep": [{"a": None}],
    }


def test_a_hash_tells_contents_apart_and_ignores_the_order_of_keys() -> None:
    def hashed(text: str, metadata: dict[str, Any]) -> str:
        return content_hash(Record("i", text, metadata))

    assert hashed("a", {"x": 1, "y": {"p": 1, "q": 2}}) == hashed("a", {"y": {"q": 2, "p": 1}, "x": 1})
    different = [
        hashed(text, metadata)
        for text, metadata in (
            ("a", {}),
            ("a ", {}),
            ("a", {"x": None}),
            ("a", {"x": 1}),
            ("a", {"x": 1.0}),
            ("a", {"x": "1"}),
            ("a", {"x": True}),
            ("a", {"x": [1]}),
            ('a", {"x": 1}]', {}),
        )
    ]
    assert len(set(different)) == len(different)
    assert content_hash(Record("i", "a")) == content_hash(Record("another id", "a"))


def test_batches() -> None:
    assert list(in_batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(in_batches([1, 2], 2)) == [[1, 2]]
    assert list(in_batches([], 2)) == []


@pytest.mark.parametrize(
    "make", [lambda depth: "[" * depth + "]" * depth, lambda depth: '{"a":' * depth + "1" + "}" * depth]
)
def test_metadata_that_are_nested_too_deep(make: Callable[[int], str]) -> None:
    for depth in (5, 99):
        list(read_records(["x"], None, [{"deep": json.loads(make(depth))}]))
    for depth in (101, 900):
        with pytest.raises(InputError, match="nested deeper than 100 levels"):
            list(read_records(["x"], None, [{"deep": json.loads(make(depth))}]))
    list(read_records(["x"], None, [{"wide": [[n] for n in range(500)], "like": "[[[[" * 50}]))
