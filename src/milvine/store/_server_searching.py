"""What a search of a collection on a server asks, step by step, for `search` and `asearch` alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from milvine.store._rows import check_sparse
from milvine.store._server_bm25 import ServerBM25
from milvine.store._server_reading import Ask, ServerReader, Steps
from milvine.store._vector_types import to_score
from milvine.store.base import Field, Match, SparseRow, Vector
from milvine.types import DenseVector, Record


class ServerSearches:
    """The steps of those methods of `Store` that a search calls, which explains them.

    Args:
        reader: Reads the collection.
        name: The collection.
        fields: Its fields, by name.
        metrics: What Milvus calls the metric of each.
        lexical: Its lexical fields.
        options: The collection's `StoreOptions`.
    """

    def __init__(
        self,
        reader: ServerReader,
        name: str,
        fields: Mapping[str, Field],
        metrics: Mapping[str, str],
        lexical: Mapping[str, ServerBM25],
        options: Mapping[str, Any],
    ) -> None:
        self._reader, self._columns, self._name = reader, reader.columns, name
        self._fields, self._metrics, self._lexical = fields, metrics, lexical
        self._timeout: float = options["timeout"]
        params = options.get("search_params")
        self._params = {"params": dict(params)} if params else None

    def get(self, ids: Sequence[str]) -> Steps[dict[str, Record]]:
        """See `Store.get`."""
        columns = self._columns
        found = yield from self._reader.fetched(columns.keys(ids), columns.record)
        return {record.id: record for record in map(columns.to_record, found)}

    def score(
        self, field: str, queries: Sequence[Vector] | Sequence[str], ids: Sequence[Sequence[str]]
    ) -> Steps[list[dict[str, float]]]:
        """See `Store.score`."""
        key, column = self._columns.id, self._columns.vector(field)
        made: Any = queries
        if field in self._lexical:
            made = yield partial(self._lexical[field].queries, made, self._reader)
        wanted = self._columns.keys(dict.fromkeys(id_ for some in ids for id_ in some))
        rows = yield from self._reader.fetched(wanted, [key, column])
        stored = {str(row[key]): row[column] for row in rows}
        scores, metric = self._columns.scores, self._metrics[field]
        return [scores(field, query, stored, some, metric) for query, some in zip(made, ids, strict=True)]

    def search_dense(
        self, field: str, vectors: Sequence[DenseVector], limit: int, filter_: str | None = None
    ) -> Steps[list[list[Match]]]:
        """See `Store.search_dense`."""
        return self._found(field, self._columns.asked(field, vectors), limit, filter_, self._params)

    def search_lexical(
        self, field: str, queries: Sequence[str], limit: int, filter_: str | None = None
    ) -> Steps[list[list[Match]]]:
        """See `Store.search_lexical`."""
        vectors = yield partial(self._lexical[field].queries, queries, self._reader)
        return (yield from self.search_sparse(field, vectors, limit, filter_))

    def search_sparse(
        self, field: str, vectors: Sequence[SparseRow], limit: int, filter_: str | None = None
    ) -> Steps[list[list[Match]]]:
        """See `Store.search_sparse`."""
        check_sparse(vectors, "the query")
        # Milvus refuses an empty query; it finds nothing.
        asked = [at for at, vector in enumerate(vectors) if vector.data.any()]
        if not asked:
            yield from self._reader.checked(filter_)  # or a wrong one passes unseen
        found = yield from self._found(field, [vectors[at] for at in asked], limit, filter_)
        matches: list[list[Match]] = [[] for _ in vectors]
        for at, one in zip(asked, found, strict=True):
            matches[at] = [match for match in one if match.score > 0]
        return matches

    def _found(
        self,
        field: str,
        vectors: list[Any],
        limit: int,
        filter_: str | None,
        params: dict[str, Any] | None = None,
    ) -> Steps[list[list[Match]]]:
        if not vectors:
            return []
        key, metric, dim = self._columns.id, self._metrics[field], getattr(self._fields[field], "dim", 1)
        level = self._reader.level

        def search(client: Any) -> Any:
            return client.search(
                self._name,
                data=vectors,
                anns_field=self._columns.vector(field),
                limit=limit,
                filter=filter_ or "",
                output_fields=[key],
                search_params=params,
                consistency_level=level,
                timeout=self._timeout,
            )

        found = yield Ask(search, filter_)
        return [[Match(str(hit[key]), to_score(float(hit["distance"]), metric, dim)) for hit in hits] for hits in found]
