"""How fast a client may send: when the next request may start. No I/O and no clock: every method is told the time.

Three things are learnt from a provider, and kept apart:

- `_Quota` of what its headers tell: how much is left, and when it is whole again.
- `_Rate` of what its refusals tell where headers say nothing: that is tried out.
- how many requests at once it bears: halved when it refuses or is overloaded, one more after each round that it bore.

A refusal now and then may be chance; only several of the last answers are taken for a sign. The first sign halves the
requests at once, and if that was not it, the next teaches a rate.

`_Window` keeps a limit that the caller names.
"""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from milvine.hosted.answers import Quota

__all__ = ["Grant", "Outcome", "Pace"]

Outcome = Literal["accepted", "refused", "busy", "failed"]
"""How a request ended: answered; HTTP 429; HTTP 503; otherwise, a cancelled one included."""

MINUTE: Final = 60.0
_LONGEST_WAIT: Final = 60.0
"""Seconds after which a request is ventured, whatever the headers told."""

_HISTORY: Final = 20
_SIGNS: Final = 4
"""Refusals among the last `_HISTORY` answers that are no chance any more."""

_FEW_SIGNS: Final = 2
"""The same of refusals that say when to come back, and near a rate that was refused before."""

_SHARE: Final = 0.9
"""Of the rate that was borne, how much is used."""

_BORNE: Final = 10
"""Requests that a refill must have borne for a refusal to be taken for chance."""

_FIRST_HOLD: Final = 1.0
_HOLD_GROWTH: Final = 3.0


@dataclass(frozen=True, eq=False)
class Grant:
    """The leave to send a request.

    Attributes:
        started: When it was given.
        tokens: How many tokens the request is likely to have.
    """

    started: float
    tokens: float


