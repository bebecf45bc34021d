"""What a provider's HTTP response means: an answer, or a failure with the error that tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from milvine.hosted._headers import read_quotas, read_retry_after
from milvine.hosted.answers import Answer, Quota
from milvine.hosted.spec import Provider

if TYPE_CHECKING:
    import httpx

__all__ = ["Failure", "dig", "read_response"]

_BODY_SHOWN: Final = 2_000
_SAID_SHOWN: Final = 500
_TRY_AGAIN: Final = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""


@dataclass(frozen=True)
class Failure:
    """A request that failed.

    Attributes:
        error: The error to raise, unless the request is sent again.
        passes: Whether the same request may succeed later.
        too_long: Whether the provider refused it because it holds too many tokens or texts.
        retry_after: Seconds that the provider asked to wait, if it said so.
        quotas: What it told of its rate limits.
        cause: The exception that stands behind the error, if one does.
    """

    error: ProviderError
    passes: bool = False
    too_long: bool = False
    retry_after: float | None = None
    quotas: tuple[Quota, ...] = ()
    cause: Exception | None = None


def read_response(
    provider: Provider, response: httpx.Response, *, base_url: str, model: str, tried: str, redact: Callable[[str], str]
) -> Answer | Failure:
    """The answer in a response, or the failure that it tells of.

    Args:
        provider: The provider's row.
        response: The response, wholly read.
        base_url: Where the request went, for the message, without the key.
        model: The model that was asked, for the message.
        tried: How often the request was sent, for the message.
        redact: Takes the API key out of a text; a server may echo it.
    """
    status, headers = response.status_code, response.headers
    try:
        data = json.loads(response.content)
    except (ValueError, RecursionError):
        data = None
    request_id = _request_id(provider, headers, data)
    request_id = None if request_id is None else redact(request_id)
    quotas = read_quotas(provider.limits, headers)
    if response.is_success and isinstance(data, (dict, list)):
        # Only the beginning is ever shown, and an answer may have megabytes.
        body = redact(response.content[: 8 * _BODY_SHOWN].decode("utf-8", "replace"))[:_BODY_SHOWN]
        return Answer(data, provider.name, status, body, request_id, quotas)

    retry_after = read_retry_after(headers)
    if retry_after is None and provider.retry_in and (found := provider.retry_in.search(response.text)):
        retry_after = float(found[1])
    said = redact(_said(provider, data, response.text))
    told = f"{said} {' '.join(_codes(provider, data))}"
    is_json = headers.get("content-type", "").startswith("application/json")
    cut_off = response.is_success and is_json and response.content.lstrip()[:1] in (b"{", b"[") and data is None
    too_long = status >= 400 and bool(provider.too_long and provider.too_long.search(told))
    passes = cut_off or status in _TRY_AGAIN or (status >= 500 and status != 501)
    spent = status == 429 and not provider.spent_codes.isdisjoint(_codes(provider, data))
    kind: type[ProviderError]
    if status < 400:
        kind, what = ProviderResponseError, _not_json(response, redact, cut_off)
        message = f"{provider.name} {what}, HTTP {status}{tried}: {said}"
        advice = f"Check base_url ({base_url}); a proxy may have answered in the provider's place."
    elif too_long:
        kind = ProviderRequestError
        message, advice = f"{provider.name} refused the request as too long (HTTP {status}): {said}", ""
    elif status == 401 or (status == 400 and provider.wrong_key and provider.wrong_key.search(told)):
        kind = AuthenticationError
        message = f"{provider.name} refused the API key (HTTP {status}): {said}"
        variables = " or ".join(provider.key_variables[:1])
        advice = f"Pass another as api_key{variables and f' or set {variables}'}; keys are at {provider.key_page}"
    elif status == 403:
        kind = AuthenticationError
        message = f"{provider.name} denied this API key access (HTTP 403): {said}"
        advice = "Check the key's rights and balance, and the model's name."
    elif spent:
        kind, advice = RateLimitError, ""
        message = f"{provider.name} has no quota left for this API key, so trying again cannot help (HTTP 429): {said}"
    elif status == 429:
        kind = RateLimitError
        message = f"{provider.name}'s rate limit held (HTTP 429){tried}: {said}{_wait(retry_after)}"
        advice = "Try again later, with less at a time, or raise max_retries."
    elif status == 408:
        kind, advice = ProviderTimeoutError, ""
        message = f"{provider.name} did not receive the request in time (HTTP 408){tried}: {said}{_wait(retry_after)}"
    elif status >= 500:
        kind = ProviderUnavailableError
        message = f"{provider.name} failed (HTTP {status}){tried}: {said}{_wait(retry_after)}"
        advice = "Try again later." if passes else ""
    else:
        kind = ProviderRequestError
        message = f"{provider.name} refused the request (HTTP {status}){tried if passes else ''}: {said}"
        advice = f"Check base_url ({base_url}) and the model's name." if status in (404, 405) else ""
    advice = provider.advice.get(status, advice).replace("{model}", model)
    error = kind(
        f"{message} {advice}".rstrip(),
        provider=provider.name,
        status=status,
        body=redact(response.text)[:_BODY_SHOWN],
        request_id=request_id,
    )
    if isinstance(error, RateLimitError):
        error.retry_after = retry_after
    return Failure(error, passes and not (spent or too_long), too_long, retry_after, quotas)


def dig(data: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path of keys in a JSON object; `None` where there is no such place."""
    for step in path:
        if not isinstance(data, dict):
            return None
        data = data.get(step)
    return data


def _not_json(response: httpx.Response, redact: Callable[[str], str], cut_off: bool) -> str:
    if not response.is_success:
        return f"redirects to {redact(response.headers.get('location', 'nowhere'))}"
    kind = redact(response.headers.get("content-type", "no content type"))
    return f"answered with {'JSON that breaks off' if cut_off else 'no JSON object'} ({kind})"


def _wait(retry_after: float | None) -> str:
    return "" if retry_after is None else f" It asks to wait {retry_after:g} seconds (Retry-After)."


def _said(provider: Provider, data: Any, text: str) -> str:
    """What the provider says of the failure, as one sentence on one line."""
    said = text
    for path in provider.error_messages:
        found = dig(data, path)
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
    found = (dig(data, path) for path in provider.error_codes)
    return {code for code in found if isinstance(code, str)}


def _request_id(provider: Provider, headers: Mapping[str, str], data: Any) -> str | None:
    found = headers.get(provider.request_id_header) or dig(data, (provider.request_id_field,))
    return found if isinstance(found, str) else None
