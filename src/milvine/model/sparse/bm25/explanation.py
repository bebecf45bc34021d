"""Why a document scores what it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from milvine.analysis.bm25 import Floats, Integers


@dataclass(frozen=True)
class TermShare:
    """What one term of a query adds to a document's score.

    Attributes:
        term: The term.
        query_tf: How often the query has it.
        tf: How often the document has it.
        df: How many documents of the corpus have it; `None` where they were not counted here (a v1 file was loaded).
        idf: Its idf; 0.0 where the corpus does not have it.
        weight: Its weight in the document's vector; 0.0 where the document does not have it.
        share: `query_tf * idf * weight`.
    """

    term: str
    query_tf: int
    tf: int
    df: int | None
    idf: float
    weight: float
    share: float


@dataclass(frozen=True)
class Explanation:
    """A document's score for a query, term by term.

    Attributes:
        score: The sum of the shares: the inner product of the two vectors, but for float32's rounding.
        length: The document's number of terms.
        avgdl: The mean length of the corpus' documents.
        matched: The terms that query, document and corpus share, the largest share first.
        unmatched: The query's other terms, in its order; their shares are 0.0.
    """

    score: float
    length: int
    avgdl: float
    matched: tuple[TermShare, ...]
    unmatched: tuple[TermShare, ...]


def explain(
    query: Sequence[str],
    document: Sequence[str],
    numbers: dict[str, int],
    df: Integers | None,
    idf: Floats,
    avgdl: float,
    weigh: Callable[[int, int], float],
) -> Explanation:
    """Explain a score.

    Args:
        query: The query's terms.
        document: The document's terms.
        numbers: Term -> its number.
        df: By number, in how many documents of the corpus the term occurs, if that is known.
        idf: Its idf.
        avgdl: The mean length of the corpus' documents.
        weigh: The weight of a term that occurs so often in a document of such a length.
    """
    found = Counter(document)
    shares = []
    for term, query_tf in Counter(query).items():
        at, tf = numbers.get(term, -1), found[term]
        count = None if df is None else int(df[at]) if at >= 0 else 0
        known = at >= 0 and count != 0
        value = float(idf[at]) if known else 0.0
        weight = weigh(tf, len(document)) if known and tf else 0.0
        shares.append(TermShare(term, query_tf, tf, count, value, weight, query_tf * value * weight))
    matched = sorted((share for share in shares if share.weight), key=lambda share: -share.share)
    unmatched = tuple(share for share in shares if not share.weight)
    return Explanation(sum(share.share for share in matched), len(document), avgdl, tuple(matched), unmatched)
