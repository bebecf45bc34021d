from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from milvine import AddReport, Collection, Hit, Record
from milvine.collection import Mode
from milvine.errors import InputError, InputTypeError, MilvineError
from milvine.model.base import BaseRerankFunction, RerankResult
from milvine.rank import fuse
from small_functions import DIM, CountsWord, HashedWords

MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
Collect = Callable[..., Collection]

TEXTS = {
    "tea": "tea is made of leaves and hot water",
    "coffee": "coffee is made of beans and hot water",
    "bread": "bread is made of flour water and yeast",
    "house": "a house is built of stones",
    "dog": "the dog sleeps in the house",
}


def function_of(docs: Collection) -> HashedWords:
    assert isinstance(docs.embedding_function, HashedWords)
    return docs.embedding_function


@pytest.fixture
def filled(docs: Collection) -> Collection:
    metadata = [{"n": number, "kind": "drink" if number < 2 else "other"} for number in range(len(TEXTS))]
    docs.add(TEXTS.values(), ids=list(TEXTS), metadata=metadata)
    return docs


# Adding


def test_adding_every_form(docs: Collection) -> None:
    assert docs.add(["a text"]) == AddReport(added=1)
    assert docs.add([Record("r", "a record", {"n": 1}), {"text": "a mapping", "metadata": {"n": 2}}]).added == 2
    assert docs.add((f"number {number}" for number in range(3)), ids=iter("123")).added == 3
    assert docs.add([]) == AddReport()
    assert docs.add(iter(())) == AddReport()
    assert len(docs) == docs.count() == 6
    assert docs.get(["r", "2", "nosuch", "r"]) == [
        Record("r", "a record", {"n": 1}),
        Record("2", "number 1"),
        None,
        Record("r", "a record", {"n": 1}),
    ]


def test_adding_again_embeds_nothing(docs: Collection) -> None:
    records = [Record(str(number), f"text {number}", {"a": number, "b": {"x": 1, "y": 2}}) for number in range(50)]
    assert docs.add(records) == AddReport(added=50)
    encoded = function_of(docs).encoded
    assert len(encoded) == 50
    turned = [Record(one.id, one.text, {"b": {"y": 2, "x": 1}, "a": one.metadata["a"]}) for one in records]
    assert docs.add(turned) == AddReport(unchanged=50)
    assert len(encoded) == 50
    changed = [Record("3", "another text", {}), Record("4", "text 4", {"a": 5}), *records[5:10], Record("new", "text")]
    assert docs.add(changed) == AddReport(added=1, updated=2, unchanged=5)
    assert encoded[50:] == ["another text", "text 4", "text"]
    assert docs.get(["3", "4"]) == [Record("3", "another text", {}), Record("4", "text 4", {"a": 5})]


def test_duplicates(docs: Collection) -> None:
    assert docs.add(["same", "same", "other"]) == AddReport(added=2, unchanged=1)
    assert docs.count() == 2
    assert docs.add(["same", "same"], ids=["x", "y"]).added == 2  # equal texts under two ids are two records
    assert docs.add(["first", "second", "last"], ids=["i"] * 3) == AddReport(added=1, unchanged=2)
    assert docs.get(["i"]) == [Record("i", "last")]


def test_duplicates_far_apart_in_one_call(docs: Collection) -> None:
    # Beyond 1,024 the first is being written while the second is embedded.
    def records() -> Iterator[Record]:
        for number in range(1500):
            yield Record(str(number), f"text {number}")
        yield Record("1100", "text 1100")
        yield Record("1200", "a later text")

    assert docs.add(records()) == AddReport(added=1500, updated=0, unchanged=2)
    assert docs.get(["1200"]) == [Record("1200", "a later text")]
    again = [Record(f"{number % 1024}", "the same") for number in range(1100)]
    assert docs.add(again) == AddReport(updated=1024, unchanged=76)


def test_a_bad_record_stops_the_call_and_what_was_before_it_is_kept(docs: Collection) -> None:
    texts: list[Any] = [f"text {number}" for number in range(2100)]
    texts[2090] = "x" * 65_536
    with pytest.raises(InputError, match=r"records\[2090\]: the text has 65,536 bytes"):
        docs.add(texts)
    assert docs.count() == 2048
    texts[2090] = None
    with pytest.raises(InputTypeError, match=r"records\[2090\] must be a string"):
        docs.add(texts)
    texts[2090] = "mended"
    assert docs.add(texts) == AddReport(added=52, unchanged=2048)


