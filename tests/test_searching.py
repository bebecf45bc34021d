from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from milvine import Collection, Hit, Record
from milvine.errors import CollectionNotFoundError, FilterError, InputError, InputTypeError, MilvineError
from milvine.model.base import BaseRerankFunction, RerankResult
from milvine.rank import fuse
from milvine.types import DenseVectors
from small_functions import CountsWord, HashedTerms, HashedWords, WordsAndTerms

Collect = Callable[..., Collection]
WORDS = [f"word{number}" for number in range(60)]


def many(count: int = 300) -> list[Record]:
    """Texts of common and of rare words, some long, some short."""
    random = np.random.default_rng(0)
    shares = 1 / np.arange(1, len(WORDS) + 1)
    texts = [" ".join(random.choice(WORDS, size=random.integers(3, 20), p=shares / shares.sum())) for _ in range(count)]
    return [
        Record(f"{at:03}", text, {"n": at, "document": f"d{at // 10}", "kind": "even" if at % 2 == 0 else "odd"})
        for at, text in enumerate(texts)
    ]


@pytest.fixture
def filled(docs: Collection) -> Collection:
    docs.add(many())
    return docs


@pytest.fixture
def rich(collect: Collect) -> Collection:
    """Five fields: two dense, two sparse, one lexical."""
    functions = {"wide": HashedWords(24), "both": WordsAndTerms(), "terms": HashedTerms()}
    docs = collect(embedding_function=functions)
    docs.add(many(120))
    return docs


# Fields


def test_modes_and_fields(rich: Collection) -> None:
    def searched(**options: Any) -> set[str]:
        return set(rich.search("word1 word2", limit=1, candidates=120, **options)[0].fields)

    every = {"wide", "both_dense", "both_sparse", "terms", "lexical"}
    assert searched() == searched(mode="hybrid") == every
    assert searched(mode="dense") == {"wide", "both_dense"}
    assert searched(mode="sparse") == {"both_sparse", "terms"}
    assert searched(mode="lexical") == {"lexical"}
    assert searched(fields=["terms", "wide"]) == {"wide", "terms"}
    assert searched(fields=("lexical",)) == {"lexical"}


def test_one_pass_of_a_function_that_fills_two_fields(rich: Collection) -> None:
    function = rich.embedding_functions["both"]
    assert isinstance(function, WordsAndTerms)
    function.passes.clear()
    rich.search(["word1", "word2"])
    assert function.passes == [["word1", "word2"]]


def test_a_field_alone_and_with_others_scores_alike(rich: Collection) -> None:
    together = rich.search("word3 word9", limit=120, candidates=120)
    for name in ("wide", "both_dense", "both_sparse", "terms", "lexical"):
        alone = {hit.id: hit.fields[name] for hit in rich.search("word3 word9", fields=[name], limit=120)}
        scores = {hit.id: hit.fields[name].score for hit in together if name in hit.fields}
        assert scores == pytest.approx({id_: at.score for id_, at in alone.items()}, abs=1e-6)
        assert all(at.share == 1.0 for at in alone.values())
        assert [hit.fields[name].rank for hit in together if name in hit.fields].count(None) == 0


# What one field finds is scored in the others


@pytest.mark.parametrize("options", [{}, {"weights": {"dense": 1, "lexical": 3}}, {"filter": 'kind == "odd"'}])
def test_candidates_do_not_change_what_comes_first(filled: Collection, options: dict[str, Any]) -> None:
    # 20 of 300 rows from each field, or all of them: the same hits with the same scores in the same places.
    for query in ("word1 word5", "word40 word2 word59", "word30", "word0"):
        whole = filled.search(query, candidates=300, **options)
        few = filled.search(query, candidates=20, **options)
        assert [hit.id for hit in few] == [hit.id for hit in whole]
        assert [hit.score for hit in few] == pytest.approx([hit.score for hit in whole], abs=1e-6)
        for hit, other in zip(few, whole, strict=True):
            assert hit.fields.keys() == other.fields.keys()
            for name, at in hit.fields.items():
                assert at.score == pytest.approx(other.fields[name].score, abs=1e-6)
                assert at.share == pytest.approx(other.fields[name].share, abs=1e-6)
                assert at.rank == other.fields[name].rank or (at.rank is None and (other.fields[name].rank or 0) > 20)


def test_a_hit_that_one_field_alone_found_has_no_rank_in_the_other(filled: Collection) -> None:
    hits = filled.search("word1 word5", candidates=10, limit=10)
    ranks = [at.rank for hit in hits for at in hit.fields.values()]
    assert None in ranks
    assert all(rank is None or 1 <= rank <= 10 for rank in ranks)


