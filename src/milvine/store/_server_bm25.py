"""BM25 on a Milvus server, made of sparse vectors as in Milvus Lite, for several writers and any number of readers.

A row carries its terms' weights without idf, the query brings the idf; terms are hashed, so there is no vocabulary.
Milvus' own BM25 Function (2.5) is not used: it would need the analyzed terms stored as a second text, which must fit
into 65,535 bytes and does not where text is cut into n-grams; its idf is that of a shard, not of the collection;
servers before 2.5 lack it, and Milvus Lite has another one; and a collection that moves between Lite and a server would
change its scores. What it has for it, statistics kept by the server, is made up for as follows.

The *pivot*, the mean length by which rows are weighted, is set by the first rows and never changes: giving all rows new
weights would mean writing back what was read, and lose what another writer wrote in between. It need not be exact. With
a pivot of c times the mean length m, a term's weight of f * (k1 + 1) / (f + k1 * (1 - b + b * l / (c * m))) is, up to a
factor that all weights share, BM25 with k1' = k1 * s and b' = b / (c * s), where s = 1 - b + b / c. Twice too large, .9
and .4 act as .72 and .25; half too large, as 1.26 and .57: all within what people choose. Far too small a pivot would
make k1 large, too large a one only ignores length; so few first rows are averaged with some of a usual length.

The statistics are counted from the rows by each process that searches, when it first does, and again when the number of
rows has changed by more than a tenth; in a small collection, when it has changed at all. Of a large collection a sample
is counted, which tells idf as well: rows have a random number of 0 to 1,023, made of their ids.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from milvine.analysis import NO_TERMS, TermStatistics, document_vectors, term_ids
from milvine.store._rows import from_sparse
from milvine.store._server_reading import ServerReader
from milvine.store.base import LexicalField, SparseRow

SAMPLE_COLUMN = "_sample"
PARTS = 1024  # a row's number is below this
SAMPLE = 50_000  # rows to count; about 20 MB to read
SMALL = 1000  # rows up to which every change is counted anew
TOLERANCE = 0.1
CHECK_EVERY = 5.0  # seconds after which the rows that others wrote are looked for
USUAL_LENGTH, USUAL_ROWS = 100, 10  # terms of a passage; how many rows of this length join the first ones


def part_of(id_: str) -> int:
    """A row's number, by which a sample is taken."""
    digest = hashlib.blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=2).digest()
    return int.from_bytes(digest, "little") % PARTS


def first_pivot(terms: Sequence[Sequence[int]]) -> float:
    """The pivot that the first rows of a collection set."""
    return (USUAL_LENGTH * USUAL_ROWS + sum(map(len, terms))) / (USUAL_ROWS + len(terms))


class ServerBM25:
    """The lexical field of one collection on a server.

    Attributes:
        pivot: The collection's; 0.0 until the first rows set it.
    """

    def __init__(self, field: LexicalField, pivot: float) -> None:
        self.field = field
        self.pivot = pivot
        self.columns = [field.name, f"{field.name}_length"]
        self._lock = threading.Lock()
        self._statistics: TermStatistics | None = None
        self._rows = 0  # when they were counted
        self._written = 0  # by this process, since then
        self._checked = 0.0

    def terms(self, texts: Sequence[str]) -> list[list[int]]:
        """The terms of each text, as ids."""
        return [term_ids(terms) for terms in self.field.analyze(texts)]

    def weigh(self, entities: Sequence[dict[str, Any]], terms: Sequence[Sequence[int]]) -> None:
        """Add this field's columns to rows."""
        weights = document_vectors(terms, self.pivot, self.field.k1, self.field.b)
        name, length = self.columns
        for at, (entity, ids) in enumerate(zip(entities, terms, strict=True)):
            # One-row slices: pymilvus misreads a whole csr matrix, and `weights[at]`. A row may not be empty.
            entity[name] = weights[at : at + 1] if ids else {NO_TERMS: 1.0}
            entity[length] = len(ids)
            entity[SAMPLE_COLUMN] = part_of(entity["id"])

    def wrote(self, rows: int) -> None:
        """Note that this process has written or deleted rows."""
        with self._lock:
            self._written += rows

    def queries(self, texts: Sequence[str], reader: ServerReader) -> list[SparseRow]:
        """Queries as sparse vectors; one without terms is empty.

        A term that no counted row has keeps its place: another process may have written it a moment ago.

        Args:
            texts: The queries.
            reader: Reads the rows, if they must be counted.
        """
        terms = self.terms(texts)
        statistics = self._current(reader) if any(terms) else TermStatistics()
        queries = []
        for ids in terms:
            counts = Counter(ids)
            idf = statistics.idf(counts)
            weights = {term: float(weight) * n for (term, n), weight in zip(counts.items(), idf, strict=True)}
            queries.append(from_sparse(weights))
        return queries

    def _current(self, reader: ServerReader) -> TermStatistics:
        with self._lock:
            known, now = self._statistics, time.monotonic()
            if known is not None and not self._written and now < self._checked + CHECK_EVERY:
                return known
            rows, written = reader.count(), self._written
            self._checked = now
            allowed = TOLERANCE * self._rows if self._rows > SMALL else 0
            if known is None or max(abs(rows - self._rows), written) > allowed:
                known = self._counted(rows, reader)
                self._statistics, self._rows, self._written = known, rows, self._written - written
            return known

    def _counted(self, rows: int, reader: ServerReader) -> TermStatistics:
        parts = min(PARTS, -(-PARTS * SAMPLE // max(rows, 1)))
        statistics = TermStatistics()
        terms, length = self.columns
        for row in reader.fetch_all(self.columns, f"{SAMPLE_COLUMN} < {parts}" if parts < PARTS else None):
            statistics.add(row[terms].keys() - {NO_TERMS}, row[length])
        return statistics
