"""Threads and event loops that do what a job says, over real HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from milvine.errors import AuthenticationError, ProviderConnectionError, ProviderError, ProviderTimeoutError
from milvine.hosted import HostedClient
from milvine.hosted.providers import OPENAI
from milvine.model.dense import OpenAIEmbeddingFunction
from milvine.types import Usage
from provider_server import KEY, ProviderServer, Reply, provider_server, vector_of, wait_for
from rate_limits import Kind, RateLimit
from small_tasks import Post

pytestmark = pytest.mark.usefixtures("bare_environment")

BODY = {"model": "tiny", "input": ["a text"]}


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert workers() == []


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "milvine-request"]


def function_of(server: ProviderServer, **options: Any) -> OpenAIEmbeddingFunction:
    function = OpenAIEmbeddingFunction("tiny", KEY, server.url_of("openai"), **options)
    function._client._backoff = 0.01
    return function


def client_of(server: ProviderServer, **options: Any) -> HostedClient:
    return HostedClient(OPENAI, KEY, base_url=server.url_of("openai"), **{"backoff": 0.01, **options})


def texts_of(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def vectors_of(texts: list[str]) -> np.ndarray[Any, Any]:
    return np.stack([vector_of(text, 7) for text in texts])


# Many requests


@pytest.mark.parametrize("way", ["threads", "asyncio"])
def test_requests_are_sent_at_once_as_many_as_allowed(way: str) -> None:
    texts = texts_of(40)
    with provider_server(latency=0.05) as server, function_of(server, batch_size=1, concurrency=5) as function:
        vectors = function(texts) if way == "threads" else asyncio.run(function.acall(texts))
        assert server.most_under_way == 5
    np.testing.assert_array_equal(np.stack(vectors), vectors_of(texts))


@pytest.mark.parametrize("way", ["threads", "asyncio"])
def test_with_a_tenth_of_requests_failing_every_vector_arrives_and_is_paid_for_once(way: str) -> None:
    texts = texts_of(900)
    with provider_server(failures=0.1, seed=5) as server, function_of(server, batch_size=3) as function:
        vectors = function(texts) if way == "threads" else asyncio.run(function.acall(texts))
        np.testing.assert_array_equal(np.stack(vectors), vectors_of(texts))
        assert len(server.requests) < 1.25 * 300
        # Half a body is an answer to the server: all others that it gave were read, and none was asked for twice.
        assert len(server.requests) - 300 == function.usage.retries > 0
    assert function.usage.texts == 900
    assert function.usage.tokens == sum(len(text) for text in texts)


@pytest.mark.parametrize("kind", ["bucket", "window", "sliding"])
def test_a_rate_limit_that_headers_tell_is_kept(kind: Kind) -> None:
    limit = RateLimit(60, 0.5, kind)
    with provider_server(rate_limit=limit) as server, function_of(server, batch_size=1) as function:
        texts = texts_of(180)
        np.testing.assert_array_equal(np.stack(function(texts)), vectors_of(texts))
        assert server.statuses.count(429) <= 0.03 * 180


def test_calls_of_several_threads_and_loops_share_one_pace() -> None:
    texts = texts_of(20)
    with provider_server(latency=0.02) as server, function_of(server, batch_size=1, concurrency=3) as function:
        found: list[Any] = []
        calls = [
            lambda: found.append(function(texts)),
            lambda: found.append(asyncio.run(function.acall(texts))),
            lambda: found.append(list(function.iter_documents(texts))),
        ]
        threads = [threading.Thread(target=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most_under_way == 3
    for vectors in found:
        np.testing.assert_array_equal(np.stack(vectors), vectors_of(texts))
    assert len(found) == 3


# Threads


def test_one_request_needs_no_thread_of_its_own(server: ProviderServer) -> None:
    senders: list[threading.Thread] = []

    class Watched(Post):
        def request(self) -> tuple[str, dict[str, Any]]:
            senders.append(threading.current_thread())
            return super().request()

    server.script = [Reply(500, {}), Reply()]
    with client_of(server) as client:
        list(client.run(iter([Watched("/embeddings", BODY)])))
        assert senders == [threading.current_thread()] * 2
        list(client.run(iter([Watched("/embeddings", BODY)] * 3)))
    assert not set(senders[2:]) & {threading.current_thread()}


def test_a_call_that_is_given_up_leaves_no_thread(server: ProviderServer) -> None:
    with function_of(server, batch_size=1, concurrency=4) as function:
        vectors = function.iter_documents(texts_of(100), batch_size=10)
        next(vectors)
        server.latency = 30.0
        wait_for(lambda: server.under_way)
        vectors.close()  # type: ignore[attr-defined]
        assert workers() == []
        # What was broken off is no reason to be broken now.
        server.latency = 0.0
        server.released.set()
        np.testing.assert_array_equal(np.stack(function(["a"])), vectors_of(["a"]))


@pytest.mark.parametrize("texts", [["b"], ["a", "b"]])
def test_a_deadline_ends_a_call_and_leaves_what_came(server: ProviderServer, texts: list[str]) -> None:
    server.script = [Reply()] * (len(texts) - 1) + [Reply(delay=30.0)]
    with function_of(server, batch_size=1, concurrency=1, deadline=0.5) as function:
        with pytest.raises(ProviderTimeoutError, match="deadline") as caught:
            function(texts)
        assert list(caught.value.completed) == list(range(len(texts) - 1))


def test_an_asynchronous_deadline(server: ProviderServer) -> None:
    server.script = [Reply(delay=30.0)]
    with function_of(server, deadline=0.2) as function, pytest.raises(ProviderTimeoutError, match="deadline"):
        asyncio.run(function.acall(["a"]))


def test_closing_ends_a_call_of_another_thread(server: ProviderServer) -> None:
    server.latency = 30.0
    function = function_of(server, batch_size=1)
    caught: list[ProviderError] = []

    def call() -> None:
        try:
            function(texts_of(20))
        except ProviderError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(lambda: server.under_way == 8)
    function.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert isinstance(caught[0], ProviderConnectionError)


CHILD = """
import sys, threading, time
from milvine.model.dense import OpenAIEmbeddingFunction

