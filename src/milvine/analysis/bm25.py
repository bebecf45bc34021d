"""The formulas of BM25.

A document `d` scores, for a query `q`, the sum over the query's terms of `idf(term) * tf_weight(tf of the term in d)`.
Split at the product, it is an inner product: documents carry the `tf_weight`s, queries the `idf`s.

Sources:
    S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in
    Information Retrieval 3(4), 2009: equations 3.3 (idf) and 3.15 (saturation with length normalisation).
    Lucene's BM25Similarity: the idf with 1 added inside the logarithm.
    rank-bm25's BM25Okapi: the floor `epsilon` under negative idf; pymilvus.model follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from milvine.types import SparseMatrix

Floats: TypeAlias = "npt.NDArray[np.float64]"


def idf_lucene(df: npt.ArrayLike, n: int) -> Floats:
    """Lucene's inverse document frequency: `ln(1 + (n - df + 0.5) / (df + 0.5))`, above 0 for every `df` up to `n`.

    Args:
        df: In how many documents each term occurs, any shape.
        n: The number of documents.

    Returns:
        float64, the shape of `df`.
    """
    frequency = np.asarray(df, dtype=np.float64)
    return np.log1p((n - frequency + 0.5) / (frequency + 0.5))


def idf_okapi(df: npt.ArrayLike, n: int, epsilon: float = 0.25) -> Floats:
    """Robertson and Spärck Jones' `ln((n - df + 0.5) / (df + 0.5))`, with rank-bm25's floor.

    A term that occurs in more than half of the documents has a negative value there; it gets `epsilon` times the mean
    over all terms instead. In a small or uniform corpus the mean itself can be negative, and the floor with it.

    Args:
        df: In how many documents each term of the corpus occurs, shape `(terms,)`.
        n: The number of documents.
        epsilon: The floor's share of the mean.

    Returns:
        float64, shape `(terms,)`.
    """
    frequency = np.asarray(df, dtype=np.float64)
    idf: Floats = np.log(n - frequency + 0.5) - np.log(frequency + 0.5)
    if idf.size:
        # The mean is summed term by term in their order, as rank-bm25 does, so that its numbers come out to the bit.
        mean = float(np.add.accumulate(idf)[-1]) / idf.size
        idf[idf < 0] = epsilon * mean
    return idf


def tf_weight(tf: npt.ArrayLike, length: npt.ArrayLike, avgdl: float, k1: float, b: float) -> Floats:
    """What a term's occurrences weigh in a document: `tf (k1 + 1) / (tf + k1 (1 - b + b length / avgdl))`.

    Args:
        tf: How often the term occurs in the document, at least 1.
        length: The document's number of terms, of a shape that broadcasts with `tf`.
        avgdl: The mean length of the corpus' documents, above 0.
        k1: How slowly repetition saturates, at least 0; 0 counts presence alone.
        b: How much length counts, 0 to 1.

    Returns:
        float64, of the shape that the two broadcast to; 0 to `k1 + 1`.
    """
    frequency = np.asarray(tf, dtype=np.float64)
    relative_length = np.asarray(length, dtype=np.float64) / avgdl
    return frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * relative_length))


def count_matrix(ids: npt.NDArray[Any], lengths: Sequence[int] | npt.NDArray[Any], n_columns: int) -> SparseMatrix:
    """How often each term occurs in each text.

    Args:
        ids: The terms' column numbers, text after text, shape `(sum(lengths),)`; negative ones, unknown terms, are
            left out.
        lengths: How many of `ids` belong to each text, shape `(n,)`.
        n_columns: The number of columns.

    Returns:
        Float64, shape `(n, n_columns)`, sorted indices, no explicit zeros.
    """
    from scipy.sparse import csr_array

    rows: npt.NDArray[np.int64] = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=rows[1:])
    known = ids >= 0
    if not known.all():
        kept = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum(known, out=kept[1:])
        ids, rows = ids[known], kept[rows]
    # scipy keeps the index type it is given; half the memory where 32 bits are enough.
    index = np.int32 if max(n_columns, len(ids)) < 2**31 else np.int64
    ids, rows = ids.astype(index, copy=False), rows.astype(index, copy=False)
    counts = csr_array((np.ones(len(ids)), ids, rows), shape=(len(lengths), n_columns))
    counts.sum_duplicates()
    return counts
