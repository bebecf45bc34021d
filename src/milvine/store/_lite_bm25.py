"""BM25 in Milvus Lite, made of sparse vectors.

A row carries its terms' weights without idf, the query brings the idf of the moment. Milvus Lite's own BM25 is not
used, because it counts documents segment by segment: a freshly added handful of rows would be scored by an idf of its
own. Terms are hashed to sparse dimensions, so there is no vocabulary to keep, and the statistics are counted from the
rows when they are first needed: they cannot be lost, nor contradict the rows.

A weight depends on the mean length of a text, which is not known until all texts are there. Rows are weighted by the
*pivot*, the mean length at the time, kept with the collection. Once the real mean has moved away from it, `flush` sets
a *target*, by which rows are written from then on, and weights all rows anew; when it is done, the target is the pivot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from milvine.analysis import NO_TERMS, TermStatistics, document_vectors, query_vectors, term_ids
from milvine.store._lite_database import LiteDatabase
from milvine.store.base import LexicalField, SparseRow

PIVOT, TARGET = "milvine.pivot", "milvine.target"
PIVOT_DRIFT = 1.25

Counted = list[tuple[set[int], int]]
"""For each row its distinct terms, and how many it has with repetition."""


class LiteBM25:
    """The lexical field of one collection. All but `terms` is called while the database is held."""

    def __init__(self, database: LiteDatabase, collection: str, field: LexicalField) -> None:
        self.field = field
        self.columns = [field.name, f"{field.name}_length"]
        self._database = database
        self._collection = collection

    def terms(self, texts: Sequence[str]) -> list[list[int]]:
        """The terms of each text, as ids."""
        return [term_ids(terms) for terms in self.field.analyze(texts)]

    @property
    def _known(self) -> TermStatistics | None:
        return self._database.statistics.get((self._collection, self.field.name))

    @property
    def counts(self) -> bool:
        """Whether the statistics are known and not empty, so that rows that go must be counted."""
        return self._known is not None and self._known.n_documents > 0

    def begin(self, statistics: TermStatistics) -> None:
        """These are the statistics from now on."""
        self._database.statistics[self._collection, self.field.name] = statistics

    def forget(self) -> None:
        """The collection is gone."""
        self._database.statistics.pop((self._collection, self.field.name), None)

    def statistics(self, rows: Iterable[dict[str, Any]]) -> TermStatistics:
        """The statistics, counted from the rows if they are not known. `rows` are all, and read only then."""
        known = self._known
        if known is None:
            known = TermStatistics()
            for terms, length in self.counted(rows):
                known.add(terms, length)
            self.begin(known)
        return known

    def counted(self, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[set[int], int]]:
        """The terms and lengths of rows that hold this field's columns."""
        terms, length = self.columns
        return ((row[terms].keys() - {NO_TERMS}, row[length]) for row in rows)

    def count(self, gone: Counted, come: Counted) -> None:
        """Keep the statistics true, if they are known."""
        known = self._known
        if known is not None:
            for terms, length in gone:
                known.remove(terms, length)
            for terms, length in come:
                known.add(terms, length)

    def queries(self, terms: Sequence[Sequence[int]], statistics: TermStatistics) -> list[SparseRow]:
        """The queries as vectors; one without a known term is empty."""
        vectors = query_vectors(terms, statistics)
        return [vectors[at : at + 1] for at in range(len(terms))]

    def pivots(self, client: Any) -> tuple[float, float]:
        """Pivot and target; 0.0 where nothing has been written yet."""
        properties = client.describe_collection(self._collection).get("properties", {})
        pivot, target = (float(properties.get(f"{key}.{self.field.name}", 0.0)) for key in (PIVOT, TARGET))
        return pivot, target

    def set_pivots(self, client: Any, **values: float) -> None:
        """Store `pivot`, `target` or both."""
        keys = {"pivot": PIVOT, "target": TARGET}
        properties = {f"{keys[key]}.{self.field.name}": repr(value) for key, value in values.items()}
        client.alter_collection_properties(self._collection, properties)

    def weigh(self, client: Any, entities: list[dict[str, Any]], terms: Sequence[Sequence[int]], first: float) -> None:
        """Add this field's columns to rows; `first` is the pivot of a collection that has none yet."""
        target = self.pivots(client)[1]
        if not target:
            target = first
            self.set_pivots(client, pivot=target, target=target)
        weights = document_vectors(terms, target, self.field.k1, self.field.b)
        name, length = self.columns
        for at, (entity, ids) in enumerate(zip(entities, terms, strict=True)):
            # One-row slices: pymilvus misreads a whole csr matrix, and `weights[at]`. A row may not be empty.
            entity[name] = weights[at : at + 1] if ids else {NO_TERMS: 1.0}
            entity[length] = len(ids)


def mean_length(terms: Sequence[Sequence[int]]) -> float:
    """The mean length of texts, as a pivot: above 0."""
    return sum(map(len, terms)) / len(terms) or 1.0


def has_drifted(mean: float, target: float) -> bool:
    """Whether rows should be weighted anew."""
    return bool(mean) and not target / PIVOT_DRIFT <= mean <= target * PIVOT_DRIFT
