"""The file: one SQLite database, who may read and write it when, and its errors in milvine's words.

Readers see the last commit and wait for nobody; writers wait for each other. A commit has been synced when it returns.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from milvine.errors import (
    CollectionMismatchError,
    MilvineError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
    StoreWriteError,
)

APPLICATION = 0x6D696C76  # "milv", by which the file is known as milvine's
PAGE_SIZE = 16_384
CHECKPOINT_PAGES = 2_048  # of the log, before it is copied into the file
MIGRATIONS = (
    """
    CREATE TABLE collections (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        config TEXT NOT NULL,   -- JSON, of the collection's maker
        fields TEXT NOT NULL,   -- JSON: the names of the vector fields, in the order of their columns
        version INTEGER NOT NULL DEFAULT 0,  -- one more with each commit that changes rows
        last INTEGER NOT NULL DEFAULT 0,     -- the highest row number that was ever used
        pruned INTEGER NOT NULL DEFAULT 0    -- deletions up to this version may be listed no more
    );
    CREATE TABLE images (
        collection INTEGER NOT NULL,
        file TEXT NOT NULL,
        first INTEGER NOT NULL,   -- it holds the rows of these numbers
        last INTEGER NOT NULL,
        version INTEGER NOT NULL  -- that were there at this version
    );
    """,
)
"""From each version of the schema to the next; the first makes it."""
_HEADER = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")

_open: dict[Path, Database] = {}
_open_lock = threading.Lock()


def image_folder(path: Path) -> Path:
    """The folder of a database's image files, which may be deleted at any moment."""
    path = path.resolve()
    return path.with_name(path.name + "-image")


def collection_names(path: Path) -> list[str]:
    """The names of the collections in a file. It raises what opening the file does."""
    database = Database.acquire(path, create=False)
    try:
        with database.reading() as connection:
            return [name for (name,) in connection.execute("SELECT name FROM collections ORDER BY name")]
    finally:
        database.release()


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _begin_log(connection: sqlite3.Connection, timeout: float) -> str:
    """Have the file use a log, and say which kind it uses. If another process does so, too, SQLite does not wait."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


class _Connections:
    """A process' own: neither connections nor locks may be used across a fork."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.changing: dict[int, threading.Lock] = {}
        self.idle: deque[sqlite3.Connection] = deque()
        self.writer: sqlite3.Connection | None = None
        self.writing = threading.Lock()


