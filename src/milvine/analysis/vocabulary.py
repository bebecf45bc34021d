"""From texts to the numbers of their terms, at one look-up for each piece of text that was seen before."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from milvine.analysis.bm25 import Integers
from milvine.analysis.pieces import Cutter, PieceCache, Pieces
from milvine.errors import InputTypeError

Numbers = npt.NDArray[np.int32]

_MOST_FORMS = 1 << 18
_MOST_NUMBERS = 1 << 20
_LONGEST_FORM = 48
_MOST_TERMS = 12
_LEARNED_AT_ONCE = 512


class Vocabulary:
    """The terms of a corpus, numbered in the order in which they first appear; a number, once given, stays.

    An analyzer may have `terms_of(pieces)`, which gives the terms of each of them, if the terms of a text are those of
    its pieces: what stands between white space and the analyzer's `separators`, if it has any, without its `edges`.
    Then a piece that was seen before costs one look-up, for both analysis and numbering; what the pieces gave is kept,
    for at most 262,144 of them (about 50 MB). Any other analyzer is called for every text.

    May be shared between threads and pickled; a pickled copy starts with no pieces kept.

    Args:
        analyzer: Turns a text into a list of terms.
        terms: Terms that have a number already, in the order of their numbers.
    """

    def __init__(self, analyzer: Callable[[str], list[str]], terms: Iterable[str] = ()) -> None:
        self.analyzer = analyzer
        self.numbers = _Numbering((term, number) for number, term in enumerate(terms))
        self._terms_of: Callable[[list[str]], list[Sequence[str]]] | None = getattr(analyzer, "terms_of", None)
        self._cut = Cutter(getattr(analyzer, "separators", ""), getattr(analyzer, "edges", ""))
        self._lock = threading.Lock()
        self._forms = _Forms()

    def __len__(self) -> int:
        return len(self.numbers)

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[Any, list[str]]]:
        return type(self), (self.analyzer, list(self.numbers))

    def number(self, texts: list[str], *, grow: bool = False) -> tuple[Numbers, Integers]:
        """The number of each term, text after text, and how many terms each text has.

        Args:
            texts: Some thousands at a time: their pieces are in memory at once.
            grow: Give numbers to terms that have none. Otherwise theirs is -1.

        Returns:
            int32, shape `(terms,)`, and int64, shape `(texts,)`.

        Raises:
            InputTypeError: The analyzer gives something other than a list of strings.
        """
        if self._terms_of is None:
            return self._number_terms([self.analyzer(text) for text in texts], grow=grow)
        pieces = self._cut(texts)
        with self._lock:
            if self._forms.full:
                self._forms = _Forms()
            if grow:
                self._forms.forget_unknown()
            try:
                rows = self._forms.rows(pieces, lambda new: self._learn(new, grow=grow))
            except BaseException:
                self._forms = _Forms()  # there may be rows that were not learned
                raise
            return self._forms.numbers_of(rows, pieces.counts)

    def add(self, terms: Iterable[str]) -> Integers:
        """The number of each of these terms, given to those that have none: int64, shape `(terms,)`."""
        with self._lock:
            self._forms.forget_unknown()
            return np.fromiter(map(self.numbers.__getitem__, terms), np.int64)

    def shrink(self, size: int) -> None:
        """Forget all terms but the first `size`."""
        with self._lock:
            while len(self.numbers) > size:
                self.numbers.popitem()
            self._forms = _Forms()

    def _number_terms(self, terms: list[list[str]], *, grow: bool) -> tuple[Numbers, Integers]:
        for found in terms:
            if not isinstance(found, (list, tuple)):
                raise InputTypeError(f"analyzer must give a list of terms, not {type(found).__name__}")
        lengths = np.fromiter(map(len, terms), np.int64, len(terms))
        with self._lock:
            return self._look_up(terms, grow=grow), lengths

    def _learn(self, pieces: list[str], *, grow: bool) -> tuple[Numbers, Integers]:
        """The numbers of these pieces' terms, piece after piece, and how many each has."""
        assert self._terms_of is not None  # noqa: S101 - for mypy
        numbers, sizes = [], []
        # So many that words that several pieces have are treated once, and so few that the garbage collector, which
        # looks at every list that is alive, has little to do.
        for start in range(0, len(pieces), _LEARNED_AT_ONCE):
            terms = self._terms_of(pieces[start : start + _LEARNED_AT_ONCE])
            numbers.append(self._look_up(terms, grow=grow))
            sizes.append(np.fromiter(map(len, terms), np.int64, len(terms)))
        return np.concatenate(numbers), np.concatenate(sizes)

    def _look_up(self, terms: Iterable[Sequence[str]], *, grow: bool) -> Numbers:
        flat = chain.from_iterable(terms)
        numbers = self.numbers
        return np.fromiter(map(numbers.__getitem__, flat) if grow else map(numbers.get, flat, repeat(-1)), np.int32)


