"""`asearch` on a Milvus server: by pymilvus' AsyncMilvusClient, in one event loop for all others."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milvine import Collection, Hit, Record
from milvine.errors import FilterError, StoreConnectionError, StoreError
from milvine.store.milvus_server import MilvusServerStore
from milvus_servers import LiteServer, RealServer
from small_functions import HashedWords

Server = LiteServer | RealServer
QUERIES = [f"text number {number}" for number in range(12)]


def records(count: int) -> list[Record]:
    return [Record(f"i{n}", f"text number {n}", {"n": n, "even": n % 2 == 0}) for n in range(count)]


@pytest.fixture(scope="module", params=["lite", "async", "real"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "real":
        RealServer.skip_unless_possible()
    server = (RealServer if request.param == "real" else LiteServer)(tmp_path_factory.mktemp("server") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def docs(server: Server, request: pytest.FixtureRequest) -> Iterator[Collection]:
    """A collection; Milvus Lite is asked by `AsyncMilvusClient`, too, for which it is told to be another server."""
    options = {**server.options, "lexical": isinstance(server, LiteServer), "timeout": 5}
    docs = Collection(server.uri, "docs", embedding_function=HashedWords(), **options)
    docs.add(records(300))
    connection = store_of(docs)._connection
    connection.is_lite = connection.is_lite and request.node.callspec.params["server"] == "lite"
    docs.search(QUERIES[0])  # the statistics are counted
    yield docs
    docs.close()
    with Collection(server.uri, "docs", embedding_function=HashedWords(), **options) as again:
        again.drop()


def store_of(docs: Collection) -> MilvusServerStore:
    assert isinstance(docs._store, MilvusServerStore)
    return docs._store


def asked(docs: Collection, queries: list[Any], **options: Any) -> list[Any]:
    """What `asearch` finds for each of several questions, asked at once."""

    async def ask() -> list[Any]:
        return await asyncio.gather(*(docs.asearch(query, **options) for query in queries), return_exceptions=True)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "dense"},
        {"filter": "n < 20"},
        {"group_by": "even", "limit": 2},
        {"filter": "n in {n}", "filter_params": {"n": [5, 7]}},
        {"output_fields": ["n"], "offset": 2, "fusion": "minmax"},
        {"filter": "n < 0"},
    ],
)
def test_asearch_finds_what_search_finds(docs: Collection, options: dict[str, Any]) -> None:
    expected = [docs.search(query, **options) for query in QUERIES]
    assert any(expected) or options == {"filter": "n < 0"}
    for _ in range(2):  # each is an event loop of its own
        assert asked(docs, QUERIES, **options) == expected
    assert asked(docs, [QUERIES], **options) == [expected]


@pytest.mark.parametrize("server", ["async", "real"], indirect=True)  # Milvus Lite is asked one thing at a time
def test_all_searches_and_their_fields_are_under_way_at_once(docs: Collection) -> None:
    connection = store_of(docs)._connection
    expected = asked(docs, QUERIES)
    client = connection._async_client()._client
    search, all_there = client.search, asyncio.Event()
    waiting = len(QUERIES) * len(store_of(docs)._fields)

    async def search_with_all(*arguments: Any, **options: Any) -> Any:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 30)
        return await search(*arguments, **options)

    client.search = search_with_all
    assert asked(docs, QUERIES) == expected
    assert not waiting


def test_what_was_just_written_is_found(docs: Collection) -> None:
    for number in range(3):
        docs.add([Record("new", f"brand new text {number}", {"n": -1 - number})])
        (hits,) = asked(docs, [f"brand new text {number}"], limit=1, mode="dense")
        assert [(hit.id, hit.metadata["n"]) for hit in hits] == [("new", -1 - number)]
        docs.delete(["new"])
        (hits,) = asked(docs, [f"brand new text {number}"], filter="n < 0", mode="dense")
        assert hits == []


@pytest.mark.parametrize("filter_", ["n <", "n == 1) or (n == 2"])
def test_a_wrong_filter(docs: Collection, filter_: str) -> None:
    errors = asked(docs, [QUERIES[0], QUERIES[:2]], filter=filter_)
    assert [type(error) for error in errors] == [FilterError] * 2
    with pytest.raises(FilterError) as caught:
        docs.search(QUERIES[0], filter=filter_)
    assert str(caught.value) == str(errors[0])


def test_a_server_that_goes_and_comes_back(docs: Collection, server: Server) -> None:
    expected = docs.search(QUERIES[0])
    assert asked(docs, QUERIES[:1]) == [expected]
    server.kill()
    (error,) = asked(docs, QUERIES[:1])
    assert isinstance(error, StoreError)
    assert "cannot be reached" in str(error)
    server.start()
    (found,) = asked(docs, QUERIES[:1])
    assert [hit.id for hit in found] == [hit.id for hit in expected]


def test_a_cancelled_search_leaves_the_next_one_alone(docs: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = store_of(docs).ask

    async def cancelled() -> list[Hit]:
        begun = asyncio.Event()

        async def ask_and_say(calls: Any) -> list[Any]:
            begun.set()
            return await ask(calls)

        monkeypatch.setattr(docs._store, "ask", ask_and_say)
        task = asyncio.ensure_future(docs.asearch(QUERIES[0]))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await docs.asearch(QUERIES[1])

    assert asyncio.run(cancelled()) == docs.search(QUERIES[1])


def test_closing_ends_the_searches_under_way(docs: Collection) -> None:
    async def closed() -> list[Any]:
        tasks = [asyncio.ensure_future(docs.asearch(query)) for query in QUERIES]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(docs.close)
        return await asyncio.gather(*tasks, return_exceptions=True)

    for ended in asyncio.run(closed()):
        assert isinstance(ended, (list, StoreError)), ended
    (error,) = asked(docs, QUERIES[:1])
    assert isinstance(error, StoreConnectionError)
    assert "closed; open the collection again" in str(error)
    assert not [thread for thread in threading.enumerate() if thread.name == "milvine-async"]


FORGETFUL = """
import asyncio, json, sys
from milvine import Collection
from small_functions import HashedWords
docs = Collection.open(sys.argv[1], "docs", embedding_function=HashedWords(), **json.loads(sys.argv[2]))
docs._store._connection.is_lite = False
print(asyncio.run(docs.asearch("text number 7"))[0].text)
"""


def test_a_program_that_closes_nothing_ends_in_silence(docs: Collection, server: Server) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FORGETFUL, server.uri, json.dumps(server.options)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=60,
    )
    assert (process.stdout, process.stderr) == ("text number 7\n", "")
