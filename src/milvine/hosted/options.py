"""What every function over a hosted model may be told besides its own arguments."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict
from urllib.parse import urlsplit

from milvine.errors import AuthenticationError, InputError, InputTypeError

if TYPE_CHECKING:
    import httpx

    from milvine.hosted.spec import Provider

__all__ = [
    "CONCURRENCY",
    "MAX_RETRIES",
    "TIMEOUT",
    "HostedOptions",
    "RequestOptions",
    "check_options",
    "find_base_url",
    "find_key",
]

TIMEOUT: Final = 60.0
"""Seconds to wait for a connection, and for each piece of a request or an answer."""

MAX_RETRIES: Final = 5
"""How often a request is sent again after a failure that may pass."""

CONCURRENCY: Final = 8
"""Requests under way at once."""


class RequestOptions(TypedDict, total=False):
    """Options of a hosted model besides the place of its server, all by keyword and all optional.

    Attributes:
        timeout: Seconds to wait for a connection, and for each piece of a request or an answer; 60 by default, or what
            `http_client` says.
        max_retries: How often a request that failed is sent again; 5 by default, 0 switches retries off.
        http_client: An `httpx.Client` to use and not to close, for a proxy or certificates of one's own.
        async_http_client: The same for the coroutines: an `httpx.AsyncClient`.
        deadline: Seconds that a whole call may take; by default any time.
        concurrency: Requests under way at once, at most; 8 by default.
        batch_size: Texts in one request, at most; by default as many as the provider allows.
        requests_per_minute: Requests to send within 60 seconds, at most; by default what the provider's answers tell.
        tokens_per_minute: Tokens to send within 60 seconds, at most, as far as they can be estimated.
        show_progress: Show a bar; by default on a terminal only.
    """

    timeout: float | None
    max_retries: int | None
    http_client: httpx.Client | None
    async_http_client: httpx.AsyncClient | None
    deadline: float | None
    concurrency: int | None
    batch_size: int | None
    requests_per_minute: float | None
    tokens_per_minute: float | None
    show_progress: bool | None


class HostedOptions(RequestOptions, total=False):
    """Options of a hosted model, all by keyword and all optional.

    Attributes:
        base_url: Where the API lives, instead of the provider's environment variable or URL.
    """

    base_url: str | None


def check_options(options: Mapping[str, Any], what: str) -> None:
    """Refuse options that there are not, and values that they cannot have.

    Args:
        options: Options by name.
        what: Whose options they are, for the message.

    Raises:
        InputTypeError: There is no such option, or its value is of the wrong type.
        InputError: Its value is not allowed.
    """
    known = ("base_url", *RequestOptions.__annotations__)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputTypeError(
            f"{what} has no argument {', '.join(unknown)}; the further arguments that it takes are {', '.join(known)}"
        )
    for name in ("timeout", "deadline"):
        _check_number(name, options.get(name), "a number of seconds", " seconds")
    for name in ("requests_per_minute", "tokens_per_minute"):
        _check_number(name, options.get(name), "a number", "")
    for name, least in (("max_retries", 0), ("concurrency", 1), ("batch_size", 1)):
        _check_count(name, options.get(name), least)
    show = options.get("show_progress")
    if not (show is None or isinstance(show, bool)):
        raise InputTypeError(f"show_progress must be True, False or None, not {type(show).__name__} ({show!r})")
    _check_http_client("http_client", "Client", options.get("http_client"))
    _check_http_client("async_http_client", "AsyncClient", options.get("async_http_client"))


def find_key(provider: Provider, api_key: str | None) -> str | None:
    """The API key: the one passed, or that of the provider's environment variables; `None` where none is needed.

    Raises:
        AuthenticationError: There is none, or what was found cannot be one; the message does not show it.
        InputTypeError: It is no string.
    """
    if api_key is not None and not isinstance(api_key, str):
        raise InputTypeError(f"api_key must be a string, not {type(api_key).__name__}")
    sources = {"api_key": api_key or "", **{name: os.environ.get(name, "") for name in provider.key_variables}}
    for source, value in sources.items():
        key = value.strip()
        if not key:
            continue
        # Anything else could not be sent in a header, and the error would show the key.
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise AuthenticationError(
                f"{source} holds no API key: it has blanks or characters that a key cannot have (the value is not"
                f" shown). Keys are at {provider.key_page}",
                provider=provider.name,
            )
        return key
    if not provider.needs_key:
        return None
    raise AuthenticationError(
        f"No API key for {provider.name}: none was passed as api_key, and none is in the environment variable"
        f" {' or '.join(provider.key_variables)}. Keys are at {provider.key_page}",
        provider=provider.name,
    )


def find_base_url(provider: Provider, base_url: str | None) -> str:
    """The base URL: the one passed, that of the provider's environment variables, or the provider's own.

    Raises:
        InputError: There is none, it is no HTTP URL, or it holds a user name, a password, a query or a fragment.
        InputTypeError: It is no string.
    """
    if base_url is not None and not isinstance(base_url, str):
        raise InputTypeError(f"base_url must be a string, not {type(base_url).__name__}")
    named = {"base_url": base_url or "", **{name: os.environ.get(name, "") for name in provider.base_url_variables}}
    source, url = next(((source, url) for source, url in named.items() if url), ("", provider.base_url))
    example = provider.base_url or "http://localhost:8080"
    if url is None:
        variables = f", or set {' or '.join(provider.base_url_variables)}" if provider.base_url_variables else ""
        raise InputError(f"{provider.name} has no base URL of its own; pass base_url, such as {example!r}{variables}")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if valid and (parts.username or parts.password or parts.query or parts.fragment):
        raise InputError(
            f"{source} must hold no user name, password, query or fragment (the value is not shown);"
            f" give it as in {example!r}"
        )
    if not valid:
        shown = "what it is (the value is not shown: it holds an @)" if "@" in url else repr(url)
        raise InputError(f"{source} must be a URL such as {example!r}, not {shown}")
    return url.rstrip("/")


def _check_number(name: str, value: Any, kind: str, unit: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputTypeError(f"{name} must be {kind}, not {type(value).__name__} ({value!r})")
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} must be more than 0{unit}, not {value}")


def _check_count(name: str, value: Any, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{name} must be an integer, not {type(value).__name__} ({value!r})")
    if value < least:
        raise InputError(f"{name} must be at least {least}, not {value}")


def _check_http_client(name: str, kind: str, value: Any) -> None:
    if value is None:
        return
    import httpx

    if not isinstance(value, getattr(httpx, kind)):
        raise InputTypeError(f"{name} must be an httpx.{kind}, not {type(value).__name__}")
