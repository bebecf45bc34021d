"""What a contender of `benchmarks search` is, and the rows that all hold.

A row is a number, a text, its vector, and three metadata keys. All four ways of searching bring the ten best rows with
their texts and metadata. Some contenders run in the peers' environment, where milvine is not installed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

BEST = 10
TENANTS = 100
"""Of which each row has one, so that a filter for one passes 1 % of the rows."""
TENANT = "t17"
"""The one that filtered searches ask for."""
KEYS = ("tenant", "source", "page")
WAYS = ("dense", "lexical", "hybrid", "filtered")


class Query(NamedTuple):
    """A question: its text, those of its words that are no stop words, and its vector."""

    text: str
    words: Sequence[str]
    vector: Any


class Found(NamedTuple):
    """A row that was found."""

    number: int
    text: str
    metadata: dict[str, Any]


def metadata_of(number: int) -> dict[str, Any]:
    """The metadata of a row: two strings of 100 distinct values each, and an integer of 1,000."""
    mixed = number * 2654435761 % 2**32
    return {
        "tenant": f"t{(mixed >> 8) % TENANTS:02}",
        "source": f"manual/{(mixed >> 16) % 100:02}.md",
        "page": mixed % 1000,
    }


class SearchStore(ABC):
    """A contender.

    Attributes:
        ways: What it can do, of `WAYS`.
    """

    ways: tuple[str, ...] = WAYS

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self.dim = dim

    @abstractmethod
    def fill(self, texts: Sequence[str], vectors: Any) -> None:
        """Write rows 0 to n, until all of them are on the disk and in every index."""

    @abstractmethod
    def open(self) -> None:
        """Open what was filled."""

    @abstractmethod
    def dense(self, query: Query) -> list[Found]: ...

    def lexical(self, query: Query) -> list[Found]:
        raise NotImplementedError

    def hybrid(self, query: Query) -> list[Found]:
        raise NotImplementedError

    @abstractmethod
    def filtered(self, query: Query) -> list[Found]:
        """As hybrid, or dense where there is no hybrid, among the rows of `TENANT`."""

    @abstractmethod
    def upsert(self, number: int, text: str, vector: Any) -> None:
        """Replace one row, until a search finds it."""

    def close(self) -> None:  # noqa: B027 - not all need it
        """Release the files."""
