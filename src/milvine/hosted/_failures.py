"""What a provider's HTTP response means: an answer, or a failure with the error that tells of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from milvine.errors import (
    AuthenticationError,
    ProviderError,
    ProviderRequestError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from milvine.hosted.providers import Provider

if TYPE_CHECKING:
    import httpx

_BODY_SHOWN: Final = 2_000
_SAID_SHOWN: Final = 500


@dataclass(frozen=True)
class Answer:
    """A provider's answer to a request that succeeded.

    Attributes:
        data: The body, a JSON object.
        provider: The provider's name.
        status: The HTTP status.
        body: The body as text, shortened to 2,000 characters.
        request_id: The provider's identifier of the request, if it gave one.
    """

    data: dict[str, Any]
    provider: str
    status: int
    body: str = field(repr=False)
    request_id: str | None

    def malformed(self, why: str) -> ProviderResponseError:
        """The error to raise when the body is JSON, but not of the documented form."""
        return ProviderResponseError(
            f"{self.provider}'s answer is not of the documented form: {why}."
            " Check base_url and the model's name; if they are right, the fault is the provider's.",
            provider=self.provider,
            status=self.status,
            body=self.body,
            request_id=self.request_id,
        )


@dataclass(frozen=True)
class Failure:
    """A request that failed.

    Attributes:
        error: The error to raise, unless the request is sent again.
        passes: Whether the same request may succeed later.
        retry_after: Seconds that the provider asked to wait, if it said so.
        cause: The exception that stands behind the error, if one does.
    """

    error: ProviderError
    passes: bool = False
    retry_after: float | None = None
    cause: Exception | None = None


def read_response(
    provider: Provider, response: httpx.Response, *, base_url: str, tried: str, redact: Callable[[str], str]
) -> Answer | Failure:
    """The answer in a response, or the failure that it tells of.

    Args:
        provider: The provider's row.
        response: The response, wholly read.
        base_url: Where the request went, for the message, without the key.
        tried: How often the request was sent, for the message.
        redact: Takes the API key out of a text; a server may echo it.
    """
    status, name = response.status_code, provider.name
    try:
        data = json.loads(response.content)
    except (ValueError, RecursionError):
        data = None
    body = redact(response.text)[:_BODY_SHOWN]
    request_id = _request_id(provider, response.headers, data)
    request_id = None if request_id is None else redact(request_id)
    if response.is_success and isinstance(data, dict):
        return Answer(data, name, status, body, request_id)

    said = redact(_said(provider, data, response.text))
    retry_after = _retry_after(response.headers)
    wait = "" if retry_after is None else f" It asks to wait {retry_after:g} seconds (Retry-After)."
    kind: type[ProviderError]
    passes = False
    if status < 400:
        kind = ProviderResponseError
        what = f"redirects to {redact(response.headers.get('location', 'nowhere'))}"
        if response.is_success:
            what = f"answered with no JSON object ({redact(response.headers.get('content-type', 'no content type'))})"
        message = (
            f"{name} {what}, HTTP {status}: {said} Check base_url ({base_url});"
            " a proxy may have answered in the provider's place."
        )
    elif status == 401:
        kind = AuthenticationError
        message = (
            f"{name} refused the API key (HTTP 401): {said} Pass another as api_key or set"
            f" {provider.key_variables[0]}; keys are at {provider.key_page}"
        )
    elif status == 403:
        kind = AuthenticationError
        message = (
            f"{name} denied this API key access (HTTP 403): {said}"
            " Check the key's rights and balance, and the model's name."
        )
    elif status == 429 and not provider.spent_codes.isdisjoint(_codes(provider, data)):
        kind = RateLimitError
        message = f"{name} has no quota left for this API key, so trying again cannot help (HTTP 429): {said}"
    elif status == 429:
        kind, passes = RateLimitError, True
        message = (
            f"{name}'s rate limit held (HTTP 429){tried}: {said}{wait} Try again later, with less at a time,"
            " or raise max_retries."
        )
    elif status == 408:
        kind, passes = ProviderTimeoutError, True
        message = f"{name} did not receive the request in time (HTTP 408){tried}: {said}{wait}"
    elif status >= 500:
        kind, passes = ProviderUnavailableError, True
        message = f"{name} failed (HTTP {status}){tried}: {said}{wait} Try again later."
    else:
        kind = ProviderRequestError
        message = f"{name} refused the request (HTTP {status}): {said}"
        if status in (404, 405):
            message += f" Check base_url ({base_url}) and the model's name."
    error = kind(message, provider=name, status=status, body=body, request_id=request_id)
    if isinstance(error, RateLimitError):
        error.retry_after = retry_after
    return Failure(error, passes, retry_after)


def _dig(data: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(data, dict):
            return None
        data = data.get(step)
    return data


def _said(provider: Provider, data: Any, text: str) -> str:
    """What the provider says of the failure, as one sentence on one line."""
    said = text
    for path in provider.error_messages:
        found = _dig(data, path)
        if isinstance(found, list):
            # Validation errors come as a list of objects with a "msg" each.
            found = "; ".join(str(item["msg"]) for item in found if isinstance(item, dict) and "msg" in item)
        if isinstance(found, str) and found.strip():
            said = found
            break
    said = " ".join(said.split())
    if len(said) > _SAID_SHOWN:
        said = said[: _SAID_SHOWN - 1] + "…"
    if not said:
        return "it gave no reason."
    return said if said[-1] in ".!?…" else said + "."


def _codes(provider: Provider, data: Any) -> set[str]:
    found = (_dig(data, path) for path in provider.error_codes)
    return {code for code in found if isinstance(code, str)}


def _request_id(provider: Provider, headers: Mapping[str, str], data: Any) -> str | None:
    found = headers.get(provider.request_id_header) or _dig(data, (provider.request_id_field,))
    return found if isinstance(found, str) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `retry-after-ms`, which OpenAI's client reads too, or `Retry-After` in seconds or as a date.

    RFC 9110, 10.2.3. What cannot be read counts as not given; a number too large for a float is an endless wait.
    """
    for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) * unit
        except ValueError:
            continue
        if not math.isnan(seconds):
            return max(0.0, seconds)
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