@pytest.mark.parametrize("fusion", ["minmax", "distribution"])
def test_other_fusions_are_of_the_union_too(filled: Collection, fusion: str) -> None:
    depth = 30
    dense = [(hit.id, hit.score) for hit in filled.search("word1 word5", mode="dense", limit=300)]
    lexical = [(hit.id, hit.score) for hit in filled.search("word1 word5", mode="lexical", limit=300)]
    union = dict.fromkeys(id_ for id_, _ in [*dense[:depth], *lexical[:depth]])
    beyond = {
        "dense": {id_: score for id_, score in dense[depth:] if id_ in union},
        "lexical": {id_: dict(lexical).get(id_, 0.0) for id_ in union if id_ not in dict(lexical[:depth])},
    }
    expected = fuse({"dense": dense[:depth], "lexical": lexical[:depth]}, fusion, None, beyond)[:10]
    hits = filled.search("word1 word5", fusion=fusion, candidates=depth)
    assert [hit.id for hit in hits] == [place.id for place in expected]
    assert [hit.score for hit in hits] == pytest.approx([place.score for place in expected], abs=1e-5)


def test_shares_make_one(rich: Collection) -> None:
    for fusion in ("weighted", "rrf", "minmax", "distribution"):
        for hit in rich.search("word1 word5 word7", fusion=fusion):
            assert sum(at.share for at in hit.fields.values()) == pytest.approx(1.0)
    weights = {"wide": 1.0, "both_dense": 0.0, "both_sparse": 0.0, "terms": 0.0, "lexical": 3.0}
    hit = rich.search("word1 word5 word7", weights=weights)[0]
    assert hit.fields["wide"].share + hit.fields["lexical"].share == pytest.approx(1.0)
    assert hit.fields["both_dense"].share == 0.0


# Which hits come back


@pytest.mark.parametrize(
    "options", [{}, {"mode": "dense"}, {"fusion": "rrf", "candidates": 60}, {"reranker": CountsWord("word3")}]
)
def test_pages(filled: Collection, options: dict[str, Any]) -> None:
    whole = filled.search("word1 word5", limit=30, **options)
    pages = [filled.search("word1 word5", limit=6, offset=offset, **options) for offset in (0, 6, 12, 18, 24)]
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in whole]
    assert filled.search("word1", offset=5000, **options) == []


def test_thresholds(filled: Collection) -> None:
    hits = filled.search("word1 word5", limit=20)
    middle = hits[9].score
    assert filled.search("word1 word5", limit=20, threshold=middle) == hits[:10]
    assert filled.search("word1 word5", limit=20, threshold=2) == []
    assert filled.search("word1 word5", limit=20, threshold=-1) == hits
    blended = filled.search("word1 word5", reranker=CountsWord("word1"), limit=20)
    kept = filled.search("word1 word5", reranker=CountsWord("word1"), limit=20, threshold=blended[4].score)
    assert kept == [hit for hit in blended if hit.score >= blended[4].score]


def test_output_fields(filled: Collection) -> None:
    whole = filled.search("word1", limit=3)
    assert [hit.metadata for hit in filled.search("word1", limit=3, output_fields=["n", "nosuch"])] == [
        {"n": hit.metadata["n"]} for hit in whole
    ]
    bare = filled.search("word1", limit=3, output_fields=[])
    assert [(hit.id, hit.text, hit.metadata) for hit in bare] == [(hit.id, hit.text, {}) for hit in whole]


def best_of_each(hits: list[Hit], key: str) -> list[Hit]:
    groups: dict[Any, Hit] = {}
    for hit in hits:
        groups.setdefault(hit.metadata[key], hit)
    return list(groups.values())


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_groups(filled: Collection, mode: Any) -> None:
    whole = filled.search("word1 word5", mode=mode, limit=300)
    expected = best_of_each(whole, "document")
    for limit, offset in ((1, 0), (10, 0), (5, 5), (30, 0), (50, 0)):
        hits = filled.search("word1 word5", mode=mode, group_by="document", limit=limit, offset=offset)
        assert [hit.id for hit in hits] == [hit.id for hit in expected[offset : offset + limit]]
    # Two groups, however few candidates there are and however many are wanted.
    assert [hit.id for hit in filled.search("word1 word5", mode=mode, group_by="kind", candidates=1, limit=9)] == [
        hit.id for hit in best_of_each(whole, "kind")
    ]