function = OpenAIEmbeddingFunction("tiny", {key!r}, {url!r}, batch_size=1)
try:
    function([f"text {{number}}" for number in range({count})])
except KeyboardInterrupt:
    print("interrupted", [thread.name for thread in threading.enumerate()], flush=True)
"""


@pytest.mark.parametrize("count", [1, 100])
def test_ctrl_c_ends_a_call_at_once_and_leaves_no_thread(server: ProviderServer, count: int) -> None:
    server.latency = 60.0
    script = CHILD.format(key=KEY, url=server.url_of("openai"), count=count)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: server.under_way == min(count, 8), seconds=30)
    child.send_signal(signal.SIGINT)
    printed, errors = child.communicate(timeout=20)  # the answers would take a minute
    assert printed == "interrupted ['MainThread']\n"
    assert errors == ""
    assert child.returncode == 0


def test_ctrl_c_is_as_quick_in_this_process(server: ProviderServer) -> None:
    server.latency = 60.0

    def interrupt() -> None:
        wait_for(lambda: server.under_way == 8)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    try:
        with function_of(server, batch_size=1) as function:
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                function(texts_of(50))
            assert workers() == []
            # The leaves of what was broken off are given back: the next call can send.
            server.latency = 0.0
            assert len(function(["a"])) == 1
    finally:
        thread.join()
        signal.signal(signal.SIGINT, handler)


# Event loops


def test_cancelling_ends_what_is_under_way(server: ProviderServer) -> None:
    server.latency = 60.0

    async def main() -> int:
        async with function_of(server, batch_size=1) as function:
            call = asyncio.create_task(function.aencode_documents(texts_of(50)))
            while server.under_way < 8:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            left = len(asyncio.all_tasks())
            server.latency = 0.0
            assert len(await function.acall(["a"])) == 1
            return left

    start = time.monotonic()
    assert asyncio.run(main()) == 1
    assert time.monotonic() - start < 30  # the answers would take a minute


def test_a_function_may_be_used_in_one_loop_after_another(server: ProviderServer) -> None:
    with function_of(server) as function:
        for text in "ab":
            np.testing.assert_array_equal(asyncio.run(function.acall([text])), vectors_of([text]))


def test_the_loop_runs_on_while_a_call_waits(server: ProviderServer) -> None:
    server.latency = 0.2

    async def main() -> int:
        async with function_of(server) as function:
            call = asyncio.create_task(function.aencode_queries(["a"]))
            turns = 0
            while not call.done():
                turns += 1
                await asyncio.sleep(0.01)
            return turns

    assert asyncio.run(main()) > 5


# Failures for good


@pytest.mark.parametrize("way", ["threads", "asyncio"])
def test_what_was_done_before_a_failure_is_in_the_error(server: ProviderServer, way: str) -> None:
    texts = ["a", "b", "a", "c", "d", "e"]
    with function_of(server, batch_size=1, concurrency=2) as function:
        server.script = [Reply(), Reply(), Reply(), Reply(403, {"error": {"message": "The key was withdrawn."}})]
        with pytest.raises(AuthenticationError, match="withdrawn") as caught:
            function(texts) if way == "threads" else asyncio.run(function.acall(texts))
    done = caught.value.completed
    # Nothing new was sent after the failure, and what was under way is not lost; "a" stands at two places.
    answered = {request.body["input"][0] for request in server.requests if request.status == 200}
    assert set(done) == {place for place, text in enumerate(texts) if text in answered}
    assert 3 <= len(answered) <= 4
    for place, vector in done.items():
        np.testing.assert_array_equal(vector, vector_of(texts[place], 7))


def test_an_error_of_iter_documents_holds_what_was_not_yielded(server: ProviderServer) -> None:
    with function_of(server, batch_size=1, concurrency=1) as function:
        server.script = [Reply(), Reply(), Reply(401, {"error": {"message": "no"}})]
        yielded: list[Any] = []
        with pytest.raises(AuthenticationError) as caught:
            yielded.extend(function.iter_documents(texts_of(9)))
    assert len(yielded) + len(caught.value.completed) == 2


# Usage and lazy input


def test_usage_can_be_read_at_any_time(server: ProviderServer) -> None:
    with function_of(server, batch_size=2) as function:
        assert function.usage == Usage()
        function(["one", "two", "three", "one"])
        assert function.usage == Usage(requests=2, retries=0, texts=3, tokens=11)
        server.script = [Reply(500, {})]
        function.encode_queries(["four"])
        assert function.usage == Usage(requests=4, retries=1, texts=4, tokens=15)
        assert asyncio.run(function.acall(["x"]))
        assert function.usage == Usage(requests=5, retries=1, texts=5, tokens=16)


def test_iter_documents_takes_no_more_than_it_needs(server: ProviderServer) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"text {taken // 2}"

    with function_of(server, batch_size=4, concurrency=2) as function:
        vectors = function.iter_documents(endless(), batch_size=8)
        for number in range(1, 401):
            np.testing.assert_array_equal(next(vectors), vector_of(f"text {number // 2}", 7))
            # Eight requests of four texts, each of which comes twice, and the eight texts of the next chunk.
            assert taken <= number + 8 * 4 * 2 + 2 * 8
        vectors.close()  # type: ignore[attr-defined]
        assert server.most_under_way >= 2 or function.usage.requests > 50


@pytest.mark.parametrize("way", ["threads", "asyncio"])
def test_a_function_may_be_called_between_two_vectors_of_its_own(server: ProviderServer, way: str) -> None:
    with function_of(server, batch_size=1, concurrency=2) as function:
        for number, vector in enumerate(function.iter_documents(texts_of(20))):
            np.testing.assert_array_equal(vector, vector_of(f"text {number}", 7))
            if number % 5 == 0:
                # What the iteration has under way comes back without anyone asking for it.
                found = function(["a", "b", "c"]) if way == "threads" else asyncio.run(function.acall(["a", "b", "c"]))
                np.testing.assert_array_equal(np.stack(found), vectors_of(["a", "b", "c"]))
