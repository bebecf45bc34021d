"""Moving house: a collection into another store, vectors and all, with nothing embedded again.

Rows are read from the one and written to the other at the same time, some at a time. Then both are read again, and all
that they hold is compared: each row leaves a digest, and the digests are added up in buckets by id, so that the order
of rows does not matter and the memory does not grow with them. Only where two sums differ are ids looked at.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from milvine._fields import FieldSet
from milvine._identity import LEXICAL, read_config
from milvine._progress import progress
from milvine._records import RESERVED_KEYS, content_hash, in_batches
from milvine._texts import as_text, shown_uri
from milvine._writing import BATCH, Writer
from milvine.errors import CollectionMismatchError, InputError, StoreWriteError
from milvine.types import AddReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milvine.store import Field, Row, Store, StoreOptions

BATCH_BYTES = 16 << 20  # of vectors; those of several a text can be large
BUCKETS = 1 << 16  # some megabytes, whatever the number of rows
NAMED_BUCKETS = 1000  # of those that differ, whose rows are looked at
NAMED = 5  # ids in a message
SETTLING = 10.0  # seconds that a server is given to count right


class Place(NamedTuple):
    """A collection, as it is addressed."""

    uri: str | Path
    name: str

    def __str__(self) -> str:
        return f"{self.name!r} in {shown_uri(self.uri)}"

    def is_surely(self, other: Place) -> bool:
        """Whether both are one; two names of one server are not seen through."""
        return self.name == other.name and self._place() == other._place()

    def _place(self) -> str | Path:
        if "://" in str(self.uri):
            return shown_uri(self.uri).rstrip("/")
        path = self.uri if isinstance(self.uri, Path) else as_text(self.uri, "uri")
        return Path(path).expanduser().resolve()


def copy_place(source: Place, target: Place, *, show: bool | None = None) -> AddReport:
    """As `copy_store`, from a collection that is not open; its models are not loaded."""
    from milvine.store import open_store

    with closing(open_store(*source, fields=stored_fields)) as store:
        return copy_store(store, source, target, show=show)


def copy_store(
    source: Store,
    at: Place,
    place: Place,
    options: StoreOptions | None = None,
    *,
    show: bool | None = None,
) -> AddReport:
    """Copy all rows into a collection, which is made if it is not there. See `Collection.copy_to`.

    Args:
        source: The collection that is copied.
        at: Where that is.
        place: Where to.
        options: As `open_store` takes them.
        show: As in `wants_progress`.
    """
    if at.is_surely(place):
        raise InputError(f"{place} is the collection itself; give another place, or another name")
    target, fields = open_like(source, place, options)
    with closing(target):
        if surplus := _surplus(source, target):
            raise CollectionMismatchError(
                f"{place} has records that the source does not have: {_listed(surplus)}; nothing was copied. Delete"
                " them there if nobody wants them, or copy into another collection"
            )
        report = _copy(source, target, [field.name for field in fields], show)
        _verify(source, target, place, show)
    return report


def open_like(source: Store, place: Place, options: StoreOptions | None = None) -> tuple[Store, list[Field]]:
    """A collection like another one, which is made if it is not there, and its fields.

    Raises:
        CollectionMismatchError: It is there, and has other models or fields.
    """
    from milvine.store import open_store
    from milvine.store._server_bulk import load_imported

    here = read_config(source.config)
    fields: list[Field] = []

    def same_fields(stored: dict[str, Any]) -> list[Field]:
        _check_same(here, read_config(stored), place)
        fields[:] = stored_fields(stored)
        return fields

    target = open_store(*place, fields=same_fields, config=source.config, options=options)
    try:
        load_imported(target)
    except BaseException:
        target.close()
        raise
    return target, fields


def stored_fields(stored: dict[str, Any]) -> list[Field]:
    """The fields of a collection, made of what is stored with it alone; no model is needed, nor loaded.

    Raises:
        CollectionMismatchError: A newer milvine made the collection, or its analyzer is another one now.
    """
    from milvine.analysis import get_analyzer

    config = read_config(stored)
    described = config["fields"].get(LEXICAL)
    analyzer = None if described is None else get_analyzer(described["analyzer"]["language"])
    if analyzer is not None and analyzer.identity != described["analyzer"]:
        raise CollectionMismatchError(
            f"the collection was made with another analyzer ({described['analyzer']} there, {analyzer.identity} here);"
            " copy it with the milvine that made it"
        )
    return FieldSet(config, {}, analyzer).store_fields()


def _check_same(here: dict[str, Any], there: dict[str, Any], place: Place) -> None:
    differing = [
        f"{part[:-1]} {key!r}: {here[part].get(key)!r} here, {there[part].get(key)!r} there"
        for part in ("functions", "fields")
        for key in {**here[part], **there[part]}
        if _placeless(here[part].get(key)) != _placeless(there[part].get(key))
    ]
    if differing:
        raise CollectionMismatchError(
            f"{place} differs ({'; '.join(differing)}); copy into one that is not there yet, by giving another name"
        )


def _placeless(described: Mapping[str, Any] | None) -> Any:
    # Where a model's folder lies says nothing of its vectors.
    return described and {key: value for key, value in described.items() if key != "folder"}


def _surplus(source: Store, target: Store) -> list[str]:
    """Ids that the target has and the source has not; of many the first thousand or so."""
    surplus: list[str] = []
    for batch in in_batches(target.ids(), BATCH):
        there = source.content_hashes(batch)
        surplus += [id_ for id_ in batch if id_ not in there]
        if len(surplus) >= BATCH:
            break
    return surplus


def _copy(source: Store, target: Store, fields: list[str], show: bool | None) -> AddReport:
    taken = RESERVED_KEYS.union(fields)  # another tool's collection may have such metadata
    report = AddReport()
    with Writer(target) as writer, progress("Copying", source.count(), unit="records", show=show) as advance:
        for batch in batches(source.rows(vectors=True)):
            there = writer.content_hashes([row.record for row in batch])
            fresh = [row for row in batch if there.get(row.record.id) != row.content_hash]
            for row in fresh:
                if names := taken & row.record.metadata.keys():
                    raise InputError(
                        f"the record {row.record.id!r} has the metadata key {min(names)!r}, which is a field's name in"
                        " collections that milvine makes; rename it"
                    )
            added = sum(row.record.id not in there for row in fresh)
            writer.write(fresh)
            report += AddReport(added, len(fresh) - added, len(batch) - len(fresh))
            advance(len(batch))
        return report + writer.finish()


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows, some at a time: 1,024, or fewer if their vectors are large."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(int(vector.data.nbytes) for vector in row.vectors.values())
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Digest(NamedTuple):
    text: bytes
    """Of text and metadata, as they were read."""
    vectors: bytes
    hash: str
    """The hash of text and metadata that is stored."""


def _digest(row: Row) -> _Digest:
    vectors = hashlib.blake2b(digest_size=16)
    for name, vector in sorted(row.vectors.items()):
        for part in _arrays(vector):
            vectors.update(f"{name} {part.dtype.str} {part.shape} ".encode())
            vectors.update(part.tobytes())
    return _Digest(content_hash(row.record).encode(), vectors.digest(), row.content_hash)


def _arrays(vector: Any) -> tuple[Any, ...]:
    return (vector.indices.astype("<u4"), vector.data) if hasattr(vector, "indptr") else (vector,)


def _verify(source: Store, target: Store, place: Place, show: bool | None) -> None:
    """Read both sides, and compare all that they hold.

    Raises:
        StoreWriteError: They differ.
    """
    with progress("Verifying", source.count() + target.count(), unit="records", show=show) as advance:
        here, there = (_sums(store.rows(vectors=True), advance) for store in (source, target))
    differing = {bucket for bucket in here | there if here[bucket] != there[bucket]}
    if not differing:
        _check_count(source, target, place)
        return
    looked_at = set(sorted(differing)[:NAMED_BUCKETS])
    one, other = (
        [(row.record.id, _digest(row)) for row in store.rows(vectors=True) if _bucket(row) in looked_at]
        for store in (source, target)
    )
    mine, theirs = dict(one), dict(other)
    problems = {
        "not copied": [id_ for id_ in mine if id_ not in theirs],
        "not in the source": [id_ for id_ in theirs if id_ not in mine],
        "there several times": [id_ for id_, count in Counter(id_ for id_, _ in other).items() if count > 1],
    }
    for part in _Digest._fields:
        problems[f"with {'other' if part == 'vectors' else 'another'} {part}"] = [
            id_ for id_ in mine.keys() & theirs.keys() if getattr(mine[id_], part) != getattr(theirs[id_], part)
        ]
    found = "; ".join(f"{what}: {_listed(ids)}" for what, ids in problems.items() if ids)
    raise StoreWriteError(
        f"{place} is not what the source is ({found or 'it has just changed'}). If either was written"
        " to meanwhile, copy again; else delete these there, and copy again"
    )


def _check_count(source: Store, target: Store, place: Place) -> None:
    # A server counts rows that have one id each by itself, and shows one; it may be late with what has just gone.
    end = time.monotonic() + SETTLING
    while (here := source.count()) != (there := target.count()):
        if time.monotonic() > end:
            raise StoreWriteError(
                f"{place} counts {there:,} records, and the source {here:,} of the same ids and contents; if it was"
                " written to meanwhile, copy again; if files were imported into it twice, drop it and begin anew"
            )
        time.sleep(0.5)


def _bucket(row: Row) -> int:
    return zlib.crc32(row.record.id.encode("utf-8", "surrogatepass")) % BUCKETS


def _sums(rows: Iterable[Row], advance: Any) -> Counter[int]:
    sums: Counter[int] = Counter()
    for batch in in_batches(rows, BATCH):
        for row in batch:
            parts = repr((row.record.id, _digest(row))).encode("utf-8", "surrogatepass")
            sums[_bucket(row)] += int.from_bytes(hashlib.blake2b(parts, digest_size=16).digest(), "little")
        advance(len(batch))
    return sums


def _listed(ids: list[str]) -> str:
    shown = ", ".join(map(repr, sorted(ids)[:NAMED]))
    return shown if len(ids) <= NAMED else f"{shown} and others"
