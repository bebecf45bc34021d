"""Files and folders to documents, one at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from milvine.errors import InputError, InputTypeError, ReadError
from milvine.ingest.documents import Document, Problem
from milvine.ingest.readers import READERS
from milvine.ingest.source import SourceFile, detect_encoding


@dataclass
class ReadCounts:
    """What `read_documents` has met so far.

    Attributes:
        files: Files that gave at least one document.
        documents: Documents.
        problems: Problems reported.
        read: The files that were read to their ends, by the names that are the `source` of their documents; of a
            `.jsonl` file some lines may have been left out, and one without text gave no document.
        ignored: Files in folders that are of no kind that milvine reads, by suffix in lower case.
    """

    files: int = 0
    documents: int = 0
    problems: int = 0
    read: set[str] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)


def read_documents(
    paths: Iterable[str | os.PathLike[str]],
    *,
    on_problem: Callable[[Problem], None],
    counts: ReadCounts | None = None,
) -> Iterator[Document]:
    """The documents in files and folders.

    Folders are read with all that is in them, in the order of names; hidden files and folders are left out, and so are
    files whose suffix is not in `READERS`. Links are followed; each file is read once, however many paths lead to it.
    A document's id is its file's absolute path with links resolved; in a `.jsonl` file the row's id follows.

    Memory holds one file at a time (one line of a `.jsonl` file): about four times the size of a text file, some tens
    of times that of an HTML page. There is no limit on a file's size.

    Args:
        paths: Files and folders.
        on_problem: Called for each file or line that cannot be read, or is read with doubts; the rest goes on.
        counts: Filled while the documents are taken, where the caller wants to know.

    Raises:
        InputTypeError: `paths` is a single path.
        InputError: `paths` is empty.
        ReadError: A path does not exist. These three are raised at once, not when the first document is taken.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise InputTypeError(f"paths must be a list of paths, not one; wrap it: [{str(paths)!r}]")
    listed = [Path(path) for path in paths]
    if not listed:
        raise InputError("paths is empty; give at least one file or folder")
    for path in listed:
        if not _exists(path):
            raise ReadError(f"{_name(path)} does not exist; give the path of a file or folder")
    return _Walk(on_problem, ReadCounts() if counts is None else counts).documents(listed)


class _Walk:
    def __init__(self, on_problem: Callable[[Problem], None], counts: ReadCounts) -> None:
        self._on_problem = on_problem
        self._counts = counts
        self._seen: set[str] = set()

    def documents(self, paths: list[Path]) -> Iterator[Document]:
        for path in paths:
            if _is_folder(path):
                for file in self._files(path):
                    yield from self._read(file)
            elif path.suffix.lower() not in READERS:
                kinds = ", ".join(sorted(READERS))
                self._report(Problem(_name(path), f"is not a kind of file that milvine reads (it reads {kinds})"))
            else:
                yield from self._read(path)

    def _files(self, root: Path) -> Iterator[Path]:
        """The files below a folder that have a reader, in the order of names."""
        pending = [root]
        while pending:
            path = pending.pop()
            if _is_folder(path):
                if self._is_new(path):
                    pending.extend(reversed(self._entries(path)))
            elif path.suffix.lower() in READERS:
                yield path
            else:
                self._counts.ignored[path.suffix.lower()] += 1

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            self._report(Problem(_name(folder), f"cannot be opened: {error.strerror}"))
            return []

    def _read(self, path: Path) -> Iterator[Document]:
        if not self._is_new(path):
            return
        found = 0
        try:
            if not path.exists():
                raise ReadError("is a link to a file that does not exist")
            if not path.is_file():
                raise ReadError("is not a regular file")
            encoding = detect_encoding(path)
            resolved = path.resolve()
            source = SourceFile(resolved, _name(resolved), encoding, self._report)
            if encoding.doubt:
                source.problem(encoding.doubt, skipped=False)
            for document in READERS[path.suffix.lower()](source):
                found += 1
                self._counts.documents += 1
                yield document
            self._counts.read.add(source.name)
        except ReadError as error:
            self._report(Problem(_name(path), str(error)))
        except (OSError, UnicodeError, RecursionError) as error:
            self._report(Problem(_name(path), f"cannot be read: {getattr(error, 'strerror', None) or error}"))
        self._counts.files += found > 0

    def _is_new(self, path: Path) -> bool:
        real = os.path.realpath(path)
        if real in self._seen:
            return False
        self._seen.add(real)
        return True

    def _report(self, problem: Problem) -> None:
        self._counts.problems += 1
        self._on_problem(problem)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # It is there, behind a folder that may not be entered; reading it reports that.
        return True


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _name(path: Path) -> str:
    """A path as text that UTF-8 can hold; in a file name, bytes that are no UTF-8 show as backslash, `x` and digits."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
