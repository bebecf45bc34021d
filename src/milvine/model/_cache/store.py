"""Vectors kept in a file of SQLite's, for any number of processes and threads at once.

The file may be deleted at any moment, and a damaged one is begun anew; nothing that goes wrong with it keeps a vector
from its caller. What was used last is written down with the next vectors, or at most once a second: reading seldom
writes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakValueDictionary

from milvine._callers import levels_to_caller
from milvine.errors import InputError, ReadError
from milvine.model._cache import rows
from milvine.model._cache.file import WAIT, CacheInfo, Space, discard, is_damaged, open_file
from milvine.model._cache.packing import Packed

__all__ = ["VectorCache", "open_cache"]

BYTES_AT_ONCE = 4 << 20
"""Bytes of vectors that are written in one transaction."""
FLUSH_AFTER = 1.0
"""Seconds for which what was used is only remembered."""
FLUSH_WAIT = 0.1
"""Seconds that writing it down waits for other processes; it can be done later."""

_FAILURES = (sqlite3.Error, OSError, InputError)

_caches: WeakValueDictionary[Path, VectorCache] = WeakValueDictionary()
_caches_lock = threading.Lock()
_inherited: list[sqlite3.Connection] = []  # of a parent process: they may be neither used nor closed after a fork


def open_cache(path: Path, max_bytes: int | None = None) -> VectorCache:
    """The cache in a file, one object a file in this process; the file is made if it is not there.

    Args:
        path: The file.
        max_bytes: A new bound; by default the file's own.

    Raises:
        InputError: The file is something else, or a newer milvine's.
    """
    path = path.expanduser().absolute()
    with _caches_lock:
        cache = _caches.get(path)
        if cache is None:
            cache = _caches[path] = VectorCache(path)
    cache.open(max_bytes)
    return cache


class VectorCache:
    """Vectors by the function that made them and the hash of their text; see `open_cache`.

    Whatever fails, such as a full disk or a folder that may not be written, is warned of once; the cache is as good as
    empty then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._max_bytes: int | None = None
        self._warned = self._useless = False
        self._begin()

    def _begin(self) -> None:
        """The state of a process that has not used the file yet."""
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._used: dict[int, int] = {}  # entry -> the number of the look-up that found it last
        self._look_ups = 0
        self._counts: dict[Space, list[int]] = {}
        self._flushed = time.monotonic()

    def open(self, max_bytes: int | None = None) -> None:
        """Open the file, so that one that is no cache is refused early, and set its bound.

        Raises:
            InputError: The file is something else, or a newer milvine's.
        """
        try:
            with self._use():
                self._useless = False
                self._max_bytes = max_bytes or self._max_bytes
                self._set_bound(self._connected())
        except (sqlite3.Error, OSError) as error:
            self._failed("opened", error)

    def look_up(self, space: Space, keys: Sequence[bytes]) -> dict[bytes, Packed]:
        """What there is of these keys."""
        found: dict[bytes, Packed] = {}
        try:
            with self._use():
                if not self._useless:
                    self._read(space, keys, found)
        except _FAILURES as error:
            self._failed("read", error)
        return found

    def keep(self, space: Space, packed: Mapping[bytes, Packed]) -> None:
        """Store vectors, and remove those that were used longest ago where there is no room left."""
        some: list[rows.Row] = []
        size = 0
        try:
            for key, (form, payload) in packed.items():
                some.append((key, form, payload))
                size += len(payload)
                if size >= BYTES_AT_ONCE:
                    self._write(space, some)
                    some, size = [], 0
            if some:
                self._write(space, some)
        except _FAILURES as error:
            self._failed("written", error)

    def count(self, space: Space, hits: int, misses: int) -> None:
        """Add to the totals."""
        with self._use():
            counts = self._counts.setdefault(space, [0, 0])
            counts[0] += hits
            counts[1] += misses
            if time.monotonic() - self._flushed > FLUSH_AFTER:
                self.flush()

    def flush(self) -> None:
        """Write down what was used, and the counts; where others are writing, that is left for later."""
        try:
            with self._use():
                self._flushed = time.monotonic()
                if (self._used or self._counts) and not self._useless:
                    with self._writing(FLUSH_WAIT) as connection:
                        rows.write_used(connection, self._used)
                        rows.write_counts(connection, self._counts)
                    self._used, self._counts = {}, {}
        except _FAILURES as error:
            if "locked" not in str(error):
                self._failed("written", error)

    def info(self) -> CacheInfo:
        """What the cache holds.

        Raises:
            ReadError: The file cannot be read.
        """
        self.flush()
        try:
            with self._use():
                connection = self._connected()
                (size,) = connection.execute("SELECT bytes FROM state").fetchone()
                bound, models = rows.bound_of(connection), rows.models_of(connection)
                files = (self.path, Path(f"{self.path}-wal"))
                on_disk = sum(file.stat().st_size for file in files if file.exists())
        except _FAILURES as error:
            raise ReadError(f"The cache {self.path} cannot be read: {error}") from error
        return CacheInfo(str(self.path), size, on_disk, bound, models)

    def clear(self, fingerprints: Sequence[str] | None = None) -> int:
        """Remove all vectors and counts, or those of the functions of these fingerprints; how many vectors there were.

        Raises:
            ReadError: The file cannot be written.
        """
        try:
            with self._use():
                with self._writing() as connection:
                    rows.write_counts(connection, self._counts)
                    gone = rows.delete_models(connection, fingerprints)
                self._used, self._counts = {}, {}
                rows.shrink(connection)
        except _FAILURES as error:
            raise ReadError(f"The cache {self.path} cannot be cleared: {error}; delete the file") from error
        return gone

    @contextmanager
    def _use(self) -> Iterator[None]:
        """One thread at a time; what a forked process has of its parent is left alone."""
        if self._process != os.getpid():
            if self._connection is not None:
                _inherited.append(self._connection)
            self._begin()
        with self._lock:
            yield

    def _connected(self) -> sqlite3.Connection:
        """The connection to what lies at the path now: the file may have been deleted, or begun anew."""
        if self._connection is not None:
            with suppress(OSError):
                if os.stat(self.path).st_ino == self._inode:  # noqa: PTH116 - once a call, and twice as fast
                    return self._connection
            self._close()
        self._connection, self._inode = open_file(self.path)
        self._set_bound(self._connection)
        return self._connection

    def _set_bound(self, connection: sqlite3.Connection) -> None:
        if self._max_bytes not in (None, rows.bound_of(connection)):
            with self._writing() as writing:
                rows.set_bound(writing, self._max_bytes)
            rows.shrink(connection)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._used = {}
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def __del__(self) -> None:
        if self._process == os.getpid():
            self._close()

    @contextmanager
    def _writing(self, wait: float = WAIT) -> Iterator[sqlite3.Connection]:
        """A transaction that is made whole or not at all."""
        connection = self._connected()
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise

    def _read(self, space: Space, keys: Sequence[bytes], found: dict[bytes, Packed]) -> None:
        connection = self._connected()
        model = rows.find_model(connection, space)
        if model is None:
            return
        # What was used last of all need not be written down.
        newest = None if self._used else rows.tick_of(connection)
        self._look_ups += 1
        damaged: list[int] = []
        for (key, form, payload), entry, used in rows.select(connection, model, keys, damaged):
            found[key] = form, payload
            if used != newest:
                self._used[entry] = self._look_ups
        if damaged:
            with self._writing() as writing:
                rows.delete(writing, damaged)

    def _write(self, space: Space, some: Sequence[rows.Row]) -> None:
        with self._use():
            if self._useless:
                return
            with self._writing() as connection:
                rows.write_used(connection, self._used)
                rows.write_counts(connection, self._counts)
                rows.insert(connection, space, some)
            self._used, self._counts = {}, {}
            self._flushed = time.monotonic()

    def _failed(self, what: str, error: BaseException) -> None:
        with self._use():
            damaged = is_damaged(error)
            if damaged:
                inode = self._inode
                self._close()
                with suppress(OSError):
                    discard(self.path, inode)
            # Trying to open it again would cost every call its time.
            self._useless = self._useless or what == "opened" or (self._connection is None and not damaged)
            warned, self._warned = self._warned, True
        if warned:
            return
        outcome = "it is damaged and begun anew" if damaged else "vectors are computed and not kept"
        warnings.warn(
            f"The cache {self.path} cannot be {what} ({error}): {outcome}. path= or MILVINE_CACHE put it elsewhere",
            stacklevel=levels_to_caller(),
        )
