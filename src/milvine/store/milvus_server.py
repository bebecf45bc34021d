"""Collections on a Milvus server or cluster.

What is told apart here from Milvus Lite in this process: others write and read at the same time, and the server can go
away. Every write can be repeated without harm, because rows are written and deleted by their ids; so writes wait for a
server that restarts, up to the timeout, and then go on. (Between two attempts another writer may have written the same
id: the last one wins, as it does without.) Reads wait a few seconds.

Consistency: searches and reads ask for the level that the collection was opened with; "Session", the default, shows
what was written through this object. What decides whether something is written or deleted is always read with "Strong".

A server has no need of `flush`: what it acknowledged is in its log, and it builds indexes as segments fill up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from milvine._records import in_batches
from milvine.errors import (
    CollectionExistsError,
    CollectionMismatchError,
    CollectionNotFoundError,
)
from milvine.store._attaching import attached
from milvine.store._rows import CONFIG, Columns, check_sparse, to_entity, to_row
from milvine.store._server_bm25 import ServerBM25, first_pivot
from milvine.store._server_connection import ServerConnection
from milvine.store._server_reading import READ_BATCH, STRONG, ServerReader
from milvine.store._server_schema import (
    check_capable,
    check_partition_key,
    check_partitions,
    consistency_level,
    count_of,
    index_of,
    make_indexes,
    make_schema,
    remake_indexes,
    write_batches,
)
from milvine.store._server_searching import ServerSearches
from milvine.store._vector_types import metric_of, other_types
from milvine.store.base import Call, Field, LexicalField, MakeFields, Match, Row, SparseField, SparseRow, Vector
from milvine.types import DenseVector, Record

PIVOT = "milvine.pivot"
WRITE_BATCH, LITE_BATCH = 500, 100  # rows at once
LOADING = 600.0  # seconds that loading a large collection may take
UNEXPECTED_ERROR = 1  # what Milvus Lite calls all that it did not foresee


class MilvusServerStore:
    """A collection on a Milvus server; see `milvine.store.base.Store` and `milvine.store.open_store`."""

    def __init__(
        self,
        uri: str,
        name: str,
        *,
        fields: MakeFields,
        config: dict[str, Any] | None,
        must_be_new: bool,
        columns: Mapping[str, str] | None,
        options: Mapping[str, Any],
    ) -> None:
        self._name = name
        self._level = consistency_level(options)
        self._replicas, self._shards = count_of(options, "replicas"), count_of(options, "shards")
        self._connection = ServerConnection(uri, options)
        self._timeout = self._connection.timeout
        self._options = {**options, "timeout": self._timeout}
        try:
            self.config = self._open(fields, config, columns, must_be_new=must_be_new)
        except BaseException:
            self.close()
            raise

    def _open(
        self,
        fields: MakeFields,
        config: dict[str, Any] | None,
        columns: Mapping[str, str] | None,
        *,
        must_be_new: bool,
    ) -> dict[str, Any]:
        there = self._described()
        if there is not None and must_be_new:
            raise CollectionExistsError(f"{self._where} is there already; open it, or choose another name")
        if there is None:
            if config is None or columns is not None:
                names = self._connection.read(lambda client: client.list_collections(timeout=self._timeout))
                raise CollectionNotFoundError(
                    f"{self._connection.shown} holds no collection {self._name!r}; its collections:"
                    f" {', '.join(sorted(names)) or 'none'}"
                )
            self._create(fields(config), config)
            # Another process may have been quicker; so what holds is what the server has now.
            there = self._described() or {}
        properties = dict(there.get("properties", {}))
        if columns is not None:
            return self._attach(fields, config or {}, columns, CONFIG in properties)
        if CONFIG not in properties:
            raise CollectionMismatchError(
                f"{self._where} was not made by milvine; use another name, or Collection.attach to search it"
            )
        stored: dict[str, Any] = json.loads(properties[CONFIG])
        self._fields = {field.name: field for field in fields(stored)}
        self._metrics = {name: metric_of(field) for name, field in self._fields.items()}
        keys = [field["name"] for field in there["fields"] if field.get("is_partition_key")]
        self._partition_key = keys[0] if keys else None
        check_partition_key(self._options.get("partition_key"), self._partition_key, self._where)
        self._columns = Columns(types=other_types(self._fields.values()), scalars=tuple(keys))
        self._lexical = {
            name: ServerBM25(field, float(properties.get(f"{PIVOT}.{name}", 0.0)))
            for name, field in self._fields.items()
            if isinstance(field, LexicalField)
        }
        self._begin_reading()
        self._connection.write(self._load)
        return stored

    def _attach(
        self, fields: MakeFields, config: dict[str, Any], roles: Mapping[str, str], own: bool
    ) -> dict[str, Any]:
        if own:
            raise CollectionMismatchError(f"milvine made {self._where}; use Collection.open")
        self._fields = {field.name: field for field in fields(config)}
        self._partition_key, self._lexical = None, {}
        self._columns, self._metrics = self._connection.read(
            lambda client: attached(client, self._name, list(self._fields.values()), roles)
        )
        self._begin_reading()
        self._connection.write(self._load)
        return config

    def _create(self, fields: Sequence[Field], config: dict[str, Any]) -> None:
        check_capable(self._connection, fields, self._options)
        for field in fields:
            index_of(field, fields, self._options)  # a wrong option is refused before anything is made
        schema = make_schema(fields, self._options)
        shards = {} if self._shards is None else {"num_shards": self._shards}
        self._connection.write(
            lambda client: client.create_collection(
                self._name,
                schema=schema,
                properties={CONFIG: json.dumps(config, ensure_ascii=False)},
                consistency_level=STRONG,  # that of reading everything; all else says what it wants
                timeout=self._timeout,
                **shards,
            )
        )

    def _load(self, client: Any) -> None:
        """Make the collection searchable; if its maker was killed before its indexes were made, they are made now."""
        make_indexes(client, self._name, list(self._fields.values()), self._columns, self._metrics, self._options)
        if str(client.get_load_state(self._name, timeout=self._timeout)["state"]) == "Loaded":
            return
        from pymilvus.exceptions import MilvusException

        replicas = {} if self._replicas is None else {"replica_number": self._replicas}
        options = {"timeout": max(self._timeout, LOADING), **replicas}
        try:
            client.load_collection(self._name, **options)
        except MilvusException as error:
            if not self._connection.is_lite or error.code != UNEXPECTED_ERROR:
                raise
            # As in LiteDatabase.load: the server was killed within an index file, and drops it with the index.
            remake_indexes(client, self._name, self._timeout)
            client.load_collection(self._name, **options)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Store.write`."""
        latest = list({row.record.id: row for row in rows}.values())
        for name, field in self._fields.items():
            if isinstance(field, SparseField):
                check_sparse((row.vectors[name] for row in latest), f"{name!r} of row")
        self._columns.check_writable(row.record for row in latest)
        if self._partition_key is not None:
            check_partitions(latest, self._partition_key)
        for batch in write_batches(latest, LITE_BATCH if self._connection.is_lite else WRITE_BATCH):
            self._connection.write(self._put(self.entities(batch)))
            for lexical in self._lexical.values():
                lexical.wrote(len(batch))

    def entities(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Rows as the client takes them, with what lexical fields keep."""
        entities = [to_entity(row, self._columns) for row in rows]
        for lexical in self._lexical.values():
            terms = lexical.terms([row.record.text for row in rows])
            if not lexical.pivot:
                lexical.pivot = self._first_pivot(lexical, terms)
            lexical.weigh(entities, terms)
        return entities

    def _put(self, entities: list[dict[str, Any]]) -> Callable[[Any], Any]:
        def put(client: Any) -> Any:
            # A server would keep both rows after `insert`. Milvus Lite keeps one, and the former's metadata after
            # `upsert`.
            method = client.insert if self._connection.is_lite else client.upsert
            return method(self._name, entities, timeout=self._timeout)

        return put

    def _remove(self, filter_: str) -> Callable[[Any], Any]:
        return lambda client: client.delete(self._name, filter=filter_, timeout=self._timeout)

    def _first_pivot(self, lexical: ServerBM25, terms: Sequence[Sequence[int]]) -> float:
        key = f"{PIVOT}.{lexical.field.name}"

        def stored() -> float:
            return float(dict((self._described() or {}).get("properties", {})).get(key, 0.0))

        if there := stored():  # by another process, since this one opened the collection
            return there
        properties = {key: repr(first_pivot(terms))}
        self._connection.write(
            lambda client: client.alter_collection_properties(self._name, properties, timeout=self._timeout)
        )
        return stored()

    def delete(self, ids: Sequence[str]) -> int:
        """See `Store.delete`."""
        deleted = 0
        key = self._columns.id
        for batch in in_batches(self._columns.keys(ids), READ_BATCH):
            there = [row[key] for row in self._reader.fetch(batch, [key], for_write=True)]
            if not there:
                continue
            self._connection.write(self._remove(self._columns.id_in(there)))
            self._reader.deleted()
            for lexical in self._lexical.values():
                lexical.wrote(len(there))
            deleted += len(there)
        return deleted

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Store.content_hashes`."""
        columns = self._columns
        rows = self._reader.fetch(columns.keys(ids), columns.hashed, for_write=True)
        return {str(row[columns.id]): columns.to_hash(row) for row in rows}

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """See `Store.get`."""
        return self._reader.run(self._searches.get(ids))

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """See `Store.ids`."""
        self._reader.check_filter(filter)
        return map(str, self._reader.keys(filter))

    def count(self, filter: str | None = None) -> int:
        """See `Store.count`."""
        return self._reader.count(filter)

    def rows(self, filter: str | None = None, *, vectors: bool = False) -> Iterator[Row]:
        """See `Store.rows`."""
        self._reader.check_filter(filter)
        return self._all_rows(filter, vectors)

    def _all_rows(self, filter_: str | None, vectors: bool) -> Iterator[Row]:
        columns = self._columns
        stored = [field for field in self._fields.values() if vectors and not isinstance(field, LexicalField)]
        names = [*columns.record, *(columns.vector(field.name) for field in stored)]
        names += [columns.content_hash] if columns.content_hash else []
        return (to_row(row, columns, stored) for row in self._reader.fetch_all(names, filter_))

    def search_dense(
        self,
        field: str,
        vectors: Sequence[DenseVector],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """See `Store.search_dense`."""
        return self._reader.run(self._searches.search_dense(field, vectors, limit, filter))

    def search_sparse(
        self,
        field: str,
        vectors: Sequence[SparseRow],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """See `Store.search_sparse`."""
        return self._reader.run(self._searches.search_sparse(field, vectors, limit, filter))

    def search_lexical(
        self,
        field: str,
        queries: Sequence[str],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """See `Store.search_lexical`."""
        return self._reader.run(self._searches.search_lexical(field, queries, limit, filter))

    def score(
        self,
        field: str,
        queries: Sequence[Vector] | Sequence[str],
        ids: Sequence[Sequence[str]],
    ) -> list[dict[str, float]]:
        """See `Store.score`."""
        return self._reader.run(self._searches.score(field, queries, ids))

    async def ask(self, calls: Sequence[Call]) -> list[Any]:
        """See `AsyncStore.ask`."""
        steps = (getattr(self._searches, call.method)(*call.arguments) for call in calls)
        return await self._connection.together([partial(self._reader.arun, one) for one in steps])

    def flush(self) -> None:
        """See `Store.flush`."""
        if self._connection.is_lite:
            self._connection.write(lambda client: client.flush(self._name, timeout=self._timeout))

    def drop(self) -> None:
        """See `Store.drop`."""
        self._connection.write(lambda client: client.drop_collection(self._name, timeout=self._timeout))
        self.close()

    def close(self) -> None:
        """See `Store.close`."""
        self._connection.close()

    @property
    def _where(self) -> str:
        return f"the collection {self._name!r} on {self._connection.shown}"

    def _begin_reading(self) -> None:
        self._reader = ServerReader(self._connection, self._name, self._columns, self._level, self._load)
        self._searches = ServerSearches(
            self._reader, self._name, self._fields, self._metrics, self._lexical, self._options
        )

    def _described(self) -> dict[str, Any] | None:
        def describe(client: Any) -> dict[str, Any] | None:
            if not client.has_collection(self._name, timeout=self._timeout):
                return None
            described: dict[str, Any] = client.describe_collection(self._name, timeout=self._timeout)
            return described

        return self._connection.read(describe)
