"""One text file: which encoding it is in, and a stream of its characters."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from milvine.errors import ReadError
from milvine.ingest.documents import Problem

_CHUNK = 1 << 20
_SAMPLE = 1 << 17
_BEFORE = 1 << 10
_DECLARATION = 2048

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # Before UTF-16, whose mark begins this one.
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Encoding:
    """How a file's bytes become characters.

    Attributes:
        name: A codec's name.
        errors: The codec's error handler: "strict" or "replace".
        doubt: What is uncertain about it, to be read after the file's name; empty when nothing is.
    """

    name: str
    errors: str = "strict"
    doubt: str = ""


@dataclass(frozen=True)
class SourceFile:
    """A file as a reader gets it.

    Attributes:
        path: The resolved path.
        name: The path as text that UTF-8 can hold: the `source` and the id of its documents.
        encoding: Its encoding.
        report: What a reader calls for each problem that is not the end of the file.
    """

    path: Path
    name: str
    encoding: Encoding
    report: Callable[[Problem], None]

    def open(self) -> TextIO:
        """The file's characters, decoded as they are read, every line end a newline."""
        return self.path.open(encoding=self.encoding.name, errors=self.encoding.errors)

    def read(self) -> str:
        """The whole text."""
        with self.open() as stream:
            return stream.read()

    def problem(self, reason: str, *, line: int | None = None, skipped: bool = True) -> None:
        """Reports a problem with this file."""
        self.report(Problem(self.name, reason, line, skipped))


def detect_encoding(path: Path) -> Encoding:
    """The encoding of a text file: its byte order mark's, else UTF-8, else what HTML declares, else the best guess.

    It is guessed from the encodings in `encodings.json`, which files that are not Unicode are in; rarer ones would
    win by mistake more often than not. The Latin ones among them are told apart by their languages' letters.

    Reads the file in pieces; memory does not grow with its size.

    Raises:
        ReadError: The file is binary, or in no encoding that can be guessed; the message is to be read after its name.
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(4)
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            if _first_bad_byte(path, name) is not None:
                raise ReadError(f"starts with the byte order mark of {name} but is not valid {name}")
            return Encoding(name)
    _refuse_binary(path)
    bad = _first_bad_byte(path, "utf-8")
    if bad is None:
        return Encoding("utf-8")
    if path.suffix.lower() in (".html", ".htm"):
        declared = _declared_encoding(path)
        if declared and _first_bad_byte(path, declared) is None:
            return Encoding(declared)
    return _guess(path, bad)


def _refuse_binary(path: Path) -> None:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            if b"\0" in chunk:
                raise ReadError("is a binary file: it holds NUL bytes")


def _first_bad_byte(path: Path, encoding: str) -> int | None:
    """About where the first bytes stand that are no `encoding`; `None` where all are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    read = 0
    with path.open("rb") as stream:
        try:
            while chunk := stream.read(_CHUNK):
                decoder.decode(chunk)
                read += len(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return max(0, min(read + error.start, path.stat().st_size - 1))
    return None


def _declared_encoding(path: Path) -> str | None:
    with path.open("rb") as stream:
        found = re.search(rb"charset\s*=\s*[\"']?([\w.:-]+)", stream.read(_DECLARATION), re.IGNORECASE)
    try:
        return codecs.lookup(found[1].decode("ascii")).name if found else None
    except (LookupError, UnicodeDecodeError):
        return None


def _guess(path: Path, bad: int) -> Encoding:
    from charset_normalizer import from_bytes

    with path.open("rb") as stream:
        stream.seek(max(0, bad - _BEFORE))
        # Lines of ASCII say nothing, and a file of code with a rare accent looks like noise among them.
        sample = b"\n".join(line for line in stream.read(_SAMPLE).splitlines() if not line.isascii())
    decoded = sample.decode("utf-8", "replace")
    broken = decoded.count("\ufffd")
    whole = sum(character > "\x7f" for character in decoded) - broken
    if whole > 2 * broken:  # Bytes of another encoding hardly ever happen to be valid UTF-8.
        return Encoding(
            "utf-8", "replace", f"is damaged UTF-8 (first at byte {bad}); the damaged characters became U+FFFD"
        )
    table = json.loads(Path(__file__).with_name("encodings.json").read_text(encoding="utf-8"))
    best = from_bytes(sample, cp_isolation=table["legacy"]).best()
    if best is not None:
        name = _latin(sample, table["latin"]) if best.encoding in table["latin"] else best.encoding
        if _first_bad_byte(path, name) is None:
            return Encoding(name, doubt=f"is not UTF-8; it was read as {name}, the best guess")
    raise ReadError(f"is not UTF-8 (first at byte {bad}), and no other encoding fits; save it as UTF-8")


def _latin(sample: bytes, alphabets: dict[str, dict[str, str]]) -> str:
    """The Latin code page that makes the most letters those of one language, the first one where several do.

    charset-normalizer tells Latin scripts from others, but hardly one from another.
    """

    def fit(encoding: str) -> int:
        letters = [c for c in sample.decode(encoding, "ignore").lower() if c > "\x7f" and c.isalpha()]
        return max(sum(letter in alphabet for letter in letters) for alphabet in alphabets[encoding].values())

    return max(alphabets, key=fit)
