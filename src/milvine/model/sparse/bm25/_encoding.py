"""Texts to sparse rows, some thousands at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from milvine._callers import levels_to_caller
from milvine._progress import progress
from milvine.analysis.bm25 import Floats, Integers, as_matrix, count_terms
from milvine.analysis.vocabulary import Vocabulary
from milvine.errors import EmptyRowWarning
from milvine.model.sparse.bm25._statistics import BATCH_TEXTS, batches
from milvine.types import SparseMatrix

Weigh = Callable[[Integers, Integers, Integers], Floats]


def encode(
    texts: list[str],
    what: str,
    vocabulary: Vocabulary,
    unused: npt.NDArray[np.bool_] | None,
    weigh: Weigh,
    *,
    show_progress: bool | None,
) -> SparseMatrix:
    """A row for each text; warns of rows that are empty.

    Args:
        texts: Any number of texts.
        what: What they are called in messages.
        vocabulary: Numbers their terms.
        unused: For each term, whether it is ignored as an unknown one is; `None`: none is.
        weigh: Gives the weights of terms: how often each occurs in its text, the length of that text, and the term's
            number are given, each of shape `(pairs,)`.
        show_progress: Show a bar, if there is more than one batch; by default on a terminal only.

    Returns:
        float32 `csr_array`, shape `(texts, terms)`, sorted indices, no explicit zeros.
    """
    columns: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)]
    values: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)]
    sizes: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
    show = show_progress if len(texts) > BATCH_TEXTS else False
    with progress(f"Encoding {what}", len(texts), show=show) as advance:
        for batch in batches(texts, what):
            ids, lengths = vocabulary.number(batch)
            if unused is not None and ids.size:
                ids = np.where(unused[ids], np.int32(-1), ids)
            found, counts, begins = count_terms(ids, lengths)
            per_text = np.diff(begins)
            columns.append(found.astype(np.int32))
            values.append(weigh(counts, np.repeat(lengths, per_text), found).astype(np.float32))
            sizes.append(per_text)
            advance(len(batch))
    begins = np.cumsum(np.concatenate(sizes))
    matrix = as_matrix(np.concatenate(columns), np.concatenate(values), begins, len(vocabulary))
    matrix.eliminate_zeros()
    empty = np.flatnonzero(np.diff(matrix.indptr) == 0)
    if empty.size:
        warnings.warn(
            f"{empty.size} of {len(texts)} {what} have no term of the vocabulary, first {what}[{empty[0]}]: their rows"
            " are empty, and Milvus refuses empty rows; leave them out",
            EmptyRowWarning,
            stacklevel=levels_to_caller(),
        )
    return matrix
