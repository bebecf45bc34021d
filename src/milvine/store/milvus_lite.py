"""Collections in Milvus Lite: a database in a folder, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from milvine._records import MAX_ID_BYTES, MAX_TEXT_BYTES, in_batches
from milvine.analysis import TermStatistics
from milvine.errors import (
    CollectionExistsError,
    CollectionMismatchError,
    CollectionNotFoundError,
    InputError,
    StoreError,
    StoreWriteError,
)
from milvine.store._attaching import attached
from milvine.store._lite_bm25 import LiteBM25, has_drifted, mean_length
from milvine.store._lite_database import LiteDatabase
from milvine.store._rows import CONFIG, Columns, check_sparse, to_entity, to_row, to_sparse
from milvine.store._vector_types import check_lite, metric_of, to_score
from milvine.store.base import DenseField, Field, LexicalField, MakeFields, Match, Row, SparseField, SparseRow, Vector
from milvine.types import DenseVector, Record

WRITE_BATCH = 100  # measured: larger inserts are slower by the row
READ_BATCH = 2000
UNFLUSHED_ROWS = 1000  # beyond this a search of rows not yet flushed takes longer than the flush
DENSE_INDEX, SPARSE_INDEX = "FLAT", "SPARSE_INVERTED_INDEX"


class MilvusLiteStore:
    """A collection in a Milvus Lite database; see `milvine.store.base.Store` and `milvine.store.open_store`."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        fields: MakeFields,
        config: dict[str, Any] | None,
        must_be_new: bool,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._closed = False
        if config is not None and columns is None and not path.expanduser().exists():
            check_lite(fields(config))  # so that no database is made in vain
        self._database = LiteDatabase.acquire(path, create=config is not None and columns is None)
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
        with self._reading() as client:
            there = client.list_collections()
            properties = self._properties(client) if self._name in there else {}
        if self._name in there and columns is None:
            if must_be_new:
                raise CollectionExistsError(
                    f"{self._database.path} already holds a collection {self._name!r}; open it, or choose another name"
                )
            if CONFIG not in properties:
                raise CollectionMismatchError(
                    f"the collection {self._name!r} in {self._database.path} was not made by milvine; use another name,"
                    " or Collection.attach to search it"
                )
            config = json.loads(properties[CONFIG])
        if config is None or (columns is not None and self._name not in there):
            listed = ", ".join(sorted(there)) or "none"
            raise CollectionNotFoundError(
                f"{self._database.path} holds no collection {self._name!r}; its collections: {listed}"
            )
        if CONFIG in properties and columns is not None:
            raise CollectionMismatchError(f"milvine made the collection {self._name!r}; use Collection.open")
        self._fields: dict[str, Field] = {field.name: field for field in fields(config)}
        if columns is None:
            check_lite(list(self._fields.values()))
        self._metrics = {name: metric_of(field) for name, field in self._fields.items()}
        lexical = next((field for field in self._fields.values() if isinstance(field, LexicalField)), None)
        self._bm25 = None if lexical is None else LiteBM25(self._database, self._name, lexical)
        self._columns = Columns()
        with self._writing() as client:
            if columns is not None:
                self._columns, self._metrics = attached(client, self._name, list(self._fields.values()), columns)
                self._database.load(self._name)
            else:
                if not client.has_collection(self._name):
                    self._create(client, config)
                self._load(client)
        return config

    def _create(self, client: Any, config: dict[str, Any]) -> None:
        from pymilvus import DataType

        schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
        schema.add_field("text", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
        schema.add_field("content_hash", DataType.VARCHAR, max_length=64)
        for field in self._fields.values():
            if isinstance(field, DenseField):
                schema.add_field(field.name, DataType.FLOAT_VECTOR, dim=field.dim)
            else:
                schema.add_field(field.name, DataType.SPARSE_FLOAT_VECTOR)
        if self._bm25:
            schema.add_field(self._bm25.columns[1], DataType.INT64)
        properties = {CONFIG: json.dumps(config, ensure_ascii=False)}
        self._database.remove_unfinished(self._name)
        client.create_collection(self._name, schema=schema, properties=properties)
        self._database.unflushed[self._name] = 0
        if self._bm25:
            self._bm25.begin(TermStatistics())

    def _load(self, client: Any) -> None:
        """Make the collection searchable; if its maker was killed before its indexes were made, they are made now."""
        indexed = client.list_indexes(self._name)
        index = client.prepare_index_params()
        for field in self._fields.values():
            if field.name not in indexed:
                kind = DENSE_INDEX if isinstance(field, DenseField) else SPARSE_INDEX
                index.add_index(field.name, index_type=kind, metric_type=self._metrics[field.name])
        if index:
            client.create_index(self._name, index, sync=False)  # it is done at once; waiting takes half a second each
        self._database.load(self._name)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Store.write`."""
        latest = list({row.record.id: row for row in rows}.values())
        for field in self._fields.values():
            if isinstance(field, SparseField):
                check_sparse((row.vectors[field.name] for row in latest), f"{field.name!r} of row")
        self._columns.check_writable(row.record for row in latest)
        terms = self._bm25.terms([row.record.text for row in latest]) if self._bm25 else []
        for batch in in_batches(range(len(latest)), WRITE_BATCH):
            entities = [to_entity(latest[at], self._columns) for at in batch]
            own = [terms[at] for at in batch] if self._bm25 else []
            with self._writing() as client:
                if self._bm25:
                    self._bm25.weigh(client, entities, own, mean_length(terms))
                gone = self._counted(client, [entity[self._columns.id] for entity in entities])
                # Here `insert` replaces a row whole, where `upsert` would keep metadata that is no longer there.
                client.insert(self._name, entities)
                self._wrote(len(batch))
                if self._bm25:
                    self._bm25.count(gone, [(set(ids), len(ids)) for ids in own])

    def delete(self, ids: Sequence[str]) -> int:
        """See `Store.delete`."""
        deleted = 0
        key = self._columns.id
        for batch in in_batches(self._columns.keys(ids), READ_BATCH):
            with self._writing() as client:
                there = [row[key] for row in self._rows(client, batch, [key])]
                if not there:
                    continue
                gone = self._counted(client, there)
                client.delete(self._name, filter=self._columns.id_in(there))
                self._wrote(len(there))
                if self._bm25:
                    self._bm25.count(gone, [])
            deleted += len(there)
        return deleted

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Store.content_hashes`."""
        columns = self._columns
        with self._reading() as client:
            found = self._rows(client, columns.keys(ids), columns.hashed)
            return {str(row[columns.id]): columns.to_hash(row) for row in found}

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """See `Store.get`."""
        with self._reading() as client:
            found = self._rows(client, self._columns.keys(ids), self._columns.record)
            records = [self._columns.to_record(row) for row in found]
        return {record.id: record for record in records}

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """See `Store.ids`."""
        with self._reading(filter) as client:
            return map(str, self._ids(client, filter))

    def count(self, filter: str | None = None) -> int:
        """See `Store.count`."""
        with self._reading(filter) as client:
            return int(client.query(self._name, filter=filter or "", output_fields=["count(*)"])[0]["count(*)"])

    def rows(self, filter: str | None = None, *, vectors: bool = False) -> Iterator[Row]:
        """See `Store.rows`. The ids are held, the rows are not."""
        with self._reading(filter) as client:
            ids = self._ids(client, filter)
        return self._stream(ids, vectors=vectors)

    def _stream(self, ids: list[Any], *, vectors: bool) -> Iterator[Row]:
        columns = self._columns
        fields = [field for field in self._fields.values() if vectors and not isinstance(field, LexicalField)]
        names = [*columns.record, *(columns.vector(field.name) for field in fields)]
        names += [columns.content_hash] if columns.content_hash else []
        for batch in in_batches(ids, WRITE_BATCH if vectors else READ_BATCH):
            with self._reading() as client:
                found = list(self._rows(client, batch, names))
            yield from (to_row(row, columns, fields) for row in found)

    def search_dense(
        self, field: str, vectors: Sequence[DenseVector], limit: int, filter: str | None = None
    ) -> list[list[Match]]:
        """See `Store.search_dense`."""
        self._flush_if_slow()
        with self._reading(filter) as client:
            return self._search(client, field, list(vectors), limit, filter)

    def search_sparse(
        self, field: str, vectors: Sequence[SparseRow], limit: int, filter: str | None = None
    ) -> list[list[Match]]:
        """See `Store.search_sparse`."""
        check_sparse(vectors, "the query")
        self._flush_if_slow()
        with self._reading(filter) as client:
            return self._search_sparse(client, field, list(vectors), limit, filter)

    def search_lexical(
        self, field: str, queries: Sequence[str], limit: int, filter: str | None = None
    ) -> list[list[Match]]:
        """See `Store.search_lexical`."""
        self._flush_if_slow()
        bm25 = self._lexical(field)
        terms = bm25.terms(queries)
        with self._reading(filter) as client:
            return self._search_sparse(client, field, bm25.queries(terms, self._statistics(client)), limit, filter)

    def score(
        self,
        field: str,
        queries: Sequence[Vector] | Sequence[str],
        ids: Sequence[Sequence[str]],
    ) -> list[dict[str, float]]:
        """See `Store.score`."""
        key, column = self._columns.id, self._columns.vector(field)
        made: Any = queries
        is_lexical = isinstance(self._fields[field], LexicalField)
        terms = self._lexical(field).terms(made) if is_lexical else []
        wanted = self._columns.keys(dict.fromkeys(id_ for some in ids for id_ in some))
        with self._reading() as client:
            if is_lexical:
                made = self._lexical(field).queries(terms, self._statistics(client))
            stored = {str(row[key]): row[column] for row in self._rows(client, wanted, [key, column])}
        scores, metric = self._columns.scores, self._metrics[field]
        return [scores(field, query, stored, some, metric) for query, some in zip(made, ids, strict=True)]

    def flush(self) -> None:
        """See `Store.flush`."""
        with self._writing() as client:
            self._flush(client)
        if self._bm25:
            with self._reading() as client:
                mean = self._statistics(client).avgdl
                pivot, target = self._bm25.pivots(client)
            if has_drifted(mean, target):
                self._weigh_anew(self._bm25, mean)
            elif pivot != target:  # whoever began it did not come to the end
                self._weigh_anew(self._bm25, target)

    def drop(self) -> None:
        """See `Store.drop`."""
        with self._writing() as client:
            client.drop_collection(self._name)
            self._database.unflushed.pop(self._name, None)
            if self._bm25:
                self._bm25.forget()
        self.close()

    def close(self) -> None:
        """See `Store.close`."""
        if not self._closed:
            self._closed = True
            self._database.release()

    def _reading(self, filter_: str | None = None) -> AbstractContextManager[Any]:
        self._check_open()
        return self._database.reading(filter_)

    def _writing(self) -> AbstractContextManager[Any]:
        self._check_open()
        return self._database.writing()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the collection {self._name!r} of {self._database.path} is closed; open it again")

    def _lexical(self, field: str) -> LiteBM25:
        if self._bm25 is None or self._bm25.field.name != field:
            raise InputError(f"the collection {self._name!r} has no lexical field {field!r}")
        return self._bm25

    # What follows is called within `_reading` or `_writing`.

    def _properties(self, client: Any) -> dict[str, str]:
        return dict(client.describe_collection(self._name).get("properties", {}))

    def _wrote(self, rows: int) -> None:
        if self._name in self._database.unflushed:
            self._database.unflushed[self._name] += rows

    def _flush(self, client: Any) -> None:
        client.flush(self._name)
        self._database.unflushed[self._name] = 0

    def _counted(self, client: Any, keys: list[Any]) -> list[tuple[set[int], int]]:
        """Terms and length of each of these rows that is there, if the statistics are known."""
        if not self._bm25 or not self._bm25.counts:
            return []
        return list(self._bm25.counted(self._rows(client, keys, self._bm25.columns)))

    def _statistics(self, client: Any) -> TermStatistics:
        return self._bm25.statistics(self._all(client, self._bm25.columns)) if self._bm25 else TermStatistics()

    def _ids(self, client: Any, filter_: str | None) -> list[Any]:
        # Not by Milvus' iterator: it pastes the last id into its next filter, quotes and all.
        key = self._columns.id
        return [row[key] for row in client.query(self._name, filter=filter_ or "", output_fields=[key])]

    def _all(self, client: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
        yield from self._rows(client, self._ids(client, None), columns)

    def _rows(self, client: Any, keys: Sequence[Any], columns: list[str]) -> Iterator[dict[str, Any]]:
        for batch in in_batches(keys, READ_BATCH):
            yield from client.query(self._name, filter=self._columns.id_in(batch), output_fields=columns)

    def _search(
        self, client: Any, field: str, vectors: list[Any], limit: int, filter_: str | None
    ) -> list[list[Match]]:
        if not vectors:
            return []
        key, column, metric = self._columns.id, self._columns.vector(field), self._metrics[field]
        found = client.search(
            self._name, data=vectors, anns_field=column, limit=limit, filter=filter_ or "", output_fields=[key]
        )
        return [[Match(str(hit[key]), to_score(float(hit["distance"]), metric)) for hit in hits] for hits in found]

    def _search_sparse(
        self, client: Any, field: str, rows: list[SparseRow], limit: int, filter_: str | None
    ) -> list[list[Match]]:
        # Milvus refuses an empty query; one without a known term finds nothing.
        asked = [at for at, row in enumerate(rows) if row.data.any()]
        if not asked and filter_:  # or a wrong one passes unseen
            client.query(self._name, filter=filter_, output_fields=[self._columns.id], limit=1)
        found = self._search(client, field, [to_sparse(rows[at]) for at in asked], limit, filter_)
        matches: list[list[Match]] = [[] for _ in rows]
        for at, one in zip(asked, found, strict=True):
            matches[at] = [match for match in one if match.score > 0]
        return matches

    # And these are called outside of them.

    def _flush_if_slow(self) -> None:
        # What an earlier process wrote may not have been flushed either.
        if self._database.unflushed.get(self._name, UNFLUSHED_ROWS + 1) > UNFLUSHED_ROWS:
            with suppress(StoreWriteError):  # on a full disk a search is slow, but it finds
                self.flush()
            self._database.unflushed[self._name] = 0

    def _weigh_anew(self, bm25: LiteBM25, target: float) -> None:
        """Give every row the weights of another pivot; others may read and write meanwhile."""
        with self._writing() as client:
            bm25.set_pivots(client, target=target)
            ids = self._ids(client, None)
        for batch in in_batches(ids, WRITE_BATCH):
            with self._writing() as client:
                rows = list(self._rows(client, batch, ["id", "text"]))
                entities = [{"id": row["id"]} for row in rows]
                bm25.weigh(client, entities, bm25.terms([row["text"] for row in rows]), target)
                if entities:
                    client.upsert(self._name, entities, partial_update=True)
        with self._writing() as client:
            self._flush(client)
            bm25.set_pivots(client, pivot=target)
