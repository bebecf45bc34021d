"""One Milvus Lite database, opened once a process however many collections of it are in use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from milvine.analysis import TermStatistics
from milvine.errors import FilterError, StoreError, StoreLockedError, StoreNotFoundError, StoreWriteError

ILLEGAL_ARGUMENT = 6  # Milvus Lite's code for a request that it refused before it did anything
_LOGGERS = (
    "pymilvus.decorators",
    "pymilvus.client.iterator.query_iterator",
    "milvus_lite.server_manager",
    "milvus_lite.adapter.grpc.servicer",
)

_open: dict[Path, LiteDatabase] = {}
_open_lock = threading.Lock()


class LiteDatabase:
    """A Milvus Lite database that this process holds open.

    Attributes:
        client: A `MilvusClient` on it.
        lock: Held while writing.
        statistics: What BM25 knows of each lexical field, by collection and field; absent until it is counted. It lives
            here because every collection object of this process must see the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.statistics: dict[tuple[str, str], TermStatistics] = {}
        self.client: Any = None
        self._users = 0

    @classmethod
    def acquire(cls, path: Path, *, create: bool) -> LiteDatabase:
        """Open the database, or share it with those of this process who have it open.

        Raises:
            StoreNotFoundError: It is not there and must not be made, or its folder is not there.
            StoreLockedError: Another process has it open.
            StoreError: It cannot be opened for another reason, which the message gives.
        """
        path = path.expanduser().resolve()
        with _open_lock:
            if path not in _open:
                database = cls(path)
                database._connect(create)
                _open[path] = database
            _open[path]._users += 1
            return _open[path]

    def release(self) -> None:
        """Close the database once nobody in this process uses it."""
        with _open_lock:
            self._users -= 1
            if self._users == 0:
                del _open[self.path]
                self._disconnect()

    @contextmanager
    def reading(self, filter_: str | None = None) -> Iterator[Any]:
        """The client, its errors turned into milvine's.

        Raises:
            FilterError: Milvus refused the filter.
            StoreError: Anything else went wrong.
        """
        from pymilvus.exceptions import MilvusException

        try:
            with _quiet():
                yield self.client
        except MilvusException as error:
            if filter_ is not None and error.code == ILLEGAL_ARGUMENT:
                raise FilterError(
                    f"the filter {filter_!r} is not valid: {error.message}\nwrite it as a Milvus expression over the"
                    ' metadata, for example: year >= 2020 and source == "a.md"'
                ) from error
            raise StoreError(f"reading {self.path} failed: {error.message}") from error

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """The client, for one thread at a time.

        After a failed write Milvus Lite can lose rows that it acknowledged, unless the database is closed and opened
        again before anything else is written; so that is done here.

        Raises:
            StoreWriteError: The write failed; what was acknowledged before it is kept.
        """
        from pymilvus.exceptions import MilvusException

        with self.lock:
            try:
                with _quiet():
                    yield self.client
            except MilvusException as error:
                if error.code != ILLEGAL_ARGUMENT:
                    self._reopen()
                raise StoreWriteError(
                    f"writing to {self.path} failed: {error.message}; what was written before is kept:"
                    " mend the cause (a full disk?) and run the same call again"
                ) from error
            except BaseException:
                self.statistics.clear()  # an interrupted write may have been counted or not
                raise

    def _connect(self, create: bool) -> None:
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
                f"there is no database {self.path}; make one with: milvine index PATH --db {self.path}"
            )
        with _quiet() as causes:
            try:
                self.client = MilvusClient(str(self.path))
            except MilvusException as error:
                # pymilvus hides why; Milvus Lite only logs it.
                cause = causes[-1] if causes else error
                if type(cause).__name__ == "DataDirLockedError":
                    raise StoreLockedError(
                        f"another process has {self.path} open, and Milvus Lite admits one at a time:"
                        " close that program, or wait for it to end"
                    ) from error
                raise StoreError(f"{self.path} cannot be opened as a Milvus Lite database: {cause}") from error

    def _disconnect(self) -> None:
        from milvus_lite.server_manager import server_manager_instance

        with _quiet():
            self.client.close()
            # The client's close leaves the lock with the server, which lives until the process ends.
            server_manager_instance.release_server(str(self.path))

    def _reopen(self) -> None:
        self.statistics.clear()
        with suppress(StoreError):
            self._disconnect()
        self._connect(create=False)


@contextmanager
def _quiet() -> Iterator[list[BaseException]]:
    """Keep PyMilvus from printing tracebacks of errors that are about to be raised; collects their causes."""
    causes: list[BaseException] = []

    def swallow(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            causes.append(record.exc_info[1])
        return False

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(swallow)
    try:
        yield causes
    finally:
        for logger in loggers:
            logger.removeFilter(swallow)
