"""Documents to passages that fit a model, counted in the model's own tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from milvine._records import DOCUMENT, END, START
from milvine.errors import InputError
from milvine.ingest.documents import Document
from milvine.types import Record

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_CHARACTERS = 16_000
"""The longest passage in characters: 64,000 bytes of UTF-8 at most, under the 65,535 of a Milvus VARCHAR field."""

_CHARACTERS_PER_TOKEN = 16
_TITLE_SHARE = 8
_WINDOW = 4


def split_passages(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    max_tokens: int,
    *,
    overlap: int = 0,
    with_title: bool = False,
) -> Iterator[Record]:
    """Splits documents into passages of at most `max_tokens` tokens, special tokens included.

    Cuts fall at the highest boundary that fits: headings and blocks in Markdown, else blank lines, lines, sentences,
    words, characters. Blank documents give no passage.

    A passage's id is the document's, `#` and its place there, from 0, so splitting a document again replaces its
    passages. Its metadata are the document's with `title`, where it has one, `document` (the id, by which those left
    over are found), and `start` and `end`: it is characters `start` to `end` of the document's text.

    A word that the tokenizer takes for one unknown token, or a desert of spaces, could make a passage of any length,
    so a passage also has at most 16 characters a token and `MOST_CHARACTERS` in all.

    Args:
        documents: The documents.
        tokenizer: The model's. Its truncation and padding do not matter, and it is not changed.
        max_tokens: The model's maximum length in tokens.
        overlap: How many tokens neighbouring passages of a document may share; less than fit a passage.
        with_title: Puts the title and a newline before each passage that does not begin with it. The title takes an
            eighth of the tokens at most and is cut to that; `start` and `end` are still those of the passage alone.

    Raises:
        InputError: `max_tokens` leaves no room beside the special tokens, `overlap` leaves none for new text, or a
            text holds half of a surrogate pair.
    """
    from tokenizers import Tokenizer as Copy

    if tokenizer.truncation is not None or tokenizer.padding is not None:
        tokenizer = Copy.from_str(tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
    special = tokenizer.num_special_tokens_to_add(False)
    room = max_tokens - special
    title_room = max(1, room // _TITLE_SHARE) if with_title else 0
    if room - title_room < 1:
        raise InputError(f"max_tokens must be more than {special + title_room}, not {max_tokens}")
    if not 0 <= overlap < room - title_room:
        raise InputError(f"overlap must be from 0 to {room - title_room - 1} tokens, not {overlap}")
    return _Splitter(tokenizer, room - title_room, overlap, title_room).passages(documents)


class _Splitter:
    def __init__(self, tokenizer: Tokenizer, capacity: int, overlap: int, title_room: int) -> None:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        self._tokenizer = tokenizer
        self._title_room = title_room
        self._plain = TextSplitter.from_huggingface_tokenizer(tokenizer, capacity, overlap)
        self._markdown = MarkdownSplitter.from_huggingface_tokenizer(tokenizer, capacity, overlap)
        self._most_characters = min(_CHARACTERS_PER_TOKEN * capacity, MOST_CHARACTERS)
        self._by_characters = TextSplitter(self._most_characters)

    def passages(self, documents: Iterable[Document]) -> Iterator[Record]:
        for document in documents:
            title = self._short_title(document.title) if self._title_room else ""
            ordinal = 0
            try:
                for start, raw in self._pieces(document):
                    named = {"title": document.title} if document.title else {}
                    place = {DOCUMENT: document.id, START: start, END: start + len(raw)}
                    text = f"{title}\n{raw}" if title and not raw.lstrip("#= \n").startswith(title) else raw
                    yield Record(f"{document.id}#{ordinal}", text, {**document.metadata, **named, **place})
                    ordinal += 1
            except UnicodeEncodeError as error:
                raise InputError(
                    f"the text of document {document.id!r} holds half of a surrogate pair"
                    f" ({error.object[error.start]!a}); replace or remove it"
                ) from error

    def _pieces(self, document: Document) -> Iterator[tuple[int, str]]:
        """Where each passage starts, and its characters.

        The splitter's time grows with the square of a text without boundaries, so it sees a window at a time. The
        last passage of a window may be cut short by the window's end: the next window starts where it started.
        """
        text = document.text
        splitter: Any = self._markdown if document.metadata.get("format") == "markdown" else self._plain
        width = _WINDOW * self._most_characters
        position = 0
        while position < len(text):
            chunks = splitter.chunk_indices(text[position : position + width])
            following = position + width
            if following < len(text) and chunks and chunks[-1][0] > 0:
                following = position + chunks.pop()[0]
            for offset, chunk in chunks:
                yield from self._bounded(splitter, position + offset, chunk)
            position = following

    def _bounded(self, splitter: Any, start: int, chunk: str) -> Iterator[tuple[int, str]]:
        if len(chunk) <= self._most_characters:
            yield start, chunk
            return
        for offset, piece in self._by_characters.chunk_indices(chunk):
            # The end of what was one unknown token can be many known ones.
            for within, part in splitter.chunk_indices(piece):
                yield start + offset + within, part

    def _short_title(self, title: str) -> str:
        encoded = self._tokenizer.encode(title, add_special_tokens=False)
        if len(encoded) <= self._title_room:
            return title
        return title[: encoded.offsets[self._title_room - 1][1]].rstrip()