def test_a_group_that_takes_all_places_leaves_some_to_others(docs: Collection) -> None:
    greedy = 'a "quoted" name\\'
    docs.add([Record(f"a{at}", f"tea tea {at}", {"document": greedy}) for at in range(250)])
    docs.add([Record(f"b{at}", f"tea and much else {at}", {"document": "b"}) for at in range(250)])
    docs.add([Record("c", "tea at the very end of a long text", {"document": "c"})])
    docs.add([Record(f"d{at}", "a text on milk or tea", {}) for at in range(2)])
    hits = docs.search("tea tea", group_by="document", candidates=10, limit=10)
    assert [hit.metadata.get("document") for hit in hits[:2]] == [greedy, "b"]
    # What has nothing there is a group of its own.
    assert {hit.id for hit in hits[2:]} == {"c", "d0", "d1"}
    options: dict[str, Any] = {"filter": "id != {id}", "filter_params": {"id": "c"}}
    assert len(docs.search("tea", group_by="document", candidates=5, **options)) == 4


def test_groups_of_several_types(docs: Collection) -> None:
    values = ["1", 1, True, 1.5, -2]
    docs.add(
        [
            Record(f"{at}-{again}", f"tea {at} {again}", {"key": value})
            for at, value in enumerate(values)
            for again in range(40)
        ]
    )
    hits = docs.search("tea 0 1 2 3 4", group_by="key", candidates=10)
    assert sorted(str(hit.metadata["key"]) for hit in hits) == sorted(map(str, values))


@pytest.mark.parametrize("key", ["in", "NULL", "two words", "ключ", 'a"b\\', "0", "x-y", "a.b"])
def test_groups_by_any_key(docs: Collection, key: str) -> None:
    docs.add([Record(f"{at}", f"tea {at % 3}", {key: at % 3}) for at in range(90)])
    hits = docs.search("tea 0", group_by=key, candidates=5)
    assert sorted(hit.metadata[key] for hit in hits) == [0, 1, 2]


def test_groups_with_a_reranker(filled: Collection) -> None:
    class Seen(BaseRerankFunction):
        def __init__(self) -> None:
            self.documents: list[str] = []

        def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
            self.documents = documents
            return [RerankResult(text, float(at), at) for at, text in enumerate(documents)]

    reranker = Seen()
    hits = filled.search("word1", group_by="document", reranker=reranker, rerank_weight=1.0, limit=4)
    best = best_of_each(filled.search("word1", limit=300), "document")
    assert reranker.documents == [hit.text for hit in best[:30]]
    assert [hit.id for hit in hits] == [hit.id for hit in best[:30][::-1][:4]]


def test_a_reranker_on_a_budget(filled: Collection) -> None:
    first = filled.search("word1 word5", limit=20)
    hits = filled.search("word1 word5", limit=20, reranker=CountsWord("word3"), rerank_limit=5)
    assert {hit.id for hit in hits[:5]} == {hit.id for hit in first[:5]}
    assert [hit.id for hit in hits[5:]] == [hit.id for hit in first[5:]]
    assert [hit.rerank_score is None for hit in hits] == [False] * 5 + [True] * 15


def test_placeholders(filled: Collection) -> None:
    values = {"kind": "odd", "most": 20}
    hits = filled.search("word1", filter="kind == {kind} and n < {most}", filter_params=values, limit=300)
    assert sorted(hit.metadata["n"] for hit in hits) == list(range(1, 20, 2))
    assert filled.count("kind == {kind}", {"kind": "odd"}) == 150
    assert len(list(filled.ids("kind == {kind} and n < {most}", values))) == 10
    with pytest.raises(FilterError, match="no 'kind'"):
        filled.count("kind == {kind}")


# What a hit says of itself


def test_terms_and_highlights(collect: Collect) -> None:
    docs = collect()
    docs.add(["Tea is made of leaves and hot water.", "Milk is white."], ids=["tea", "milk"])
    hit = docs.search("how to make teas of boiling waters?")[0]
    assert hit.terms == ["Tea", "made", "water"] or hit.terms == ["Tea", "water"]
    assert "**Tea**" in hit.highlight()
    assert "hot **water**." in hit.highlight()
    without = collect("dense", lexical=False)
    without.add(["Tea is made of leaves."])
    assert without.search("tea")[0].terms == []


# Several at once, and without waiting


def test_several_queries_with_everything(rich: Collection) -> None:
    queries = ["word1 word5", "word59", "zebra", "word1 word5"]
    for options in (
        {"candidates": 15},
        {"group_by": "document", "candidates": 15},
        {"fusion": "minmax", "candidates": 15},
        {"reranker": CountsWord("word2"), "offset": 2, "limit": 4},
    ):
        together = rich.search(queries, **options)
        for query, hits in zip(queries, together, strict=True):
            alone = rich.search(query, **options)
            assert [hit.id for hit in hits] == [hit.id for hit in alone]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-6)


