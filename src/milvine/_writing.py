"""Rows into a store, written while the next ones are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from milvine._documents import Passages, remove_surplus
from milvine._progress import progress
from milvine._records import content_hash, in_batches
from milvine.errors import InputError
from milvine.types import AddReport, Record

if TYPE_CHECKING:
    from typing_extensions import Self

    from milvine._fields import FieldSet
    from milvine.store import Row, Store

BATCH = 1024  # records embedded, then written, together
WAITING = 2  # batches that are embedded and not yet written
MOST_DOCUMENTS = 100_000  # whose numbers of passages are remembered


class _OnItsWay(NamedTuple):
    written: Future[None]
    hashes: dict[str, str]


class Writer:
    """Writes rows in the order in which it is given them, in a thread of its own.

    So encoding waits only when `WAITING` batches are not written yet; and an interrupt of the thread that encodes stops
    neither a write nor a flush half done. At its end as a context, what it was given has been written, or an error has
    been raised.

    Args:
        store: Where the rows go.
        passages: Where the records come from, if they are passages: what their documents had more before is removed.
    """

    def __init__(self, store: Store, passages: Passages | None = None) -> None:
        self._store = store
        self._passages = passages
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="milvine-write")
        self._on_its_way: deque[_OnItsWay] = deque()
        self._wrote = False
        self._removed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def content_hashes(self, records: Sequence[Record]) -> dict[str, str]:
        """The content hashes of those of these records that are there, or will be any moment."""
        on_their_way = {id_: hashed for batch in self._on_its_way for id_, hashed in batch.hashes.items()}
        return {**self._store.content_hashes([record.id for record in records]), **on_their_way}

    def write(self, rows: Sequence[Row]) -> None:
        """Have the rows written."""
        self._settle(WAITING - 1)
        if rows:
            self._wrote = True
            hashes = {row.record.id: row.content_hash for row in rows}
            self._on_its_way.append(_OnItsWay(self._thread.submit(self._store.write, rows), hashes))
        self._remove_surplus(MOST_DOCUMENTS)

    def finish(self) -> AddReport:
        """Wait for all, make it fast to search, and return what was removed."""
        self._remove_surplus(1)
        self._settle(0)
        if self._wrote or self._removed:
            self._thread.submit(self._store.flush).result()
        return AddReport(removed=self._removed)

    def _remove_surplus(self, least: int) -> None:
        """Remove what documents had more before, once all their passages are written, if they are at least so many."""
        if self._passages and (finished := self._passages.take_finished(least)):
            self._settle(0)
            self._removed += self._thread.submit(remove_surplus, self._store, finished).result()

    def _settle(self, most: int) -> None:
        """Wait until no more than `most` batches are on their way."""
        while self._on_its_way and (len(self._on_its_way) > most or self._on_its_way[0].written.done()):
            self._on_its_way.popleft().written.result()


def write_records(
    store: Store,
    fields: FieldSet,
    records: Iterable[Record],
    passages: Passages | None,
    *,
    total: int | None,
    show: bool | None,
) -> AddReport:
    """Embed and write records; those that are there already, unchanged, cost nothing. See `Collection.add`."""

    def encode(fresh: list[Record]) -> Mapping[str, Sequence[Any]]:
        return fields.encode_documents([record.text for record in fresh])

    batches = ((batch, encode) for batch in in_batches(records, BATCH))
    return write_batches(store, fields, batches, passages, total=total, show=show)


def write_batches(
    store: Store,
    fields: FieldSet,
    batches: Iterable[tuple[list[Record], Callable[[list[Record]], Mapping[str, Sequence[Any]]]]],
    passages: Passages | None = None,
    *,
    total: int | None,
    show: bool | None,
) -> AddReport:
    """Write those records that are new or have changed.

    Args:
        store: Where they go.
        fields: The collection's.
        batches: Some records, and what gives vectors of those of them that must be written: for each field one a
            record.
        passages: As `Writer` takes them.
        total: How many records there are, if that is known.
        show: As in `wants_progress`.
    """
    from milvine.store import Row

    report = AddReport()
    with Writer(store, passages) as writer, progress("Indexing", total, show=show) as advance:
        for batch, vectors_of in batches:
            _check_keys(fields, batch)
            done, fresh = _changed(batch, writer.content_hashes(batch))
            vectors = vectors_of([record for record, _ in fresh]) if fresh else {}
            writer.write(
                [
                    Row(record, hashed, {field: column[at] for field, column in vectors.items()})
                    for at, (record, hashed) in enumerate(fresh)
                ]
            )
            report += done
            advance(len(batch))
        return report + writer.finish()


def _check_keys(fields: FieldSet, records: Iterable[Record]) -> None:
    for record in records:
        for key in record.metadata.keys() & fields.kinds.keys():
            raise InputError(
                f"the record {record.id!r}: the metadata key {key!r} is the name of a vector field; rename it"
            )


def _changed(records: Sequence[Record], there: Mapping[str, str]) -> tuple[AddReport, list[tuple[Record, str]]]:
    """Those of the records that must be written, with their content hashes; of several with one id the last."""
    latest = {record.id: (record, content_hash(record)) for record in records}
    fresh = [(record, hashed) for id_, (record, hashed) in latest.items() if there.get(id_) != hashed]
    added = sum(record.id not in there for record, _ in fresh)
    return AddReport(added, len(fresh) - added, len(records) - len(fresh)), fresh
