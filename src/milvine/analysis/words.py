"""What counts as one word.

- letters and digits that touch, with the marks that combine with them (Devanagari's vowel signs, Arabic's, accents
  that have no letter of their own): `covid`, `b12`, `20mg`, `किताबें`;
- a hyphen or slash separates: `state-of-the-art` and `x-ray` give their parts, so either spelling finds the other;
- an identifier gives itself, joined, and its parts: `max_length` and `maxLength` both give `maxlength`, `max` and
  `length`, `getHTTPResponse` gives `gethttpresponse`, `get`, `http` and `response`. Capitals divide it where it starts
  with a small letter or has three parts, and every part has two letters or more; so names and abbreviations such as
  `GitHub`, `McKay`, `mRNA` and `URLs` stay whole;
- an apostrophe holds a word together (`o'neill`, `don't`), except where the language's row cuts: English `Turing's` is
  `Turing` and `they'll` is `they`, French `l'homme` is `homme` and `qu'il` is `il`, Turkish `Ankara'nın` is `Ankara`;
- a point between digits belongs to the number or version (`891.82`, `3.11.2`, `v1.2`); commas that group thousands go
  (`3,520,031` is `3520031`), other commas separate;
- single letters joined by points are an abbreviation and lose them: `U.S.` is `us`, `z.B.` is `zb`;
- `C++`, `C#`, `F#` and the like stay whole;
- an e-mail address or URL gives its parts: `jo@mail.example.org` is `jo`, `mail`, `example`, `org`;
- scripts without spaces give characters and pairs of characters (`milvine.analysis.ngrams`);
- emoji, symbols and punctuation are no words;
- of a word longer than 128 characters the first 128 count.
"""

from __future__ import annotations

import re
from functools import cache

from milvine.analysis.languages import LANGUAGES, Language
from milvine.analysis.ngrams import has_runs, ngrams, split_runs
from milvine.analysis.unicode import marks

MAX_WORD = 128
"""Characters of a word that count."""

SEPARATORS = '!"$%&()*-/:;<=>?@[\\]^`{|}~'
"""ASCII characters that separate words wherever they stand, as white space does."""

EDGES = ".,'"
"""ASCII characters that mean nothing at either end of a piece of text between separators."""

SURROUNDINGS = SEPARATORS + EDGES
_GROUPING_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# Before a capital after a small letter or digit, and before the last of several capitals that a word follows.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_LETTERS_AND_UNDERSCORES = re.compile(r"\w+")


@cache
def _word_pattern(elisions: str, clitics: str, ascii_only: bool) -> re.Pattern[str]:
    w = r"\w" if ascii_only else rf"[\w{marks()}]"
    elision = rf"(?: (?<!{w})(?:{elisions})'(?={w}) )*" if elisions else ""
    clitic = rf"'(?:{clitics or '(?!)'})(?!{w})"
    return re.compile(
        rf"""
        {elision}
        (   (?<!{w}) [^\W\d] (?:\.[^\W\d])+ (?!{w})                           # U.S.
        |   (?<!{w}) [^\W\d] (?:\+\+|\#) (?!{w})                              # C++
        |   \w {w}* (?: \.(?<=\d\.)(?=\d) {w}+ | (?!{clitic}) ' \w {w}* )*  # words and numbers
        )
        (?: {clitic} )*
        """,
        re.VERBOSE | re.IGNORECASE,
    )


def words(text: str, language: Language = LANGUAGES["en"]) -> list[str]:
    """The words of a normalised text in their order, as the module's docstring says; stop words are among them.

    Args:
        text: As `normalize` gives it. Humps are seen only where letter case has not been folded.
        language: Its row says what is cut off at an apostrophe.
    """
    if not has_runs(text):
        return spaced_words(text, language)
    found: list[str] = []
    for place, part in enumerate(split_runs(text)):
        found += ngrams(part) if place % 2 else spaced_words(part, language)
    return found


def spaced_words(text: str, language: Language) -> list[str]:
    """The words of a normalised text without characters of scripts that are written without spaces."""
    if found := plain_words(text):
        return found
    if "_" in text or _HUMP.search(text):
        text = _LETTERS_AND_UNDERSCORES.sub(_expand, text)
    if "," in text:
        text = _GROUPING_COMMA.sub("", text)
    found = _word_pattern(language.elisions, language.clitics, text.isascii()).findall(text)
    return [(word.replace(".", "") if word[1:2] == "." and word[0].isalpha() else word)[:MAX_WORD] for word in found]


def plain_words(text: str) -> list[str]:
    """What `spaced_words` finds in a piece of one of the common kinds, faster; none for any other."""
    bare = text.strip(SURROUNDINGS)
    if bare.isalnum() and (bare[1:].islower() or not _HUMP.search(bare)):
        return [bare[:MAX_WORD]]
    if not bare.isascii():
        return []
    if "." in bare:
        parts = bare.split(".")
        if all(map(str.isdigit, parts)):  # 3.11.2
            return [bare[:MAX_WORD]]
        # os.path, but neither U.S. nor v1.2
        if all(len(part) > 1 and part.lstrip("_")[:1].isalpha() for part in parts):
            found = list(map(plain_words, parts))
            return [word for words in found for word in words] if all(found) else []
    elif "_" in bare:
        parts = [part for part in bare.split("_") if part]
        joined = "".join(parts)
        if joined.isalnum() and (joined.islower() or (joined.isalpha() and joined.isupper())):  # max_length
            return [part[:MAX_WORD] for part in ([joined, *parts] if len(parts) > 1 else parts)]
    return []


def _expand(match: re.Match[str]) -> str:
    """An identifier joined, then its parts, with spaces between; any other word as it is."""
    parts: list[str] = []
    for part in match.group().split("_"):
        humps = _HUMP.split(part)
        # "GitHub", "McKay", "mRNA" and "iPhone" are names.
        parts += humps if min(map(len, humps)) > 1 and (part[0].islower() or len(humps) > 2) else [part]
    parts = [part for part in parts if part]
    return " ".join(["".join(parts), *parts]) if len(parts) > 1 else match.group().replace("_", " ")