class Pace:
    """When requests may start; shared by all calls of a client, and safe to use from several threads.

    Args:
        concurrency: Requests under way at once, at most.
        requests_per_minute: Requests that may start within 60 seconds, if the caller knows a limit.
        tokens_per_minute: The same of tokens.
        jitter: Where random numbers come from.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self._most = self._at_once = concurrency
        self._round = 0
        self._reacted = -math.inf
        self._under_way: set[Grant] = set()
        self._requests = requests_per_minute and _Window(requests_per_minute)
        self._tokens = tokens_per_minute and _Window(tokens_per_minute)
        self._quotas: dict[str, _Quota] = {}
        self._rate = _Rate()
        self._history: deque[Outcome] = deque(maxlen=_HISTORY)
        self._hold = 0.0
        self._held_at = self._held_until = -math.inf
        self._probing = self._meant = False
        self._jitter = jitter or random.Random()  # noqa: S311 - no secret
        self._lock = threading.Lock()

    def start(self, tokens: float, now: float) -> Grant | float:
        """The leave to send a request now, or the time at which to ask again.

        That time is infinite where another request must come back first.

        Args:
            tokens: How many tokens the request is likely to have.
            now: The time.
        """
        with self._lock:
            ready = self._ready(tokens, now)
            if ready > now:
                return ready
            grant = Grant(now, tokens)
            self._under_way.add(grant)
            self._rate.start(now)
            if self._requests:
                self._requests.start(1.0, now)
            if self._tokens:
                self._tokens.start(tokens, now)
            return grant

    def finish(
        self,
        grant: Grant,
        outcome: Outcome,
        now: float,
        *,
        retry_after: float | None = None,
        quotas: tuple[Quota, ...] = (),
    ) -> None:
        """Takes note of how a request ended; of one that was noted before, nothing.

        Args:
            grant: Its leave.
            outcome: How it ended.
            now: The time.
            retry_after: Seconds that the provider asks to wait.
            quotas: What it told of its rate limits.
        """
        with self._lock:
            if grant not in self._under_way:
                return
            self._under_way.discard(grant)
            told = {quota.of for quota in quotas}
            for quota in quotas:
                kept = self._quotas.setdefault(quota.of, _Quota())
                if outcome == "accepted":
                    kept.accepted(grant.started, now)
                kept.told(quota, grant.started, now)
            for of, kept in self._quotas.items():
                if of not in told and outcome != "refused":
                    kept.spend(1.0 if of == "requests" else grant.tokens)
            if outcome == "accepted":
                self._accepted(grant, now)
            elif outcome != "failed":
                explained = any(quota.remaining < 1 for quota in quotas)
                self._refused(grant, now, busy=outcome == "busy", meant=retry_after is not None, explained=explained)
                if retry_after is not None:
                    self._wait(retry_after * self._jitter.uniform(1.0, 1.1), now)

    def _ready(self, tokens: float, now: float) -> float:
        if len(self._under_way) >= (1 if self._probing else self._at_once):
            return math.inf
        times = [self._held_until, self._rate.ready(now)]
        if self._requests:
            times.append(self._requests.ready(1.0, now))
        if self._tokens:
            times.append(self._tokens.ready(tokens, now))
        for of, quota in self._quotas.items():
            needed, out = (1.0, len(self._under_way)) if of == "requests" else (tokens, self._tokens_under_way())
            times.append(quota.ready(needed, out, now))
        return max(times)

    def _tokens_under_way(self) -> float:
        return sum(grant.tokens for grant in self._under_way)

    def _accepted(self, grant: Grant, now: float) -> None:
        self._history.append("accepted")
        self._rate.accepted(now)
        if self._probing and grant.started >= self._held_at:
            self._probing, self._hold = False, 0.0
            self._rate.resume(now)
            if not self._rate.is_known and not self._meant:
                self._history.clear()  # it may have been chance
        self._round += 1
        if self._round >= self._at_once:
            self._round = 0
            self._at_once = min(self._most, self._at_once + 1)

    def _refused(self, grant: Grant, now: float, *, busy: bool, meant: bool, explained: bool) -> None:
        if not busy:
            for quota in self._quotas.values():
                quota.refused()
        if explained or grant.started < self._reacted:
            return  # of the requests that were under way together, the first that counts says it all
        self._meant = meant
        self._history.append("busy" if busy else "refused")
        count = self._history.count("busy" if busy else "refused")
        is_sign = count >= (_FEW_SIGNS if meant or self._rate.is_near_limit(now) else _SIGNS)
        is_probe = self._probing and grant.started >= self._held_at
        if not (is_sign or is_probe):
            return
        is_first = not (meant or math.isfinite(self._reacted))
        if not busy and not is_first and self._rate.can_learn(now, is_probe):
            self._rate.lower(now, certain=count >= _SIGNS)
            self._history.clear()
        self._at_once = max(1, self._at_once // 2)
        self._round, self._reacted = 0, now
        if not meant and grant.started >= self._held_at:
            self._hold = min(_LONGEST_WAIT, self._hold * _HOLD_GROWTH or _FIRST_HOLD)
            self._wait(self._hold * self._jitter.uniform(0.9, 1.1), now)

    def _wait(self, seconds: float, now: float) -> None:
        """Lets nobody send for a time, and then one alone until that was accepted."""
        self._held_at = now
        self._held_until = max(self._held_until, now + seconds)
        self._probing = True


class _Window:
    """A limit that the caller names: so much within any minute, which contents token buckets and windows alike.

    The minute has a second more, because requests do not arrive as evenly as they start.
    """

    _SECONDS: Final = MINUTE + 1.0

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._spent: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def ready(self, amount: float, now: float) -> float:
        self._forget(now)
        needed = min(amount, self._limit)  # what is over the limit by itself goes when nothing else did
        left = self._limit - self._sum
        for at, spent in self._spent:
            if left >= needed:
                return now
            left += spent
            if left >= needed:
                return at + self._SECONDS
        return now

    def start(self, amount: float, now: float) -> None:
        self._spent.append((now, amount))
        self._sum += amount

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + self._SECONDS <= now:
            self._sum -= self._spent.popleft()[1]
        if not self._spent:
            self._sum = 0.0


class _Quota:
    """What headers tell of one limit.

    A server may refill evenly or all at once; that is not told. So the refill that is counted on is the slowest that
    any answer bore out: what was used, over the time until all of it is back.
    """

    def __init__(self) -> None:
        self._limit = math.inf
        self._left = math.inf
        self._told_at = -math.inf
        self._whole_at = -math.inf
        self._refill = math.inf
        self._borne = 0

    def accepted(self, started: float, now: float) -> None:
        """Takes note of a request that was accepted; where nothing was left, it bears out the refill."""
        if self._left < 1 and self._told_at <= started and now < self._whole_at:
            self._borne += 1

    def told(self, quota: Quota, started: float, now: float) -> None:
        if quota.limit != self._limit:
            self._limit, self._refill = quota.limit, math.inf
        reset = MINUTE if quota.reset is None else quota.reset
        used = quota.limit - quota.remaining
        if reset > 0 and used > 0:
            self._refill = min(self._refill, 0.0 if math.isinf(used) else used / reset)
        if started >= self._told_at or now >= self._whole_at:
            self._left = quota.remaining
        else:  # the answer may be older than the last one: answers overtake each other
            self._left = min(self._expected(now), quota.remaining)
        self._told_at, self._whole_at = now, now + reset

    def spend(self, amount: float) -> None:
        """Counts a request whose answer told nothing; it may have been counted there."""
        self._left -= amount

    def refused(self) -> None:
        """After a refusal, nothing is counted on until the limit is whole; unless the refill bore many before it."""
        if self._left >= 1:
            return
        if self._borne >= _BORNE:
            self._borne -= _BORNE  # this one may have been chance
        else:
            self._refill = 0.0

    def ready(self, amount: float, under_way: float, now: float) -> float:
        if now >= self._whole_at:  # one request asks how much there is now
            return now if not under_way or math.isinf(self._left) else math.inf
        needed = min(amount, self._limit)
        short = needed + under_way - self._expected(now)
        if short <= 0:
            return now
        refilled = now + short / self._refill if self._refill > 0 else math.inf
        return min(refilled, self._whole_at, self._told_at + _LONGEST_WAIT)

    def _expected(self, now: float) -> float:
        gone = now - self._told_at
        refill = self._refill if math.isfinite(self._refill) else 0.0
        return min(self._limit, self._left + gone * refill)


class _Rate:
    """The rate that refusals taught, where headers say nothing; none until they do.

    Nine tenths of what was accepted in the last minute, evenly spaced. It rises along a cubic curve, flat at first, so
    that the next refusal is some 300 requests away; until a rate has been confirmed by a second refusal, also with
    time, because the first guess may be far too low.
    """

    _FLAT_REQUESTS: Final = 300.0
    _FLAT_SECONDS: Final = 200.0
    _ENOUGH: Final = 10
    _NEAR: Final = 0.75
    _FADE: Final = 0.97

    def __init__(self) -> None:
        self._base = math.inf
        self._limit = math.inf
        self._since = self._resumed = -math.inf
        self._borne = 0
        self._confirmed = False
        self._next = -math.inf
        self._accepted: deque[float] = deque()

    def ready(self, now: float) -> float:
        return max(now, self._next)

    def start(self, now: float) -> None:
        self._next = now + 1 / self._now(now)

    def accepted(self, now: float) -> None:
        self._accepted.append(now)
        self._borne += 1
        self._forget(now)

    def resume(self, now: float) -> None:
        """Takes note that requests are sent again, after a hold in which none were."""
        self._resumed = now

    @property
    def is_known(self) -> bool:
        """Whether there is a rate."""
        return self._base < math.inf

    def can_learn(self, now: float, is_probe: bool) -> bool:
        """Whether a refusal teaches anything: not that of a probe once there is a rate, nor one before any success."""
        self._forget(now)
        return not is_probe if self.is_known else len(self._accepted) >= self._ENOUGH

    def is_near_limit(self, now: float) -> bool:
        """Whether the rate is such as was refused before; below it, a refusal is likely to have another reason."""
        return self.is_known and self._now(now) >= self._NEAR * self._limit

    def lower(self, now: float, *, certain: bool) -> None:
        """Learns from a refusal; what is not certain does not make the limit that is remembered much lower."""
        self._confirmed = self.is_known
        # What was accepted may hold a bucket that was full at first, or a time in which nothing was sent.
        borne = self._now(now)
        if not self.is_known or now - self._resumed >= MINUTE:
            borne = min(borne, max(1, len(self._accepted)) / MINUTE)
        self._limit = borne if certain or not self._confirmed else max(borne, self._FADE * self._limit)
        self._base, self._since, self._borne = _SHARE * borne, now, 0
        self._next = now + 1 / self._base

    def _now(self, now: float) -> float:
        if math.isinf(self._base):
            return math.inf
        far = (self._borne / self._FLAT_REQUESTS) ** 3 * (1 / _SHARE - 1)
        if not self._confirmed:
            far = max(far, ((now - self._since) / self._FLAT_SECONDS) ** 3)
        return self._base * (1 + far)

    def _forget(self, now: float) -> None:
        while self._accepted and self._accepted[0] <= now - MINUTE:
            self._accepted.popleft()
