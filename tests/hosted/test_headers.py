from __future__ import annotations

import email.utils
import math
from datetime import datetime, timedelta, timezone

import pytest

from milvine.hosted._headers import read_quotas, read_retry_after
from milvine.hosted.answers import Quota
from milvine.hosted.spec import Limit

ROW = Limit("requests", "x-limit", "x-remaining", "x-reset")


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        # https://platform.openai.com/docs/guides/rate-limits writes "1s" and "6m0s"; its servers also "20ms".
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400.0),
        ("12", 12.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("", None),
        ("soon", None),
    ],
)
def test_the_time_until_a_limit_is_whole(reset: str, seconds: float | None) -> None:
    headers = {"x-limit": "60", "x-remaining": "59", "x-reset": reset}
    assert read_quotas((ROW,), headers) == (Quota("requests", 60.0, 59.0, seconds),)


def test_the_time_may_be_a_moment() -> None:
    soon = datetime.now(timezone.utc) + timedelta(seconds=100)
    for reset in (str(soon.timestamp()), soon.isoformat(), soon.strftime("%Y-%m-%dT%H:%M:%SZ")):
        (quota,) = read_quotas((ROW,), {"x-remaining": "5", "x-reset": reset})
        assert quota.reset == pytest.approx(100, abs=5)
        assert quota.limit == math.inf


def test_what_is_not_told_or_no_number_is_no_quota() -> None:
    assert read_quotas((ROW,), {}) == ()
    assert read_quotas((ROW,), {"x-remaining": "many"}) == ()
    assert read_quotas((ROW,), {"x-remaining": "nan"}) == ()
    assert read_quotas((), {"x-remaining": "5"}) == ()


def test_a_window_stands_in_for_a_header() -> None:
    row = Limit("tokens", "x-limit", "x-remaining", window=60.0)
    assert read_quotas((row,), {"x-limit": "10", "x-remaining": "5"}) == (Quota("tokens", 10.0, 5.0, 60.0),)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "1e999"}, math.inf),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


def test_retry_after_as_a_date() -> None:
    # RFC 9110, 10.2.3.
    date = email.utils.format_datetime(datetime.now(timezone.utc) + timedelta(seconds=100), usegmt=True)
    assert read_retry_after({"retry-after": date}) == pytest.approx(100, abs=5)
