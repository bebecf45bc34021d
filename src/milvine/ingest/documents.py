"""What passes through `ingest`: documents, and what went wrong on the way to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from milvine.types import Record


@dataclass(frozen=True)
class Document:
    """A text as its author wrote it, of any length.

    Attributes:
        id: Names the document; the same whenever and from wherever it is read again.
        text: The text.
        title: The title; empty where there is none.
        metadata: What else is known about it, as JSON. Documents read from files have `source`, the file's path, and
            `format`: "text", "markdown", "rst", "html" or "jsonl".
    """

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_record(self) -> Record:
        """The document as `Collection.add` takes it to split it; its title is in the metadata, if it has one."""
        return Record(self.id, self.text, {**self.metadata, **({"title": self.title} if self.title else {})})


@dataclass(frozen=True)
class Problem:
    """A file, or a line of one, that could not be read as it should.

    Attributes:
        path: The file or folder.
        reason: What is wrong with it, to be read after the path.
        line: The line's number, from 1, where the problem is one line's.
        skipped: Whether it was left out; otherwise it was read, with the doubt that `reason` states.
    """

    path: str
    reason: str
    line: int | None = None
    skipped: bool = True

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}, line {self.line}"
        return f"{place}: {self.reason}"
