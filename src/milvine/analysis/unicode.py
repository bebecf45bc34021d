"""One form for each character: Unicode normalisation, letter case, and what a language spells in more ways than one.

`normalize` is the same for every language:

- NFKC: composed letters, plain ligatures, full-width Latin and half-width kana as the usual ones, Hangul syllables for
  jamo, Arabic presentation forms as letters, superscript digits as digits;
- digits of every living script become 0 to 9 (`٣`, `३`, `๓`: 3);
- apostrophes become `'`; soft hyphens, zero-width joiners, variation selectors and the Arabic tatweel go.

`fold` takes letter case away and then what the language's row names:

- all: Unicode's case folding (`ß` is `ss`, final sigma `ς` is `σ`); the dot that folding leaves over `İ` goes;
- turkish: `I` is `ı`, `İ` is `i`;
- greek: tonos, dialytika and the older breathings and accents go;
- russian: `ё` is `е`; stress marks go, `й` stays;
- romanian: the cedilla of `ş` and `ţ` is the comma below of `ș` and `ț`;
- arabic: vowel and Quranic marks go; alef with hamza or madda is bare alef, dotless and Persian yeh are yeh, and the
  Persian kaf is kaf;
- hindi: the nukta goes, candrabindu is anusvara, a nasal before a consonant of its own class is anusvara (`हिन्दी`,
  `हिंदी`), candra vowels are the plain ones.

Other accents stay: `café` is not `cafe`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from milvine.errors import InputError

_APOSTROPHES = "‘’‛ʼ"
# What is invisible within a word, the tatweel, which only stretches it, and variation selectors.
_INVISIBLE = (*map(ord, "\u00ad\u200c\u200d\u2060\ufeff\u0640"), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))

# Where there are marks and digits; the large blocks of ideographs and Hangul have none.
_BLOCKS = (range(0x80, 0x3400), range(0xA000, 0xAC00), range(0xF900, 0x17000), range(0x1B000, 0x20000))


def normalize(text: str, *, fold_case: bool = True) -> str:
    """The text in one Unicode form, as the module's docstring says; letter case folded as `fold` does, if wanted."""
    if not text.isascii():
        # Between digits a plain comma groups thousands; a full-width one only ever separates.
        text = unicodedata.normalize("NFKC", text.replace("，", " "))
        adjust, table = _adjustments()
        if adjust.search(text):
            # What goes may have stood between a letter and its accent.
            text = unicodedata.normalize("NFKC", text.translate(table))
    return fold(text) if fold_case else text


_Table: TypeAlias = "Mapping[int, int | str | None]"
"""What `str.translate` takes."""


class Folding(NamedTuple):
    """What a language folds beyond letter case.

    Attributes:
        cased: Characters to replace before letter case is folded.
        folded: Characters to replace afterwards.
        pattern: What to replace last, or `None`.
        replacement: What to put in its place.
    """

    cased: _Table = MappingProxyType({})
    folded: _Table = MappingProxyType({})
    pattern: re.Pattern[str] | None = None
    replacement: str = ""


def fold(text: str, folding: str | None = None) -> str:
    """A normalised text without letter case, and without what the language spells in more ways than one.

    Args:
        text: As `normalize` gives it.
        folding: The name of a folding in the module's docstring, or `None`: letter case alone.
    """
    if folding is None:
        return text.lower() if text.isascii() else _fold_case(text)
    rules = _folding(folding)
    if not rules.cased and text.isascii():
        return text.lower()
    text = _fold_case(text.translate(rules.cased)).translate(rules.folded)
    return rules.pattern.sub(rules.replacement, text) if rules.pattern else text


def folds_as_lower(folding: str | None) -> bool:
    """Whether `fold` makes of ASCII letters what `str.lower` makes of them, as all foldings do but the Turkish one."""
    return folding is None or not _folding(folding).cased


@cache
def marks() -> str:
    """The marks that combine with letters, nonspacing and spacing, as the inside of a regular expression's `[]`."""
    return _ranges({point for point, category in _categories() if category in ("Mn", "Mc")})


def _fold_case(text: str) -> str:
    # Folding can take a text out of the normal form, so it goes back in.
    return unicodedata.normalize("NFKC", text.casefold().replace("i\u0307", "i"))


def _categories() -> Iterator[tuple[int, str]]:
    return ((point, unicodedata.category(chr(point))) for block in _BLOCKS for point in block)


def _ranges(points: set[int]) -> str:
    starts = sorted(point for point in points if point - 1 not in points)
    ends = sorted(point for point in points if point + 1 not in points)
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


@cache
def _adjustments() -> tuple[re.Pattern[str], dict[int, int | str | None]]:
    """What is looked for, and the table that replaces it."""
    # Above 0xFFFF every range costs time at every character, and the scripts there are hardly ever written.
    digits = re.findall(r"\d", "".join(map(chr, (*range(0x80, 0xD800), *range(0xE000, 0x10000)))))
    table: dict[int, int | str | None] = {ord(digit): str(unicodedata.decimal(digit)) for digit in digits}
    table |= dict.fromkeys(map(ord, _APOSTROPHES), "'") | dict.fromkeys(_INVISIBLE)
    return re.compile(f"[{_ranges(set(table))}]"), table


def _arabic() -> Folding:
    marks = (range(0x610, 0x61B), range(0x64B, 0x660), (0x670,), range(0x6D6, 0x6EE), range(0x8D3, 0x900))
    letters = str.maketrans("آأإٱىیک", "ااااييك")
    return Folding(folded=dict.fromkeys(point for block in marks for point in block) | letters)


def _greek() -> Folding:
    """Each Greek letter without the marks that it is composed with."""
    letters = {}
    for point in (*range(0x370, 0x400), *range(0x1F00, 0x2000)):
        base = unicodedata.normalize("NFD", chr(point))[0]
        if base != chr(point) and base.isalpha():
            letters[point] = base
    return Folding(folded=letters)


def _hindi() -> Folding:
    letters: dict[int, int | str | None] = {0x93C: None, **str.maketrans("ऩऱऴँऍऎॅॆऑऒॉॊ", "नरळंएएेेओओोो")}
    nasals = ("ङ्(?=[क-घ])", "ञ्(?=[च-झ])", "ण्(?=[ट-ढ])", "न्(?=[त-ध])", "म्(?=[प-भ])")
    return Folding(folded=letters, pattern=re.compile("|".join(nasals)), replacement="ं")


@cache
def _folding(name: str) -> Folding:
    match name:
        case "arabic":
            return _arabic()
        case "greek":
            return _greek()
        case "hindi":
            return _hindi()
        case "romanian":
            return Folding(folded=str.maketrans("şţ", "șț"))
        case "russian":
            return Folding(folded={ord("ё"): "е", 0x300: None, 0x301: None})
        case "turkish":
            return Folding(cased=str.maketrans("Iİ", "ıi"))
    raise InputError(f"There is no folding {name!r}")