class _Numbering(dict[str, int]):
    """Term -> its number, the next free one when it is first asked for."""

    def __missing__(self, term: str) -> int:
        if not isinstance(term, str):
            raise InputTypeError(f"analyzer must give strings, not {type(term).__name__} ({term!r})")
        number = self[term] = len(self)
        return number


class _Forms:
    """A table of pieces of text: row r holds the numbers of the terms of one piece."""

    def __init__(self) -> None:
        self._rows = _Rows()
        self._unknown: list[bytes] = []  # pieces of which some term had no number
        self._short = PieceCache()
        # Row r holds _numbers[_begins[r] : _begins[r + 1]].
        self._numbers = array("i")
        self._begins = array("q", [0])

    @property
    def full(self) -> bool:
        """Whether it is time for a new table."""
        return len(self._begins) > _MOST_FORMS or len(self._numbers) > _MOST_NUMBERS

    def rows(self, pieces: Pieces, learn: Callable[[list[str]], tuple[Numbers, Integers]]) -> Numbers:
        """The row of each piece.

        Args:
            pieces: Any pieces.
            learn: Gives the numbers of new pieces' terms, piece after piece, and how many each has.
        """
        rows, found = self._short.get(pieces)
        missed = np.flatnonzero(~found)
        if not missed.size:
            return rows
        asked = pieces.at(missed)
        rows[missed] = np.fromiter(map(self._rows.__getitem__, asked), np.int32, len(asked))
        new = self._rows.take_new()
        if new:
            known = len(self._begins) - 1
            self._append(new, *learn([piece.decode("utf-8", "surrogatepass") for piece in new]))
            missed = missed[rows[missed] >= known]
            self._short.put(pieces, missed, rows[missed])
        return rows

    def forget_unknown(self) -> None:
        """Forget the pieces of which some term had no number: it may have one now."""
        if self._unknown:
            for piece in self._unknown:
                self._rows.pop(piece, None)
            self._short.remove(Cutter()([b" ".join(self._unknown).decode("utf-8", "surrogatepass")]))
            self._unknown = []

    def _append(self, new: list[bytes], numbers: Numbers, sizes: Integers) -> None:
        begins = np.cumsum(sizes) + self._begins[-1]
        if (numbers < 0).any():
            owners = np.unique(np.repeat(np.arange(len(new)), sizes)[numbers < 0])
            self._unknown += [new[at] for at in owners.tolist()]
        self._numbers.frombytes(numbers.tobytes())
        self._begins.frombytes(begins.tobytes())
        # A piece of text without spaces is long, and hardly ever comes again.
        for piece, size in zip(new, sizes.tolist(), strict=True):
            if size > _MOST_TERMS or len(piece) > _LONGEST_FORM:
                del self._rows[piece]

    def numbers_of(self, rows: Numbers, counts: Integers) -> tuple[Numbers, Integers]:
        """What these rows hold, row after row; and how much that is for each text, which have `counts` rows each."""
        begins = np.frombuffer(self._begins, np.int64)
        starts = begins[rows]
        sizes = begins[1:][rows] - starts
        ends = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(sizes, out=ends[1:])
        at = np.repeat(starts - ends[:-1], sizes)
        at += np.arange(len(at))
        numbers = np.frombuffer(self._numbers, np.int32) if self._numbers else np.empty(0, np.int32)
        return numbers[at], np.diff(ends[np.cumsum(counts)], prepend=0)


class _Rows(dict[bytes, int]):
    """Piece -> its row, the next one when it is first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0
        self._new: list[bytes] = []

    def __missing__(self, piece: bytes) -> int:
        row = self[piece] = self._next
        self._next += 1
        self._new.append(piece)
        return row

    def take_new(self) -> list[bytes]:
        """The pieces that got their rows since this was last called."""
        new, self._new = self._new, []
        return new
