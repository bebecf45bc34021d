"""Many strings, or what else there are many of, as arrays that are never changed.

Such arrays can be written to a file and mapped into memory again, and those of several things merged into those of one,
some thousand rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"
Arrays: TypeAlias = "Mapping[str, Array]"
Mask: TypeAlias = "npt.NDArray[np.bool_]"
"""A boolean for each row of a segment."""
Chunks: TypeAlias = "Iterable[Array]"
"""Pieces of an array, in order, to be joined along the first axis; at least one, which tells dtype and shape."""


class Strings:
    """Many strings in two arrays.

    Args:
        arrays: `ends`, int64 of shape `(n,)`, where each string ends in `bytes`, uint8, which holds them in UTF-8.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._ends, self._bytes = arrays["ends"].data, arrays["bytes"].data

    @classmethod
    def build(cls, strings: Iterable[str]) -> Strings:
        """Those of a list."""
        encoded = [string.encode() for string in strings]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        return cls({"ends": ends, "bytes": np.frombuffer(b"".join(encoded), np.uint8)})

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, at: int) -> str:
        return str(self._bytes[self._ends[at - 1] if at else 0 : self._ends[at]], "utf-8")

    def take(self, positions: Array) -> list[str]:
        """Some of them, int64 of shape `(n,)`."""
        ends, data = self.arrays["ends"], self._bytes
        starts = np.where(positions > 0, ends[positions - 1], 0).tolist()
        return [str(data[start:end], "utf-8") for start, end in zip(starts, ends[positions].tolist(), strict=True)]

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    @staticmethod
    def merged(several: Sequence[Strings], keeps: Sequence[Mask | None]) -> dict[str, Chunks]:
        """The arrays of those strings of several that are kept; `None` keeps all."""
        lengths = [np.diff(strings.arrays["ends"], prepend=0) for strings in several]
        of_all = list(zip((strings.arrays["bytes"] for strings in several), lengths, keeps, strict=True))
        kept = [length if keep is None else length[keep] for _, length, keep in of_all]
        content = (each if keep is None else each[np.repeat(keep, length)] for each, length, keep in of_all)
        return {"ends": [np.cumsum(np.concatenate(kept))], "bytes": content}


def joined(arrays: Mapping[str, Chunks]) -> dict[str, Array]:
    """The arrays in memory."""
    return {name: np.concatenate(list(chunks)) for name, chunks in arrays.items()}
