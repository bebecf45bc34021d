"""HTML to plain text: blocks become paragraphs, what no one reads is dropped."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from milvine.errors import ReadError

if TYPE_CHECKING:
    from bs4 import Tag

_DROPPED = frozenset(["nav", "noscript", "script", "style", "svg", "template", "title"])

_PARAGRAPH, _LINE, _CELL = "\n\n", "\n", "\t"
_SEPARATORS = {
    **dict.fromkeys(
        [
            "address",
            "article",
            "aside",
            "blockquote",
            "details",
            "dialog",
            "div",
            "dl",
            "fieldset",
            "figure",
            "footer",
            "form",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hr",
            "main",
            "ol",
            "p",
            "pre",
            "section",
            "table",
            "ul",
        ],
        _PARAGRAPH,
    ),
    **dict.fromkeys(["br", "caption", "dd", "dt", "figcaption", "legend", "li", "option", "summary", "tr"], _LINE),
    **dict.fromkeys(["td", "th"], _CELL),
}
"""What stands before and after an element's text; the other elements are parts of a line."""

_SPACE = re.compile(r"[ \t\n\r\f]+")


def html_to_text(markup: str) -> tuple[str, str]:
    """A page's title, empty where it has none, and its text.

    Entities are decoded. Elements nested however deep are no danger. The parsed tree takes some tens of times the
    page's own size while this runs.

    Raises:
        ReadError: The parser gives up; the message is to be read after the file's name.
    """
    from bs4 import BeautifulSoup, ParserRejectedMarkup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Beautiful Soup warns of a text that looks like a path, a URL or XML.
        try:
            soup = BeautifulSoup(markup, "html.parser")
        except ParserRejectedMarkup as error:
            raise ReadError(f"is not HTML that can be read: {error}") from error
    title = next((_line(tag.get_text()) for name in ("title", "h1") if (tag := soup.find(name))), "")
    return title, _text(soup)


def _text(root: Tag) -> str:
    from bs4 import Tag
    from bs4.element import CData, NavigableString

    written = _Writer()
    # Each entry is a node, or what to do when the walk leaves an element: a separator and the end of a `pre`.
    pending: list[object] = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, Tag):
            if node.name in _DROPPED:
                continue
            separator = _SEPARATORS.get(node.name, "")
            written.separate(separator)
            written.verbatim += node.name == "pre"
            pending.append((separator, node.name == "pre"))
            pending.extend(reversed(node.contents))
        elif isinstance(node, tuple):
            separator, preformatted = node
            written.separate(separator)
            written.verbatim -= preformatted
        elif type(node) in (NavigableString, CData):  # Comments, doctypes, scripts and styles are subclasses.
            written.write(str(node))
    return "".join(written.pieces).strip()


class _Writer:
    """Joins strings as a browser does: runs of white space are one space, and separators do not add up."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.verbatim = 0
        self._separator = ""

    def separate(self, separator: str) -> None:
        order = ("", " ", _CELL, _LINE, _PARAGRAPH)
        self._separator = max(self._separator, separator, key=order.index)

    def write(self, text: str) -> None:
        if self.verbatim:
            body = text
        else:
            body = _SPACE.sub(" ", text)
            if body.startswith(" "):
                self.separate(" ")
            body = body.strip(" ")
        if not body:
            return
        if self.pieces:
            self.pieces.append(self._separator)
        self.pieces.append(body)
        self._separator = ""
        if not self.verbatim and text[-1] in " \t\n\r\f":
            self.separate(" ")


def _line(text: str) -> str:
    return " ".join(text.split())
