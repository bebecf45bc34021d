from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from milvine import AddReport, Collection, Record, _writing
from milvine.errors import InputError, InputTypeError
from small_functions import HashedWords
from small_passages import CountedWords, words

Collect = Callable[..., Collection]


@pytest.fixture
def docs(collect: Collect) -> Collection:
    return collect(embedding_function=CountedWords())


def contents(docs: Collection) -> dict[str, Record]:
    return {record.id: record for record in docs.records()}


def passages(document: str, *texts: str, **metadata: Any) -> dict[str, Record]:
    """A document's passages where it has one space between any two."""
    expected, start = {}, 0
    for number, text in enumerate(texts):
        place = {"document": document, "start": start, "end": start + len(text)}
        expected[f"{document}#{number}"] = Record(f"{document}#{number}", text, {**metadata, **place})
        start += len(text) + 1
    return expected


def test_long_texts_become_passages_that_know_where_they_are_from(docs: Collection) -> None:
    # Eight words of a passage's ten tokens: [CLS] and [SEP] are the others.
    report = docs.add([Record("a", words(0, 20), {"year": 1956, "title": "A"}), Record("b", "short")], split=True)
    assert report == AddReport(added=4)
    assert contents(docs) == {
        **passages("a", words(0, 8), words(8, 16), words(16, 20), year=1956, title="A"),
        **passages("b", "short"),
    }
    (hit,) = docs.search("w17", mode="lexical")
    assert (hit.id, hit.metadata["document"], hit.metadata["start"]) == ("a#2", "a", len(words(0, 16)) + 1)


def test_how_long_a_passage_is(docs: Collection) -> None:
    docs.add([words(0, 12)], ids=["a"], split=5)
    assert [record.text for record in docs.get([f"a#{n}" for n in range(4)]) if record] == [
        words(at, at + 3) for at in range(0, 12, 3)
    ]
    docs.add([words(0, 12)], ids=["b"], split=7, overlap=2)  # five words, the last two of which come again
    there = [record for record in docs.get([f"b#{n}" for n in range(9)]) if record]
    assert [record.text for record in there] == [words(0, 5), words(3, 8), words(6, 11), words(9, 12)]
    assert [words(0, 12)[one.metadata["start"] : one.metadata["end"]] for one in there] == [one.text for one in there]


def test_the_instruction_takes_its_share(collect: Collect) -> None:
    function: Any = CountedWords()
    function.doc_instruction = "search document:"  # two words and a mark
    docs = collect(embedding_function={"one": function, "two": CountedWords(version=2)})
    docs.add([words(0, 10)], ids=["a"], split=True)
    assert [record.text for record in docs.get(["a#0", "a#1"]) if record] == [words(0, 5), words(5, 10)]


def test_headings_are_boundaries_in_markdown(docs: Collection) -> None:
    text = "# One\n\nw1 w2 w3\n\n# Two\n\nw4 w5 w6"
    docs.add([text], ids=["a"], metadata=[{"format": "markdown"}], split=True)
    assert [record.text for record in docs.get(["a#0", "a#1"]) if record] == ["# One\n\nw1 w2 w3", "# Two\n\nw4 w5 w6"]


def test_a_text_longer_than_a_store_holds(docs: Collection) -> None:
    text = words(0, 20_000)
    assert len(text) > 65_535
    with pytest.raises(InputError, match=r"65,535 are allowed; pass split=True"):
        docs.add([text])
    assert docs.add([text], ids=["a"], split=True) == AddReport(added=2500)
    assert docs.get(["a#2499"]) == [
        Record("a#2499", words(19_992, 20_000), {"document": "a", "start": len(text) - 55, "end": len(text)})
    ]


