"""The state of one call: which request to send next, and what each outcome means. No I/O and no clock.

A driver asks `step` what to do, does it, and tells the outcome to `done`; `results` gives what has come.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from milvine.errors import ProviderError, ProviderResponseError, ProviderTimeoutError
from milvine.hosted._failures import Failure
from milvine.hosted.answers import Answer
from milvine.hosted.pace import Grant, Outcome, Pace
from milvine.types import Usage

if TYPE_CHECKING:
    from milvine.hosted.tasks import Task

__all__ = ["FIRST_BACKOFF", "MAX_RETRY_AFTER", "Job", "Send", "Unit", "Wait"]

MAX_RETRY_AFTER: Final = 60.0
"""Seconds of waiting that a provider may ask for. Per-minute limits ask for no more; beyond it a call fails at once."""

FIRST_BACKOFF: Final = 0.5
_MAX_BACKOFF: Final = 8.0
_AHEAD: Final = 4
"""Tasks that are held for each request that may be under way, so that one that is late does not stop the others."""

Result = TypeVar("Result")


@dataclass(eq=False)
class Unit(Generic[Result]):
    """A task on its way.

    Attributes:
        task: The task.
        tries: How often it was sent.
        ready: When it may be sent again.
        grant: The leave under which it is under way now.
        part: Whether it is a piece of a task that was too long.
        result: What it brought, in a tuple; empty until it has.
    """

    task: Task[Result]
    tries: int = 0
    ready: float = -math.inf
    grant: Grant | None = None
    part: bool = False
    result: tuple[Result, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Send(Generic[Result]):
    """Send this now.

    Attributes:
        unit: What to send.
        alone: Whether it is all that there is to do, so that nothing needs to happen meanwhile.
    """

    unit: Unit[Result]
    alone: bool


@dataclass(frozen=True)
class Wait:
    """Wait until then, or until a request comes back, or another call's does.

    Attributes:
        until: The time; infinite where only a request that comes back helps.
    """

    until: float


class Job(Generic[Result]):
    """One call.

    Args:
        tasks: What is to be done, in order; taken as its turn comes.
        pace: How fast to send.
        provider: The provider's name, for errors.
        max_retries: How often a request that failed is sent again.
        concurrency: Requests under way at once, at most.
        in_order: Whether results are given in the order of the tasks, or as they come.
        deadline: When the call must have ended.
        backoff: Seconds that the first wait takes at most; each further one takes up to twice as long, 8 at most.
        spend: Is told what was spent as it is spent.
        jitter: Where random numbers come from.
    """

    def __init__(
        self,
        tasks: Iterator[Task[Result]],
        pace: Pace,
        *,
        provider: str,
        max_retries: int,
        concurrency: int,
        in_order: bool = True,
        deadline: float | None = None,
        backoff: float = FIRST_BACKOFF,
        spend: Callable[[Usage], None] = lambda _: None,
        jitter: random.Random | None = None,
    ) -> None:
        self._tasks = tasks
        self._pace = pace
        self._provider = provider
        self._max_retries = max_retries
        self._held = _AHEAD * concurrency
        self._in_order = in_order
        self._deadline = deadline
        self._backoff = backoff
        self._spend = spend
        self._jitter = jitter or random.Random()  # noqa: S311 - no secret
        self._line: list[Unit[Result]] = []
        self._exhausted = False
        self._stopping = False
        self._broken: Exception | None = None
        self._error: ProviderError | None = None
        self._cause: BaseException | None = None

    def step(self, now: float) -> Send[Result] | Wait | None:
        """What to do now; `None` when there is nothing left to do, and `close` tells how it ended."""
        if self._deadline is not None and now >= self._deadline and (self._line or not self._exhausted):
            self._fail(self._too_late())
            return None
        self._fill()
        waiting = [unit for unit in self._line if not unit.result and unit.grant is None]
        if self._error is not None:
            # Nothing new is sent, but the rest of a task that holds what is too long is not lost with it.
            waiting = [unit for unit in waiting if unit.part and not unit.tries]
        under_way = sum(unit.grant is not None for unit in self._line)
        if not waiting:
            return self._until(math.inf) if under_way else None
        unit = min(waiting, key=lambda unit: (max(now, unit.ready), unit.tries))
        if unit.ready > now:
            return self._until(unit.ready)
        leave = self._pace.start(unit.task.tokens, now)
        if not isinstance(leave, Grant):
            return self._until(leave)
        if self._stopping and not unit.part:  # a failure for good, of which `done` will tell, has made room just now
            self._pace.finish(leave, "failed", now)
            return self._until(math.inf)
        unit.grant = leave
        unit.tries += 1
        self._spend(Usage(requests=1, retries=int(unit.tries > 1)))
        return Send(unit, alone=self._exhausted and not under_way and len(waiting) == 1)

    def landed(self, unit: Unit[Result], outcome: Answer | Failure, now: float) -> None:
        """Tells the pace how a request ended.

        It may be called as soon as that is known, from any thread: `done` can be late, when the caller does something
        else between two results, and others must not wait for that.
        """
        if unit.grant is None:
            return
        if isinstance(outcome, Answer):
            self._pace.finish(unit.grant, "accepted", now, quotas=outcome.quotas)
            return
        if not outcome.too_long and not self._may_retry(unit, outcome):
            self._stopping = True
        kinds: dict[int | None, Outcome] = {429: "refused", 503: "busy"}
        kind: Outcome = kinds.get(outcome.error.status, "failed") if outcome.passes else "failed"
        self._pace.finish(unit.grant, kind, now, retry_after=outcome.retry_after, quotas=outcome.quotas)

    def done(self, unit: Unit[Result], outcome: Answer | Failure, now: float) -> None:
        """Takes note of how a request ended."""
        if unit.grant is None:
            return
        self.landed(unit, outcome, now)
        unit.grant = None
        if isinstance(outcome, Answer):
            self._spend(Usage(tokens=unit.task.spent(outcome)))
            try:
                unit.result = (unit.task.read(outcome),)
            except ProviderResponseError as error:
                self._drop(unit)
                self._fail(error, error.__cause__)
            else:
                self._spend(Usage(texts=unit.task.count))
            return
        if outcome.too_long:
            self._split(unit, outcome)
        elif self._error is None and self._may_retry(unit, outcome):
            unit.ready = now + self._delay(outcome.retry_after, unit.tries)
        else:
            self._drop(unit)
            self._fail(outcome.error, outcome.cause)

    def results(self) -> Iterator[tuple[Task[Result], Result]]:
        """The tasks that are done and were not given yet; in order, as far as those before them are done, too."""
        for unit in list(self._line):
            if unit.result:
                self._line.remove(unit)
                yield unit.task, unit.result[0]
            elif self._in_order:
                return

    def abandon(self, now: float) -> None:
        """Gives back the leave of all that is under way; its outcome will not be told."""
        for unit in self._line:
            if unit.grant is not None:
                self._pace.finish(unit.grant, "failed", now)
                unit.grant = None

    def close(self) -> None:
        """Raises what made the job fail, if it did; its `completed` then holds the results that were not yet given."""
        if self._error is not None:
            for unit in self._line:
                for result in unit.result:
                    self._error.completed.update(unit.task.completed(result))
            raise self._error from self._cause
        if self._broken is not None:
            raise self._broken

    def _fill(self) -> None:
        """Takes tasks until one waits behind the next, so that it is known whether there is one."""
        ready = sum(not unit.result and unit.grant is None and unit.tries == 0 for unit in self._line)
        while ready < 2 and len(self._line) < self._held and not self._exhausted and self._error is None:
            try:
                task = next(self._tasks, None)
            except Exception as error:  # noqa: BLE001 - the caller's iterable failed: raised after what came before
                task, self._broken = None, error
            if task is None:
                self._exhausted = True
                return
            self._line.append(Unit(task))
            ready += 1

    def _split(self, unit: Unit[Result], outcome: Failure) -> None:
        parts = unit.task.split()
        place = self._line.index(unit)
        self._line[place : place + 1] = [Unit(part, part=True) for part in parts]
        if not parts:
            self._fail(unit.task.too_long(outcome.error), outcome.error)

    def _may_retry(self, unit: Unit[Result], outcome: Failure) -> bool:
        asked = outcome.retry_after or 0.0
        return outcome.passes and unit.tries <= self._max_retries and asked <= MAX_RETRY_AFTER

    def _drop(self, unit: Unit[Result]) -> None:
        self._line.remove(unit)

    def _fail(self, error: ProviderError, cause: BaseException | None = None) -> None:
        if self._error is None:
            self._error, self._cause = error, cause

    def _until(self, time: float) -> Wait:
        return Wait(time if self._deadline is None else min(time, self._deadline))

    def _delay(self, retry_after: float | None, tries: int) -> float:
        if retry_after is not None:
            # A little later than asked, so that many clients told the same do not come back at once.
            return retry_after * self._jitter.uniform(1.0, 1.1)
        # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        return self._jitter.uniform(0.0, min(_MAX_BACKOFF, self._backoff * 2.0 ** min(tries - 1, 10)))

    def _too_late(self) -> ProviderTimeoutError:
        return ProviderTimeoutError(
            f"The deadline passed before {self._provider} had answered everything; what came is in the error's"
            " completed. Raise deadline, or send less at a time.",
            provider=self._provider,
        )
