"""What every store must do, tried on the built-in store, Milvus Lite in this process and as a server, and Milvus 2.3.5.

The last has one dense field and no sparse one, so what is lexical is left out there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from milvine import Collection, Record
from milvine.errors import CollectionExistsError, CollectionMismatchError, CollectionNotFoundError, FilterError
from milvus_servers import LiteServer, RealServer
from small_functions import HashedTerms, HashedWords

Open = Callable[..., Collection]

UGLY = [
    "it's", 'say "hi"', "back\\slash", "ends with \\", "new\nline", "carriage\rreturn\ttab", "x', 'y", 'x", "y',
    '") or true or ("', "數據庫", "😀 👩‍👩‍👧", "{a}", "%_", " ", "--", "\u2028", "e\u0301", "é",
]  # fmt: skip


@pytest.fixture(scope="module", params=["builtin", "lite", "lite server", "real server"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """How to open a collection in one of the stores, and what it has."""
    folder = tmp_path_factory.mktemp("store")
    if request.param in ("builtin", "lite"):
        yield {
            "uri": str(folder / ("kb.milvine" if request.param == "builtin" else "kb.db")),
            "options": {},
            "sparse": True,
        }
        return
    server: LiteServer | RealServer
    if request.param == "lite server":
        server = LiteServer(folder / "data")
    else:
        RealServer.skip_unless_possible()
        server = RealServer(folder)
    server.start()
    yield {"uri": server.uri, "options": server.options, "sparse": request.param != "real server"}
    server.stop()


@pytest.fixture
def open_(place: dict[str, Any]) -> Iterator[Open]:
    """Opens a collection, by default "docs", which is emptied in the end; a real server takes seconds to make one."""
    opened: list[Collection] = []

    def open_(name: str = "docs", **options: Any) -> Collection:
        options = {"embedding_function": HashedWords(), "lexical": place["sparse"], **place["options"], **options}
        opened.append(Collection(place["uri"], name, **options))
        return opened[-1]

    yield open_
    for docs in opened:
        docs.delete(list(docs.ids()))
        docs.close()


def test_what_is_written_is_there_at_once(open_: Open) -> None:
    docs = open_()
    rows = [Record(f"i{n}", f"text number {n}", {"n": n, "deep": {"a": [n, None]}}) for n in range(700)]
    assert docs.add(rows).added == 700
    assert docs.count() == len(docs) == 700
    assert docs.get(["i5", "i699", "nosuch"]) == [rows[5], rows[699], None]
    assert sorted(docs.ids()) == sorted(row.id for row in rows)
    assert sorted(docs.records(), key=lambda record: record.metadata["n"]) == rows
    assert docs.search("text number 7", limit=1)[0].id == "i7"
    report = docs.add(rows)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 700)


def test_a_replaced_row_keeps_nothing(open_: Open) -> None:
    docs = open_()
    docs.add(["first"], ids=["a"], metadata=[{"old": 1, "both": 1}])
    assert docs.add(["second"], ids=["a"], metadata=[{"new": 2, "both": 2}]).updated == 1
    assert docs.get(["a"]) == [Record("a", "second", {"new": 2, "both": 2})]
    assert (docs.count(), docs.count("old == 1"), docs.count("both == 2")) == (1, 0, 1)
    assert [hit.text for hit in docs.search("first")] == ["second"]


def test_what_is_deleted_is_gone_at_once(open_: Open) -> None:
    docs = open_()
    docs.add([f"text {n}" for n in range(20)], ids=[str(n) for n in range(20)], metadata=[{"n": n} for n in range(20)])
    assert docs.delete(["3", "4", "nosuch"]) == 2
    assert docs.get(["3", "5"]) == [None, Record("5", "text 5", {"n": 5})]
    assert docs.count() == 18
    assert "3" not in {hit.id for hit in docs.search("text 3", limit=20)}
    assert docs.delete(filter="n >= 10") == 10
    assert sorted(docs.ids(), key=int) == ["0", "1", "2", "5", "6", "7", "8", "9"]
    assert docs.delete(["3"]) == 0


def test_ids_of_any_form(open_: Open) -> None:
    docs = open_()
    docs.add([f"text {number}" for number in range(len(UGLY))], ids=UGLY)
    assert docs.add([f"text {number}" for number in range(len(UGLY))], ids=UGLY).unchanged == len(UGLY)
    assert sorted(docs.ids()) == sorted(UGLY)
    assert [record and record.id for record in docs.get(UGLY)] == UGLY
    assert docs.get(["x", "hi", "\ud800"]) == [None] * 3
    assert docs.delete(["x", "\ud800"]) == 0
    assert docs.delete(UGLY) == len(UGLY)
    assert docs.count() == 0


def test_values_of_any_form_in_filters(open_: Open) -> None:
    docs = open_()
    texts = [f"text {number}" for number in range(len(UGLY))]
    docs.add(texts, ids=map(str, range(len(UGLY))), metadata=[{"value": value} for value in UGLY])
    for number, value in enumerate(UGLY):
        params = {"value": value}
        assert list(docs.ids("value == {value}", params)) == [str(number)]
        assert docs.count("value in {value}", {"value": [value, "nosuch"]}) == 1
        assert [hit.id for hit in docs.search("text", filter="value == {value}", filter_params=params)] == [str(number)]


@pytest.mark.parametrize(
    "filter_", ["year >", "year = 2020", "(((", 'source == "x', "id == 5", "year == 1) or (1 == 1"]
)
def test_wrong_filters(open_: Open, filter_: str) -> None:
    docs = open_()
    docs.add(["a text"], metadata=[{"year": 5}])
    uses: list[Callable[[], Any]] = [
        lambda: docs.count(filter_),
        lambda: list(docs.ids(filter_)),
        lambda: list(docs.records(filter_)),
        lambda: docs.delete(filter=filter_),
        lambda: docs.search("text", filter=filter_),
        lambda: docs.search("zebra", filter=filter_),
    ]
    for use in uses:
        with pytest.raises(FilterError):
            use()
    assert docs.count() == 1


def test_metadata_comes_back_as_it_was(open_: Open) -> None:
    docs = open_()
    odd: dict[str, Any] = {
        "none": None, "true": True, "int": 2**53 + 1, "max": 2**63 - 1, "float": 0.1, "nested": {"a": [1, {"b": "c"}]},
        "with space": 1, "a.b": 2, "größe": 3, "distance": 7, "score": 9, "quote'\"\\\n": "'\"\\\n", "emoji": "😀",
        "empty": "", "list": [], "dict": {},
    }  # fmt: skip
    docs.add(["a text", ""], ids=["a", "b"], metadata=[odd, {}])
    assert docs.get(["a", "b"]) == [Record("a", "a text", odd), Record("b", "", {})]


def test_scores_of_given_rows_are_those_of_a_search(open_: Open) -> None:
    docs = open_()
    docs.add([f"word{n % 7} word{n % 5} word{n}" for n in range(40)], ids=[f"i{n}" for n in range(40)])
    store, query = docs._store, HashedWords().encode_queries(["word3 word12"])[0]
    found = {match.id: match.score for match in store.search_dense("dense", [query], 40)[0]}
    assert len(found) == 40
    scored = store.score("dense", [query], [[*found, "nosuch"]])[0]
    assert scored == pytest.approx(found, abs=1e-6)
    if docs.analyzer:
        found = {match.id: match.score for match in store.search_lexical("lexical", ["word3 word12"], 40)[0]}
        scored = store.score("lexical", ["word3 word12"], [["i12", "i3", "i0"]])[0]
        assert scored == pytest.approx({"i12": found["i12"], "i3": found["i3"], "i0": 0.0}, rel=1e-6)


def test_several_fields(open_: Open, place: dict[str, Any]) -> None:
    if not place["sparse"]:
        pytest.skip("Milvus 2.3 has one vector field")
    functions = {"words": HashedWords(), "terms": HashedTerms(), "others": HashedWords(version=2)}
    docs = open_("several", embedding_function=functions)
    docs.add(["quick brown fox", "lazy dog", ""], ids=["a", "b", "c"])
    hits = docs.search("brown fox")
    assert hits[0].id == "a"
    assert set(hits[0].fields) == {"words", "terms", "others", "lexical"}
    rows = {row.record.id: row for row in docs._store.rows(vectors=True)}
    assert rows["a"].vectors["words"] == pytest.approx(HashedWords().encode_documents(["quick brown fox"])[0])
    sparse = HashedTerms().encode_documents(["quick brown fox"])
    assert dict(zip(rows["a"].vectors["terms"].indices, rows["a"].vectors["terms"].data, strict=True)) == dict(
        zip(sparse.indices, sparse.data, strict=True)
    )
    assert rows["c"].vectors["terms"].nnz == 0
    assert docs._store.search_sparse("terms", [HashedTerms().encode_queries(["zebra"])[0:1]], 5) == [[]]


def test_opening(open_: Open, place: dict[str, Any]) -> None:
    uri, options = place["uri"], place["options"]
    with pytest.raises(CollectionNotFoundError, match="no collection 'nosuch'"):
        Collection.open(uri, "nosuch", embedding_function=HashedWords(), **options)
    open_().add(["one"])
    with pytest.raises(CollectionExistsError):
        Collection.create(uri, "docs", embedding_function=HashedWords(), **options)
    with pytest.raises(CollectionMismatchError, match="another embedding function"):
        Collection.open(uri, "docs", embedding_function=HashedWords(version=2), **options)
    again = Collection.open(uri, "docs", embedding_function=HashedWords(), **options)
    assert again.count() == 1
    assert (again.analyzer is None) == (not place["sparse"])
    again.close()


def test_random_operations_are_those_of_a_dictionary(open_: Open) -> None:
    docs, model = open_(), {}
    chance = random.Random(6)  # noqa: S311
    for _ in range(60):
        ids = [f"i{chance.randrange(40)}" for _ in range(chance.randrange(1, 6))]
        kind = chance.choice(["add", "add", "delete", "filter", "get", "count", "search"])
        if kind == "add":
            records = [Record(id_, f"text {chance.randrange(9)}", {"n": chance.randrange(9)}) for id_ in ids]
            docs.add(records)
            model.update({record.id: record for record in records})
        elif kind == "delete":
            assert docs.delete(ids) == len(model.keys() & set(ids))
            for id_ in ids:
                model.pop(id_, None)
        elif kind == "filter":
            n = chance.randrange(9)
            assert set(docs.ids("n < {n}", {"n": n})) == {i for i, record in model.items() if record.metadata["n"] < n}
        elif kind == "get":
            assert docs.get(ids) == [model.get(id_) for id_ in ids]
        elif kind == "count":
            assert docs.count() == len(model)
        elif model:
            hits = docs.search("text 3", limit=50)
            assert {hit.id: Record(hit.id, hit.text, hit.metadata) for hit in hits} == model
    assert {record.id: record for record in docs.records()} == model
