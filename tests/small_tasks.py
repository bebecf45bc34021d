"""Tasks as small as can be, for tests of what does tasks; and a provider that is simulated with a hand-moved clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from milvine.errors import ProviderError, ProviderRequestError, ProviderUnavailableError, RateLimitError
from milvine.hosted._failures import Failure
from milvine.hosted._headers import read_quotas
from milvine.hosted.answers import Answer
from milvine.hosted.jobs import Job, Send, Unit
from milvine.hosted.pace import Pace
from milvine.hosted.providers import PROVIDERS
from rate_limits import RateLimit


def seeded(seed: int) -> random.Random:
    """Chance that is the same each time."""
    return random.Random(seed)  # noqa: S311 - no secret


@dataclass(frozen=True)
class Numbers:
    """Some numbers to be sent; the result is what the answer says, `{"numbers": [...]}`."""

    numbers: tuple[int, ...]
    tokens: float = 10.0
    model: str = "tiny"

    @property
    def count(self) -> int:
        return len(self.numbers)

    def request(self) -> tuple[str, dict[str, Any]]:
        return "/numbers", {"numbers": list(self.numbers)}

    def split(self) -> tuple[Numbers, ...]:
        middle = len(self.numbers) // 2
        return (Numbers(self.numbers[:middle]), Numbers(self.numbers[middle:])) if middle else ()

    def read(self, answer: Answer) -> tuple[int, ...]:
        if "numbers" not in answer.data:
            raise answer.malformed("it has no numbers")
        return tuple(answer.data["numbers"])

    def spent(self, answer: Answer) -> int:
        return len(answer.data.get("numbers", ()))

    def completed(self, result: tuple[int, ...]) -> dict[int, int]:
        return dict(zip(self.numbers, result, strict=True))

    def too_long(self, error: ProviderError) -> ProviderError:
        return ProviderRequestError(f"{self.numbers} is too long. {error}")


@dataclass(frozen=True)
class Post:
    """A body to post; the result is the answer."""

    path: str
    body: dict[str, Any]
    model: str = "tiny"
    count: int = 1
    tokens: float = 1.0

    def request(self) -> tuple[str, dict[str, Any]]:
        return self.path, self.body

    def split(self) -> tuple[Post, ...]:
        return ()

    def read(self, answer: Answer) -> Answer:
        return answer

    def spent(self, answer: Answer) -> int:
        return 0

    def completed(self, result: Answer) -> dict[int, Any]:
        return {}

    def too_long(self, error: ProviderError) -> ProviderError:
        return error


def answer_of(task: Numbers, **more: Any) -> Answer:
    """The right answer."""
    return Answer({"numbers": list(task.numbers)}, "openai", 200, "", None, **more)


def failure_of(status: int, **more: Any) -> Failure:
    """A failure that passes, of HTTP status 429, 500 or 503."""
    kind = RateLimitError if status == 429 else ProviderUnavailableError
    return Failure(kind(f"HTTP {status}", provider="openai", status=status), passes=True, **more)


@dataclass
class Simulation:
    """A provider, a client and the network between them, in a time of their own.

    Attributes:
        limit: The rate limit that the provider keeps.
        latency: Seconds from sending a request to having its answer, give or take a fifth.
        failures: The share of requests that are answered with HTTP 500.
        chance_refusals: The share that is refused without reason.
        seed: What decides on latencies and failures.
        now: The time.
        sent: Requests that were sent.
        refused: Requests that the rate limit refused.
    """

    limit: RateLimit
    latency: float = 0.1
    failures: float = 0.0
    chance_refusals: float = 0.0
    seed: int = 0
    now: float = 0.0
    sent: int = 0
    refused: int = 0
    most_under_way: int = 0
    _events: list[tuple[float, int, Unit[Any], Answer | Failure | None]] = field(default_factory=list)

    def run(self, tasks: Iterable[Numbers], pace: Pace, *, max_retries: int = 5, in_order: bool = True) -> list[int]:
        """Does the tasks, and gives the numbers that came back, in the order in which they were given."""
        chance = seeded(self.seed)
        given: list[int] = []
        job: Job[Any] = Job(
            iter(tasks),
            pace,
            provider="openai",
            max_retries=max_retries,
            concurrency=8,
            in_order=in_order,
            jitter=seeded(self.seed),
        )
        while True:
            for _, numbers in job.results():
                given.extend(numbers)
            step = job.step(self.now)
            if step is None:
                job.close()
                return given
            if isinstance(step, Send):
                self.sent += 1
                self._post(step.unit, None, chance)
                self.most_under_way = max(self.most_under_way, len(self._events))
            elif self._events and self._events[0][0] <= step.until:
                self.now, _, unit, outcome = heapq.heappop(self._events)
                if outcome is None:
                    self._post(unit, self._outcome(unit.task, chance), chance)
                else:
                    job.done(unit, outcome, self.now)
            else:
                assert step.until > self.now, "the job waits for a time that has come"
                self.now = step.until

    def _post(self, unit: Unit[Any], outcome: Answer | Failure | None, chance: random.Random) -> None:
        """Sends a request on its way, or its answer on the way back."""
        arrival = self.now + self.latency / 2 * chance.uniform(0.8, 1.2)
        heapq.heappush(self._events, (arrival, id(unit), unit, outcome))

    def _outcome(self, task: Any, chance: random.Random) -> Answer | Failure:
        accepted = self.limit.take(self.now)
        quotas = read_quotas(PROVIDERS["openai"].limits, self.limit.told(self.now))
        if not accepted:
            self.refused += 1
            wait = self.limit.wait(self.now) if self.limit.retry_after else None
            return failure_of(429, retry_after=wait, quotas=quotas)
        if chance.random() < self.chance_refusals:
            return failure_of(429)
        if chance.random() < self.failures:
            return failure_of(500)
        return answer_of(task, quotas=quotas)
