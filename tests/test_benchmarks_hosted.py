"""The hosted benchmark's arithmetic, by hand; its server and contenders, for real."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from benchmarks.hosted import BATCH, SCENARIOS, Run, programs, table, title
from benchmarks.hosted_contenders import milvine_openai, openai_client
from benchmarks.hosted_server import DIM, Conditions, RunningServer, Stats, vector_bytes
from benchmarks.process import Seconds

TEXTS = [f"text {number}" for number in range(120)]


def test_a_table_by_hand() -> None:
    ours = [Run(Seconds([1.0], 0.5), Stats(requests=4, texts=100, distinct=100, received=100))] * 2
    theirs = [
        Run(Seconds([2.0], 1.0), Stats(requests=8, refused=2, texts=150, distinct=100, received=100)),
        Run(Seconds([4.0], 1.0), Stats(requests=8, refused=4, texts=100, distinct=100, received=50)),
    ]
    assert BATCH == 50
    headings, rows = table({"a": ours, "b": theirs}, 100)
    assert headings == ["", "wall", "CPU", "texts/s", "×", "requests", "refused", "got", "again"]
    assert rows == [
        ["a", "1.0 s", "0.50 s", "100", "1.00", "2.00", "0.0%", "100%", "0"],
        ["b", "3.0 s", "1.00 s", "33", "3.00", "4.00", "37.5%", "50%", "50"],
    ]


def test_titles_say_what_the_server_does() -> None:
    assert title(SCENARIOS["all"], 1000) == (
        "1,000 texts, 50 a request: 100 ms latency, 10% of requests fail, 60 requests in 12 s"
    )


@pytest.mark.parametrize("contender", [milvine_openai, openai_client])
def test_contenders_get_the_servers_vectors_and_say_how_many(contender: Any) -> None:
    server = RunningServer(Conditions(latency=0.0))
    try:
        options = {"concurrency": 3} if contender is milvine_openai else {}
        vectors = contender(server.base_url, batch=50, **options)(TEXTS)
        assert server.stats() == Stats(requests=3, texts=120, distinct=120, received=120)
        assert server.stats() == Stats()
    finally:
        server.stop()
    expected = [np.frombuffer(vector_bytes(text), "<f4") for text in TEXTS]
    assert expected[0].shape == (DIM,)
    np.testing.assert_array_equal(np.array(vectors, dtype=np.float32), np.stack(expected))


def test_the_bucket_refuses_what_is_too_much_and_says_when() -> None:
    server = RunningServer(Conditions(latency=0.0, limit=2, seconds=600))
    try:
        seen = [httpx.post(server.base_url + "/embeddings", json={"input": ["a"]}) for _ in range(3)]
        assert [answer.status_code for answer in seen] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in seen] == ["1", "0", "0"]
        # Two in 600 seconds are one in 300.
        assert float(seen[2].headers["Retry-After"]) == pytest.approx(300, abs=5)
        assert server.stats() == Stats(requests=3, refused=1, texts=2, distinct=1)
    finally:
        server.stop()


def test_failures_are_counted_and_milvine_gets_everything_all_the_same() -> None:
    server = RunningServer(Conditions(latency=0.0, failures=0.2))
    try:
        milvine_openai(server.base_url, batch=2, concurrency=4)(TEXTS)
        stats = server.stats()
    finally:
        server.stop()
    assert stats.received == stats.distinct == 120
    assert stats.failed > 0
    # Half a body is a failure that the server counts as sent to nobody, so nothing is sent twice.
    assert (stats.requests - stats.failed, stats.texts) == (60, 120)


def test_every_contender_is_there() -> None:
    from benchmarks import hosted_contenders

    assert all(callable(getattr(hosted_contenders, row.name)) for row in programs("http://x/v1", "python").values())
