"""One Milvus Lite database, opened once a process however many collections of it are in use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any

from milvine.analysis import TermStatistics
from milvine.errors import (
    CollectionNotFoundError,
    FilterError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
    StoreWriteError,
)
from milvine.store.filters import shown_filter

# Milvus Lite's codes for requests that it refused before it did anything.
ILLEGAL_ARGUMENT = 6
COLLECTION_NOT_FOUND = 100
MESSAGE = 1000  # characters of what it says of a filter, which it repeats
# Milvus Lite's server answers a client's pings with warnings on standard error; so there are none.
CHANNEL_OPTIONS = {"grpc.keepalive_time_ms": 2**31 - 1}
# These print the traceback of every error that is about to be raised, and advice for a cluster.
_LOUD = (
    "pymilvus.decorators",
    "pymilvus.client.grpc_handler",
    "pymilvus.client.connection_manager",
    "milvus_lite.adapter.grpc.servicer",
)

_open: dict[Path, LiteDatabase] = {}
_open_lock = threading.Lock()


class LiteDatabase:
    """A Milvus Lite database that this process holds open.

    Everything that collection objects of this process must agree on lives here. `reading` and `writing` admit one
    thread at a time: while Milvus Lite flushes, a search beside it would miss rows. Searches lose nothing by that, they
    are bound by Python's own lock.

    Attributes:
        statistics: What BM25 knows of each lexical field, by collection and field; absent until it is counted. Touched
            by those who read or write alone.
        unflushed: Rows written since the last flush, by collection; absent if that is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.statistics: dict[tuple[str, str], TermStatistics] = {}
        self.unflushed: dict[str, int] = {}
        self._lock = _FairLock()
        self._client: Any = None
        self._users = 0

    @classmethod
    def acquire(cls, path: Path, *, create: bool) -> LiteDatabase:
        """Open the database, or share it with those of this process who have it open.

        Raises:
            StoreNotFoundError: It is not there and must not be made, or its folder is not there.
            StoreLockedError: Another process has it open.
            StoreError: It cannot be opened for another reason, which the message gives.
        """
        path = path.expanduser().absolute()
        key = path.resolve()  # by whatever link it is reached, it is one database
        with _open_lock:
            if key not in _open:
                database = cls(path)
                database._client = database._connect(create)
                _open[key] = database
            _open[key]._users += 1
            return _open[key]

    def release(self) -> None:
        """Close the database once nobody in this process uses it."""
        with _open_lock:
            self._users -= 1
            if self._users == 0:
                for key in [key for key, database in _open.items() if database is self]:
                    del _open[key]
                with self._lock:
                    self._disconnect()

    @contextmanager
    def reading(self, filter_: str | None = None) -> Iterator[Any]:
        """The client, its errors turned into milvine's.

        Raises:
            FilterError: Milvus refused the filter.
            CollectionNotFoundError: The collection has been dropped.
            StoreError: Anything else went wrong.
        """
        from pymilvus.exceptions import MilvusException

        _check_unicode(filter_)
        with self._lock, _quiet():
            try:
                yield self._connected()
            except MilvusException as error:
                self._raise_if_gone(error)
                if filter_ is not None and error.code == ILLEGAL_ARGUMENT:
                    raise FilterError(
                        f"the filter {shown_filter(filter_)} is not valid: {error.message[:MESSAGE]}\nwrite it as a"
                        ' Milvus expression over the metadata, for example: year >= 2020 and source == "a.md"'
                    ) from error
                raise StoreError(f"reading {self.path} failed: {error.message}") from error

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """The client, to write.

        After a failed write Milvus Lite can lose rows that it acknowledged, unless the database is closed and opened
        again before anything else is written; so that is done here.

        Raises:
            CollectionNotFoundError: The collection has been dropped.
            StoreWriteError: The write failed; what was acknowledged before it is kept.
        """
        from pymilvus.exceptions import MilvusException

        with self._lock, _quiet():
            try:
                yield self._connected()
            except MilvusException as error:
                self._raise_if_gone(error)
                if error.code == ILLEGAL_ARGUMENT:
                    raise StoreWriteError(f"{self.path} refused what was to be written: {error.message}") from error
                self._reopen()
                raise StoreWriteError(
                    f"writing to {self.path} failed: {error.message}; what was written before is kept:"
                    " mend the cause (a full disk?) and run the same call again"
                ) from error
            except BaseException:
                self._forget()  # an interrupted write may have happened or not
                raise

    def load(self, name: str) -> None:
        """Make a collection searchable, within `reading` or `writing`.

        Milvus Lite writes the index files in place, so a kill or a full disk can leave half of one, with which the
        collection never loads again. They hold nothing that the data do not: they are removed, and made anew.
        """
        from pymilvus.exceptions import MilvusException

        try:
            self._client.load_collection(name)
        except MilvusException:
            files = [*(self.path / "collections" / name / "partitions").glob("*/indexes/*.*idx")]
            if not files:
                raise
            for file in files:
                file.unlink(missing_ok=True)
            self._client.load_collection(name)

    def remove_unfinished(self, name: str) -> None:
        """Remove what is left of a collection whose maker was killed at once; Milvus Lite would not make it again."""
        folder = self.path / "collections" / name
        if folder.is_dir() and not (folder / "schema.json").exists():
            (folder / "schema.json.tmp").unlink(missing_ok=True)
            with suppress(OSError):  # then there is more in it, and whatever that is stays
                folder.rmdir()

    def _connect(self, create: bool) -> Any:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException

        if not self.path.parent.is_dir():
            raise StoreNotFoundError(f"there is no folder {self.path.parent} to hold the database {self.path.name}")
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(
                f"{self.path} is a file, not a Milvus Lite database (which is a folder); choose another path"
            )
        if not create and not self.path.exists():
            raise StoreNotFoundError(
                f"there is no database {self.path}; make one with: milvine index PATH --db {quote(str(self.path))}"
            )
        if not logging.getLogger("milvus_lite").handlers:
            # Without any, what Milvus Lite logs in the background would land on standard error.
            logging.getLogger("milvus_lite").addHandler(logging.NullHandler())
        with _quiet(), _causes() as causes:
            try:
                return MilvusClient(str(self.path), grpc_options=CHANNEL_OPTIONS)
            except MilvusException as error:
                # pymilvus hides why; Milvus Lite only logs it.
                cause = causes[-1] if causes else error
                if type(cause).__name__ == "DataDirLockedError":
                    raise StoreLockedError(
                        f"another process has {self.path} open, and Milvus Lite admits one at a time:"
                        " close that program, or wait for it to end"
                    ) from error
                raise StoreError(f"{self.path} cannot be opened as a Milvus Lite database: {cause}") from error

    def _connected(self) -> Any:
        if not self._users:
            raise StoreError(f"{self.path} has just been closed; open it again")
        if self._client is None:  # an earlier reopening failed
            self._client = self._connect(create=False)
            self._load()
        return self._client

    def _disconnect(self) -> None:
        from milvus_lite.server_manager import server_manager_instance

        client, self._client = self._client, None
        with _quiet():
            if client is not None:
                client.close()
            # The client's close leaves the lock with the server, which lives until the process ends.
            server_manager_instance.release_server(str(self.path))

    def _reopen(self) -> None:
        self._forget()
        self._disconnect()
        with suppress(StoreError):  # then the next who reads or writes tries again, and is told why it fails
            self._connected()

    def _load(self) -> None:
        from pymilvus.exceptions import MilvusException

        for name in self._client.list_collections():
            with suppress(MilvusException):  # a collection of another program may lack an index
                self.load(name)

    def _forget(self) -> None:
        self.statistics.clear()
        self.unflushed.clear()

    def _raise_if_gone(self, error: Any) -> None:
        if error.code == COLLECTION_NOT_FOUND:
            self._forget()
            raise CollectionNotFoundError(f"{self.path}: {error.message}; it was dropped") from error


class _FairLock:
    """A lock that goes to those who wait before it goes back to the one who has just released it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._turn:
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _check_unicode(filter_: str | None) -> None:
    try:
        (filter_ or "").encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"the filter {filter_!r} is no valid Unicode: {error}") from error


_quiet_lock = threading.Lock()
_quiet_users = 0


def _swallow(_: logging.LogRecord) -> bool:
    return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyMilvus and Milvus Lite from printing tracebacks of errors that are about to be raised."""
    global _quiet_users
    with _quiet_lock:
        _quiet_users += 1
        for name in _LOUD:
            logging.getLogger(name).addFilter(_swallow)
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if not _quiet_users:
                for name in _LOUD:
                    logging.getLogger(name).removeFilter(_swallow)


@contextmanager
def _causes() -> Iterator[list[BaseException]]:
    """The errors that Milvus Lite logs when it fails to open a database."""
    causes: list[BaseException] = []

    def collect(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            causes.append(record.exc_info[1])
        return False

    logger = logging.getLogger("milvus_lite.server_manager")
    logger.addFilter(collect)
    try:
        yield causes
    finally:
        logger.removeFilter(collect)
