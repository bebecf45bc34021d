"""A file of cached vectors: its schema, how it is opened, what it is refused for, and what it says of itself."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milvine.errors import InputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["CacheInfo", "CachedModel", "Space", "default_path", "discard", "is_damaged", "open_file"]

APPLICATION = 0x6D6C766E
"""SQLite's `application_id` of such a file: "mlvn"."""
VERSION = 1
"""SQLite's `user_version` of it: the schema's."""
DEFAULT_BYTES = 2 << 30
PAGE = 32_768
"""Bytes of a page: five vectors of 1,536 float32 numbers fit into one, and only one into a page of 8 kB."""
WAIT = 5.0
"""Seconds that an open or a write waits for other processes'."""

# What is read and written often, `entries`, stands apart from what is large.
SCHEMA = """
CREATE TABLE state (tick INTEGER NOT NULL, bytes INTEGER NOT NULL, max_bytes INTEGER NOT NULL);
CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL, role TEXT NOT NULL, function TEXT NOT NULL,
    model TEXT NOT NULL, hits INTEGER NOT NULL, misses INTEGER NOT NULL, UNIQUE (fingerprint, role)
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL, key BLOB NOT NULL, used INTEGER NOT NULL, size INTEGER NOT NULL,
    form TEXT NOT NULL, checksum INTEGER NOT NULL, UNIQUE (model, key)
);
CREATE INDEX used ON entries (used);
CREATE TABLE vectors (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Space:
    """Whose vectors are meant: those of one embedding function in one role.

    Attributes:
        fingerprint: The sha256 of the function's identity.
        role: `"documents"`, `"queries"` or `"texts"`.
        function: The function's name, to be shown.
        model: The model's name, to be shown; empty if it has none.
    """

    fingerprint: str
    role: str
    function: str
    model: str


@dataclass(frozen=True)
class CachedModel:
    """What a cache holds of one function in one role.

    Attributes:
        fingerprint, role, function, model: As in `Space`.
        hits: Texts that needed no computing.
        misses: Texts that were computed.
        entries: Texts whose vectors are there.
        bytes: What they take.
    """

    fingerprint: str
    role: str
    function: str
    model: str
    hits: int
    misses: int
    entries: int
    bytes: int


@dataclass(frozen=True)
class CacheInfo:
    """What a cache holds.

    Attributes:
        path: The file.
        bytes: What the vectors and their keys take.
        file_bytes: The size of the file, and of the log beside it.
        max_bytes: The bound; `None` where there is no cache.
        models: What is there of each function and role.
    """

    path: str
    bytes: int
    file_bytes: int
    max_bytes: int | None
    models: tuple[CachedModel, ...]


def default_path() -> Path:
    """The file in milvine's cache folder, which `MILVINE_CACHE` names."""
    from milvine.local.finding.files import cache_folder

    return cache_folder() / "vectors.sqlite3"


def open_file(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open a file, or make it; the connection, for any thread, and the file's inode.

    Raises:
        InputError: The file is something else, or a newer milvine's.
        OSError: It cannot be opened; or `sqlite3.Error`.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; a cache is a file: {path / 'vectors.sqlite3'}")
    _check_header(path)  # before anything is made beside a file of another's
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        inode = _touch(path)
        try:
            return _connect(path), inode
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            _remove(path)
            return _connect(path), _touch(path)


def discard(path: Path, inode: int) -> None:
    """Remove a damaged file, unless another process has already done so.

    Raises:
        OSError: It cannot be removed.
    """
    with _lock(path), suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            _remove(path)


def is_damaged(error: BaseException) -> bool:
    """Whether this is what SQLite says of a file that is no database any more."""
    return isinstance(error, sqlite3.DatabaseError) and any(
        words in str(error) for words in ("malformed", "not a database", "no such table", "no such column")
    )


def _lock(path: Path) -> BaseFileLock:
    """Making and removing files is for one process at a time; using them is not."""
    from filelock import FileLock

    return FileLock(f"{path}.lock", timeout=WAIT)


def _touch(path: Path) -> int:
    path.touch(mode=0o600)  # vectors tell of their texts
    return path.stat().st_ino


def _check_header(path: Path) -> None:
    """Refuse a file that is not ours; a damaged one is, if its first bytes say so (https://sqlite.org/fileformat2.html)."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except FileNotFoundError:
        return
    if header and (not header.startswith(b"SQLite format 3\0") or header[68:] != APPLICATION.to_bytes(4, "big")):
        raise InputError(f"{path} is no cache of vectors, and is left as it is; name another file, or delete it")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > VERSION:
        raise InputError(
            f"the cache {path} was made by a newer milvine (schema {version}; this one knows {VERSION}): upgrade"
            " milvine, name another file, or delete it"
        )
    if tables == 0:
        _create(connection)
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last vectors, not the file
    connection.execute("PRAGMA wal_autocheckpoint = 256")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    if connection.execute("SELECT count(*) FROM state").fetchone() != (1,):
        raise sqlite3.DatabaseError("malformed: a table is empty")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.executescript(  # in one transaction, so that no file is ever there without its header
        f"BEGIN; PRAGMA auto_vacuum = INCREMENTAL; {SCHEMA} INSERT INTO state VALUES (0, 0, {DEFAULT_BYTES});"  # noqa: S608 - numbers of our own
        f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT"
    )
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