class Database:
    """A database file that this process holds open, once however many collections of it are in use.

    Attributes:
        path: The file.
        shared: What collection objects of this process share, by the collection's number.
    """

    def __init__(self, path: Path, *, create: bool, timeout: float) -> None:
        self.path = path
        self.shared: dict[int, Any] = {}
        self._users = 0
        self._connections = _Connections()
        self._inherited: list[_Connections] = []  # kept, for closing them would disturb the process they belong to
        self._suffix = "?mode=rw"
        self._check_path(create)
        with self._translated("opening"):
            self._prepare(create, timeout)
        self._file = _file_at(path)

    @classmethod
    def acquire(cls, path: Path, *, create: bool, timeout: float = 30.0) -> Database:
        """Open the database, or share it with those of this process who have it open.

        Raises:
            StoreNotFoundError: It is not there and must not be made, or its folder is not there.
            StoreLockedError: Another process kept it locked.
            CollectionMismatchError: A newer milvine made it, or another program.
            StoreError: It is no database, or damaged, or cannot be opened for another reason.
        """
        path = path.expanduser().resolve()  # by whatever link it is reached, it is one database
        with _open_lock:
            if path not in _open or not _open[path].is_there():
                _open[path] = cls(path, create=create, timeout=timeout)
            _open[path]._users += 1
            return _open[path]

    def release(self) -> None:
        """Close the database once nobody in this process uses it."""
        with _open_lock:
            self._users -= 1
            if self._users:
                return
            if _open.get(self.path) is self:  # or its file was deleted, and another one opened there
                del _open[self.path]
        own = self._own()
        with own.writing:
            while own.idle:
                own.idle.pop().close()
            if own.writer is not None:
                own.writer.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction: what it reads is of one moment."""
        own = self._own()
        with self._translated("reading"):
            try:
                connection = own.idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.rollback()
                if self._users:
                    own.idle.append(connection)
                else:
                    connection.close()

    @contextmanager
    def writing(self, timeout: float) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction that is committed in the end, or undone if anything is raised.

        Args:
            timeout: Seconds to wait for other writers, of this process and others.

        Raises:
            StoreLockedError: Another writer was at it all the time.
            StoreWriteError: The disk is full, for example; nothing was written.
        """
        own, deadline = self._own(), time.monotonic() + timeout
        if not own.writing.acquire(timeout=timeout):
            raise self._locked(timeout)
        try:
            with self._translated("writing to", timeout):
                if own.writer is None:
                    own.writer = self._connect()
                connection = own.writer
                left = max(0, round((deadline - time.monotonic()) * 1000))
                connection.execute(f"PRAGMA busy_timeout = {left}")
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    if not self.is_there():
                        raise StoreError(
                            f"{self.path} was deleted or replaced while it was open, and what is written would be lost:"
                            " close it, and open it again"
                        )
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    connection.rollback()  # does nothing after a commit
        finally:
            own.writing.release()

    def is_there(self) -> bool:
        """Whether the path still leads to the file that is open."""
        return _file_at(self.path) == self._file

    def changing(self, collection: int) -> threading.Lock:
        """What those of this process hold who bring the image of a collection up to date."""
        return self._own().changing.setdefault(collection, threading.Lock())

    def _own(self) -> _Connections:
        if self._connections.process != os.getpid():
            self._inherited.append(self._connections)
            self._connections = _Connections()
        return self._connections

    def _check_path(self, create: bool) -> None:
        path = self.path
        if not path.parent.is_dir():
            raise StoreNotFoundError(f"there is no folder {path.parent} to hold the database {path.name}")
        if path.is_dir():
            is_lite = (path / "collections").is_dir()
            raise StoreError(
                f"{path} is a folder{', perhaps of Milvus Lite, whose paths end in .db' if is_lite else ''};"
                " give the path of a file"
            )
        if not create and not path.exists():
            raise StoreNotFoundError(
                f"there is no database {path}; make one with: milvine index PATH --db {quote(str(path))}"
            )
        if path.exists() and not os.access(path, os.R_OK):
            raise StoreError(f"{path} may not be read by this user")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}{self._suffix}", uri=True, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {2 * CHECKPOINT_PAGES * PAGE_SIZE}")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA busy_timeout = 30000")
        return connection

    def _prepare(self, create: bool, timeout: float) -> None:
        """Make the schema, or bring it up to date, unless it is so or the file cannot be written."""
        folder, log = self.path.parent, Path(f"{self.path}-wal")
        if self.path.exists() and not os.access(folder, os.W_OK) and not (log.exists() and log.stat().st_size):
            self._suffix = "?mode=ro&immutable=1"  # nobody writes it, and no log can be made beside it
        elif create:
            self._suffix = "?mode=rwc"
        connection = self._connect()
        try:
            connection.execute("BEGIN")
            version = self._version(connection)
            connection.rollback()
            if not version and not create:
                raise StoreNotFoundError(
                    f"{self.path} is empty; make a database of it with: milvine index PATH --db {quote(str(self.path))}"
                )
            if version < len(MIGRATIONS):
                connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
                if _begin_log(connection, timeout) != "wal":
                    raise StoreError(
                        f"{self.path} is on a file system that shares no memory between processes (a network drive?),"
                        " which the built-in store needs; choose a path on a local disk"
                    )
                connection.execute(f"PRAGMA busy_timeout = {round(timeout * 1000)}")
                connection.execute("BEGIN IMMEDIATE")
                for migration in MIGRATIONS[self._version(connection) :]:  # another may have been faster
                    for statement in migration.split(";"):
                        connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
                connection.execute("COMMIT")
        finally:
            connection.rollback()
            connection.close()
        self._suffix = self._suffix.replace("rwc", "rw")

    def _version(self, connection: sqlite3.Connection) -> int:
        """The schema's version, within a transaction; 0 of a new file."""
        application, version, tables = (connection.execute(sql).fetchone()[0] for sql in _HEADER)
        if application != APPLICATION and (tables or application):
            raise CollectionMismatchError(f"{self.path} is a SQLite database of another program; choose another path")
        if version < 0 or (tables and not version):
            raise sqlite3.DatabaseError(f"malformed: schema {version}")
        if version > len(MIGRATIONS):
            raise CollectionMismatchError(
                f"{self.path} has schema {version}, and this milvine reads up to {len(MIGRATIONS)}: upgrade milvine"
            )
        return int(version)

    @contextmanager
    def _translated(self, doing: str, timeout: float = 30.0) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(str(error), doing, timeout) from error

    def _error(self, message: str, doing: str, timeout: float) -> MilvineError:
        if "locked" in message:
            return self._locked(timeout)
        if "unable to open" in message and not os.access(self.path.parent, os.W_OK):
            return StoreWriteError(f"{self.path} cannot be made: this user may not write to its folder")
        if "not a database" in message or "malformed" in message:
            return StoreError(
                f"{self.path} is damaged, or no database of milvine's ({message}); see what is wrong with:"
                f" milvine doctor {quote(str(self.path))}"
            )
        if "readonly" in message:
            return StoreWriteError(f"{self.path} may be read alone, by its permissions or those of its folder")
        if doing == "writing to":
            return StoreWriteError(
                f"writing to {self.path} failed: {message}; what was written before is kept: mend the cause (a full"
                " disk?) and run the same call again"
            )
        return StoreError(f"{doing} {self.path} failed: {message}")

    def _locked(self, timeout: float) -> StoreLockedError:
        return StoreLockedError(
            f"others have been writing to {self.path} for {timeout:g} seconds; wait for them to end, or give a longer"
            " timeout"
        )