class Awaited(HashedWords):
    """Its queries are encoded by a coroutine, once all that are expected have come."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.expected = 1
        self.threads: list[int] = []
        self.all_here: asyncio.Event | None = None

    async def aencode_queries(self, queries: list[str]) -> DenseVectors:
        self.all_here = self.all_here or asyncio.Event()
        self.threads.append(threading.get_ident())
        self.waiting += 1
        if self.waiting >= self.expected:
            self.all_here.set()
        await self.all_here.wait()
        return self.encode_queries(queries)


def test_two_searches_at_once(collect: Collect) -> None:
    function = Awaited()
    docs = collect(embedding_function=function)
    docs.add(many(100))
    expected = [docs.search("word1 word5"), docs.search(["word2", "word3"], mode="dense")]
    function.expected = 2  # neither goes on before the other has come

    async def both() -> list[Any]:
        return list(await asyncio.gather(docs.asearch("word1 word5"), docs.asearch(["word2", "word3"], mode="dense")))

    assert asyncio.run(both()) == expected
    assert set(function.threads) == {threading.get_ident()}


def test_a_function_without_a_coroutine_does_not_block(filled: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = filled.search("word1 word5", limit=5)
    beat, waited = threading.Event(), []

    def after_a_beat(do: Any) -> Any:
        def waits(*arguments: Any) -> Any:
            beat.clear()
            waited.append(beat.wait(5))  # in the event loop's own thread it would be in vain
            return do(*arguments)

        return waits

    for owner, name in ((filled.embedding_function, "encode_queries"), (filled._store, "search_lexical")):
        monkeypatch.setattr(owner, name, after_a_beat(getattr(owner, name)))

    async def beats() -> list[Hit]:
        search = asyncio.ensure_future(filled.asearch("word1 word5", limit=5))
        while not search.done():
            await asyncio.sleep(0.001)
            beat.set()
        return await search

    assert asyncio.run(beats()) == expected
    assert waited == [True, True]


def test_cancelling(collect: Collect) -> None:
    function = Awaited()
    docs = collect(embedding_function=function)
    docs.add(many(50))
    expected = docs.search("word1")

    async def cancelled() -> list[Hit]:
        function.expected = 99
        waiting = asyncio.ensure_future(docs.asearch("word1"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        function.expected = 1
        for delay in (0.0, 0.001, 0.005):  # while the store is at work
            running = asyncio.ensure_future(docs.asearch("word1"))
            await asyncio.sleep(delay)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return await docs.asearch("word1")

    assert asyncio.run(cancelled()) == expected
    assert docs.add(["one more"]).added == 1
    assert docs.search("word1") is not None


def test_asearch_refuses_what_search_refuses(filled: Collection) -> None:
    for options, error in (({"limit": 0}, InputError), ({"filter": "n >"}, FilterError), ({"limt": 3}, InputTypeError)):
        with pytest.raises(error):
            asyncio.run(filled.asearch("word1", **options))  # type: ignore[call-overload]
    filled.drop()
    with pytest.raises(MilvineError) as caught:
        asyncio.run(filled.asearch("word1"))
    assert not isinstance(caught.value, CollectionNotFoundError) or "dropped" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"mode": "sparse"}, InputError, r"needs a sparse field, .* it has dense \(dense\), lexical \(lexical\)"),
        ({"fields": ["nosuch"]}, InputError, r"fields must name some of .* not \['nosuch'\]: it has dense"),
        ({"fields": []}, InputError, "fields must name some"),
        ({"fields": ["dense", "dense"]}, InputError, "each once"),
        ({"fields": "dense"}, InputTypeError, "fields must be a list of strings"),
        ({"fields": ["dense"], "mode": "dense"}, InputError, "either fields or a mode"),
        ({"fields": ["dense"], "weights": {"lexical": 1}}, InputError, r"exactly the fields \['dense'\]"),
        ({"offset": -1}, InputError, "offset must be from 0"),
        ({"offset": 1.5}, InputTypeError, "offset must be an integer"),
        ({"offset": 16_380}, InputError, "limit and offset make 16,390 together, and 16,384 are allowed"),
        ({"threshold": "0.5"}, InputTypeError, "threshold must be a number, not str"),
        ({"threshold": float("nan")}, InputError, "threshold must be a number, not NaN"),
        ({"output_fields": "n"}, InputTypeError, "output_fields must be a list of strings"),
        ({"group_by": 5}, InputTypeError, "group_by must be one string"),
        ({"group_by": ""}, InputError, "group_by is empty"),
        ({"rerank_limit": 0}, InputError, "rerank_limit must be from 1"),
        ({"rerank_weight": "much"}, InputTypeError, "rerank_weight must be a number"),
        ({"filter": "n < {n}"}, FilterError, "has the placeholder"),
        ({"filter_params": {"n": 1}}, FilterError, "there is no filter"),
    ],
)
def test_what_is_refused(filled: Collection, options: dict[str, Any], error: type[MilvineError], match: str) -> None:
    with pytest.raises(error, match=match):
        filled.search("word1", **options)
