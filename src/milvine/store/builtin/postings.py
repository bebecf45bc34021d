"""Sparse vectors and BM25, exactly: for each term the rows that have it.

A term's *postings* are the positions of its rows, ascending, and beside each the term's weight there, or how often it
occurs. A search adds up what each of its terms gives, in the order of the terms, so that a row's score depends neither
on the segment that it is in nor on whether it was searched or scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milvine.analysis import tf_weight
from milvine.store.builtin.parts import Entries
from milvine.store.filtering.strings import Array, Arrays, Chunks, Mask

_BLOCK = 1 << 16  # postings that are merged at once: their terms fit into 16 bits, which numpy sorts by their digits

Found: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.float32]]"
"""Positions of rows and their scores, best first, of equal ones the first row first."""

Weigh: TypeAlias = Callable[[Array, Array], Array]
"""Values of postings, and the positions that they are at, to float32 weights."""


class _Postings:
    """What sparse and lexical parts have in common.

    Args:
        arrays: `terms`, uint32 of shape `(t,)`, ascending; `starts`, int64 `(t + 1,)`, where each term's postings
            begin, and the last one's end; their `positions`, uint32 `(p,)`, and `values`, `(p,)`; and of each row the
            `lengths`, uint32 `(n,)`.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._terms, self._starts, self._lengths = arrays["terms"], arrays["starts"], arrays["lengths"]
        self._positions, self._values = arrays["positions"], arrays["values"]

    @staticmethod
    def merged(parts: Sequence[_Postings], keeps: Sequence[Mask | None]) -> dict[str, Chunks]:
        """The arrays of those rows of several parts that are kept; `None` keeps all."""
        sizes = [len(part._lengths) for part in parts]
        kept = [np.ones(n, np.bool_) if keep is None else keep for n, keep in zip(sizes, keeps, strict=True)]
        places = np.cumsum(np.concatenate(kept), dtype=np.uint32) - np.uint32(1)
        moved = np.split(places, np.cumsum(sizes)[:-1])
        terms = np.unique(np.concatenate([part._terms for part in parts]))
        counts = np.zeros(len(terms), np.int64)
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

    def _search(self, terms: ArrayLike, weights: Array, limit: int, allowed: Mask | None, weigh: Weigh) -> Found:
        scores = np.zeros(len(self._lengths), np.float32)
        for nth, run in self._runs(terms):
            positions = self._positions[run].astype(np.intp)
            parts = weigh(self._values[run], positions) * np.float32(weights[nth])
            if allowed is not None:
                parts *= allowed.take(positions)
            np.add.at(scores, positions, parts)
        return _highest(scores, limit)

    def _score(self, terms: ArrayLike, weights: Array, positions: Array, weigh: Weigh) -> NDArray[np.float32]:
        scores, wanted = np.zeros(len(positions), np.float32), positions.astype(np.uint32)
        for nth, run in self._runs(terms):
            at = np.searchsorted(self._positions[run], wanted)
            has = self._positions[run].take(at, mode="clip") == wanted
            scores[has] += weigh(self._values[run][at[has]], positions[has]) * np.float32(weights[nth])
        return scores


class SparsePart(_Postings):
    """A sparse field's part of a segment; `values` are float32 weights, `lengths` how many a row has."""

    @classmethod
    def build(cls, entries: Entries) -> SparsePart:
        """That of rows with these weights."""
        return cls(_inverted(entries, entries.ends))

    def search(self, indices: ArrayLike, weights: Array, limit: int, allowed: Mask | None) -> Found:
        """The allowed rows with the highest inner products above 0, best first, of equal ones the first; and those."""
        return self._search(indices, weights, limit, allowed, lambda values, _: values)

    def score(self, indices: ArrayLike, weights: Array, positions: Array) -> NDArray[np.float32]:
        """The inner product with each of these rows, as `search` gives it, or 0."""
        return self._score(indices, weights, positions, lambda values, _: values)


class LexicalPart(_Postings):
    """A lexical field's part of a segment; `values` are uint16 counts, and `lengths`, uint32 `(n,)`, are their sums.

    Queries are terms, each once, with their idf times how often the query has them; `average` is the mean length of
    all rows of the collection that are alive; `k1` and `b` are those of `milvine.analysis.tf_weight`.
    """

    @classmethod
    def build(cls, entries: Entries) -> LexicalPart:
        """That of rows with these counts."""
        return cls(_inverted(entries, np.append(0, np.cumsum(entries.values, dtype=np.int64))[entries.ends]))

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
        self, terms: ArrayLike, weights: Array, average: float, k1: float, b: float, limit: int, allowed: Mask | None
    ) -> Found:
        """The allowed rows with the highest BM25 above 0, best first, of equal ones the first; and their BM25."""
        return self._search(terms, weights, limit, allowed, self._weigh(average, k1, b))

    def score(
        self, terms: ArrayLike, weights: Array, average: float, k1: float, b: float, positions: Array
    ) -> NDArray[np.float32]:
        """The BM25 of each of these rows, as `search` gives it, or 0."""
        return self._score(terms, weights, positions, self._weigh(average, k1, b))

    def _weigh(self, average: float, k1: float, b: float) -> Weigh:
        average = average or 1.0  # where it is 0, no row that is alive has a term
        return lambda counts, at: tf_weight(counts, self._lengths.take(at), average, k1, b).astype(np.float32)


def _highest(scores: NDArray[np.float32], limit: int) -> Found:
    """The positions of the highest scores above 0, best first, of equal ones the first; and those scores."""
    least, folds = np.float32(0), min(64, len(scores) // (4 * limit))
    if folds > 1:  # as many scores reach `least` as columns do, and hardly more; of columns there are few
        columns = scores[: len(scores) // folds * folds].reshape(folds, -1).max(axis=0)
        least = np.partition(columns, -limit)[-limit]
    found = np.flatnonzero(scores >= least if least > 0 else scores > 0)
    found = found[np.argsort(-scores[found], kind="stable")[:limit]]
    return found.astype(np.int64, copy=False), scores[found]


def _inverted(entries: Entries, lengths: Array) -> dict[str, Array]:
    """The arrays of `_Postings`, of fewer than 2**32 entries; `lengths` are summed up."""
    # Numbers that hold both term and place sort ten times as fast as places by their terms.
    keys = entries.indices.astype(np.uint64) << np.uint64(32) | np.arange(len(entries.indices), dtype=np.uint64)
    keys.sort()
    terms, places = (keys >> np.uint64(32)).astype(np.uint32), keys.astype(np.uint32)
    starts = np.flatnonzero(np.append(True, terms[1:] != terms[:-1])[: len(terms)])
    rows = np.arange(len(entries.ends), dtype=np.uint32)
    return {
        "terms": terms[starts],
        "starts": np.append(starts, len(terms)).astype(np.int64),
        "positions": rows.repeat(np.diff(entries.ends, prepend=0))[places],
        "values": entries.values[places],
        "lengths": np.diff(lengths, prepend=0).astype(np.uint32),
    }
