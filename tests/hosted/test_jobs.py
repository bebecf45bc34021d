"""What a job decides, without a network and with a hand-moved clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from milvine.errors import (
    AuthenticationError,
    ProviderRequestError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from milvine.hosted._failures import Failure
from milvine.hosted.answers import Answer
from milvine.hosted.jobs import Job, Send, Unit, Wait
from milvine.hosted.pace import Pace
from milvine.types import Usage
from rate_limits import RateLimit
from small_tasks import Numbers, Simulation, answer_of, failure_of, seeded

TOO_LONG = Failure(ProviderRequestError("too many tokens", provider="openai", status=400), too_long=True)
DENIED = Failure(AuthenticationError("no", provider="openai", status=401))


def job_of(tasks: Any, **options: Any) -> Job[Any]:
    settings = {"provider": "openai", "max_retries": 2, "concurrency": 8, "jitter": seeded(1), **options}
    return Job(iter(tasks), settings.pop("pace", None) or Pace(8, jitter=seeded(1)), **settings)


def ones(count: int) -> list[Numbers]:
    return [Numbers((number,)) for number in range(count)]


def sent(job: Job[Any], now: float = 0.0) -> list[Unit[Any]]:
    """All that the job sends now."""
    units = []
    while isinstance(step := job.step(now), Send):
        units.append(step.unit)
    return units


def given(job: Job[Any]) -> list[int]:
    return [number for _, numbers in job.results() for number in numbers]


def test_results_are_given_in_order_however_they_come() -> None:
    job = job_of(ones(3))
    first, second, third = sent(job)
    job.done(third, answer_of(third.task), 1.0)
    job.done(second, answer_of(second.task), 1.0)
    assert given(job) == []
    job.done(first, answer_of(first.task), 1.0)
    assert given(job) == [0, 1, 2]
    assert job.step(1.0) is None
    job.close()


def test_results_are_given_as_they_come_where_order_is_no_matter() -> None:
    job = job_of(ones(3), in_order=False)
    _, _, third = sent(job)
    job.done(third, answer_of(third.task), 1.0)
    assert given(job) == [2]


def test_1000_requests_of_which_a_tenth_fails() -> None:
    simulation = Simulation(RateLimit(1_000_000, headers=False), failures=0.08, chance_refusals=0.02)
    assert simulation.run([Numbers((n, n)) for n in range(1000)], Pace(8, jitter=seeded(1))) == [
        number for number in range(1000) for _ in (0, 1)
    ]
    assert simulation.sent < 1.25 * 1000


def test_tasks_are_taken_only_as_their_turn_comes() -> None:
    taken = 0

    def endless() -> Iterator[Numbers]:
        nonlocal taken
        while True:
            taken += 1
            yield Numbers((taken,))

    job = job_of(endless(), pace=Pace(2), concurrency=2)
    first, _ = sent(job)
    assert taken <= 4
    # While the first is out, those behind it are held: no more than four for each that may be under way.
    for _ in range(20):
        for unit in job._line[1:]:
            if unit.grant:
                job.done(unit, answer_of(unit.task), 1.0)
        sent(job, 1.0)
    assert taken == 8
    job.done(first, answer_of(first.task), 2.0)
    assert len(given(job)) >= 7


def test_a_request_alone_is_said_to_be_alone() -> None:
    step = job_of(ones(1)).step(0.0)
    assert isinstance(step, Send)
    assert step.alone
    step = job_of(ones(2)).step(0.0)
    assert isinstance(step, Send)
    assert not step.alone


def test_back_off_grows_and_is_jittered() -> None:
    waits: list[list[float]] = []
    for seed in range(200):
        job = job_of(ones(1), max_retries=9, jitter=seeded(seed))
        waits.append([])
        now = 0.0
        for _ in range(8):
            (unit,) = sent(job, now)
            job.done(unit, failure_of(500), now)
            step = job.step(now)
            assert isinstance(step, Wait)
            waits[-1].append(step.until - now)
            now = step.until
    # Full jitter: anywhere between nothing and 0.5 s, doubled each time, 8 s at most.
    for position, longest in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]):
        column = [row[position] for row in waits]
        assert max(column) <= longest
        assert max(column) > 0.9 * longest
        assert min(column) < 0.1 * longest


def test_retries_are_spent() -> None:
    job = job_of(ones(1), max_retries=2)
    now = 0.0
    for _ in range(3):
        (unit,) = sent(job, now)
        job.done(unit, failure_of(500), now)
        now += 10
    assert job.step(now) is None
    with pytest.raises(ProviderUnavailableError):
        job.close()


def test_others_go_on_while_one_backs_off() -> None:
    job = job_of(ones(20), pace=Pace(1), concurrency=1)
    (first,) = sent(job)
    job.done(first, failure_of(500), 0.0)
    (second,) = sent(job)
    assert second.task.numbers == (1,)
    job.done(second, answer_of(second.task), 5.0)
    (again,) = sent(job, 5.0)
    assert again is not first  # those that were tried less go first
    assert again.task.numbers == (2,)


def test_a_wait_longer_than_a_minute_fails_at_once() -> None:
    job = job_of(ones(1))
    (unit,) = sent(job)
    job.done(unit, failure_of(429, retry_after=61.0), 0.0)
    with pytest.raises(RateLimitError):
        job.close()


def test_a_failure_for_good_stops_what_is_new_and_awaits_what_is_under_way() -> None:
    job = job_of(ones(20), pace=Pace(3))
    first, second, third = sent(job)
    job.done(second, DENIED, 1.0)
    step = job.step(1.0)
    assert isinstance(step, Wait)
    assert step.until == math.inf
    job.done(first, answer_of(first.task), 2.0)
    assert given(job) == [0]
    job.done(third, answer_of(third.task), 2.0)
    assert job.step(2.0) is None
    with pytest.raises(AuthenticationError) as caught:
        job.close()
    # The first was given before, and is the caller's already.
    assert caught.value.completed == {2: 2}


def test_what_is_under_way_is_not_sent_again_after_a_failure_for_good() -> None:
    job = job_of(ones(2))
    first, second = sent(job)
    job.done(first, DENIED, 1.0)
    job.done(second, failure_of(500), 1.0)
    assert job.step(100.0) is None
    with pytest.raises(AuthenticationError):
        job.close()


def test_too_long_is_halved_in_place_and_counts_as_no_retry() -> None:
    spent: list[Usage] = []
    job = job_of([Numbers((0, 1, 2, 3)), Numbers((4,))], max_retries=0, spend=spent.append)
    whole, last = sent(job)
    job.done(last, answer_of(last.task), 1.0)
    job.done(whole, TOO_LONG, 1.0)
    left, right = sent(job, 1.0)
    assert (left.task.numbers, right.task.numbers) == ((0, 1), (2, 3))
    job.done(right, answer_of(right.task), 2.0)
    job.done(left, answer_of(left.task), 2.0)
    assert given(job) == [0, 1, 2, 3, 4]
    total = sum(spent, Usage())
    assert total == Usage(requests=4, retries=0, texts=5, tokens=5)


def test_a_text_too_long_by_itself_does_not_take_its_batch_with_it() -> None:
    job = job_of([Numbers((0, 1, 2, 3)), Numbers((4,))], pace=Pace(1))
    order = []
    while not isinstance(step := job.step(0.0), (Wait, type(None))):
        task = step.unit.task
        order.append(task.numbers)
        job.done(step.unit, TOO_LONG if 2 in task.numbers else answer_of(task), 0.0)
    assert order == [(0, 1, 2, 3), (0, 1), (2, 3), (2,), (3,)]
    with pytest.raises(ProviderRequestError, match=r"\(2,\) is too long\. too many tokens") as caught:
        job.close()
    assert caught.value.completed == {0: 0, 1: 1, 3: 3}


def test_a_malformed_answer_fails_for_good() -> None:
    job = job_of(ones(2))
    first, second = sent(job)
    job.done(first, Answer({}, "openai", 200, "", None), 1.0)
    job.done(second, answer_of(second.task), 1.0)
    with pytest.raises(ProviderResponseError, match="it has no numbers") as caught:
        job.close()
    assert caught.value.completed == {1: 1}


def test_the_deadline_ends_waits_and_keeps_what_came() -> None:
    job = job_of(ones(2), deadline=10.0)
    first, second = sent(job)
    job.done(first, failure_of(429, retry_after=50.0), 1.0)
    job.done(second, answer_of(second.task), 1.0)
    step = job.step(1.0)
    assert isinstance(step, Wait)
    assert step.until == 10.0
    assert job.step(10.0) is None
    with pytest.raises(ProviderTimeoutError, match="deadline") as caught:
        job.close()
    assert caught.value.completed == {1: 1}


def test_an_iterable_that_fails_is_raised_after_what_was_sent() -> None:
    def broken() -> Iterator[Numbers]:
        yield Numbers((0,))
        yield Numbers((1,))
        raise OSError("the disk is gone")

    job = job_of(broken())
    first, second = sent(job)
    for unit in (first, second):
        job.done(unit, answer_of(unit.task), 1.0)
    assert given(job) == [0, 1]
    assert job.step(1.0) is None
    with pytest.raises(OSError, match="the disk is gone"):
        job.close()


def test_what_is_abandoned_gives_its_leave_back() -> None:
    pace = Pace(1)
    job = job_of(ones(1), pace=pace)
    sent(job)
    assert pace.start(1.0, 1.0) == math.inf
    job.abandon(1.0)
    assert pace.start(1.0, 1.0) != math.inf
