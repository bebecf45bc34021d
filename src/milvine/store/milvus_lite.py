"""Collections in Milvus Lite: a database in a folder, in this process.

Lexical search is BM25 made of sparse vectors: a row carries its terms' weights without idf, the query brings the idf
of the moment. Milvus Lite's own BM25 is not used, because it counts documents segment by segment: a freshly added
handful of rows would be scored by an idf of its own. Terms are hashed to sparse dimensions, so there is no vocabulary
to keep, and the statistics are counted from the rows when they are first needed: they cannot be lost, nor contradict
the rows.

A weight depends on the mean length of a text, which is not known until all texts are there. Rows are weighted by the
*pivot*, the mean length at the time, kept with the collection; once the real mean has moved away from it, `flush`
weights all rows anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from milvine._records import MAX_ID_BYTES, MAX_TEXT_BYTES
from milvine.analysis import NO_TERMS, TermStatistics, document_vectors, query_vectors, term_ids
from milvine.errors import CollectionMismatchError, CollectionNotFoundError, InputError
from milvine.store._lite_database import LiteDatabase
from milvine.store.base import DenseField, LexicalField, Match, Row
from milvine.types import DenseVector, Record

if TYPE_CHECKING:
    from milvine.store.opening import Fields

CONFIG, PIVOT = "milvine.config", "milvine.pivot"
WRITE_BATCH = 100  # measured: larger inserts are slower by the row
READ_BATCH = 2000
UNFLUSHED_ROWS = 1000  # beyond this a search of rows not yet flushed takes longer than the flush
PIVOT_DRIFT = 1.25

Item = TypeVar("Item")


class MilvusLiteStore:
    """A collection in a Milvus Lite database; see `milvine.store.base.Store` and `milvine.store.open_store`."""

    def __init__(self, path: Path, name: str, *, fields: Any, config: dict[str, Any] | None, create: bool) -> None:
        if not name.isidentifier() or not name.isascii() or len(name) > 255:
            raise InputError(
                f"a collection's name must be of letters, digits and underscores, with no digit first, not {name!r}"
            )
        self._name = name
        self._database = LiteDatabase.acquire(path, create=create)
        try:
            self.config = self._open(fields, config)
        except BaseException:
            self._database.release()
            raise
        self._closed = False
        # What an earlier process wrote may not have been flushed.
        self._unflushed = UNFLUSHED_ROWS + 1

    def _open(self, fields: Any, config: dict[str, Any] | None) -> dict[str, Any]:
        with self._database.reading() as client:
            exists = client.has_collection(self._name)
            there = client.list_collections()
        if not exists:
            if config is None:
                listed = ", ".join(sorted(there)) or "none"
                raise CollectionNotFoundError(
                    f"{self._database.path} holds no collection {self._name!r}; its collections: {listed}"
                )
            self._set_fields(fields(config))
            self._create(config)
            return config
        properties = self._properties()
        if CONFIG not in properties:
            raise CollectionMismatchError(
                f"the collection {self._name!r} in {self._database.path} was not made by milvine; use another name"
            )
        stored: dict[str, Any] = json.loads(properties[CONFIG])
        self._set_fields(fields(stored))
        with self._database.reading() as client:
            client.load_collection(self._name)
        return stored

    def _set_fields(self, fields: Fields) -> None:
        self._dense = [field for field in fields if isinstance(field, DenseField)]
        self._lexical = [field for field in fields if isinstance(field, LexicalField)]

    def _create(self, config: dict[str, Any]) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
        schema.add_field("text", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
        schema.add_field("content_hash", DataType.VARCHAR, max_length=64)
        index = MilvusClient.prepare_index_params()
        for dense in self._dense:
            schema.add_field(dense.name, DataType.FLOAT_VECTOR, dim=dense.dim)
            index.add_index(dense.name, index_type="FLAT", metric_type="COSINE")
        for lexical in self._lexical:
            schema.add_field(lexical.name, DataType.SPARSE_FLOAT_VECTOR)
            schema.add_field(_length(lexical), DataType.INT64)
            index.add_index(lexical.name, index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        with self._database.writing() as client:
            properties = {CONFIG: json.dumps(config, ensure_ascii=False)}
            client.create_collection(self._name, schema=schema, index_params=index, properties=properties)
        for lexical in self._lexical:
            self._database.statistics[self._name, lexical.name] = TermStatistics()

    def write(self, rows: Sequence[Row]) -> None:
        """See `Store.write`."""
        rows = list({row.record.id: row for row in rows}.values())
        for batch in _batches(iter(rows), WRITE_BATCH):
            with self._database.writing() as client:
                entities = [self._entity(row) for row in batch]
                for field in self._lexical:
                    self._count_out(field, [row.record.id for row in batch])
                    self._add_terms(field, batch, entities)
                # Here `insert` replaces a row whole, where `upsert` would keep metadata that is no longer there.
                client.insert(self._name, entities)
            self._unflushed += len(batch)

    def delete(self, ids: Sequence[str]) -> int:
        """See `Store.delete`."""
        there = list(self.content_hashes(ids))
        for batch in _batches(iter(there), READ_BATCH):
            with self._database.writing() as client:
                for field in self._lexical:
                    self._count_out(field, batch)
                client.delete(self._name, ids=batch)
        self._unflushed += len(there)
        return len(there)

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Store.content_hashes`."""
        return {row["id"]: row["content_hash"] for row in self._rows(ids, ["id", "content_hash"])}

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """See `Store.get`."""
        records = {}
        for row in self._rows(ids, ["id", "text", "$meta"]):
            id_, text = row.pop("id"), row.pop("text")
            records[id_] = Record(id_, text, row)
        return records

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """See `Store.ids`."""
        return (row["id"] for row in self._iterate(["id"], filter))

    def count(self, filter: str | None = None) -> int:
        """See `Store.count`."""
        with self._database.reading(filter) as client:
            return int(client.query(self._name, filter=filter or "", output_fields=["count(*)"])[0]["count(*)"])

    def search_dense(
        self,
        field: str,
        vectors: Sequence[DenseVector],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """See `Store.search_dense`."""
        return self._search(field, list(vectors), limit, filter)

    def search_lexical(
        self,
        field: str,
        queries: Sequence[str],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """See `Store.search_lexical`."""
        lexical = next(known for known in self._lexical if known.name == field)
        terms = [term_ids(query) for query in lexical.analyze(queries)]
        vectors = query_vectors(terms, self._statistics(lexical))
        # Milvus refuses an empty query; one without a known term finds nothing.
        asked = [at for at in range(len(queries)) if vectors.indptr[at] < vectors.indptr[at + 1]]
        found = iter(self._search(field, [vectors[at : at + 1] for at in asked], limit, filter))
        return [next(found) if at in set(asked) else [] for at in range(len(queries))]

    def flush(self) -> None:
        """See `Store.flush`."""
        with self._database.writing() as client:
            client.flush(self._name)
        self._unflushed = 0
        for field in self._lexical:
            avgdl, pivot = self._statistics(field).avgdl, self._pivot(field)
            if avgdl and not pivot / PIVOT_DRIFT <= avgdl <= pivot * PIVOT_DRIFT:
                self._weight_anew(field, avgdl)

    def drop(self) -> None:
        """See `Store.drop`."""
        with self._database.writing() as client:
            client.drop_collection(self._name)
            for field in self._lexical:
                self._database.statistics.pop((self._name, field.name), None)
        self.close()

    def close(self) -> None:
        """See `Store.close`."""
        if not self._closed:
            self._closed = True
            self._database.release()

    def _entity(self, row: Row) -> dict[str, Any]:
        record = row.record
        fixed = {"id": record.id, "text": record.text, "content_hash": row.content_hash}
        return {**record.metadata, **fixed, **row.vectors}

    def _add_terms(self, field: LexicalField, rows: Sequence[Row], entities: list[dict[str, Any]]) -> None:
        terms = [term_ids(text) for text in field.analyze([row.record.text for row in rows])]
        lengths = [len(ids) for ids in terms]
        pivot = self._pivot(field) or self._set_pivot(field, sum(lengths) / len(lengths) or 1.0)
        statistics = self._database.statistics.get((self._name, field.name))
        for entity, ids, vector in zip(entities, terms, _sparse_rows(field, terms, pivot), strict=True):
            entity[field.name], entity[_length(field)] = vector, len(ids)
            if statistics is not None:
                statistics.add(set(ids), len(ids))

    def _count_out(self, field: LexicalField, ids: Sequence[str]) -> None:
        """Take rows that are about to go out of the statistics."""
        statistics = self._database.statistics.get((self._name, field.name))
        if statistics is not None and statistics.n_documents:
            for row in self._rows(ids, [field.name, _length(field)]):
                statistics.remove(row[field.name].keys() - {NO_TERMS}, row[_length(field)])

    def _statistics(self, field: LexicalField) -> TermStatistics:
        with self._database.lock:
            known = self._database.statistics.get((self._name, field.name))
            if known is None:
                known = TermStatistics()
                for row in self._iterate([field.name, _length(field)]):
                    known.add(row[field.name].keys() - {NO_TERMS}, row[_length(field)])
                self._database.statistics[self._name, field.name] = known
            return known

    def _weight_anew(self, field: LexicalField, pivot: float) -> None:
        """Give every row the weights of another pivot. Killed halfway, the next flush begins again."""
        for rows in _batches(self._iterate(["id", "text"]), READ_BATCH):
            terms = [term_ids(text) for text in field.analyze([row["text"] for row in rows])]
            entities = [
                {"id": row["id"], field.name: vector}
                for row, vector in zip(rows, _sparse_rows(field, terms, pivot), strict=True)
            ]
            for batch in _batches(iter(entities), WRITE_BATCH):
                with self._database.writing() as client:
                    client.upsert(self._name, batch, partial_update=True)
        self._set_pivot(field, pivot)
        with self._database.writing() as client:
            client.flush(self._name)

    def _pivot(self, field: LexicalField) -> float:
        return float(self._properties().get(f"{PIVOT}.{field.name}", 0.0))

    def _set_pivot(self, field: LexicalField, pivot: float) -> float:
        with self._database.writing() as client:
            client.alter_collection_properties(self._name, {f"{PIVOT}.{field.name}": repr(pivot)})
        return pivot

    def _properties(self) -> dict[str, str]:
        with self._database.reading() as client:
            return dict(client.describe_collection(self._name).get("properties", {}))

    def _rows(self, ids: Sequence[str], fields: list[str]) -> Iterator[dict[str, Any]]:
        for batch in _batches(iter(ids), READ_BATCH):
            with self._database.reading() as client:
                yield from client.query(self._name, ids=batch, output_fields=fields)

    def _iterate(self, fields: list[str], filter_: str | None = None) -> Iterator[dict[str, Any]]:
        with self._database.reading(filter_) as client:
            iterator = client.query_iterator(
                self._name, batch_size=READ_BATCH, filter=filter_ or "", output_fields=fields
            )
        try:
            while True:
                with self._database.reading(filter_):
                    rows = iterator.next()
                if not rows:
                    return
                yield from rows
        finally:
            iterator.close()

    def _search(self, field: str, vectors: list[Any], limit: int, filter_: str | None) -> list[list[Match]]:
        if not vectors:
            return []
        if self._unflushed > UNFLUSHED_ROWS:
            self.flush()
        with self._database.reading(filter_) as client:
            found = client.search(
                self._name, data=vectors, anns_field=field, limit=limit, filter=filter_ or "", output_fields=["id"]
            )
        return [[Match(hit["id"], float(hit["distance"])) for hit in hits] for hits in found]


def _length(field: LexicalField) -> str:
    return f"{field.name}_length"


def _sparse_rows(field: LexicalField, terms: list[list[int]], pivot: float) -> Iterator[Any]:
    """One row a text, as Milvus takes them; a row may not be empty."""
    weights = document_vectors(terms, pivot, field.k1, field.b)
    for at, ids in enumerate(terms):
        # One-row slices: pymilvus misreads a whole csr matrix, and `weights[at]`.
        yield weights[at : at + 1] if ids else {NO_TERMS: 1.0}


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch
