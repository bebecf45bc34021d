"""The formulas of BM25, and the counting that they rest on.

A document scores, for a query, the sum over the terms that both have of `idf(term) * weight(term in the document)`,
times how often the query repeats the term. Split at the product, that is an inner product: documents carry the
weights, queries the idf, and a document's vector does not change when other documents come or go, but for `avgdl`.

A term that a document lacks adds nothing, in BM25L and BM25+ too: their papers sum over the terms that query and
document share. rank-bm25 and bm25s also give their `delta` to the documents that lack the term; then it is the same
for all documents, and BM25+ ranks as plain BM25 does.

Sources:
    S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in
    Information Retrieval 3(4), 2009: section 3.4's saturation with length normalisation, section 3.1's idf.
    Lucene's BM25Similarity: that idf with 1 added inside the logarithm. Since version 8 it leaves out the constant
    factor `k1 + 1`, which changes no order.
    rank-bm25's BM25Okapi: the floor `epsilon` under negative idf; pymilvus.model follows it.
    Y. Lv and C. Zhai, "When Documents Are Very Long, BM25 Fails!", SIGIR 2011: BM25L.
    Y. Lv and C. Zhai, "Lower-Bounding Term Frequency Normalization", CIKM 2011: BM25+.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from milvine.types import SparseMatrix

Floats: TypeAlias = "npt.NDArray[np.float64]"
Integers: TypeAlias = "npt.NDArray[np.int64]"

_ID_BITS = 32  # of a column number, in the keys that are sorted to count


def idf_robertson(df: npt.ArrayLike, n: int) -> Floats:
    """Robertson and Spärck Jones' `ln((n - df + 0.5) / (df + 0.5))`: below 0 for terms of more than half the documents.

    Args:
        df: In how many documents each term occurs, any shape.
        n: The number of documents.

    Returns:
        float64, the shape of `df`.
    """
    frequency = np.asarray(df, dtype=np.float64)
    # A difference of logarithms, as in rank-bm25, so that `idf_okapi` has its numbers to the bit.
    idf: Floats = np.log(n - frequency + 0.5) - np.log(frequency + 0.5)
    return idf


def idf_okapi(df: npt.ArrayLike, n: int, epsilon: float = 0.25) -> Floats:
    """`idf_robertson` with rank-bm25's floor: what is below 0 becomes `epsilon` times the mean over all terms.

    In a small or uniform corpus the mean itself can be negative, and the floor with it.

    Args:
        df: In how many documents each term of the corpus occurs, shape `(terms,)`.
        n: The number of documents.
        epsilon: The floor's share of the mean.

    Returns:
        float64, shape `(terms,)`.
    """
    idf = idf_robertson(df, n)
    if idf.size:
        # The mean is summed term by term in their order, as rank-bm25 does.
        mean = float(np.add.accumulate(idf)[-1]) / idf.size
        idf[idf < 0] = epsilon * mean
    return idf


def idf_lucene(df: npt.ArrayLike, n: int) -> Floats:
    """Lucene's `ln(1 + (n - df + 0.5) / (df + 0.5))`: above 0 for every `df` up to `n`. As `idf_robertson`."""
    frequency = np.asarray(df, dtype=np.float64)
    return np.log1p((n - frequency + 0.5) / (frequency + 0.5))


def idf_l(df: npt.ArrayLike, n: int) -> Floats:
    """BM25L's `ln((n + 1) / (df + 0.5))`: above 0 for every `df` up to `n`. As `idf_robertson`."""
    return np.log((n + 1) / (np.asarray(df, dtype=np.float64) + 0.5))


def idf_plus(df: npt.ArrayLike, n: int) -> Floats:
    """BM25+'s `ln((n + 1) / df)`: above 0 for every `df` from 1 to `n`. As `idf_robertson`."""
    return np.log((n + 1) / np.asarray(df, dtype=np.float64))


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
    return frequency * (k1 + 1) / (frequency + k1 * _relative_length(length, avgdl, b))


def tf_weight_l(tf: npt.ArrayLike, length: npt.ArrayLike, avgdl: float, k1: float, b: float, delta: float) -> Floats:
    """BM25L's `(k1 + 1) (c + delta) / (k1 + c + delta)` with `c = tf / (1 - b + b length / avgdl)`.

    However long the document, a term that occurs weighs more than `(k1 + 1) delta / (k1 + delta)`.

    Args:
        tf: As in `tf_weight`; so are `length`, `avgdl`, `k1` and `b`.
        length: See above.
        avgdl: See above.
        k1: See above.
        b: See above.
        delta: What is added to the normalised frequency, at least 0; the paper's is 0.5.

    Returns:
        float64, of the shape that the two broadcast to; 0 to `k1 + 1`.
    """
    relative = _relative_length(length, avgdl, b)
    # Both parts of the fraction times the relative length, which is 0 for an empty document where b is 1.
    raised = np.asarray(tf, dtype=np.float64) + delta * relative
    return (k1 + 1) * raised / (k1 * relative + raised)


def tf_weight_plus(tf: npt.ArrayLike, length: npt.ArrayLike, avgdl: float, k1: float, b: float, delta: float) -> Floats:
    """BM25+'s `tf_weight + delta`: however long the document, a term that occurs weighs more than `delta`.

    Args:
        tf: As in `tf_weight`; so are `length`, `avgdl`, `k1` and `b`.
        length: See above.
        avgdl: See above.
        k1: See above.
        b: See above.
        delta: What a term's presence is worth at least, at least 0; the paper's is 1.

    Returns:
        float64, of the shape that the two broadcast to; `delta` to `k1 + 1 + delta`.
    """
    return tf_weight(tf, length, avgdl, k1, b) + delta


def _relative_length(length: npt.ArrayLike, avgdl: float, b: float) -> Floats:
    return 1 - b + b * (np.asarray(length, dtype=np.float64) / avgdl)


def count_terms(ids: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> tuple[Integers, Integers, Integers]:
    """How often each term occurs in each text.

    Args:
        ids: The terms' numbers, text after text, below 2**32, shape `(sum(lengths),)`; negative ones, unknown terms,
            are left out.
        lengths: How many of `ids` belong to each text, shape `(n,)`, at most 2**31 texts.

    Returns:
        The distinct numbers of each text in ascending order, text after text; how often each occurs, both int64 of
        shape `(pairs,)`; and where each text begins among them, int64, shape `(n + 1,)`: a csr matrix's `indices`,
        `data` and `indptr`.
    """
    # One sort of numbers that hold both the text and the term takes a tenth of the time of scipy's row by row.
    keys = np.repeat(np.arange(len(lengths), dtype=np.int64) << _ID_BITS, lengths)
    keys |= ids
    if ids.size and ids.min() < 0:
        keys = keys[ids >= 0]
    keys.sort()
    first = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    at = np.flatnonzero(first)
    counts = np.diff(at, append=len(keys))
    keys = keys[at]
    begins = np.searchsorted(keys, np.arange(len(lengths) + 1, dtype=np.int64) << _ID_BITS)
    return keys & ((1 << _ID_BITS) - 1), counts, begins


def count_matrix(ids: npt.NDArray[Any], lengths: Sequence[int] | npt.NDArray[Any], n_columns: int) -> SparseMatrix:
    """`count_terms` as a matrix.

    Args:
        ids: See `count_terms`.
        lengths: See `count_terms`.
        n_columns: The number of columns.

    Returns:
        Float64, shape `(n, n_columns)`, sorted indices, no explicit zeros.
    """
    columns, counts, begins = count_terms(ids, np.asarray(lengths, dtype=np.int64))
    return as_matrix(columns, counts.astype(np.float64), begins, n_columns)


def as_matrix(
    columns: npt.NDArray[Any], values: npt.NDArray[Any], begins: npt.NDArray[Any], n_columns: int
) -> SparseMatrix:
    """A csr matrix of these rows.

    Args:
        columns: The column of each value, ascending within a row and each there once, shape `(values,)`.
        values: The values, row after row.
        begins: Where each row begins among them, shape `(n + 1,)`.
        n_columns: The number of columns.

    Returns:
        The type of `values`, shape `(n, n_columns)`; int32 indices where they are enough.
    """
    from scipy.sparse import csr_array

    # scipy keeps the index type it is given; half the memory where 32 bits are enough.
    index = np.int32 if max(n_columns, len(columns)) < 2**31 else np.int64
    matrix = csr_array(
        (values, columns.astype(index, copy=False), begins.astype(index, copy=False)),
        shape=(len(begins) - 1, n_columns),
    )
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix
