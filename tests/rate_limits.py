"""The three kinds of rate limit that servers keep, without a clock of their own: each is told the time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["bucket", "window", "sliding"]


@dataclass
class RateLimit:
    """So many requests in so many seconds.

    Attributes:
        requests: How many.
        seconds: In how long a time.
        kind: `"bucket"`: a bucket that holds `requests` tokens and is refilled evenly; `"window"`: a count that starts
            anew at each multiple of `seconds`; `"sliding"`: at most so many in any stretch of `seconds`.
        headers: Whether answers say what is left.
        retry_after: Whether refusals say how long to wait.
    """

    requests: int = 60
    seconds: float = 60.0
    kind: Kind = "bucket"
    headers: bool = True
    retry_after: bool = False
    _level: float = field(default=0.0, init=False)
    _since: float | None = field(default=None, init=False)
    _accepted: deque[float] = field(default_factory=deque, init=False)

    def take(self, now: float) -> bool:
        """Whether a request that arrives now is accepted."""
        if self.remaining(now) < 1:
            return False
        self._level += 1
        self._accepted.append(now)
        return True

    def remaining(self, now: float) -> int:
        """How many requests would be accepted now."""
        since = now if self._since is None else self._since
        if self.kind == "bucket":
            self._level = max(0.0, self._level - (now - since) * self.requests / self.seconds)
            self._since = now
        elif self.kind == "window":
            window = now - now % self.seconds
            if window > since or self._since is None:
                self._level, self._since = 0.0, window
        else:
            while self._accepted and self._accepted[0] <= now - self.seconds:
                self._accepted.popleft()
            self._level = len(self._accepted)
        return int(self.requests - self._level + 1e-9)

    def reset(self, now: float) -> float:
        """Seconds until all of the limit is to be had again."""
        self.remaining(now)
        if self.kind == "bucket":
            return self._level * self.seconds / self.requests
        if self.kind == "window":
            return self.seconds - now % self.seconds
        return self._accepted[-1] + self.seconds - now if self._accepted else 0.0

    def wait(self, now: float) -> float:
        """Seconds until one request more is to be had."""
        if self.remaining(now) >= 1:
            return 0.0
        if self.kind == "bucket":
            return (self._level - self.requests + 1) * self.seconds / self.requests
        if self.kind == "window":
            return self.seconds - now % self.seconds
        return self._accepted[0] + self.seconds - now

    def told(self, now: float) -> dict[str, str]:
        """The headers of an answer, as OpenAI names them (https://platform.openai.com/docs/guides/rate-limits)."""
        if not self.headers:
            return {}
        return {
            "x-ratelimit-limit-requests": str(self.requests),
            "x-ratelimit-remaining-requests": str(self.remaining(now)),
            "x-ratelimit-reset-requests": f"{self.reset(now):.3f}s",
        }
