"""A reader for each kind of file: a function from a file to its documents, in a table by suffix."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

from milvine._records import RESERVED_KEYS
from milvine.errors import ReadError
from milvine.ingest.documents import Document
from milvine.ingest.html import html_to_text
from milvine.ingest.source import SourceFile

Reader: TypeAlias = Callable[[SourceFile], Iterator[Document]]

_OWN_KEYS = frozenset({"document", "end", "format", "source", "start", "title"})
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)\n*", re.DOTALL | re.MULTILINE)
_ATX_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_RST_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1*$")


def read_text(file: SourceFile) -> Iterator[Document]:
    """Plain text; the title is the file's name."""
    yield from _whole(file, "text", file.read(), "")


def read_markdown(file: SourceFile) -> Iterator[Document]:
    """Markdown, kept as it is but for YAML front matter; the title is the front matter's, else the first heading."""
    text = file.read()
    title = ""
    found = _FRONT_MATTER.match(text)
    matter = _yaml_mapping(found[1]) if found else None
    if found and matter is not None:
        text = text[found.end() :]
        title = str(matter.get("title") or "").strip()
    yield from _whole(file, "markdown", text, title or _markdown_heading(text))


def read_rst(file: SourceFile) -> Iterator[Document]:
    """reStructuredText, kept as it is; the title is the first underlined heading."""
    text = file.read()
    yield from _whole(file, "rst", text, _rst_heading(text))


def read_html(file: SourceFile) -> Iterator[Document]:
    """HTML without its markup, scripts, styles and navigation; the title is the page's, else its first `h1`."""
    title, text = html_to_text(file.read())
    yield from _whole(file, "html", text, title)


def read_jsonl(file: SourceFile) -> Iterator[Document]:
    """One JSON object a line, as in BEIR's `corpus.jsonl`.

    `text` is required; `title` is optional, and stands in for a blank text. The id is the file's path, `#` and `_id`
    or `id`, else the line's number. All other fields are metadata; one that has the name of milvine's own
    (`document`, `end`, `format`, `source`, `start`) gets a `_` at its end. A line that is not as described is reported
    and left out. Memory: one line, and the ids of the file.
    """
    seen: set[str] = set()
    with file.open() as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                document = _row(file, number, json.loads(line.rstrip(), parse_constant=_refuse_constant))
                if document.id in seen:
                    raise ReadError(f"its id {document.id.removeprefix(file.name + '#')!r} was used on an earlier line")
            except json.JSONDecodeError as error:
                file.problem(f"is not valid JSON: {error.msg} at column {error.colno}", line=number)
            except ReadError as error:
                file.problem(str(error), line=number)
            except (ValueError, RecursionError) as error:
                file.problem(f"is not JSON that can be read: {error}", line=number)
            else:
                seen.add(document.id)
                yield document


READERS: dict[str, Reader] = {
    ".htm": read_html,
    ".html": read_html,
    ".jsonl": read_jsonl,
    ".md": read_markdown,
    ".rst": read_rst,
    ".txt": read_text,
}
"""Which function reads which suffix; suffixes are in lower case."""


def _whole(file: SourceFile, kind: str, text: str, title: str) -> Iterator[Document]:
    if not text.strip():
        file.problem("is empty" if file.path.stat().st_size == 0 else "holds no text")
        return
    name = file.name.rpartition("/")[2]
    yield Document(file.name, text, " ".join(title.split()) or name, {"source": file.name, "format": kind})


def _row(file: SourceFile, number: int, row: Any) -> Document:
    if not isinstance(row, dict):
        raise ReadError(f"must be a JSON object with a field 'text', not {type(row).__name__}")
    if "text" not in row:
        raise ReadError("has no field 'text'")
    text, title = row.pop("text"), row.pop("title", None) or ""
    for field, value in (("text", text), ("title", title)):
        if not isinstance(value, str):
            raise ReadError(f"its {field!r} must be a string, not {type(value).__name__}")
    name = row.pop("_id") if "_id" in row else row.pop("id", number)
    if isinstance(name, bool) or not isinstance(name, (str, int)) or name == "":
        raise ReadError(f"its id must be a string that is not empty, or an integer, not {name!r}")
    text = text if text.strip() else title
    if not text.strip():
        raise ReadError("its text is empty")
    metadata = {_allowed(key): value for key, value in row.items()}
    metadata |= {"source": file.name, "format": "jsonl"}
    try:
        json.dumps([text, title, name, metadata], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ReadError(r"holds half of a surrogate pair (\ud800 to \udfff), which is no character") from None
    return Document(f"{file.name}#{name}", text, " ".join(title.split()), metadata)


def _allowed(key: str) -> str:
    """The key, or one like it where it is taken by a passage's metadata or by the stores."""
    key = key.lstrip("$") or "_"
    return f"{key}_" if key in _OWN_KEYS or key in RESERVED_KEYS else key


def _refuse_constant(name: str) -> NoReturn:
    raise ReadError(f"holds {name}, which is not JSON")


def _yaml_mapping(text: str) -> dict[Any, Any] | None:
    """What a YAML text holds, if that is a mapping: otherwise the text stood between two thematic breaks."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _markdown_heading(text: str) -> str:
    fence = ""
    previous = ""
    for line in text.splitlines():
        opened = _FENCE.match(line)
        if opened and (not fence or opened[1] == fence):
            fence = "" if fence else opened[1]
        elif not fence:
            if heading := _ATX_HEADING.match(line):
                return _plain(heading[1])
            if previous.strip() and _SETEXT_UNDERLINE.match(line):
                return _plain(previous)
        previous = "" if fence else line
    return ""


def _plain(heading: str) -> str:
    """A heading without links, code marks and emphasis."""
    return re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])?", r"\1", heading).replace("`", "").replace("*", "").strip()


def _rst_heading(text: str) -> str:
    previous = ""
    for line in text.splitlines():
        heading = previous.strip()
        underlined = len(line.rstrip()) >= len(heading) and _RST_UNDERLINE.match(line.rstrip())
        if heading and underlined and not _RST_UNDERLINE.match(heading):
            return heading
        previous = line
    return ""
