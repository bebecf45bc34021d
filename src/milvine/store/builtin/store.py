"""The built-in store: what a collection's store must do, by its rows in the database and their image in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from milvine._records import in_batches
from milvine.analysis import idf_lucene, term_ids
from milvine.errors import CollectionExistsError, CollectionNotFoundError, InputError, StoreError
from milvine.store._rows import check_sparse
from milvine.store.base import (
    DenseField,
    Field,
    LexicalField,
    MakeFields,
    Match,
    MultiVectorField,
    Row,
    SparseField,
    SparseRow,
    Vector,
)
from milvine.store.builtin.database import Database, collection_names
from milvine.store.builtin.parts import best
from milvine.store.builtin.postings import BM25
from milvine.store.builtin.state import Image, View, parsed
from milvine.store.builtin.table import Table, create, find, vector_of
from milvine.store.filtering.strings import Mask
from milvine.types import DenseVector, Record

TIMEOUT = 30.0  # seconds that a write waits for other writers
READ_BATCH = 2_000  # rows read at once; with vectors fewer
KNOWN = 20_000  # rows whose numbers are remembered, since a search found them

_Views = list[tuple[View, "Mask | None"]]  # and which of their rows count; None for all


class BuiltinStore:
    """A collection in a database file of milvine's own; see `milvine.store.base.Store` and `milvine.store.open_store`.

    Args:
        path: The file; beside it there may be its log, `PATH-wal`, and its image folder, `PATH-image`.
        name: The collection.
        fields: See `milvine.store.open_store`.
        config: Likewise.
        must_be_new: Likewise.
        timeout: Seconds that a write waits for other writers.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        fields: MakeFields,
        config: dict[str, Any] | None,
        must_be_new: bool,
        timeout: float = TIMEOUT,
    ) -> None:
        self._name, self._timeout = name, timeout
        self._closed = False
        self._database = Database.acquire(path, create=config is not None, timeout=timeout)
        try:
            self.config = self._open(fields, config, must_be_new=must_be_new)
        except BaseException:
            self.close()
            raise

    def _open(self, fields: MakeFields, config: dict[str, Any] | None, *, must_be_new: bool) -> dict[str, Any]:
        path = self._database.path
        with self._reading() as connection:
            entry = find(connection, self._name)
        if entry is None:
            if config is None:
                listed = ", ".join(collection_names(path)) or "none"
                raise CollectionNotFoundError(f"{path} holds no collection {self._name!r}; its collections: {listed}")
            made = fields(config)
            with self._writing() as connection:
                entry = find(connection, self._name)  # another may have been faster
                if entry is None:
                    entry, must_be_new = create(connection, self._name, config, made), False
        if must_be_new:
            raise CollectionExistsError(
                f"{path} already holds a collection {self._name!r}; open it, or choose another name"
            )
        self._table = Table(entry, fields(entry.config), f"the collection {self._name!r} of {path}")
        self._fields = {field.name: field for field in self._table.fields}
        self._image: Image = self._database.shared.setdefault(entry.number, Image(self._database, self._table))
        self._known: dict[str, int] = {}
        return entry.config

    # Writing

    def write(self, rows: Sequence[Row]) -> None:
        """See `Store.write`."""
        latest = list({row.record.id: row for row in rows}.values())
        for field in self._fields.values():
            if isinstance(field, SparseField):
                check_sparse((row.vectors[field.name] for row in latest), f"{field.name!r} of row")
        if latest:
            columns = self._table.encoded(latest)
            with self._writing() as connection:
                self._table.write(connection, latest, columns)

    def delete(self, ids: Sequence[str]) -> int:
        """See `Store.delete`."""
        with self._writing() as connection:
            return self._table.delete(connection, list(dict.fromkeys(ids)))

    def flush(self) -> None:
        """See `Store.flush`."""
        self._check_open()
        self._table.forget()
        self._image.flush(self._timeout)

    def drop(self) -> None:
        """See `Store.drop`."""
        with self._writing() as connection:
            self._table.head(connection)
            self._table.drop(connection)
        self._database.shared.pop(self._table.number, None)
        self._image.remove_litter()
        self.close()

    def close(self) -> None:
        """See `Store.close`."""
        if not self._closed:
            self._closed = True
            self._database.release()

    # Reading

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Store.content_hashes`."""
        with self._reading() as connection:
            self._table.head(connection)
            return dict(self._table.of(connection, ids, "content_hash"))

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """See `Store.get`."""
        with self._reading() as connection:
            self._table.head(connection)
            found = list(self._table.of(connection, ids, "text, metadata"))
        return {id_: Record(id_, text, json.loads(metadata)) for id_, text, metadata in found}

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """See `Store.ids`."""
        views = self._views(filter)
        return (view.segment.ids[at] for view, allowed in views for at in _positions(view, allowed).tolist())

    def count(self, filter: str | None = None) -> int:
        """See `Store.count`."""
        return sum(len(_positions(view, allowed)) if filter else view.count for view, allowed in self._views(filter))

    def rows(self, filter: str | None = None, *, vectors: bool = False) -> Iterator[Row]:
        """See `Store.rows`. The numbers of the rows are held, the rows are not."""
        views = self._views(filter)
        numbers = (view.segment.numbers[_positions(view, allowed)].tolist() for view, allowed in views)
        return self._stream(chain.from_iterable(numbers), vectors=vectors)

    def _stream(self, numbers: Iterator[int], *, vectors: bool) -> Iterator[Row]:
        fields = [field for field in self._table.fields if vectors and not isinstance(field, LexicalField)]
        for batch in in_batches(numbers, READ_BATCH // 10 if vectors else READ_BATCH):
            with self._reading() as connection:
                found = self._table.whole(connection, batch, vectors=vectors)
            for id_, text, metadata, hashed, *stored in found:
                made = {field.name: vector_of(field, data) for field, data in zip(fields, stored, strict=True)}
                yield Row(Record(id_, text, json.loads(metadata)), hashed, made)

    # Searching

    def search_dense(
        self, field: str, vectors: Sequence[DenseVector], limit: int, filter: str | None = None
    ) -> list[list[Match]]:
        """See `Store.search_dense`."""
        return self._search(field, DenseField, vectors, limit, filter)

    def search_sparse(
        self, field: str, vectors: Sequence[SparseRow], limit: int, filter: str | None = None
    ) -> list[list[Match]]:
        """See `Store.search_sparse`."""
        return self._search(field, SparseField, vectors, limit, filter)

    def search_lexical(
        self, field: str, queries: Sequence[str], limit: int, filter: str | None = None
    ) -> list[list[Match]]:
        """See `Store.search_lexical`."""
        return self._search(field, LexicalField, queries, limit, filter)

    def score(
        self, field: str, queries: Sequence[Vector] | Sequence[str], ids: Sequence[Sequence[str]]
    ) -> list[dict[str, float]]:
        """See `Store.score`."""
        kind, made = self._fields.get(field), list[Any](queries)
        if isinstance(kind, MultiVectorField):
            return [self._maxsim(kind, query, own) for query, own in zip(made, ids, strict=True)]
        views = self._views(None)
        asked = self._asked(field, made, views)
        return [self._scores(views, field, query, own) for query, own in zip(asked, ids, strict=True)]

    def _search(
        self, field: str, kind: type[Field], queries: Sequence[Any], limit: int, filter_: str | None
    ) -> list[list[Match]]:
        self._check_field(field, kind)
        views = self._views(filter_)
        return [self._best(views, field, limit, asked) for asked in self._asked(field, queries, views)]

    def _asked(self, field: str, queries: Sequence[Any], views: _Views) -> list[tuple[Any, ...]]:
        """For each query what parts take."""
        kind = self._fields.get(field)
        if isinstance(kind, LexicalField):
            return self._weighted(kind, queries, views)
        if isinstance(kind, SparseField):
            check_sparse(queries, "the query")
            return [(query.indices, query.data, None) for query in queries]
        self._check_field(field, DenseField)
        return [(query,) for query in queries]

    def _views(self, filter_: str | None) -> list[tuple[View, Mask | None]]:
        """The rows as they are now, and which of them pass the filter."""
        self._check_open()
        if filter_:
            parsed(filter_)  # even where there are no rows
        return [(view, self._image.allowed(view, filter_)) for view in self._image.current().views if view.count]

    def _best(self, views: _Views, field: str, limit: int, asked: tuple[Any, ...]) -> list[Match]:
        """The best of all views' best."""
        found = [
            (view.segment, *view.segment.parts[field].search(*asked, limit, allowed))  # type: ignore[call-arg]
            for view, allowed in views
        ]
        if not found:
            return []
        scores = np.concatenate([scores for _, _, scores in found])
        ids = [id_ for segment, positions, _ in found for id_ in segment.ids.take(positions)]
        numbers = np.concatenate([segment.numbers[positions] for segment, positions, _ in found]).tolist()
        if len(self._known) > KNOWN:
            self._known = {}
        self._known.update(zip(ids, numbers, strict=True))
        matches = list(map(Match, ids, scores.tolist()))
        return matches if len(found) == 1 else [matches[at] for at in best(scores, limit).tolist()]

    def _weighted(self, field: LexicalField, queries: Sequence[str], views: _Views) -> list[tuple[Any, ...]]:
        """Terms, their weights, and how counts are weighed."""
        parts: list[Any] = [(view.segment.parts[field.name], view) for view, _ in views]
        count = sum(view.count for view, _ in views)
        for part, view in parts:
            if field.name not in view.lengths:
                view.lengths[field.name] = part.length(view.alive)
        average = sum(view.lengths[field.name] for view, _ in views) / max(count, 1)
        made = []
        for terms in field.analyze(queries):
            times = Counter(term_ids(terms))
            known = np.fromiter(times, np.uint32, len(times))
            frequencies = sum((part.frequencies(known, view.alive) for part, view in parts), np.zeros(len(known), int))
            weights = idf_lucene(frequencies, count) * np.fromiter(times.values(), float, len(times))
            there = frequencies > 0
            made.append((known[there], weights[there].astype(np.float32), BM25(average, field.k1, field.b)))
        return made

    def _scores(self, views: _Views, field: str, asked: tuple[Any, ...], ids: Sequence[str]) -> dict[str, float]:
        """The scores of rows in a field, of those that are there."""
        known = self._known
        numbers = {id_: known[id_] for id_ in ids if id_ in known}
        scored = self._scored(views, field, asked, numbers)
        if missing := [id_ for id_ in ids if id_ not in scored]:
            with self._reading() as connection:
                numbers = self._table.numbers(connection, missing)
            scored |= self._scored(views, field, asked, numbers)
        return scored

    def _scored(self, views: _Views, field: str, asked: tuple[Any, ...], numbers: dict[str, int]) -> dict[str, float]:
        ids = list(numbers)
        scored: dict[str, float] = {}
        wanted = np.fromiter(numbers.values(), np.int64, len(ids))
        for view, _ in views:
            positions = view.segment.positions(wanted)
            there = positions >= 0
            if view.alive is not None:
                there[there] = view.alive[positions[there]]
            part: Any = view.segment.parts[field]
            scores = part.score(*asked, positions[there]).tolist()
            scored.update(zip((ids[at] for at in np.flatnonzero(there).tolist()), scores, strict=True))
        return scored

    def _maxsim(self, field: MultiVectorField, query: Any, ids: Sequence[str]) -> dict[str, float]:
        from milvine.local.running.maxsim import maxsim

        with self._reading() as connection:
            self._table.head(connection)
            stored = list(self._table.vectors(connection, field, ids))
        scores = maxsim(query, [vector_of(field, data) for _, data in stored])
        return dict(zip((id_ for id_, _ in stored), scores.tolist(), strict=True))

    def _check_field(self, name: str, kind: type[Field]) -> None:
        if not isinstance(self._fields.get(name), kind):
            what = kind.__name__.removesuffix("Field").lower()
            raise InputError(f"the collection {self._name!r} has no {what} field {name!r}")

    def _reading(self) -> AbstractContextManager[Connection]:
        self._check_open()
        return self._database.reading()

    def _writing(self) -> AbstractContextManager[Connection]:
        self._check_open()
        return self._database.writing(self._timeout)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the collection {self._name!r} of {self._database.path} is closed; open it again")


def _positions(view: View, allowed: Mask | None) -> npt.NDArray[np.int64]:
    return np.arange(len(view.segment)) if allowed is None else np.flatnonzero(allowed)
