"""Texts cut into pieces, and short pieces found again, by numpy: no Python object for each word of a text.

Splitting a text and looking its words up in a dict costs 0.2 microseconds a word, most of it waiting for memory; this
takes a fifth of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milvine.analysis.bm25 import Integers

Words = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int32]

_SLOT_BITS = 19
_KEY_BYTES = 15  # two words of 8 bytes, of which the last byte holds the size

_MOST_EDGES = 4  # characters that are taken off a piece at either end

# What `str.split` takes for white space in ASCII.
_SPACE = b"\t\n\v\f\r\x1c\x1d\x1e\x1f "
# The first 0 to 8 bytes of a little-endian word.
_FIRST_BYTES = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
# Odd numbers without a pattern: SplitMix64's increment and its first multiplier.
_MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9], dtype=np.uint64)


class Cutter:
    """Cuts texts at white space, as `str.split` does, and at more.

    Args:
        separators: ASCII characters to cut at as at white space.
        edges: ASCII characters to take off a piece at either end, where there are not too many.
    """

    def __init__(self, separators: str = "", edges: str = "") -> None:
        self._spaces = _table(_SPACE + separators.encode("ascii"))
        self._edges = np.frombuffer(_table(edges.encode("ascii")), np.bool_) if edges else None

    def __call__(self, texts: Iterable[str]) -> Pieces:
        """The pieces of these texts, those that are empty left out."""
        # Beyond ASCII, `str.split` knows the white space; lone surrogates are legal in a str.
        encoded = [
            text.encode() if text.isascii() else " ".join(text.split()).encode("utf-8", "surrogatepass")
            for text in texts
        ]
        # A text's pieces end with it; and behind the last piece there are the bytes that its key is cut from.
        content = b"".join([b" ", *(part for one in encoded for part in (one, b" ")), bytes(16)])
        space = np.frombuffer(content.translate(self._spaces), dtype=np.bool_)[:-16]
        edges = np.flatnonzero(space[1:] != space[:-1]) + 1
        starts, ends = edges[::2], edges[1::2]
        if self._edges is not None:
            starts, ends = _without(self._edges[np.frombuffer(content, np.uint8)], starts, ends)
        text_ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)) + 1)
        counts = np.diff(np.searchsorted(starts, text_ends + 1), prepend=0)
        return Pieces(content, starts, ends - starts, counts)


@dataclass(frozen=True)
class Pieces:
    """Pieces of texts.

    Attributes:
        content: UTF-8 of all texts, which lie one after the other.
        starts: Where each piece begins in it: int64, shape `(pieces,)`.
        sizes: How many bytes each has: int64, shape `(pieces,)`.
        counts: How many pieces each text has: int64, shape `(texts,)`.
    """

    content: bytes
    starts: Integers
    sizes: Integers
    counts: Integers

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, places: Integers) -> list[bytes]:
        """The UTF-8 of the pieces at these places."""
        starts = self.starts[places]
        content = self.content
        return [content[s:e] for s, e in zip(starts.tolist(), (starts + self.sizes[places]).tolist(), strict=True)]


def _table(characters: bytes) -> bytes:
    """For each byte, 1 if it is among these, else 0."""
    return bytes(byte in characters for byte in range(256))


def _without(edge: npt.NDArray[np.bool_], starts: Integers, ends: Integers) -> tuple[Integers, Integers]:
    """The pieces between these places without what is marked at their ends, those left out of which nothing stays."""
    starts, ends = starts.copy(), ends.copy()
    for at, step, place in ((ends, -1, -1), (starts, 1, 0)):
        more = np.flatnonzero(edge[at + place])
        for _ in range(_MOST_EDGES):
            at[more] += step
            more = more[(starts[more] < ends[more]) & edge[at[more] + place]]
            if not more.size:
                break
    left = starts < ends
    return (starts, ends) if left.all() else (starts[left], ends[left])


class PieceCache:
    """Short pieces and a number for each: a table in which a piece has one place, and whoever is there first stays."""

    def __init__(self) -> None:
        self._keys = np.zeros((2, 1 << _SLOT_BITS), dtype=np.uint64)
        self._values: Numbers = np.zeros(1 << _SLOT_BITS, dtype=np.int32)

    def get(self, pieces: Pieces) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """The number of each piece, and whether it is here: what is not has an arbitrary number."""
        first, second, slots = _keys(pieces)
        here = (self._keys[0][slots] == first) & (self._keys[1][slots] == second)
        return self._values[slots], here & (pieces.sizes <= _KEY_BYTES)

    def put(self, pieces: Pieces, places: Integers, numbers: Numbers) -> None:
        """Keep the numbers of the pieces at these places, where they are short and their slots free."""
        first, second, slots = _keys(pieces, places)
        free = (self._keys[1][slots] == 0) & (pieces.sizes[places] <= _KEY_BYTES)
        slots, at = np.unique(slots[free], return_index=True)
        self._keys[0][slots], self._keys[1][slots] = first[free][at], second[free][at]
        self._values[slots] = numbers[free][at]

    def remove(self, pieces: Pieces) -> None:
        """Forget these pieces."""
        first, second, slots = _keys(pieces)
        there = (self._keys[0][slots] == first) & (self._keys[1][slots] == second)
        self._keys[1][slots[there]] = 0


def _keys(pieces: Pieces, places: Integers | slice = slice(None)) -> tuple[Words, Words, Integers]:
    """For each piece: its bytes as two words, the second never 0 and with the size on top; and its slot.

    Two pieces of at most 15 bytes have the same words only if they are the same.
    """
    starts, sizes = pieces.starts[places], pieces.sizes[places]
    # The 8 bytes from every place on; the read need not be aligned.
    words: Words = np.ndarray(len(pieces.content) - 7, dtype="<u8", buffer=pieces.content, strides=(1,))
    first = words[starts] & _FIRST_BYTES[np.minimum(sizes, 8)]
    second = words[starts + 8] & _FIRST_BYTES[np.clip(sizes - 8, 0, 7)]
    second |= np.minimum(sizes, 255).astype(np.uint64) << np.uint64(56)
    slots = (first * _MIX[0] ^ second * _MIX[1]) >> np.uint64(64 - _SLOT_BITS)
    return first, second, slots.view(np.int64)
