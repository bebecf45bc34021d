"""The languages that milvine analyses: one row each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from milvine.errors import InputError


@dataclass(frozen=True)
class Language:
    """How a language's text becomes terms.

    Attributes:
        code: Its ISO 639-1 code.
        name: Its English name in lower case, as NLTK and Snowball write it.
        tokenizer: How words are found; `"words"`: runs of letters and digits between white space.
        stopwords: The file in `analysis/data` that lists the words not to be searched for, or `None`.
        stemmer: The Snowball algorithm that cuts words to their stems, by PyStemmer's name, or `None`.
        clitics: What may follow a word after an apostrophe without being part of it, as a regular expression.
        rules: Raised whenever a change here or in the analyzer gives some text other terms; a collection compares it.
    """

    code: str
    name: str
    tokenizer: str
    stopwords: str | None
    stemmer: str | None
    clitics: str = ""
    rules: int = 1


LANGUAGES: dict[str, Language] = {
    row.code: row
    for row in (
        Language(
            code="en",
            name="english",
            tokenizer="words",
            stopwords="stopwords_en.txt",
            stemmer="english",
            clitics="s|d|ll|m|re|ve",
        ),
    )
}
"""Every language, by its code."""


def find_language(language: str) -> Language:
    """The row of a language, by its code or its name (`"en"` or `"english"`).

    Raises:
        InputError: There is no such language; the message lists those there are.
    """
    wanted = language.lower() if isinstance(language, str) else language
    for row in LANGUAGES.values():
        if wanted in (row.code, row.name):
            return row
    known = ", ".join(f"{row.code} ({row.name})" for row in LANGUAGES.values())
    raise InputError(f"There is no analyzer for language {language!r}; there is one for: {known}")


@cache
def stop_words(language: Language) -> frozenset[str]:
    """The words of a language that are not searched for, in lower case; empty where its row names no file."""
    if language.stopwords is None:
        return frozenset()
    text = (resources.files("milvine.analysis") / "data" / language.stopwords).read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())
