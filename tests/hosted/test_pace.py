"""The pace against simulated servers; the clock is moved by hand, so that hours pass in milliseconds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from milvine.hosted.answers import Quota
from milvine.hosted.pace import Grant, Pace
from rate_limits import Kind, RateLimit
from small_tasks import Numbers, Simulation, seeded

KINDS: tuple[Kind, ...] = ("bucket", "window", "sliding")


def pace_of(**options: Any) -> Pace:
    return Pace(**{"concurrency": 8, "jitter": seeded(1), **options})


def tasks(count: int) -> list[Numbers]:
    return [Numbers((number,)) for number in range(count)]


def granted(pace: Pace, now: float, tokens: float = 10.0) -> Grant:
    grant = pace.start(tokens, now)
    assert isinstance(grant, Grant)
    return grant


# A limit of 60 requests a minute


@pytest.mark.parametrize("tells", ["headers", "Retry-After", "nothing"])
@pytest.mark.parametrize("kind", KINDS)
def test_of_1000_requests_at_most_3_percent_are_refused(kind: Kind, tells: str) -> None:
    limit = RateLimit(60, 60.0, kind, headers=tells == "headers", retry_after=tells == "Retry-After")
    simulation = Simulation(limit, seed=3)
    assert simulation.run(tasks(1000), pace_of()) == list(range(1000))
    assert simulation.refused <= (0 if tells == "headers" else 30)
    # The least is 940 s for a bucket that is full at first, and 16 whole minutes for windows.
    assert simulation.now < 1.25 * 960


@pytest.mark.parametrize("latency", [0.3, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_slow_answers_make_no_difference(kind: Kind, latency: float) -> None:
    simulation = Simulation(RateLimit(60, 60.0, kind, headers=False), latency)
    simulation.run(tasks(1000), pace_of())
    assert simulation.refused <= 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_that_the_caller_names_is_never_met(kind: Kind) -> None:
    simulation = Simulation(RateLimit(60, 60.0, kind, headers=False))
    simulation.run(tasks(300), pace_of(requests_per_minute=60))
    assert simulation.refused == 0
    assert simulation.now < 1.05 * 300


def test_a_first_guess_that_is_far_too_low_is_mended_within_minutes() -> None:
    # 10 requests a second: after the first second some 10 were accepted, which would be 10 a minute.
    simulation = Simulation(RateLimit(10, 1.0, "bucket", headers=False))
    simulation.run(tasks(2000), pace_of())
    assert simulation.refused <= 60
    assert simulation.now < 15 * 60  # at 10 a minute it would be 200


def test_refusals_by_chance_are_not_taken_for_a_limit() -> None:
    simulation = Simulation(RateLimit(1_000_000, headers=False), chance_refusals=0.02, failures=0.06)
    simulation.run(tasks(1000), pace_of(), in_order=False)
    # 1,000 requests and the 8 in 100 that are repeated, 8 at once, 0.1 s each: 13.6 s.
    assert simulation.now < 20


def test_a_limit_and_refusals_by_chance_together() -> None:
    simulation = Simulation(RateLimit(60, 60.0, "window", headers=False), chance_refusals=0.02, seed=3)
    simulation.run(tasks(1000), pace_of())
    assert simulation.refused <= 30
    assert simulation.now < 2 * 960


# One rule at a time


def test_no_more_are_under_way_than_allowed() -> None:
    simulation = Simulation(RateLimit(1_000_000, headers=False))
    simulation.run(tasks(100), pace_of(concurrency=3))
    assert simulation.most_under_way == 3


def test_a_wait_that_is_asked_for_holds_for_all_and_then_one_goes_first() -> None:
    pace = pace_of()
    first = granted(pace, 0.0)
    pace.finish(first, "refused", 1.0, retry_after=20.0)
    until = pace.start(10.0, 1.0)
    assert isinstance(until, float)
    assert 21.0 <= until <= 23.0  # the wait, and up to a tenth of it
    probe = granted(pace, until)
    assert pace.start(10.0, until) == math.inf
    pace.finish(probe, "accepted", until + 1)
    granted(pace, until + 1)
    granted(pace, until + 1)


def test_overload_that_lasts_halves_the_requests_at_once_and_each_round_adds_one() -> None:
    pace = pace_of()
    for number, grant in enumerate([granted(pace, 0.0) for _ in range(8)]):
        pace.finish(grant, "busy", 1.0 + number / 100)
    at = pace.start(10.0, 1.5)
    assert isinstance(at, float)  # a hold, since four of the last twenty failed
    pace.finish(granted(pace, at), "accepted", at + 1)
    under_way = [granted(pace, at + 1) for _ in range(4)]
    assert pace.start(10.0, at + 1) == math.inf
    for grant in under_way:
        pace.finish(grant, "accepted", at + 2)
    for _ in range(5):
        granted(pace, at + 2)
    assert pace.start(10.0, at + 2) == math.inf


def test_headers_that_leave_no_room_are_waited_out() -> None:
    pace = pace_of()
    pace.finish(granted(pace, 0.0), "accepted", 0.1, quotas=(Quota("requests", 60, 2, 30.0),))
    granted(pace, 0.2)
    granted(pace, 0.2)
    # 58 were used, and are back within 30 s: 1.93 a second, so that one is back 0.52 s after that was told.
    until = pace.start(10.0, 0.2)
    assert isinstance(until, float)
    assert until == pytest.approx(0.1 + 30 / 58)


def test_an_answer_that_was_overtaken_does_not_count_for_more() -> None:
    pace = pace_of()
    early, late = granted(pace, 0.0), granted(pace, 0.0)
    pace.finish(late, "accepted", 0.2, quotas=(Quota("requests", 60, 0, 60.0),))
    pace.finish(early, "accepted", 0.3, quotas=(Quota("requests", 60, 1, 60.0),))
    until = pace.start(10.0, 0.3)
    assert isinstance(until, float)
    assert until > 0.3


def test_tokens_that_are_left_are_not_overdrawn() -> None:
    pace = pace_of()
    pace.finish(granted(pace, 0.0), "accepted", 0.1, quotas=(Quota("tokens", 1000, 500, 60.0),))
    granted(pace, 1.0, tokens=400.0)
    until = pace.start(200.0, 1.0)
    assert isinstance(until, float)
    assert until > 1.0


def test_tokens_a_minute_that_the_caller_names() -> None:
    pace = pace_of(tokens_per_minute=1000)
    pace.finish(granted(pace, 0.0, 600.0), "accepted", 0.1)
    granted(pace, 1.0, 400.0)
    assert pace.start(1.0, 2.0) == 61.0
    # More than the limit by itself goes when nothing else has gone.
    assert pace.start(5000.0, 2.0) == 62.0


def test_what_is_noted_twice_counts_once() -> None:
    pace = pace_of(concurrency=1)
    grant = granted(pace, 0.0)
    pace.finish(grant, "failed", 1.0)
    granted(pace, 1.0)
    pace.finish(grant, "failed", 2.0)
    assert pace.start(1.0, 2.0) == math.inf


@pytest.mark.parametrize("tells", ["headers", "Retry-After", "nothing"])
def test_a_limit_that_others_have_used_up_before_does_not_slow_what_comes_after(tells: str) -> None:
    limit = RateLimit(60, 60.0, "window", headers=tells == "headers", retry_after=tells == "Retry-After")
    for _ in range(60):
        limit.take(5.0)
    simulation = Simulation(limit, now=6.0)
    simulation.run(tasks(50), pace_of())
    assert simulation.now < 120  # the window ends after 60 s
    assert simulation.refused <= 15