def test_adding_again_embeds_nothing_and_a_change_only_what_changed(docs: Collection) -> None:
    function: Any = docs.embedding_function
    texts = {"a": words(0, 40), "b": words(100, 120), "c": words(200, 230)}
    assert docs.add(texts.values(), ids=list(texts), split=True) == AddReport(added=12)
    before = len(function.encoded)
    assert docs.add(texts.values(), ids=list(texts), split=True) == AddReport(unchanged=12)
    assert len(function.encoded) == before
    texts["a"] = words(0, 10)
    texts["c"] = words(200, 230) + " w230 w231 w232 w233"
    assert docs.add(texts.values(), ids=list(texts), split=True) == AddReport(
        added=1, updated=2, unchanged=7, removed=3
    )
    assert function.encoded[before:] == ["w8 w9", words(224, 232), "w232 w233"]
    assert contents(docs) == {
        **passages("a", words(0, 8), words(8, 10)),
        **passages("b", words(100, 108), words(108, 116), words(116, 120)),
        **passages("c", *(words(at, min(at + 8, 234)) for at in range(200, 234, 8))),
    }
    assert docs.add(["  \n "], ids=["a"], split=True) == AddReport(removed=2)  # nothing is left of it
    assert docs.count('document == "a"') == 0


def test_a_document_that_was_not_split_before(docs: Collection) -> None:
    docs.add(["as a whole", "another"], ids=["a", "b"])
    docs.add(["a passage of a, added apart"], ids=["a#7"])
    assert docs.add(["in passages"], ids=["a"], split=True) == AddReport(added=1, removed=1)
    assert sorted(docs.ids()) == ["a#0", "a#7", "b"]  # a#7 is no passage: it names no document
    docs.add(["a document with an odd name"], ids=["a#0"], split=True)
    assert sorted(docs.ids()) == ["a#0", "a#0#0", "a#7", "b"]


def test_what_is_no_passage_of_the_document_stays(docs: Collection) -> None:
    docs.add(["own"] * 3, ids=["a#4", "a#5", "a#x"], metadata=[{"document": "b"}, {}, {"document": "a"}])
    docs.add([words(0, 40)], ids=["c"], split=True)
    docs.delete(["c#2"])  # a passage that was deleted hides none of those behind it
    assert docs.add([words(0, 8)] * 3, ids=["a", "b", "c"], split=True) == AddReport(added=2, unchanged=1, removed=3)
    assert sorted(docs.ids()) == ["a#0", "a#4", "a#5", "a#x", "b#0", "c#0"]


@pytest.mark.parametrize(("apart", "remembered"), [(1, 100_000), (1500, 100_000), (1500, 1)])
def test_a_document_that_comes_again_in_one_call(
    docs: Collection, monkeypatch: pytest.MonkeyPatch, apart: int, remembered: int
) -> None:
    """The last version counts, wherever batches of 1,024 passages end, and however soon surplus ones are removed."""
    monkeypatch.setattr(_writing, "MOST_DOCUMENTS", remembered)
    long, short, middle = words(0, 40), words(0, 20), words(0, 30)

    def versions() -> Iterator[tuple[str, str]]:
        for version in (short, long, short, middle, short, long, middle):
            yield "a", version
            yield from ((f"other {number}", "short") for number in range(apart))

    def add() -> AddReport:
        return docs.add((Record(*version) for version in versions()), split=True)

    add()
    expected = {
        **passages("a", words(0, 8), words(8, 16), words(16, 24), words(24, 30)),
        **{key: one for number in range(apart) for key, one in passages(f"other {number}", "short").items()},
    }
    assert contents(docs) == expected
    docs.add([long], ids=["a"], split=True)
    add()
    assert contents(docs) == expected


def test_generators_are_read_as_they_are_needed(docs: Collection) -> None:
    taken = 0

    def documents() -> Iterator[Record]:
        nonlocal taken
        for number in range(5000):
            if number == 4000:
                # Three batches of 1,024 passages have been embedded, two passages a document.
                assert docs.count() > 0
            taken += 1
            yield Record(f"d{number}", words(0, 10))
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        docs.add(documents(), split=True)
    assert taken == 5000
    assert docs.count() == 9 * 1024  # of 10,000 passages the last batch was not full


