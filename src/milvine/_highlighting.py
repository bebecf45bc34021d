"""The best window of a text, its matches marked."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

_ELLIPSIS = "…"


def highlight(
    text: str,
    matches: Sequence[tuple[int, int]],
    before: str,
    after: str,
    width: int | None,
    escape: Callable[[str], str] | None = None,
) -> str:
    """The window of at most `width` characters that has the most distinct matches, then the most; see `Hit`."""
    begin, end = (0, len(text)) if width is None or len(text) <= width else _window(text, matches, width)
    shown = escape or str
    parts = [_ELLIPSIS] if begin > 0 else []
    at = begin
    for start, stop in matches:
        start, stop = max(start, begin), min(stop, end)
        if start < stop:
            parts += [shown(text[at:start]), before, shown(text[start:stop]), after]
            at = stop
    parts += [shown(text[at:end]), _ELLIPSIS if end < len(text) else ""]
    return "".join(parts)


def _window(text: str, matches: Sequence[tuple[int, int]], width: int) -> tuple[int, int]:
    first, last = _best(text, matches, width)
    spare = width - (last - first)
    begin = min(max(first - spare // 2, 0), len(text) - width)
    end = begin + width
    return _start(text, begin, max(first, begin)), _stop(text, end, last)


def _best(text: str, matches: Sequence[tuple[int, int]], width: int) -> tuple[int, int]:
    """From the first to the last match of the best window; a match that is longer is cut."""
    best, span = (0, 0), (0, 0)
    words: Counter[str] = Counter()
    head = 0
    for tail, (start, stop) in enumerate(matches):
        words[text[start:stop].casefold()] += 1
        while head < tail and stop - matches[head][0] > width:
            gone = text[slice(*matches[head])].casefold()
            words[gone] -= 1
            if not words[gone]:
                del words[gone]
            head += 1
        if (len(words), tail - head + 1) > best:
            best, span = (len(words), tail - head + 1), (matches[head][0], min(stop, matches[head][0] + width))
    return span


def _start(text: str, begin: int, latest: int) -> int:
    """Where a window that may begin at `begin` begins: with a word, or at least not within a character."""
    if begin == 0:
        return 0
    for at in range(begin, latest + 1):
        if text[at - 1].isspace() and not text[at].isspace():
            return at
    while begin < latest and _continues(text, begin):
        begin += 1
    return begin


def _stop(text: str, end: int, earliest: int) -> int:
    """Where a window that may end at `end` ends: with a word, or at least not within a character."""
    if end == len(text):
        return end
    for at in range(end, max(earliest, 1) - 1, -1):
        if text[at].isspace() and not text[at - 1].isspace():
            return at
    while end > earliest + 1 and _continues(text, end):
        end -= 1
    return end


def _continues(text: str, at: int) -> bool:
    """Whether the character there belongs to the one before it."""
    character = text[at]
    return (
        unicodedata.category(character)[0] == "M"
        or character in "\u200d\uff9e\uff9f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # the skin of an emoji
        or text[at - 1] == "\u200d"
    )