def test_a_generator_that_fails_is_not_hidden(docs: Collection) -> None:
    def failing() -> Iterator[str]:
        for number in range(1100):
            yield f"text {number}"
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        docs.add(failing())
    assert docs.count() == 1024


@pytest.mark.parametrize("records", ["a text", None, 5, {"text": "t"}, b"bytes", Record("i", "t")])
def test_what_is_no_list_of_records(docs: Collection, records: Any) -> None:
    with pytest.raises(InputTypeError, match="records must be a list"):
        docs.add(records)


class Broken(HashedWords):
    """Encodes as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.result: Any = None

    def _encode_documents(self, texts: list[str]) -> Any:
        return self.result(texts) if self.result else super()._encode_documents(texts)

    _encode_queries = _encode_documents


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (
            lambda texts: [[float("nan")] * DIM for _ in texts],
            "Broken gave a vector with NaN, infinity or a number beyond 1e.17 for text 0 of",
        ),
        (lambda texts: [[0.5] * (DIM + 1) for _ in texts], rf"Broken gave vectors of shape \(\d, {DIM + 1}\)"),
        (lambda texts: [[0.5] * DIM for _ in texts][1:], "Broken gave vectors of shape"),
        (lambda texts: np.full((len(texts) + 1, DIM), 0.5), rf"the shape must be \(\d, {DIM}\)"),
    ],
)
def test_vectors_that_are_wrong_never_reach_the_store(collect: Collect, result: Any, match: str) -> None:
    function = Broken()
    docs = collect(embedding_function=function)
    docs.add(["fine"])
    function.result = result
    with pytest.raises(InputError, match=match):
        docs.add(["fine", "wrong", "wrong too"])
    for mode in MODES[::2]:
        with pytest.raises(InputError, match=match):
            docs.search("anything", mode=mode)
    assert docs.count() == 1
    assert docs.search("fine", mode="lexical")[0].text == "fine"


def test_matrices_and_float64_are_vectors_too(collect: Collect) -> None:
    function = Broken()
    docs = collect(embedding_function=function)
    function.result = lambda texts: np.asarray([HashedWords()._vector(text) for text in texts], dtype=np.float64)
    docs.add(TEXTS.values())
    assert docs.search(TEXTS["coffee"], mode="dense")[0].text == TEXTS["coffee"]


# Searching


def test_modes(filled: Collection) -> None:
    dense = filled.search("hot coffee", mode="dense")
    lexical = filled.search("hot coffee", mode="lexical")
    hybrid = filled.search("hot coffee")
    assert {hit.id for hit in dense} == set(TEXTS)
    assert [hit.id for hit in lexical] == ["coffee", "tea"]  # coffee has both words, tea one, the rest none
    # The dense field holds cosines: an inner product of what the function gives, both of length 1.
    query = function_of(filled)._vector("hot coffee")
    for hit in dense:
        assert hit.fields["dense"].score == pytest.approx(
            float(query @ function_of(filled)._vector(hit.text)), abs=1e-6
        )
        assert hit.score == hit.fields["dense"].score
    assert [hit.fields["dense"].rank for hit in dense] == [1, 2, 3, 4, 5]
    assert [hit.score for hit in dense] == sorted((hit.score for hit in dense), reverse=True)
    # The hybrid's order and scores are those that the fusion makes of the two lists.
    lists = {
        name: [(hit.id, hit.fields[name].score) for hit in hits]
        for name, hits in (("dense", dense), ("lexical", lexical))
    }
    assert [(hit.id, hit.score, hit.fields) for hit in hybrid] == [
        (place.id, place.score, place.fields) for place in fuse(lists)
    ]
    by_rank = filled.search("hot coffee", fusion="rrf", weights={"dense": 1, "lexical": 0.5})
    assert [(hit.id, hit.score) for hit in by_rank] == [
        (place.id, place.score) for place in fuse(lists, "rrf", {"dense": 1, "lexical": 0.5})
    ]


def test_what_a_hit_carries(filled: Collection) -> None:
    hit = filled.search(TEXTS["coffee"])[0]
    assert (hit.id, hit.text, hit.metadata) == ("coffee", TEXTS["coffee"], {"n": 1, "kind": "drink"})
    assert (hit.fields["dense"].rank, hit.fields["lexical"].rank) == (1, 1)
    assert hit.score == 1.0
    assert hit.rerank_score is None
    read = json.loads(json.dumps(hit.to_dict()))
    assert read["fields"]["lexical"]["rank"] == 1
    assert read.keys() == {"id", "text", "score", "metadata", "fields", "rerank_score", "terms"}


def test_a_list_of_queries_is_each_of_them_alone(filled: Collection) -> None:
    queries = ["hot coffee", "zebra", "the house of the dog", "hot coffee"]
    for options in ({}, {"mode": "lexical"}, {"mode": "dense", "limit": 2}, {"fusion": "rrf", "filter": "n < 4"}):
        together = filled.search(queries, **options)
        alone = [filled.search(query, **options) for query in queries]
        assert [[hit.id for hit in hits] for hits in together] == [[hit.id for hit in hits] for hits in alone]
        for hits, others in zip(together, alone, strict=True):
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], abs=1e-6)
    assert filled.search([]) == []
    assert filled.search([], mode="dense") == []


def test_limits(filled: Collection) -> None:
    for mode in MODES[::2]:
        assert [len(filled.search("hot coffee", limit=limit, mode=mode)) for limit in (1, 3, 5, 100, 16_384)] == [
            1,
            3,
            5,
            5,
            5,
        ]
    everything = filled.search("hot coffee")
    assert filled.search("hot coffee", limit=2) == everything[:2]
    # One candidate of each field; but never fewer than are wanted.
    assert len(filled.search("hot coffee", candidates=1, limit=1)) == 1
    assert len(filled.search("hot coffee", candidates=1, limit=4)) == 4


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"query": ""}, InputError, "the query is blank"),
        ({"query": " \n"}, InputError, "the query is blank"),
        ({"query": ["fine", ""]}, InputError, "the query is blank"),
        ({"query": "\ud800"}, InputError, "no valid Unicode"),
        ({"query": None}, InputTypeError, "query must be a list of strings"),
        ({"query": ["fine", 5]}, InputTypeError, r"query\[1\] must be a string"),
        ({"mode": "colbert"}, InputError, "mode must be one of dense, sparse, lexical, hybrid, not 'colbert'"),
        ({"limit": 0}, InputError, "limit must be from 1 to 16,384, not 0"),
        ({"limit": 16_385}, InputError, "limit must be from 1 to 16,384"),
        ({"limit": 1.0}, InputTypeError, r"limit must be an integer, not float \(1.0\)"),
        ({"limit": True}, InputTypeError, "limit must be an integer, not bool"),
        ({"candidates": 0}, InputError, "candidates must be from 1"),
        ({"candidates": "9"}, InputTypeError, "candidates must be an integer"),
        ({"filter": 5}, InputTypeError, "filter must be one string"),
        ({"fusion": "mean"}, InputError, "fusion must be one of weighted, rrf, minmax, distribution, not 'mean'"),
        ({"weights": {"dense": 1}}, InputError, "weights must name exactly"),
        ({"weights": {"dense": 1, "lexical": -1}}, InputError, "weights must be at least 0"),
        ({"weights": {"dense": 0, "lexical": 0}}, InputError, "weights must be"),
        ({"weights": {"dense": 1}, "mode": "lexical"}, InputError, r"exactly the fields \['lexical'\]"),
        ({"reranker": "ms-marco-MiniLM-L-12-v2"}, InputTypeError, "reranker must be a rerank function"),
        ({"reranker": CountsWord("x"), "rerank_weight": 2}, InputError, "weight must be from 0 to 1, not 2"),
    ],
)
def test_what_search_refuses(
    filled: Collection, options: dict[str, Any], error: type[MilvineError], match: str
) -> None:
    with pytest.raises(error, match=match):
        filled.search(**{"query": "hot coffee", **options})


def test_ties_are_ordered_by_id(docs: Collection) -> None:
    docs.add(["the same text"] * 12, ids=[f"{number:02}" for number in reversed(range(12))])
    for mode in MODES:
        hits = docs.search("same text", mode=mode, limit=12)
        assert [hit.id for hit in hits] == [f"{number:02}" for number in range(12)]


def test_an_empty_collection(docs: Collection) -> None:
    for mode in MODES:
        assert docs.search("anything", mode=mode) == []
        assert docs.search(["one", "two"], mode=mode, reranker=CountsWord("one")) == [[], []]
    assert (docs.count(), len(docs), list(docs.ids()), docs.get(["a"]), docs.delete(["a"])) == (0, 0, [], [None], 0)
    assert docs.delete(filter="n > 1") == 0


# Reranking


def test_a_reranker_reorders(collect: Collect, filled: Collection) -> None:
    first = filled.search("made of water")
    reranked = filled.search("made of water", reranker=CountsWord("yeast"), rerank_weight=1.0)
    assert reranked[0].id == "bread"
    assert [hit.rerank_score for hit in reranked] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert [hit.id for hit in reranked[1:]] == [hit.id for hit in first if hit.id != "bread"]
    # By default 0.7 of the first stage and 0.3 of the reranker, both scaled to 0..1.
    low, high = min(hit.score for hit in first), max(hit.score for hit in first)
    expected = {hit.id: 0.7 * (hit.score - low) / (high - low) + 0.3 * (hit.id == "bread") for hit in first}
    blended = filled.search("made of water", reranker=CountsWord("yeast"))
    assert {hit.id: hit.score for hit in blended} == pytest.approx(expected)
    # A collection's own reranker is used unless the search says otherwise.
    own = collect(reranker=CountsWord("yeast"))
    assert own.search("made of water") == blended
    assert own.search("made of water", reranker=False) == first
    assert own.search("made of water", reranker=CountsWord("stones"), rerank_weight=1.0)[0].id == "house"


class Seen(BaseRerankFunction):
    def __init__(self) -> None:
        self.documents: list[list[str]] = []

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
        self.documents.append(documents)
        return [RerankResult(text, float(-at), at) for at, text in enumerate(documents)]


def test_the_first_thirty_are_reranked_or_as_many_as_are_wanted(docs: Collection) -> None:
    docs.add([f"text {number}" for number in range(60)])
    seen = Seen()
    hits = docs.search("text", reranker=seen, limit=5)
    assert len(hits) == 5
    assert all(hit.rerank_score is not None for hit in hits)
    docs.search("text", reranker=seen, limit=45)
    docs.search(["text", "text 5"], reranker=seen, limit=1, candidates=10)
    assert [len(documents) for documents in seen.documents] == [30, 45, 30, 30]


def test_a_reranker_that_leaves_documents_out_is_an_error(filled: Collection) -> None:
    class Lazy(BaseRerankFunction):
        def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
            return [RerankResult(documents[0], 1.0, 0)]

    with pytest.raises(InputError, match="Lazy scored 1 of 5 documents"):
        filled.search("made of water", reranker=Lazy())


# Reading, deleting, and the rest


def test_deleting(filled: Collection) -> None:
    assert filled.delete(["tea", "nosuch", "tea"]) == 1
    assert filled.delete(iter(["nosuch"])) == 0
    assert filled.delete([]) == 0
    assert filled.delete(filter='kind == "drink"') == 1
    assert sorted(filled.ids()) == ["bread", "dog", "house"]
    assert filled.count('kind == "other"') == 3
    assert [hit.id for hit in filled.search("tea coffee hot", mode="lexical")] == []
    assert filled.add([TEXTS["tea"]], ids=["tea"]).added == 1


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, InputError, "give either ids, a filter or documents"),
        ({"ids": ["a"], "filter": "n > 1"}, InputError, "give either ids, a filter or documents"),
        ({"ids": "tea"}, InputTypeError, "ids must be a list of strings, not one string"),
        ({"ids": [5]}, InputTypeError, r"ids\[0\] must be a string"),
        ({"filter": ""}, InputError, "the filter is blank; drop"),
        ({"filter": "  "}, InputError, "the filter is blank"),
        ({"filter": 5}, InputTypeError, "filter must be one string"),
    ],
)
def test_what_delete_refuses(
    filled: Collection, arguments: dict[str, Any], error: type[MilvineError], match: str
) -> None:
    with pytest.raises(error, match=match):
        filled.delete(**arguments)
    assert filled.count() == len(TEXTS)


def test_as_a_context_and_as_text(collect: Collect, database: str) -> None:
    with collect() as docs:
        docs.add(["one"])
        assert repr(docs) == f"Collection({database!r}, 'docs')"
    with pytest.raises(MilvineError, match="closed"):
        docs.count()


def test_the_default_function(tmp_path: Any) -> None:
    # MiniLM: the answer shares no word with the question, and still is nearest.
    with Collection(tmp_path / "kb.db") as docs:
        docs.add(
            ["A feline rested upon the rug.", "Shares fell sharply on Monday.", "Preheat the oven to 180 degrees."]
        )
        hits: list[Hit] = docs.search("cat on a carpet", mode="dense")
        assert hits[0].text == "A feline rested upon the rug."
        assert docs.add(["A feline rested upon the rug."]) == AddReport(unchanged=1)
        assert docs.embedding_function.dim == 384
