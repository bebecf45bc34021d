"""Where a text has the words of a query, as an analyzer sees them.

An analyzer gives terms and not where they stand, so a text is looked at piece by piece between white space: a piece
that gives a term of the query is taken apart until the word is found that gives it. Positions are those of the text as
it is stored, whatever normalisation made of it.

In scripts that are written without spaces pairs of characters carry the meaning. A single character of a longer word of
the query is marked only in a text that has no more than such characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from milvine.analysis.ngrams import has_runs, ngrams, split_runs
from milvine.analysis.unicode import fold, marks, normalize
from milvine.analysis.words import SURROUNDINGS

if TYPE_CHECKING:
    from milvine.analysis import Analyzer, DictionaryAnalyzer

Span = tuple[int, int]
"""Where something begins in a text, and where it ends: `text[begin:end]`."""

_PIECE = re.compile(r"\S+")
_JOINED_VOWEL = "\u0e40"  # a Thai vowel that, typed twice, is another


def find_matches(analyzer: Analyzer | DictionaryAnalyzer, query: str, text: str) -> tuple[Span, ...]:
    """Where the words stand in the text whose terms the query has; in order, none touching another."""
    terms = frozenset(analyzer(query))
    if not terms:
        return ()
    if not hasattr(analyzer, "language"):
        return _merged(_by_dictionary(terms.intersection(analyzer(text)), text))
    lone = _lone_characters(query)
    strong: list[Span] = []
    weak: list[Span] = []
    for match in _PIECE.finditer(text):
        piece, begin = match.group(), match.start()
        found = terms.intersection(analyzer(piece))
        if not found:
            continue
        if piece.isascii() or not has_runs(normalize(piece, fold_case=False)):
            strong += _words(analyzer, found, piece, begin)
            continue
        for is_run, groups in _segments(piece):
            start, end = groups[0][0], groups[-1][1]
            if not is_run:
                here = found.intersection(analyzer(piece[start:end]))
                strong += _words(analyzer, here, piece[start:end], begin + start) if here else []
                continue
            for span, is_strong in _in_run(groups, found, lone):
                (strong if is_strong else weak).append((begin + span[0], begin + span[1]))
    return _merged(strong or weak)


def _words(analyzer: Analyzer | DictionaryAnalyzer, terms: frozenset[str], piece: str, begin: int) -> list[Span]:
    """The smallest parts of a piece that give the terms: words, then what points and apostrophes join, then all."""
    spans: list[Span] = []
    for pattern in _word_patterns():
        given: set[str] = set()
        for match in pattern.finditer(piece):
            here = terms.intersection(analyzer(match.group()))
            if here:
                spans.append((begin + match.start(), begin + match.end()))
                given |= here
        terms -= given
        if not terms:
            return spans
    bare = piece.lstrip(SURROUNDINGS)
    start = begin + len(piece) - len(bare)
    return [*spans, (start, start + len(bare.rstrip(SURROUNDINGS)))]


@cache
def _word_patterns() -> tuple[re.Pattern[str], ...]:
    letter = rf"(?:[^\W_]|[{marks()}])"
    return re.compile(f"{letter}+"), re.compile(rf"{letter}(?:[\w.,'’#+]|[{marks()}])*(?<![.,'’])")


# Scripts without spaces

_Group = tuple[int, int, str]  # where some characters begin and end, and what normalisation makes of them together


def _lone_characters(query: str) -> frozenset[str]:
    """The query's words of one character in scripts without spaces."""
    runs = split_runs(normalize(query, fold_case=False))[1::2]
    return frozenset(grams[0] for grams in map(ngrams, runs) if len(grams) == 1)


def _groups(text: str) -> Iterator[_Group]:
    """The characters of a text, with the marks and parts of a syllable that normalisation joins to them."""
    begin = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _joins(text[at - 1], text[at]):
            group = text[begin:at]
            yield begin, at, _normal(group) if len(group) == 1 else _joined(group)
            begin = at


@lru_cache(maxsize=1 << 13)
def _normal(character: str) -> str:
    return normalize(character, fold_case=False)


def _joined(group: str) -> str:
    return normalize(group, fold_case=False).replace(_JOINED_VOWEL * 2, "\u0e41")


def _joins(before: str, character: str) -> bool:
    if character.isascii():
        return False
    return (
        unicodedata.category(character)[0] == "M"
        or "\u1160" <= character <= "\u11ff"  # the vowel or the end of a Korean syllable that is spelled out
        or character in "\uff9e\uff9f"  # half-width voicing marks
        or before == character == _JOINED_VOWEL
        or not _normal(character)
    )


def _segments(piece: str) -> Iterator[tuple[bool, list[_Group]]]:
    """A piece in stretches that are in such a script, and others."""
    stretch: list[_Group] = []
    in_run = False
    for group in _groups(piece):
        if stretch and has_runs(group[2]) != in_run:
            yield in_run, stretch
            stretch = []
        in_run = has_runs(group[2])
        stretch.append(group)
    yield in_run, stretch


def _in_run(groups: list[_Group], terms: frozenset[str], lone: frozenset[str]) -> Iterator[tuple[Span, bool]]:
    """Where a run has the terms; and whether that is more than a character of a longer word."""
    origins = [(begin, end) for begin, end, normal in groups for _ in normal]
    position = 0
    for place, part in enumerate(split_runs("".join(normal for _, _, normal in groups))):
        if place % 2:
            grams = ngrams(part)
            units: list[tuple[str, Span]] = []
            start = position
            for unit in grams[: (len(grams) + 1) // 2]:
                end = min(start + len(unit), len(origins))
                units.append((unit, (origins[start][0], origins[end - 1][1])))
                start = end
            for at, (unit, span) in enumerate(units):
                if unit in terms:
                    yield span, unit in lone
                if at + 1 < len(units) and unit + units[at + 1][0] in terms:
                    yield (span[0], units[at + 1][1][1]), True
        position += len(part)


# Dictionaries


def _by_dictionary(terms: frozenset[str], text: str) -> list[Span]:
    """Where the text has the terms as they are; a base form that is written otherwise is not found."""
    if not terms:
        return []
    groups = [(begin, end, fold(normal)) for begin, end, normal in _groups(text)]
    folded = "".join(normal for _, _, normal in groups)
    origins = [(begin, end) for begin, end, normal in groups for _ in normal]
    longest = sorted(terms, key=lambda term: (-len(term), term))
    pattern = "|".join(rf"\b{re.escape(term)}\b" if term.isascii() else re.escape(term) for term in longest)
    found = re.finditer(pattern, folded, re.ASCII)
    return [(origins[match.start()][0], origins[match.end() - 1][1]) for match in found if match.group()]


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)
