"""The HTTP client that every hosted model goes through: how a request is sent, and what comes back.

What to send when is decided in `jobs.py` and `pace.py`; who waits meanwhile, threads or asyncio, in `drivers.py`.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from milvine.errors import ProviderConnectionError, ProviderError, ProviderResponseError, ProviderTimeoutError
from milvine.hosted._failures import Failure, read_response
from milvine.hosted.answers import Answer
from milvine.hosted.jobs import FIRST_BACKOFF, Job, Unit
from milvine.hosted.options import CONCURRENCY, MAX_RETRIES, TIMEOUT, check_options, find_base_url, find_key
from milvine.hosted.pace import Pace
from milvine.hosted.sockets import Sockets
from milvine.hosted.spec import Provider
from milvine.types import Usage

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Generator

    import httpx
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions
    from milvine.hosted.tasks import Task

__all__ = ["HostedClient"]

Result = TypeVar("Result")


class HostedClient:
    """Sends requests to one provider.

    It may be used from several threads and event loops at once: they share its pace. HTTP connections are opened at
    the first request and kept; proxies come from the environment. What may pass is sent again: HTTP 408, 409, 425, 429
    and 5xx, timeouts, broken connections and answers that break off, after as long as the provider asks for or an
    exponential back-off with full jitter.

    Args:
        provider: The provider's row.
        api_key: The key; without it the row's environment variables are looked at.
        backoff: Seconds that the first wait takes at most; each further one takes up to twice as long, 8 at most.
        **options: `HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        provider: Provider,
        api_key: str | None = None,
        *,
        backoff: float = FIRST_BACKOFF,
        **options: Unpack[HostedOptions],
    ) -> None:
        check_options(options, "HostedClient")
        self.provider = provider
        self._key = find_key(provider, api_key)
        self.base_url = find_base_url(provider, options.get("base_url"))
        self.timeout = options.get("timeout")
        retries = options.get("max_retries")
        self.max_retries = MAX_RETRIES if retries is None else retries
        self.concurrency = options.get("concurrency") or CONCURRENCY
        self.deadline = options.get("deadline")
        self.show_progress = options.get("show_progress")
        self.sockets = Sockets()
        self._backoff = backoff
        self._pace = Pace(
            self.concurrency,
            requests_per_minute=options.get("requests_per_minute"),
            tokens_per_minute=options.get("tokens_per_minute"),
        )
        self._borrowed = options.get("http_client")
        self._own: httpx.Client | None = None
        self._async_borrowed = options.get("async_http_client")
        self._async_own: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient]
        self._async_own = weakref.WeakKeyDictionary()
        self._usage = Usage()
        self._lock = threading.Lock()
        self._calls: set[Callable[[], None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"HostedClient({self.provider.name!r}, base_url={self._redact(self.base_url)!r})"

    def __enter__(self) -> HostedClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def usage(self) -> Usage:
        """What was spent so far."""
        with self._lock:
            return self._usage

    def run(
        self, tasks: Iterator[Task[Result]], *, in_order: bool = False
    ) -> Generator[tuple[Task[Result], Result], None, None]:
        """Does the tasks, several at once, and gives each with its result as it is done; on request in their order.

        Tasks are taken as their turn comes. When one fails for good nothing new is sent, what is under way is awaited,
        and the error is raised; its `completed` holds the results that were not given. A call of one request is made
        in the calling thread; others start threads, which have ended when the call has.

        Raises:
            AuthenticationError: HTTP 401 or 403; not sent again.
            RateLimitError: HTTP 429 until the retries were spent, or at once when the provider asks for a longer wait
                than `MAX_RETRY_AFTER` or says that waiting cannot help.
            ProviderRequestError: Any other HTTP 4xx; or a text is too long by itself.
            ProviderUnavailableError: HTTP 5xx until the retries were spent.
            ProviderTimeoutError: No answer in time until the retries were spent, or the deadline passed.
            ProviderConnectionError: No connection, or a broken one, until the retries were spent; or the client is
                closed.
            ProviderResponseError: The answer is not of the documented form.
        """
        from milvine.hosted.drivers import run_in_threads

        return run_in_threads(self, self._job(tasks, in_order))

    def arun(self, tasks: Iterator[Task[Result]]) -> AsyncGenerator[tuple[Task[Result], Result], None]:
        """As `run`, in the running event loop."""
        from milvine.hosted.drivers import run_in_loop

        return run_in_loop(self, self._job(tasks, in_order=False))

    def get(self, path: str) -> Answer:
        """What a path below the base URL answers to a GET.

        Raises:
            ProviderError: As `run`.
        """
        from milvine.hosted.tasks import FetchTask

        ((_, answer),) = self.run(iter([FetchTask(path)]))
        return answer

    def close(self) -> None:
        """Closes the connections and ends every call; the client cannot be used again."""
        with self._lock:
            self._closed = True
            own, self._own = self._own, None
            busy = bool(self._calls)
        if busy:
            self.sockets.shut()  # closing a socket does not wake the thread that reads from it
        self.wake()
        if own is not None:
            own.close()

    async def aclose(self) -> None:
        """As `close`, and closes the connections of the running event loop."""
        import asyncio

        self.close()
        own = self._async_own.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.aclose()

    # For the drivers

    def send(self, unit: Unit[Any]) -> Answer | Failure:
        """Sends a request once."""
        import httpx

        try:
            response = self._open().request(**self._request(unit), extensions={"trace": self.sockets.trace})
        except (httpx.RequestError, RuntimeError) as error:
            return self._trouble(error, unit)
        return self._understand(response, unit)

    async def asend(self, unit: Unit[Any]) -> Answer | Failure:
        """Sends a request once, in the running event loop."""
        import httpx

        try:
            response = await self._aopen().request(**self._request(unit))
        except (httpx.RequestError, RuntimeError) as error:
            return self._trouble(error, unit)
        return self._understand(response, unit)

    @contextmanager
    def call(self, wake: Callable[[], None]) -> Iterator[Callable[[], bool]]:
        """Counts a call as being under way, and yields what tells whether it is the only one.

        Args:
            wake: Makes the call look again at what it waits for; called from any thread.
        """
        with self._lock:
            self._calls.add(wake)
        try:
            yield lambda: len(self._calls) == 1
        finally:
            with self._lock:
                self._calls.discard(wake)

    def wake(self, but: Callable[[], None] | None = None) -> None:
        """Lets the other calls look again: a request has come back, or the client was closed."""
        with self._lock:
            calls = [call for call in self._calls if call is not but]
        for call in calls:
            call()

    def check_open(self) -> None:
        """Raises `ProviderConnectionError` if the client is closed."""
        if self._closed:
            raise self._is_closed()

    def _job(self, tasks: Iterator[Task[Result]], in_order: bool) -> Job[Result]:
        return Job(
            tasks,
            self._pace,
            provider=self.provider.name,
            max_retries=self.max_retries,
            concurrency=self.concurrency,
            in_order=in_order,
            deadline=None if self.deadline is None else time.monotonic() + self.deadline,
            backoff=self._backoff,
            spend=self._spend,
        )

    def _spend(self, usage: Usage) -> None:
        with self._lock:
            self._usage += usage

    def _request(self, unit: Unit[Any]) -> dict[str, Any]:
        import httpx

        path, body = unit.task.request()
        provider = self.provider
        key = {} if self._key is None else {provider.key_header: provider.key_prefix + self._key}
        return {
            "method": "GET" if body is None else "POST",
            "url": self.base_url + path,
            "params": dict(provider.query) or None,
            "content": None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode(),
            "headers": {
                **key,
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": "milvine",
                **provider.headers,
            },
            "timeout": httpx.USE_CLIENT_DEFAULT if self.timeout is None else self.timeout,
            "follow_redirects": False,
        }

    def _understand(self, response: httpx.Response, unit: Unit[Any]) -> Answer | Failure:
        return read_response(
            self.provider,
            response,
            base_url=self._redact(self.base_url),
            model=unit.task.model,
            tried=_tried(unit),
            redact=self._redact,
        )

    def _trouble(self, error: httpx.RequestError | RuntimeError, unit: Unit[Any]) -> Failure:
        import httpx

        name, url, tried = self.provider.name, self._redact(self.base_url), _tried(unit)
        if not isinstance(error, httpx.RequestError):
            # What httpx raises for a client that has been closed meanwhile, by another thread or by its owner.
            return Failure(self._is_closed(), cause=error)
        with_request = getattr(error, "_request", None)
        if with_request is not None:
            with_request.headers.pop(self.provider.key_header, None)  # the error may end up in a log
        if isinstance(error, httpx.TimeoutException):
            limit = TIMEOUT if self.timeout is None else self.timeout
            own = self.timeout is None and (self._borrowed or self._async_borrowed)
            within = "in time" if own else f"within {limit:g} seconds"
            message = f"{name} did not answer {within}{tried} ({url}). Raise timeout, or send less at a time."
            return self._failure(ProviderTimeoutError, message, error, passes=True)
        why = self._redact(str(error)) or type(error).__name__
        if isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol):
            message = (
                f"{name} could not be reached at {url}, or the connection broke{tried}: {why}."
                " Check the network, the proxy settings and base_url."
            )
            return self._failure(ProviderConnectionError, message, error, passes=True)
        return self._failure(ProviderResponseError, f"{name}'s answer cannot be decoded: {why}.", error)

    def _failure(self, kind: type[ProviderError], message: str, cause: Exception, *, passes: bool = False) -> Failure:
        return Failure(kind(message, provider=self.provider.name), passes, cause=cause)

    def _redact(self, text: str) -> str:
        return text if self._key is None else text.replace(self._key, "[API key]")

    def _settings(self) -> dict[str, Any]:
        import httpx

        # As many connections as requests; httpx by itself keeps twenty.
        return {"timeout": TIMEOUT, "limits": httpx.Limits(max_keepalive_connections=self.concurrency)}

    def _open(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._closed:
                raise self._is_closed()
            if self._borrowed is not None:
                return self._borrowed
            if self._own is None:
                self._own = httpx.Client(**self._settings())
                # The sockets of a client that nobody closed go with it, instead of with a ResourceWarning.
                weakref.finalize(self, self._own.close)
            return self._own

    def _aopen(self) -> httpx.AsyncClient:
        import asyncio

        import httpx

        with self._lock:
            if self._closed:
                raise self._is_closed()
            if self._async_borrowed is not None:
                return self._async_borrowed
            loop = asyncio.get_running_loop()  # a connection belongs to the loop that opened it
            if loop not in self._async_own:
                self._async_own[loop] = httpx.AsyncClient(**self._settings())
            return self._async_own[loop]

    def _is_closed(self) -> ProviderConnectionError:
        return ProviderConnectionError(
            f"The HTTP client for {self.provider.name} is closed; make a new function to go on.",
            provider=self.provider.name,
        )


def _tried(unit: Unit[Any]) -> str:
    return "" if unit.tries == 1 else f" after {unit.tries} attempts"
