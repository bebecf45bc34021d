"""The HTTP client that every hosted model goes through: a request, its retries, an error that says what to do."""

from __future__ import annotations

import json
import math
import os
import random
import threading
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from milvine.errors import (
    AuthenticationError,
    InputError,
    InputTypeError,
    ProviderConnectionError,
    ProviderError,
    ProviderResponseError,
    ProviderTimeoutError,
)
from milvine.hosted._failures import Answer, Failure, read_response
from milvine.hosted.providers import Provider

if TYPE_CHECKING:
    import httpx

__all__ = ["MAX_RETRIES", "MAX_RETRY_AFTER", "TIMEOUT", "Answer", "HostedClient"]

TIMEOUT: Final = 60.0
"""Seconds to wait for a connection, and for each piece of a request or an answer."""

MAX_RETRIES: Final = 3
"""How often a request is sent again after a failure that may pass."""

MAX_RETRY_AFTER: Final = 60.0
"""Seconds of waiting that a provider may ask for. Per-minute limits ask for no more; beyond it a call fails at once."""

_FIRST_BACKOFF: Final = 0.5
_MAX_BACKOFF: Final = 8.0


class HostedClient:
    """Sends requests to one provider.

    It may be used from several threads at once. The HTTP client is opened at the first request and shared by all;
    proxies come from the environment. What may pass is sent again: HTTP 408, 429 and 5xx, timeouts and broken
    connections, after as long as `Retry-After` says or an exponential back-off with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        provider: The provider's row.
        api_key: The key; without it the row's environment variables are looked at.
        base_url: Where the API lives, instead of the row's environment variable or URL.
        timeout: Seconds to wait for a connection, and for each piece of a request or an answer; 60 by default, or
            what `http_client` says.
        max_retries: How often a request that failed is sent again; 0 switches retries off.
        http_client: An `httpx.Client` to use and not to close, for a proxy or certificates of one's own.
        backoff: Seconds that the first wait takes at most; each further one takes up to twice as long, 8 at most.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed.
    """

    def __init__(
        self,
        provider: Provider,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float | None = None,
        max_retries: int = MAX_RETRIES,
        http_client: httpx.Client | None = None,
        backoff: float = _FIRST_BACKOFF,
    ) -> None:
        self.provider = provider
        self._key = _find_key(provider, api_key)
        self.base_url = _find_base_url(provider, base_url)
        self.timeout = _check_timeout(timeout)
        self.max_retries = _check_retries(max_retries)
        self._http = _check_http_client(http_client)
        self._borrowed = http_client is not None
        self._backoff = backoff
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"HostedClient({self.provider.name!r}, base_url={self._redact(self.base_url)!r})"

    def __enter__(self) -> HostedClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections and ends every wait for a retry; the client cannot be used again."""
        self._closed.set()
        with self._lock:
            http, self._http = self._http, None
        if http is not None and not self._borrowed:
            http.close()

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Posts a JSON body to an endpoint below the base URL and gives the JSON object that came back.

        Raises:
            AuthenticationError: HTTP 401 or 403; not sent again.
            RateLimitError: HTTP 429 until the retries were spent, or at once when the provider asks for a longer wait
                than `MAX_RETRY_AFTER` or says that waiting cannot help.
            ProviderRequestError: Any other HTTP 4xx; not sent again.
            ProviderUnavailableError: HTTP 5xx until the retries were spent.
            ProviderTimeoutError: No answer in time until the retries were spent.
            ProviderConnectionError: No connection, or a broken one, until the retries were spent; or the client is
                closed.
            ProviderResponseError: The answer is no JSON object; not sent again.
        """
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        attempt = 0
        while True:
            attempt += 1
            outcome = self._send(path, content, attempt)
            if isinstance(outcome, Answer):
                return outcome
            too_long = outcome.retry_after is not None and outcome.retry_after > MAX_RETRY_AFTER
            if not outcome.passes or too_long or attempt > self.max_retries:
                raise outcome.error from outcome.cause
            if self._closed.wait(self._delay(outcome.retry_after, attempt)):
                raise self._is_closed() from outcome.error

    def _delay(self, retry_after: float | None, attempt: int) -> float:
        if retry_after is not None:
            # A little later than asked, so that many clients told the same do not come back at once.
            return retry_after * random.uniform(1.0, 1.1)  # noqa: S311 - no secret
        # The exponent is bounded because 2.0 ** 1024 overflows.
        longest = min(_MAX_BACKOFF, self._backoff * 2.0 ** min(attempt - 1, 64))
        return random.uniform(0.0, longest)  # noqa: S311 - no secret

    def _send(self, path: str, content: bytes, attempt: int) -> Answer | Failure:
        import httpx

        name, url = self.provider.name, self._redact(self.base_url)
        tried = "" if attempt == 1 else f" after {attempt} attempts"
        http = self._open()
        try:
            response = http.post(
                self.base_url + path,
                content=content,
                headers={
                    "Authorization": f"Bearer {self._key}",
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "User-Agent": "milvine",
                },
                timeout=httpx.USE_CLIENT_DEFAULT if self.timeout is None else self.timeout,
                follow_redirects=False,
            )
        except httpx.TimeoutException as error:
            limit = TIMEOUT if self.timeout is None else self.timeout
            within = "in time" if self._borrowed and self.timeout is None else f"within {limit:g} seconds"
            message = f"{name} did not answer {within}{tried} ({url}). Raise timeout, or send less at a time."
            return self._failure(ProviderTimeoutError, message, error, passes=True)
        except httpx.TransportError as error:
            why = self._redact(str(error)) or type(error).__name__
            message = (
                f"{name} could not be reached at {url}, or the connection broke{tried}: {why}."
                " Check the network, the proxy settings and base_url."
            )
            return self._failure(ProviderConnectionError, message, error, passes=True)
        except httpx.RequestError as error:
            return self._failure(
                ProviderResponseError, f"{name}'s answer cannot be decoded: {self._redact(str(error))}.", error
            )
        except RuntimeError as error:
            # What httpx raises for a client that has been closed meanwhile, by another thread or by its owner.
            raise self._is_closed() from error
        return read_response(self.provider, response, base_url=url, tried=tried, redact=self._redact)

    def _failure(self, kind: type[ProviderError], message: str, cause: Exception, *, passes: bool = False) -> Failure:
        return Failure(kind(message, provider=self.provider.name), passes, cause=cause)

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "[API key]")

    def _open(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._closed.is_set():
                raise self._is_closed()
            if self._http is None:
                self._http = httpx.Client(timeout=TIMEOUT)
                # The sockets of a client that nobody closed go with it, instead of with a ResourceWarning.
                weakref.finalize(self, self._http.close)
            return self._http

    def _is_closed(self) -> ProviderConnectionError:
        return ProviderConnectionError(
            f"The HTTP client for {self.provider.name} is closed; make a new function to go on.",
            provider=self.provider.name,
        )


def _find_key(provider: Provider, api_key: str | None) -> str:
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
    raise AuthenticationError(
        f"No API key for {provider.name}: none was passed as api_key, and none is in the environment variable"
        f" {' or '.join(provider.key_variables)}. Keys are at {provider.key_page}",
        provider=provider.name,
    )


def _find_base_url(provider: Provider, base_url: str | None) -> str:
    if base_url is not None and not isinstance(base_url, str):
        raise InputTypeError(f"base_url must be a string, not {type(base_url).__name__}")
    named = {"base_url": base_url or "", **{name: os.environ.get(name, "") for name in provider.base_url_variables}}
    source, url = next(((source, url) for source, url in named.items() if url), ("", provider.base_url))
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"{source} must be a URL such as {provider.base_url!r}, not {url!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"{source} must hold no user name, password, query or fragment (the value is not shown);"
            f" give it as in {provider.base_url!r}"
        )
    return url.rstrip("/")


def _check_timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InputTypeError(f"timeout must be a number of seconds, not {type(timeout).__name__} ({timeout!r})")
    if not (math.isfinite(timeout) and timeout > 0):
        raise InputError(f"timeout must be more than 0 seconds, not {timeout}")
    return float(timeout)


def _check_retries(max_retries: int) -> int:
    if isinstance(max_retries, bool) or not isinstance(max_retries, int):
        raise InputTypeError(f"max_retries must be an integer, not {type(max_retries).__name__} ({max_retries!r})")
    if max_retries < 0:
        raise InputError(f"max_retries must be at least 0, not {max_retries}")
    return max_retries


def _check_http_client(http_client: httpx.Client | None) -> httpx.Client | None:
    if http_client is None:
        return None
    import httpx

    if not isinstance(http_client, httpx.Client):
        raise InputTypeError(f"http_client must be an httpx.Client, not {type(http_client).__name__}")
    return http_client
