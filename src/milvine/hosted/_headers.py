"""What the headers of an answer say about time: how long to wait, and how much of a rate limit is left."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from milvine.hosted.answers import Quota

if TYPE_CHECKING:
    from milvine.hosted.spec import Limit

__all__ = ["read_quotas", "read_retry_after"]

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:d|h|ms|m|s|us|µs|ns))+")
_PIECE: Final = re.compile(r"(\d+(?:\.\d+)?)(d|h|ms|m|s|us|µs|ns)")
_EPOCH: Final = 1e8
"""A number above this is a Unix time, not seconds to wait: it would be three years."""


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `retry-after-ms`, which OpenAI's client reads too, or `Retry-After` in seconds or as a date.

    RFC 9110, 10.2.3. What cannot be read counts as not given; a number too large for a float is an endless wait.
    """
    for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        seconds = _number(headers.get(header, ""))
        if seconds is not None:
            return max(0.0, seconds * unit)
    return _until(headers.get("retry-after", ""))


def read_quotas(limits: tuple[Limit, ...], headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """What the headers tell of the rate limits that a provider's row names; what cannot be read counts as not told."""
    quotas = []
    for row in limits:
        remaining = _number(headers.get(row.remaining, ""))
        if remaining is not None:
            limit = _number(headers.get(row.limit, ""))
            reset = row.window if row.reset is None else _seconds(headers.get(row.reset, ""))
            quotas.append(Quota(row.of, math.inf if limit is None else limit, max(0.0, remaining), reset))
    return tuple(quotas)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _seconds(text: str) -> float | None:
    """Seconds from `"12"`, `"6m0s"`, `"20ms"`, a Unix time, an ISO 8601 time or an HTTP date."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number > _EPOCH:
            number -= datetime.now(timezone.utc).timestamp()
        return max(0.0, number)
    if _DURATION.fullmatch(text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _PIECE.findall(text))
    return _until(text)


def _until(text: str) -> float | None:
    if not text:
        return None
    try:
        # Python 3.10 reads no Z.
        until = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        try:
            until = parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
