"""Sparse vectors and BM25, exactly: for each term the rows that have it.

A term's *postings* are the positions of its rows, ascending, and beside each the term's weight there, or how often it
occurs. A search adds up what each of its terms gives, in the order of the terms, so that a row's score depends neither
on the segment that it is in nor on whether it was searched or scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milvine.analysis import tf_weight
from milvine.store.builtin.parts import Entries, best
from milvine.store.filtering.strings import Array, Arrays, Chunks, Mask

_BLOCK = 1 << 16  # postings that are merged at once: their terms fit into 16 bits, which numpy sorts by their digits


class BM25(NamedTuple):
    """How counts become weights: the mean length of all rows that are alive, and `k1` and `b` of `tf_weight`."""

    average: float
    k1: float
    b: float


class PostingsPart:
    """A sparse or lexical field's part of a segment.

    Where it is asked for terms, each stands once; their weights are those of a sparse query, or their idf times how
    often the query has them. Terms' order is the order of summing.

    Args:
        arrays: `terms`, uint32 of shape `(t,)`, ascending; `starts`, int64 `(t + 1,)`, where each term's postings
            begin, and the last one's end; their `positions`, uint32 `(p,)`, and `values`, `(p,)`, float32 weights or
            uint16 counts; and of each row the `lengths`, uint32 `(n,)`: of counts the sum, of weights the number.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._terms, self._starts, self._lengths = arrays["terms"], arrays["starts"], arrays["lengths"]
        self._positions, self._values = arrays["positions"], arrays["values"]

    @staticmethod
    def merged(parts: Sequence[PostingsPart], keeps: Sequence[Mask | None]) -> dict[str, Chunks]:
        """The arrays of those rows of several parts that are kept; `None` keeps all."""
        sizes = [len(part._lengths) for part in parts]
        kept = [np.ones(n, np.bool_) if keep is None else keep for n, keep in zip(sizes, keeps, strict=True)]
        places = np.cumsum(np.concatenate(kept), dtype=np.uint32) - np.uint32(1)
        moved = np.split(places, np.cumsum(sizes)[:-1])
        terms = np.unique(np.concatenate([part._terms for part in parts]))
        counts: Array = np.zeros(len(terms), np.int64)
        for part in parts:
            counts[np.searchsorted(terms, part._terms)] += np.diff(part._starts)
        firsts = np.flatnonzero(np.diff(np.cumsum(counts) // _BLOCK, prepend=-1))

        def stream(what: str, none: Array) -> Iterator[Array]:
            yield none
            for block in np.split(terms, firsts[1:]) if len(terms) else ():
                codes, found = [], []
                for part, keep, to in zip(parts, kept, moved, strict=True):
                    low, high = np.searchsorted(part._terms, block[0]), np.searchsorted(part._terms, block[-1], "right")
                    starts = part._starts[low : high + 1]
                    run = slice(int(starts[0]), int(starts[-1]))
                    chosen = keep.take(positions := part._positions[run])
                    own = np.searchsorted(block, part._terms[low:high]).astype(np.uint16)
                    codes.append(own.repeat(np.diff(starts))[chosen])
                    found.append((to.take(positions) if what == "positions" else part._values[run])[chosen])
                code = np.concatenate(codes)
                if what == "counts":
                    yield np.bincount(code, minlength=len(block))
                else:
                    yield np.concatenate(found)[code.argsort(kind="stable")]

        counts = np.concatenate([*stream("counts", np.zeros(0, np.int64))])
        return {
            "terms": [terms[counts > 0]],
            "starts": [np.append(0, np.cumsum(counts[counts > 0])).astype(np.int64)],
            "positions": stream("positions", np.zeros(0, np.uint32)),
            "values": stream("values", parts[0]._values[:0]),
            "lengths": (part._lengths[keep] for part, keep in zip(parts, kept, strict=True)),
        }

    def _runs(self, terms: ArrayLike) -> Iterator[tuple[int, slice]]:
        """Which of these terms there are, and where their postings."""
        wanted = np.asarray(terms, dtype=np.uint32)  # of another type, searchsorted would convert all terms first
        for nth, place in enumerate(np.searchsorted(self._terms, wanted).tolist()):
            if place < len(self._terms) and self._terms[place] == wanted[nth]:
                yield nth, slice(int(self._starts[place]), int(self._starts[place + 1]))

    def frequencies(self, terms: ArrayLike, alive: Mask | None) -> NDArray[np.int64]:
        """How many of the rows that are alive have each term."""
        found = np.zeros(np.shape(terms), np.int64)
        for nth, run in self._runs(terms):
            found[nth] = run.stop - run.start if alive is None else np.count_nonzero(alive.take(self._positions[run]))
        return found

    def length(self, alive: Mask | None) -> int:
        """How many terms the rows that are alive have together, with repetition; this reads the lengths of all rows."""
        return int(self._lengths[slice(None) if alive is None else alive].sum(dtype=np.int64))

    def search(
        self, terms: ArrayLike, weights: Array, bm25: BM25 | None, limit: int, allowed: Mask | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The allowed rows whose inner product or BM25 is highest, and above 0; best first, of equal ones the first."""
        scores = np.zeros(len(self._lengths), np.float32)
        for nth, run in self._runs(terms):
            positions = self._positions[run].astype(np.intp)
            parts = self._weighed(self._values[run], positions, bm25) * np.float32(weights[nth])
            if allowed is not None:
                parts *= allowed.take(positions)
            np.add.at(scores, positions, parts)
        found = best(scores, limit, above=0)
        return found, scores[found]

    def score(self, terms: ArrayLike, weights: Array, bm25: BM25 | None, positions: Array) -> NDArray[np.float32]:
        """What each of these rows scores, as `search` gives it, or 0."""
        scores, wanted = np.zeros(len(positions), np.float32), positions.astype(np.uint32)
        for nth, run in self._runs(terms):
            at = np.searchsorted(self._positions[run], wanted)
            has = self._positions[run].take(at, mode="clip") == wanted
            scores[has] += self._weighed(self._values[run][at[has]], positions[has], bm25) * np.float32(weights[nth])
        return scores

    def _weighed(self, values: Array, positions: Array, bm25: BM25 | None) -> Array:
        if bm25 is None:
            return values
        average = bm25.average or 1.0  # where it is 0, no row that is alive has a term
        return tf_weight(values, self._lengths.take(positions), average, bm25.k1, bm25.b).astype(np.float32)


def inverted(entries: Entries) -> dict[str, Array]:
    """The arrays of a `PostingsPart` of these rows, which have fewer than 2**32 entries."""
    # Numbers that hold both term and place sort ten times as fast as places by their terms.
    keys = entries.indices.astype(np.uint64) << np.uint64(32) | np.arange(len(entries.indices), dtype=np.uint64)
    keys.sort()
    terms, places = (keys >> np.uint64(32)).astype(np.uint32), keys.astype(np.uint32)
    starts = np.flatnonzero(np.append(True, terms[1:] != terms[:-1])[: len(terms)])
    rows = np.arange(len(entries.ends), dtype=np.uint32)
    lengths = entries.ends
    if entries.values.dtype == np.uint16:
        lengths = np.append(0, np.cumsum(entries.values, dtype=np.int64))[entries.ends]
    return {
        "terms": terms[starts],
        "starts": np.append(starts, len(terms)).astype(np.int64),
        "positions": rows.repeat(np.diff(entries.ends, prepend=0))[places],
        "values": entries.values[places],
        "lengths": np.diff(lengths, prepend=0).astype(np.uint32),
    }
