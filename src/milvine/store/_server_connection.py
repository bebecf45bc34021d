"""The connection to a Milvus server: who it is, what it can, and what to do when it is away."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import chain, repeat
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from milvine._texts import shown_uri
from milvine.errors import (
    CollectionNotFoundError,
    FilterError,
    InputError,
    InputTypeError,
    MilvineError,
    StoreConnectionError,
    StoreError,
    StoreWriteError,
)
from milvine.store._lite_database import COLLECTION_NOT_FOUND, ILLEGAL_ARGUMENT, _FairLock, _quiet
from milvine.store._server_async import AsyncClient
from milvine.store.filters import shown_filter

Answer = TypeVar("Answer")

SCHEMES = ("http", "https", "tcp")
TIMEOUT = 30.0  # seconds
CONNECTING = 10.0  # seconds that a first answer may take
ABSENCE = 5.0  # seconds that a reader waits for a server that has gone away; a writer waits for its whole timeout
CONNECT_FAILED, NOT_LOADED, PARAMETER_INVALID, NOT_AUTHENTICATED, NOT_PERMITTED = 2, 101, 1100, 1400, 1401
# What a server says while it starts, and while its parts find each other again: Milvus' pkg/util/merr/errors.go.
# There 1 means "not ready", but Milvus Lite gives it to any error; so that one is told by the server's `retriable`.
PASSING = frozenset({2, 4, 8, 12, 103, 106, 202, 305, 500, 501, 502, 503, 601, 602, 901, 902, 903, 904, 905})
_FILTER_REFUSED = ("cannot parse expression", "failed to create query plan", "not a boolean expression")
_CHANNEL_OPTIONS = {
    "grpc.keepalive_permit_without_calls": 0,  # a server may take pings of an idle client amiss
    # Else gRPC itself waits ever longer, up to two minutes, before it looks whether a server is back.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 1000,
    "grpc.max_reconnect_backoff_ms": 1000,
}
_TLS = ("server_pem_path", "server_name", "client_pem_path", "client_key_path", "ca_pem_path")

# Two requests at once can break Milvus Lite's files, and a search beside a flush misses rows. Other processes are not
# held back by this, so Milvus Lite as a server bears one writing process.
_lite_turns: dict[str, _FairLock] = {}


class ServerConnection:
    """A connection to a Milvus server or cluster, for several threads.

    Attributes:
        shown: The URI without credentials.
        version: What the server calls its version; empty if it does not say.
        is_lite: Milvus Lite, run as a server.
        timeout: Seconds that a request may take.
    """

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        parts = _parts(uri)
        self.shown = shown_uri(uri)
        self.timeout = _seconds(options.get("timeout"))
        self._parts = parts
        self._token = _token(parts, options)
        self._db_name = options.get("db_name") or parts.path.strip("/")
        self._tls = {key: options[key] for key in _TLS if options.get(key)}
        self._closed = False
        self._aclient: AsyncClient | None = None
        self._opening = threading.Lock()
        self._turn: AbstractContextManager[Any] = nullcontext()
        self._client = self._connect()
        try:
            self.version: str = self._version()
        except BaseException:
            self.close()
            raise
        self.is_lite = "lite-" in self.version  # "milvus_lite-3.2.2"; the wheel of a real server says "v2.3.5-lite"
        if self.is_lite:
            self._turn = _lite_turns.setdefault(parts.netloc.rpartition("@")[2], _FairLock())

    def __repr__(self) -> str:
        return f"ServerConnection({self.shown!r})"

    def at_least(self, major: int, minor: int) -> bool:
        """Whether the server has this version; a server that does not tell is taken to be new enough."""
        found = re.search(r"(\d+)\.(\d+)", self.version)
        return self.is_lite or found is None or (int(found[1]), int(found[2])) >= (major, minor)

    def read(self, request: Callable[[Any], Answer], filter_: str | None = None, *, for_write: bool = False) -> Answer:
        """What `request` gets from the client; asked again while the server is away, for a few seconds.

        Args:
            request: Is given the client.
            filter_: The caller's filter, for errors.
            for_write: A write depends on it; so it waits as long as one.

        Raises:
            FilterError: Milvus refused the filter.
            CollectionNotFoundError: The collection has been dropped.
            StoreError: Anything else went wrong.
        """
        patience = self.timeout if for_write else min(ABSENCE, self.timeout)
        return self._ask(request, patience, "reading from", StoreError, filter_)

    def write(self, request: Callable[[Any], Answer]) -> Answer:
        """What `request` gets from the client; asked again while the server is away, until the timeout.

        So a request may take place twice, and must lead to the same then.

        Raises:
            CollectionNotFoundError: The collection has been dropped.
            StoreWriteError: The write failed; what was acknowledged before it is kept.
        """
        return self._ask(request, self.timeout, "writing to", StoreWriteError, None)

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        if not self._closed:
            with self._opening:
                self._closed = True
            with _quiet():
                if self._aclient is not None:
                    self._aclient.close()
                self._client.close()

    def _ask(
        self,
        request: Callable[[Any], Answer],
        patience: float,
        doing: str,
        kind: type[StoreError],
        filter_: str | None,
    ) -> Answer:
        failures, pause_after = _failures(), self._pauses(patience, doing, kind, filter_)
        while True:
            self._check_open()
            try:
                with self._turn, _quiet():
                    return request(self._client)
            except failures as error:
                pause = pause_after(error)
            time.sleep(pause)

    async def aread(self, request: Callable[[Any], Any], filter_: str | None = None) -> Any:
        """As `read`, for a request that is given an `AsyncMilvusClient`; within `together`."""
        if self.is_lite:  # one request at a time, in the order of all
            return await asyncio.to_thread(self.read, request, filter_)
        failures = _failures()
        pause_after = self._pauses(min(ABSENCE, self.timeout), "reading from", StoreError, filter_)
        while True:
            self._check_open()
            try:
                with _quiet():
                    return await request(await self._async_client().connected())
            except failures as error:
                pause = await asyncio.to_thread(pause_after, error)
            except BaseException:
                self._check_open()  # to close the connection ends what is under way, in one way or another
                raise
            await asyncio.sleep(pause)

    async def together(self, works: Iterable[Callable[[], Coroutine[Any, Any, Answer]]]) -> list[Answer]:
        """What comes of coroutines that call `aread`, run at once; awaited in any event loop."""

        async def gathered() -> list[Answer]:
            return await asyncio.gather(*(work() for work in works))

        return await self._async_client().run(gathered)

    def _async_client(self) -> AsyncClient:
        with self._opening:
            self._check_open()
            if self._aclient is None:
                from pymilvus import AsyncMilvusClient

                self._aclient = AsyncClient(partial(self._made, AsyncMilvusClient))
            return self._aclient

    def _check_open(self) -> None:
        if self._closed:
            raise StoreConnectionError(f"the connection to {self.shown} is closed; open the collection again")

    def _pauses(
        self, patience: float, doing: str, kind: type[StoreError], filter_: str | None
    ) -> Callable[[Any], float]:
        """Seconds to wait after an error until the request is tried again; it raises if that is of no use any more."""
        _check_unicode(filter_)
        end, pauses = time.monotonic() + patience, chain((0.05, 0.1, 0.2, 0.4, 0.8), repeat(1.0))

        def pause_after(error: Any) -> float:
            self._check_open()
            pause = next(pauses)
            if not _is_passing(error) or time.monotonic() + pause > end:
                raise self._translated(error, doing, kind, filter_) from error
            return pause

        return pause_after

    def _made(self, client: Any) -> Any:
        return client(
            f"{self._parts.scheme}://{self._parts.netloc.rpartition('@')[2]}",
            token=self._token,
            db_name=self._db_name,
            timeout=min(self.timeout, CONNECTING),
            dedicated=True,  # pymilvus shares connections by address and token alone, whatever their TLS
            grpc_options=_CHANNEL_OPTIONS,
            **self._tls,
        )

    def _connect(self) -> Any:
        # gRPC's C core writes failed handshakes to standard error, and takes this as its only switch.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from pymilvus import MilvusClient

        failures = _failures()
        with _quiet():
            try:
                return self._made(MilvusClient)
            except failures as error:
                # pymilvus hides why behind one message.
                cause = error.__cause__ if isinstance(error.__cause__, failures) else error
                raise self._translated(cause, "connecting to", StoreError, None) from error

    def _version(self) -> str:
        failures = _failures()

        def version(client: Any) -> str:
            try:
                return str(client.get_server_version(timeout=self.timeout))
            except failures as error:
                if _code_and_message(error)[0] == "UNIMPLEMENTED":
                    return ""
                raise

        return self.read(version)

    def _translated(self, error: Any, doing: str, kind: type[StoreError], filter_: str | None) -> MilvineError:
        code, message = _code_and_message(error)
        if self._token:
            for secret in {self._token, self._token.partition(":")[2] or self._token}:
                message = message.replace(secret, "***")
        if code == COLLECTION_NOT_FOUND:
            return CollectionNotFoundError(f"{self.shown}: {message}; it was dropped")
        refused = code in (ILLEGAL_ARGUMENT, PARAMETER_INVALID) or any(words in message for words in _FILTER_REFUSED)
        if filter_ and refused:
            return FilterError(
                f"the filter {shown_filter(filter_)} is not valid: {message}\nwrite it as a Milvus expression over"
                ' the metadata, for example: year >= 2020 and source == "a.md"'
            )
        if code in ("UNAUTHENTICATED", NOT_AUTHENTICATED) or "auth check failure" in message:
            what = "the token, or user and password," if self._token else "a request without a token"
            return StoreError(
                f"{self.shown} refused {what} ({message}); give token=..., or user=... and password=...,"
                " or set MILVUS_TOKEN"
            )
        if code in ("PERMISSION_DENIED", NOT_PERMITTED):
            return kind(f"{doing} {self.shown} is not permitted: {message}; give the user this privilege")
        if code == "DEADLINE_EXCEEDED":
            return kind(
                f"{doing} {self.shown} took longer than {self.timeout:g} s; give a longer timeout=...{_kept(kind)}"
            )
        if code in (CONNECT_FAILED, "UNAVAILABLE", "UNIMPLEMENTED") or "UNIMPLEMENTED" in message:
            kind = StoreConnectionError if kind is StoreError else kind
            return kind(f"{self.shown} cannot be reached: {self._why()}{_kept(kind)}")
        return kind(f"{doing} {self.shown} failed: {message}{_kept(kind)}")

    def _why(self) -> str:
        """Why there is no connection, as a plain socket sees it: pymilvus gives one message for all reasons."""
        host = self._parts.hostname or "localhost"
        secure = self._parts.scheme == "https"
        port = self._parts.port or (443 if secure else 19530)
        try:
            with socket.create_connection((host, port), timeout=2) as plain:
                if not secure:
                    return (
                        f"something listens at {host}:{port}, but it does not answer as Milvus does; is that Milvus'"
                        " port (usually 19530), and does it take connections without TLS (https:// is with)?"
                    )
                context = ssl.create_default_context(cafile=self._tls.get("server_pem_path"))
                context.set_alpn_protocols(["h2"])
                with context.wrap_socket(plain, server_hostname=self._tls.get("server_name", host)):
                    return f"{host}:{port} takes TLS connections, but does not answer as Milvus does"
        except ssl.SSLCertVerificationError as error:
            return (
                f"its certificate is not trusted: {error.verify_message}; give the authority's certificate as"
                " server_pem_path=..., and server_name=... if it is for another name"
            )
        except ssl.SSLError as error:
            return f"{host}:{port} does not take TLS connections ({error.reason}); use http:// if it has no TLS"
        except OSError as error:
            return f"{host}:{port}: {error.strerror or error}; is the server running, and is this its address?"


def _failures() -> tuple[type[Exception], ...]:
    """What pymilvus raises."""
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    return MilvusException, RpcError


def _kept(kind: type[StoreError]) -> str:
    if not issubclass(kind, StoreWriteError):
        return ""
    return "; what was written before is kept: mend the cause and run the same call again"


def _code_and_message(error: Any) -> tuple[Any, str]:
    """A Milvus code or the name of a gRPC status, and the message."""
    code = error.code() if callable(error.code) else error.code
    message = error.details() if callable(getattr(error, "details", None)) else error.message
    return getattr(code, "name", code), str(message or "no reason given")


def _is_passing(error: Any) -> bool:
    code, _ = _code_and_message(error)
    return code == "UNAVAILABLE" or code in PASSING or bool(getattr(error, "retriable", False))


def _parts(uri: str) -> SplitResult:
    scheme = uri.partition("://")[0]
    with suppress(ValueError):
        parts = urlsplit(uri)
        right = parts.scheme in SCHEMES and parts.hostname and "/" not in parts.path.strip("/")
        if right and parts.port != 0:  # reading a port that is none raises
            return parts
    # What follows is not shown: it may hold a password.
    raise InputError(
        f'the URI {scheme}://… names no Milvus server; write "http://host:19530", or "https://…" for TLS, and'
        " behind it, if it is not the default one, /database"
    )


def _token(parts: SplitResult, options: Mapping[str, Any]) -> str:
    token, user, password = (options.get(key) for key in ("token", "user", "password"))
    for key, value in (("token", token), ("user", user), ("password", password)):
        if value is not None and not isinstance(value, str):
            raise InputTypeError(f"{key} must be a string, not {type(value).__name__}")
    if token and (user or password):
        raise InputError("give either token, or user and password")
    if bool(user) != bool(password):
        raise InputError("user and password belong together; give both, or a token")
    if token:
        return str(token)
    if user:
        return f"{user}:{password}"
    if parts.username:
        return f"{parts.username}:{parts.password}" if parts.password else parts.username
    return os.environ.get("MILVUS_TOKEN", "")


def _seconds(timeout: Any) -> float:
    if timeout is None:
        return TIMEOUT
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InputTypeError(f"timeout must be a number of seconds, not {type(timeout).__name__} ({timeout!r})")
    if not 0 < timeout < float("inf"):
        raise InputError(f"timeout must be a number of seconds above 0, not {timeout}")
    return float(timeout)


def _check_unicode(filter_: str | None) -> None:
    try:
        (filter_ or "").encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"the filter {filter_!r} is no valid Unicode: {error}") from error