def test_deleting_documents(docs: Collection) -> None:
    odd = 'a "quoted" \\ name\nof two lines 🐈'
    docs.add([words(0, 20), words(0, 10), "short"], ids=["a", odd, "c"], split=True)
    docs.add(["not split"], ids=["d"])
    assert docs.delete(documents=["a", odd, "nosuch"]) == 5
    assert sorted(docs.ids()) == ["c#0", "d"]
    assert docs.delete(documents=[]) == 0
    assert docs.delete(documents=(f"n{number}" for number in range(1200))) == 0
    with pytest.raises(InputError, match="give either ids, a filter or documents"):
        docs.delete(["c#0"], documents=["c"])
    with pytest.raises(InputTypeError, match="documents must be a list of strings, not one string"):
        docs.delete(documents="c")


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"split": 11}, InputError, "split must be from 3 to 10, the tokens that CountedWords reads, not 11"),
        ({"split": 2}, InputError, "split must be from 3 to 10"),
        ({"split": 0}, InputError, "split must be from 3 to 10"),
        ({"split": "yes"}, InputTypeError, "split must be a number of tokens, not str"),
        ({"split": True, "overlap": 8}, InputError, "overlap must be from 0 to 7 tokens, not 8"),
        ({"split": True, "overlap": 0.1}, InputTypeError, "overlap must be a number of tokens, not float"),
    ],
)
def test_lengths_that_do_not_fit(docs: Collection, options: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        docs.add(["a text"], **options)


@pytest.mark.parametrize("key", ["document", "start", "end"])
def test_metadata_that_stands_where_a_passage_says_its_place(docs: Collection, key: str) -> None:
    with pytest.raises(InputError, match=f"the metadata of document 'a' has the key '{key}'"):
        docs.add([Record("a", "text", {key: 1})], split=True)
    assert docs.add([Record("a", "text", {key: 1})]).added == 1  # a record of its own may have it


def test_a_function_whose_tokens_cannot_be_counted(collect: Collect) -> None:
    docs = collect(embedding_function=HashedWords())
    with pytest.raises(InputError, match=r"cannot be split for HashedWords, whose tokens .* split them yourself"):
        docs.add(["a text"], split=True)


def test_a_passage_id_that_is_too_long(docs: Collection) -> None:
    with pytest.raises(InputError, match=r"passage 0 of document 'i+': the id has 4,098 bytes"):
        docs.add(["text"], ids=["i" * 4096], split=True)


def test_iterating_over_everything(docs: Collection) -> None:
    wanted = {f"id {n}": Record(f"id {n}", f"text {n}", {"n": n, "kind": "ab"[n % 2]}) for n in range(2500)}
    docs.add(wanted.values())
    assert {record.id: record for record in docs} == wanted
    odd = list(docs.records('kind == "b" and n < 100'))
    assert {record.id for record in odd} == {f"id {n}" for n in range(1, 100, 2)}
    iterator = docs.records()
    first = next(iterator)
    docs.delete([first.id])  # what goes while one iterates disturbs nothing
    assert len(list(iterator)) == 2499
    assert docs.count() == 2499


def test_upsert_is_add(docs: Collection) -> None:
    docs.upsert(["one", "two"], ids=["1", "2"], metadata=[{"a": 1}, {"a": 2}])
    assert docs.upsert(["one", "changed"], ids=["1", "2"]) == AddReport(updated=2)
    assert contents(docs) == {"1": Record("1", "one"), "2": Record("2", "changed")}  # whole: the metadata are gone


def random_documents(chosen: random.Random) -> dict[str, str]:
    return {f"d{number}": words(0, chosen.randint(0, 60)) for number in range(40)}


def test_any_sequence_of_versions_leaves_the_last(docs: Collection) -> None:
    chosen = random.Random(11)  # noqa: S311
    latest: dict[str, str] = {}
    for _ in range(8):
        some = chosen.sample(sorted(random_documents(chosen).items()), 15)
        latest |= dict(some)
        docs.add((Record(*one) for one in some), split=True)
    expected: dict[str, Record] = {}
    for document, text in latest.items():
        count = len(text.split())
        expected |= passages(document, *(words(at, min(at + 8, count)) for at in range(0, count, 8)))
    assert contents(docs) == expected
