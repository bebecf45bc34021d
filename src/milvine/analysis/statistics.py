"""BM25 without a fixed vocabulary: terms are hashed, so texts can come and go, and the statistics move with them.

A collection stores documents as `document_vectors` and keeps a `TermStatistics`; `query_vectors` brings the idf of the
moment. Two terms share an id with a probability of one in four thousand million: a million terms have about a hundred
such pairs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np
import numpy.typing as npt

from milvine.analysis.bm25 import Floats, count_matrix, idf_lucene, tf_weight
from milvine.errors import InputError
from milvine.types import SparseMatrix

DIMENSION = 2**32 - 1
"""Columns of a hashed vector. Milvus takes sparse indices of 0 to 2**32 - 2."""

NO_TERMS = DIMENSION - 1
"""A column that no term has: it stands in the row of a text without terms, where a store takes no empty rows."""


@lru_cache(maxsize=1 << 17)
def term_id(term: str) -> int:
    """The stable id of a term, the same on every machine: 32 bits of BLAKE2b over its UTF-8, below `NO_TERMS`."""
    digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little") % NO_TERMS


def term_ids(terms: Iterable[str]) -> list[int]:
    """The stable ids of terms, in their order, repeated as they are."""
    return list(map(term_id, terms))


class TermStatistics:
    """What BM25 must know of a corpus: how many documents, how long, how many of them have each term. Exact integers.

    Attributes:
        n_documents: The number of documents.
        total_length: Their terms, counted with repetition.
        df: Term id -> in how many documents it occurs; never 0.
    """

    def __init__(self) -> None:
        self.n_documents = 0
        self.total_length = 0
        self.df: Counter[int] = Counter()

    @property
    def avgdl(self) -> float:
        """The mean length of a document; 0.0 where no document has a term."""
        return self.total_length / self.n_documents if self.n_documents else 0.0

    def add(self, ids: Collection[int], length: int | None = None) -> None:
        """Count one more document.

        Args:
            ids: The ids of its terms, with or without repetition; none is legal.
            length: How many terms it has, counted with repetition; `len(ids)` if `None`.
        """
        self.n_documents += 1
        self.total_length += len(ids) if length is None else length
        self.df.update(set(ids))

    def remove(self, ids: Collection[int], length: int | None = None) -> None:
        """Undo the `add` of a document; the statistics are then as if it had never been there.

        Raises:
            InputError: No such document can have been added. Nothing is changed then.
        """
        distinct, length = set(ids), len(ids) if length is None else length
        missing = [term for term in distinct if term not in self.df]
        if missing or self.n_documents < 1 or self.total_length < length:
            reason = (
                f"term id {missing[0]} occurs in none" if missing else f"it is longer than all of them, {length} terms"
            )
            raise InputError(
                f"Cannot remove a document from statistics of {self.n_documents}: {reason}; remove only what was added"
            )
        self.n_documents -= 1
        self.total_length -= length
        for term in distinct:
            self.df[term] -= 1
            if not self.df[term]:
                del self.df[term]

    def merge(self, other: TermStatistics) -> None:
        """Count every document of `other` too."""
        self.n_documents += other.n_documents
        self.total_length += other.total_length
        self.df.update(other.df)

    def idf(self, ids: Iterable[int]) -> Floats:
        """Lucene's idf of each id, in their order: float64, shape `(ids,)`, above 0 even where a term is unknown."""
        return idf_lucene([self.df.get(term, 0) for term in ids], self.n_documents)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TermStatistics):
            return NotImplemented
        return (self.n_documents, self.total_length) == (other.n_documents, other.total_length) and self.df == other.df

    def __repr__(self) -> str:
        return f"TermStatistics({self.n_documents} documents, {len(self.df)} terms, avgdl {self.avgdl:.1f})"


def document_vectors(ids: Sequence[Sequence[int]], avgdl: float, k1: float, b: float) -> SparseMatrix:
    """Documents as vectors of `tf_weight`s, without idf, so that they stay valid as the corpus grows.

    Args:
        ids: The term ids of each document, with repetition; none gives an empty row, which Milvus refuses.
        avgdl: The mean length of a document, above 0 where any has a term.
        k1: See `tf_weight`.
        b: See `tf_weight`.

    Returns:
        float32 `csr_array`, shape `(n, 2**32 - 1)`, int64 indices, sorted. Never multiply by the transpose of one:
        scipy would make room for every column, 32 GB.
    """
    counts, lengths = _counts(ids)
    if counts.nnz:
        counts.data = tf_weight(counts.data, np.repeat(lengths, np.diff(counts.indptr)), avgdl, k1, b)
    return counts.astype(np.float32)


def query_vectors(ids: Sequence[Sequence[int]], statistics: TermStatistics) -> SparseMatrix:
    """Queries as vectors of idf, times how often the query repeats the term; terms that no document has are left out.

    Args:
        ids: The term ids of each query, with repetition.
        statistics: The corpus'.

    Returns:
        float32 `csr_array`, shape `(n, 2**32 - 1)`, int64 indices, sorted.
    """
    known = [[term for term in query if term in statistics.df] for query in ids]
    counts, _ = _counts(known)
    counts.data *= statistics.idf(counts.indices.tolist())
    return counts.astype(np.float32)


def _counts(ids: Sequence[Sequence[int]]) -> tuple[SparseMatrix, npt.NDArray[np.int64]]:
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
    return count_matrix(flat, lengths, DIMENSION), lengths
