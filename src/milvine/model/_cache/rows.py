"""The statements: what is read from a file of cached vectors, and what is written to it within a transaction."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from milvine.model._cache.file import PAGE, CachedModel, Space

OVERHEAD = 192
"""Bytes that an entry takes besides its vectors: the key, twice, and what else its rows hold."""
ROOM = 1 << 20
"""Bytes that the file may have beyond its bound: pages are never full."""
KEYS_AT_ONCE = 500
EVICTED_AT_ONCE = 500

Row = tuple[bytes, str, bytes]
"""A text's hash, and the form and payload of its vectors."""


def find_model(connection: sqlite3.Connection, space: Space) -> int | None:
    """The number of a function in a role, if it is known."""
    found = connection.execute(
        "SELECT id FROM models WHERE fingerprint = ? AND role = ?", (space.fingerprint, space.role)
    ).fetchone()
    return None if found is None else int(found[0])


def make_model(connection: sqlite3.Connection, space: Space) -> int | None:
    """The number of a function in a role, which is given one if it has none."""
    connection.execute(
        "INSERT OR IGNORE INTO models (fingerprint, role, function, model, hits, misses) VALUES (?, ?, ?, ?, 0, 0)",
        (space.fingerprint, space.role, space.function, space.model),
    )
    return find_model(connection, space)


def tick_of(connection: sqlite3.Connection) -> int:
    """The latest time at which anything was used; it moves on with every write that says so."""
    return int(connection.execute("SELECT tick FROM state").fetchone()[0])


def select(
    connection: sqlite3.Connection, model: int, keys: Sequence[bytes], damaged: list[int]
) -> Iterator[tuple[Row, int, int]]:
    """What there is of these keys, with the entry's number and when it was used; `damaged` gets what must go."""
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        for key, form, payload, checksum, entry, used in connection.execute(_select(len(some)), (model, *some)):
            if _checksum(key, form, payload) == checksum:
                yield (key, form, payload), entry, used
            else:
                damaged.append(entry)


@lru_cache(maxsize=KEYS_AT_ONCE)
def _select(keys: int) -> str:
    return (
        "SELECT e.key, e.form, v.payload, e.checksum, e.id, e.used FROM entries e JOIN vectors v ON v.id = e.id"  # noqa: S608 - nothing but question marks
        f" WHERE e.model = ? AND e.key IN ({', '.join('?' * keys)})"
    )


def _checksum(key: bytes, form: str, payload: bytes) -> int:
    """Disks err: a changed bit of a vector would be believed for ever."""
    return zlib.crc32(payload, zlib.crc32(form.encode(), zlib.crc32(key)))


def insert(connection: sqlite3.Connection, space: Space, rows: Sequence[Row]) -> None:
    """Store vectors, as the last used, within the bound; what another process has stored in the meantime stays."""
    evict(connection, sum(len(payload) + OVERHEAD for _, _, payload in rows))  # first, so that the file does not grow
    model = make_model(connection, space)
    connection.execute("UPDATE state SET tick = tick + 1")
    tick = tick_of(connection)
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()
    connection.executemany(
        "INSERT OR IGNORE INTO entries (id, model, key, used, size, form, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (entry, model, key, tick, len(payload) + OVERHEAD, form, _checksum(key, form, payload))
            for entry, (key, form, payload) in enumerate(rows, last + 1)
        ],
    )
    connection.executemany(
        "INSERT INTO vectors SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM entries WHERE id = ?1)",
        [(entry, payload) for entry, (_, _, payload) in enumerate(rows, last + 1)],
    )
    connection.execute(
        "UPDATE state SET bytes = bytes + (SELECT coalesce(sum(size), 0) FROM entries WHERE id > ?)", (last,)
    )
    evict(connection)  # what is coming may be more than there is room for


def write_used(connection: sqlite3.Connection, used: Mapping[int, int]) -> None:
    """Write down which entries were used by the how manieth look-up."""
    if not used:
        return
    start = tick_of(connection) + 1 - min(used.values())
    connection.executemany(
        "UPDATE entries SET used = ? WHERE id = ?", [(start + look_up, entry) for entry, look_up in used.items()]
    )
    connection.execute("UPDATE state SET tick = ?", (start + max(used.values()),))


def write_counts(connection: sqlite3.Connection, counts: Mapping[Space, Sequence[int]]) -> None:
    """Add hits and misses to the totals."""
    for space, (hits, misses) in counts.items():
        model = make_model(connection, space)
        connection.execute("UPDATE models SET hits = hits + ?, misses = misses + ? WHERE id = ?", (hits, misses, model))


def set_bound(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Set the bound, and keep it."""
    connection.execute("UPDATE state SET max_bytes = ?", (max_bytes,))
    evict(connection)


def bound_of(connection: sqlite3.Connection) -> int:
    """The bound."""
    return int(connection.execute("SELECT max_bytes FROM state").fetchone()[0])


def evict(connection: sqlite3.Connection, coming: int = 0) -> None:
    """Remove what was used longest ago until the bound holds, of entries and of pages in use, with so much to come."""
    while True:
        size, bound = connection.execute("SELECT bytes, max_bytes FROM state").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        over = coming - bound + max(size, (pages - free) * PAGE - ROOM)
        if over <= 0:
            return
        oldest = connection.execute(
            "SELECT id, size FROM entries ORDER BY used, id LIMIT ?", (EVICTED_AT_ONCE,)
        ).fetchall()
        if not oldest:
            return
        doomed = []
        for entry, taken in oldest:
            if over <= 0:
                break
            doomed.append(entry)
            over -= taken
        delete(connection, doomed)


def delete(connection: sqlite3.Connection, entries: Sequence[int]) -> None:
    """Remove entries."""
    ids = [(entry,) for entry in entries]
    connection.executemany("UPDATE state SET bytes = bytes - coalesce((SELECT size FROM entries WHERE id = ?), 0)", ids)
    connection.executemany("DELETE FROM entries WHERE id = ?", ids)
    connection.executemany("DELETE FROM vectors WHERE id = ?", ids)


def delete_models(connection: sqlite3.Connection, fingerprints: Sequence[str] | None) -> int:
    """Remove the functions of these fingerprints, or all, with what is there of them; how many entries it was."""
    gone = 0
    for model, fingerprint in connection.execute("SELECT id, fingerprint FROM models").fetchall():
        if fingerprints is None or fingerprint in fingerprints:
            of_model = "SELECT id FROM entries WHERE model = ?"
            connection.execute(f"DELETE FROM vectors WHERE id IN ({of_model})", (model,))  # noqa: S608 - see above
            gone += connection.execute("DELETE FROM entries WHERE model = ?", (model,)).rowcount
            connection.execute("DELETE FROM models WHERE id = ?", (model,))
    connection.execute("UPDATE state SET bytes = (SELECT coalesce(sum(size), 0) FROM entries)")
    return gone


def shrink(connection: sqlite3.Connection) -> None:
    """Give what is free back to the disk; where others are reading, it is used again instead."""
    with suppress(sqlite3.OperationalError):
        connection.executescript(
            "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)"
        )  # execute() frees one page


def models_of(connection: sqlite3.Connection) -> tuple[CachedModel, ...]:
    """What there is of each function and role."""
    rows = connection.execute(
        "SELECT m.fingerprint, m.role, m.function, m.model, m.hits, m.misses, count(e.id), coalesce(sum(e.size), 0)"
        " FROM models m LEFT JOIN entries e ON e.model = m.id GROUP BY m.id ORDER BY m.id"
    )
    return tuple(CachedModel(*row) for row in rows)
