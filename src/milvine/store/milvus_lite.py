"""Collections in Milvus Lite: a database in a folder, in this process.

Lexical search is BM25 made of sparse vectors: a row carries its terms' weights without idf, the query brings the idf
of the moment. Milvus Lite's own BM25 is not used, because it counts documents segment by segment: a freshly added
handful of rows would be scored by an idf of its own. Terms are hashed to sparse dimensions, so there is no vocabulary
to keep, and the statistics are counted from the rows when they are first needed: they cannot be lost, nor contradict
the rows.

A weight depends on the mean length of a text, which is not known until all texts are there. Rows are weighted by the
*pivot*, the mean length at the time, kept with the collection. Once the real mean has moved away from it, `flush` sets
a *target*, by which rows are written from then on, and weights all rows anew; when it is done, the target is the pivot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from milvine._records import MAX_ID_BYTES, MAX_TEXT_BYTES, in_batches
from milvine.analysis import NO_TERMS, TermStatistics, document_vectors, query_vectors, term_ids
from milvine.errors import (
    CollectionExistsError,
    CollectionMismatchError,
    CollectionNotFoundError,
    InputError,
    StoreError,
    StoreWriteError,
)
from milvine.store._lite_database import LiteDatabase
from milvine.store.base import DenseField, LexicalField, MakeFields, Match, Row
from milvine.types import DenseVector, Record

CONFIG, PIVOT, TARGET = "milvine.config", "milvine.pivot", "milvine.target"
WRITE_BATCH = 100  # measured: larger inserts are slower by the row
READ_BATCH = 2000
UNFLUSHED_ROWS = 1000  # beyond this a search of rows not yet flushed takes longer than the flush
PIVOT_DRIFT = 1.25
_SURROGATE = re.compile("[\ud800-\udfff]")  # no Unicode text has any, so no row has such an id
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


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
    ) -> None:
        if not name.isidentifier() or not name.isascii() or len(name) > 255:
            raise InputError(
                f"a collection's name must be of letters, digits and underscores, with no digit first, not {name!r}"
            )
        self._name = name
        self._closed = False
        self._database = LiteDatabase.acquire(path, create=config is not None)
        try:
            self.config = self._open(fields, config, must_be_new=must_be_new)
        except BaseException:
            self.close()
            raise

    def _open(self, fields: MakeFields, config: dict[str, Any] | None, *, must_be_new: bool) -> dict[str, Any]:
        with self._reading() as client:
            there = client.list_collections()
            properties = self._properties(client) if self._name in there else {}
        if self._name in there:
            if must_be_new:
                raise CollectionExistsError(
                    f"{self._database.path} already holds a collection {self._name!r}; open it, or choose another name"
                )
            if CONFIG not in properties:
                raise CollectionMismatchError(
                    f"the collection {self._name!r} in {self._database.path} was not made by milvine; use another name"
                )
            config = json.loads(properties[CONFIG])
        if config is None:
            listed = ", ".join(sorted(there)) or "none"
            raise CollectionNotFoundError(
                f"{self._database.path} holds no collection {self._name!r}; its collections: {listed}"
            )
        made = fields(config)
        self._dense = [field for field in made if isinstance(field, DenseField)]
        self._lexical = [field for field in made if isinstance(field, LexicalField)]
        with self._writing() as client:
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
        for dense in self._dense:
            schema.add_field(dense.name, DataType.FLOAT_VECTOR, dim=dense.dim)
        for lexical in self._lexical:
            schema.add_field(lexical.name, DataType.SPARSE_FLOAT_VECTOR)
            schema.add_field(_length(lexical), DataType.INT64)
        properties = {CONFIG: json.dumps(config, ensure_ascii=False)}
        self._database.remove_unfinished(self._name)
        client.create_collection(self._name, schema=schema, properties=properties)
        self._database.unflushed[self._name] = 0
        for lexical in self._lexical:
            self._database.statistics[self._name, lexical.name] = TermStatistics()

    def _load(self, client: Any) -> None:
        """Make the collection searchable; if its maker was killed before its indexes were made, they are made now."""
        indexed = client.list_indexes(self._name)
        index = client.prepare_index_params()
        wanted = [(field.name, "FLAT", "COSINE") for field in self._dense]
        wanted += [(field.name, "SPARSE_INVERTED_INDEX", "IP") for field in self._lexical]
        for name, kind, metric in wanted:
            if name not in indexed:
                index.add_index(name, index_type=kind, metric_type=metric)
        if index:
            client.create_index(self._name, index, sync=False)  # it is done at once; waiting takes half a second each
        client.load_collection(self._name)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Store.write`."""
        latest = list({row.record.id: row for row in rows}.values())
        texts = [row.record.text for row in latest]
        terms = {field.name: [term_ids(one) for one in field.analyze(texts)] for field in self._lexical}
        for batch in in_batches(range(len(latest)), WRITE_BATCH):
            entities = [_entity(latest[at]) for at in batch]
            with self._writing() as client:
                come = {}
                for field in self._lexical:
                    target = self._target(client, field) or self._begin(client, field, terms[field.name])
                    own = [terms[field.name][at] for at in batch]
                    _add_terms(entities, field, own, target)
                    come[field.name] = [(set(ids), len(ids)) for ids in own]
                gone = self._counted(client, [entity["id"] for entity in entities])
                # Here `insert` replaces a row whole, where `upsert` would keep metadata that is no longer there.
                client.insert(self._name, entities)
                self._wrote(len(batch))
                self._count(gone, come)

    def delete(self, ids: Sequence[str]) -> int:
        """See `Store.delete`."""
        deleted = 0
        for batch in in_batches(ids, READ_BATCH):
            with self._writing() as client:
                there = [row["id"] for row in self._rows(client, batch, ["id"])]
                if not there:
                    continue
                gone = self._counted(client, there)
                client.delete(self._name, filter=_id_in(there))
                self._wrote(len(there))
                self._count(gone, {})
            deleted += len(there)
        return deleted

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Store.content_hashes`."""
        with self._reading() as client:
            return {row["id"]: row["content_hash"] for row in self._rows(client, ids, ["id", "content_hash"])}

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """See `Store.get`."""
        records = {}
        with self._reading() as client:
            for row in self._rows(client, ids, ["id", "text", "$meta"]):
                id_, text = row.pop("id"), row.pop("text")
                records[id_] = Record(id_, text, row)
        return records

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """See `Store.ids`."""
        with self._reading(filter) as client:
            return iter(self._ids(client, filter))

    def count(self, filter: str | None = None) -> int:
        """See `Store.count`."""
        with self._reading(filter) as client:
            return int(client.query(self._name, filter=filter or "", output_fields=["count(*)"])[0]["count(*)"])

    def search_dense(
        self,
        field: str,
        vectors: Sequence[DenseVector],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """See `Store.search_dense`."""
        self._flush_if_slow()
        with self._reading(filter) as client:
            return self._search(client, field, list(vectors), limit, filter)

    def search_lexical(
        self,
        field: str,
        queries: Sequence[str],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """See `Store.search_lexical`."""
        self._flush_if_slow()
        lexical = next(known for known in self._lexical if known.name == field)
        terms = [term_ids(query) for query in lexical.analyze(queries)]
        with self._reading(filter) as client:
            vectors = query_vectors(terms, self._statistics(client, lexical))
            # Milvus refuses an empty query; one without a known term finds nothing.
            asked = [at for at in range(len(queries)) if vectors.indptr[at] < vectors.indptr[at + 1]]
            if not asked and filter:
                client.query(self._name, filter=filter, output_fields=["id"], limit=1)  # or a wrong one passes unseen
            found = self._search(client, field, [vectors[at : at + 1] for at in asked], limit, filter)
        matches: list[list[Match]] = [[] for _ in queries]
        for at, one in zip(asked, found, strict=True):
            matches[at] = one
        return matches

    def flush(self) -> None:
        """See `Store.flush`."""
        with self._writing() as client:
            self._flush(client)
        for field in self._lexical:
            with self._reading() as client:
                properties, avgdl = self._properties(client), self._statistics(client, field).avgdl
            pivot, target = (float(properties.get(f"{key}.{field.name}", 0.0)) for key in (PIVOT, TARGET))
            if avgdl and not target / PIVOT_DRIFT <= avgdl <= target * PIVOT_DRIFT:
                self._weight_anew(field, avgdl)
            elif pivot != target:  # whoever began it did not come to the end
                self._weight_anew(field, target)

    def drop(self) -> None:
        """See `Store.drop`."""
        with self._writing() as client:
            client.drop_collection(self._name)
            self._database.unflushed.pop(self._name, None)
            for field in self._lexical:
                self._database.statistics.pop((self._name, field.name), None)
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

    # What follows is called within `_reading` or `_writing`.

    def _properties(self, client: Any) -> dict[str, str]:
        return dict(client.describe_collection(self._name).get("properties", {}))

    def _target(self, client: Any, field: LexicalField) -> float:
        return float(self._properties(client).get(f"{TARGET}.{field.name}", 0.0))

    def _begin(self, client: Any, field: LexicalField, terms: list[list[int]]) -> float:
        """The pivot and target of a collection that has none yet: the mean length of these, its first rows."""
        mean = sum(map(len, terms)) / len(terms) or 1.0
        self._set(client, {f"{key}.{field.name}": repr(mean) for key in (PIVOT, TARGET)})
        return mean

    def _set(self, client: Any, properties: dict[str, str]) -> None:
        client.alter_collection_properties(self._name, properties)

    def _wrote(self, rows: int) -> None:
        if self._name in self._database.unflushed:
            self._database.unflushed[self._name] += rows

    def _flush(self, client: Any) -> None:
        client.flush(self._name)
        self._database.unflushed[self._name] = 0

    def _counted(self, client: Any, ids: list[str]) -> dict[str, list[tuple[set[int], int]]]:
        """For each field whose statistics are known: distinct terms and length of each of these rows that is there."""
        counted = {}
        for field in self._lexical:
            statistics = self._database.statistics.get((self._name, field.name))
            if statistics is not None and statistics.n_documents:
                counted[field.name] = list(self._terms(self._rows(client, ids, [field.name, _length(field)]), field))
        return counted

    def _terms(self, rows: Iterator[dict[str, Any]], field: LexicalField) -> Iterator[tuple[set[int], int]]:
        return ((row[field.name].keys() - {NO_TERMS}, row[_length(field)]) for row in rows)

    def _count(self, gone: dict[str, list[tuple[set[int], int]]], come: dict[str, list[tuple[set[int], int]]]) -> None:
        for field in self._lexical:
            statistics = self._database.statistics.get((self._name, field.name))
            if statistics is None:
                continue
            for terms, length in gone.get(field.name, ()):
                statistics.remove(terms, length)
            for terms, length in come.get(field.name, ()):
                statistics.add(terms, length)

    def _statistics(self, client: Any, field: LexicalField) -> TermStatistics:
        known = self._database.statistics.get((self._name, field.name))
        if known is None:
            known = TermStatistics()
            rows = self._rows(client, self._ids(client, None), [field.name, _length(field)])
            for terms, length in self._terms(rows, field):
                known.add(terms, length)
            self._database.statistics[self._name, field.name] = known
        return known

    def _ids(self, client: Any, filter_: str | None) -> list[str]:
        # Not by Milvus' iterator: it pastes the last id into its next filter, quotes and all.
        return [row["id"] for row in client.query(self._name, filter=filter_ or "", output_fields=["id"])]

    def _rows(self, client: Any, ids: Sequence[str], fields: list[str]) -> Iterator[dict[str, Any]]:
        storable = [id_ for id_ in ids if not _SURROGATE.search(id_)]
        for batch in in_batches(storable, READ_BATCH):
            yield from client.query(self._name, filter=_id_in(batch), output_fields=fields)

    def _search(
        self, client: Any, field: str, vectors: list[Any], limit: int, filter_: str | None
    ) -> list[list[Match]]:
        if not vectors:
            return []
        found = client.search(
            self._name, data=vectors, anns_field=field, limit=limit, filter=filter_ or "", output_fields=["id"]
        )
        return [[Match(hit["id"], float(hit["distance"])) for hit in hits] for hits in found]

    # And this is called outside of them.

    def _flush_if_slow(self) -> None:
        # What an earlier process wrote may not have been flushed either.
        if self._database.unflushed.get(self._name, UNFLUSHED_ROWS + 1) > UNFLUSHED_ROWS:
            with suppress(StoreWriteError):  # on a full disk a search is slow, but it finds
                self.flush()
            self._database.unflushed[self._name] = 0

    def _weight_anew(self, field: LexicalField, target: float) -> None:
        """Give every row the weights of another pivot; others may read and write meanwhile."""
        with self._writing() as client:
            self._set(client, {f"{TARGET}.{field.name}": repr(target)})
            ids = self._ids(client, None)
        for batch in in_batches(ids, WRITE_BATCH):
            with self._writing() as client:
                rows = list(self._rows(client, batch, ["id", "text"]))
                terms = [term_ids(text) for text in field.analyze([row["text"] for row in rows])]
                entities = [{"id": row["id"]} for row in rows]
                _add_terms(entities, field, terms, self._target(client, field))
                if entities:
                    client.upsert(self._name, entities, partial_update=True)
        with self._writing() as client:
            self._flush(client)
            self._set(client, {f"{PIVOT}.{field.name}": repr(target)})


def _length(field: LexicalField) -> str:
    return f"{field.name}_length"


def _entity(row: Row) -> dict[str, Any]:
    record = row.record
    return {**record.metadata, "id": record.id, "text": record.text, "content_hash": row.content_hash, **row.vectors}


def _add_terms(entities: list[dict[str, Any]], field: LexicalField, terms: list[list[int]], pivot: float) -> None:
    weights = document_vectors(terms, pivot, field.k1, field.b)
    for at, (entity, ids) in enumerate(zip(entities, terms, strict=True)):
        # One-row slices: pymilvus misreads a whole csr matrix, and `weights[at]`. A row may not be empty.
        entity[field.name] = weights[at : at + 1] if ids else {NO_TERMS: 1.0}
        entity[_length(field)] = len(ids)


def _id_in(ids: Sequence[str]) -> str:
    """A filter that passes these ids. pymilvus' own `ids=` pastes them in unescaped."""
    return f"id in [{', '.join(_literal(id_) for id_ in ids)}]"


def _literal(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
