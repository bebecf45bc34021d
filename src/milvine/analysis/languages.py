"""The languages that milvine analyses: one row each. One more is a row, and a file of stop words beside the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from milvine.analysis.unicode import fold, normalize
from milvine.errors import InputError


@dataclass(frozen=True)
class Language:
    """How a language's text becomes terms.

    Words are found in one way for all (`milvine.analysis.words`); scripts that are written without spaces give
    characters and pairs of them in all (`milvine.analysis.ngrams`), which is all that Chinese, Japanese, Korean and
    Thai need.

    Attributes:
        code: Its ISO 639-1 code, or `"multilingual"`.
        name: Its English name in lower case, as NLTK and Snowball write it.
        aliases: Other codes for it.
        folding: What it spells in more ways than one, beyond letter case: a name in `milvine.analysis.unicode`.
        elisions: What stands before an apostrophe without being part of the word, as a regular expression.
        clitics: What may follow a word after an apostrophe without being part of it, as a regular expression.
        stopwords: The file in `analysis/data` that lists the words not to be searched for, or `None`.
        stemmer: The Snowball algorithm that cuts words to their stems, by PyStemmer's name, or `None`.
        scripts: For words of other scripts, the language whose folding, stop words and stemmer they get: pairs of the
            script's name in Unicode and the language's code.
        rules: Raised whenever a change here or in the analyzer gives some text other terms; a collection compares it.
    """

    code: str
    name: str
    aliases: tuple[str, ...] = ()
    folding: str | None = None
    elisions: str = ""
    clitics: str = ""
    stopwords: str | None = None
    stemmer: str | None = None
    scripts: tuple[tuple[str, str], ...] = ()
    rules: int = 1


def _snowball(
    code: str,
    name: str,
    *,
    aliases: tuple[str, ...] = (),
    folding: str | None = None,
    elisions: str = "",
    clitics: str = "",
    rules: int = 1,
) -> Language:
    """A language whose stemmer has its name and whose stop words have a file of its code."""
    return Language(code, name, aliases, folding, elisions, clitics, f"stopwords_{code}.txt", name, rules=rules)


_ENGLISH_CLITICS = "s|d|ll|m|re|ve"
_FRENCH_ELISIONS = "l|d|c|j|m|n|s|t|qu|jusqu|lorsqu|puisqu|quoiqu"
_ITALIAN_ELISIONS = "l|d|c|un|gl|all|dall|dell|nell|sull|coll|agl|dagl|degl|negl|sugl|quell|quest|m|t|s|v|n"

LANGUAGES: dict[str, Language] = {
    row.code: row
    for row in (
        _snowball("ar", "arabic", folding="arabic"),
        _snowball("cs", "czech"),
        _snowball("da", "danish"),
        _snowball("de", "german", clitics="s"),
        _snowball("el", "greek", folding="greek"),
        _snowball("en", "english", clitics=_ENGLISH_CLITICS, rules=2),
        _snowball("es", "spanish", aliases=("sp",)),
        _snowball("fi", "finnish"),
        _snowball("fr", "french", elisions=_FRENCH_ELISIONS),
        _snowball("hi", "hindi", folding="hindi"),
        _snowball("hu", "hungarian"),
        _snowball("id", "indonesian"),
        _snowball("it", "italian", elisions=_ITALIAN_ELISIONS),
        Language("ja", "japanese", aliases=("jp",)),
        Language("ko", "korean", aliases=("kr",)),
        _snowball("nl", "dutch", clitics="s"),
        _snowball("no", "norwegian", aliases=("nb", "nn")),
        _snowball("pl", "polish"),
        _snowball("pt", "portuguese", elisions="d"),
        _snowball("ro", "romanian", folding="romanian"),
        _snowball("ru", "russian", folding="russian"),
        _snowball("sv", "swedish"),
        Language("th", "thai"),
        _snowball("tr", "turkish", folding="turkish", clitics=r"[^\W\d]+"),
        Language("zh", "chinese"),
        Language(
            "multilingual",
            "multilingual",
            elisions=_FRENCH_ELISIONS,
            clitics=_ENGLISH_CLITICS,
            stopwords="stopwords_en.txt",
            stemmer="english",
            scripts=(("ARABIC", "ar"), ("CYRILLIC", "ru"), ("DEVANAGARI", "hi"), ("GREEK", "el")),
        ),
    )
}
"""Every language, by its code."""


def find_language(language: str) -> Language:
    """The row of a language, by its code, an alias or its name (`"es"`, `"sp"` or `"spanish"`), in any case.

    Raises:
        InputError: There is no such language; the message lists those there are.
    """
    wanted = language.lower() if isinstance(language, str) else language
    for row in LANGUAGES.values():
        if wanted in (row.code, row.name, *row.aliases):
            return row
    known = ", ".join(f"{row.code} ({row.name})" for row in LANGUAGES.values())
    raise InputError(f"There is no analyzer for language {language!r}; there is one for: {known}")


@cache
def stop_words(language: Language) -> frozenset[str]:
    """The words of a language that are not searched for, in lower case; empty where its row names no file.

    Where the language's folding changes a word, both forms are in the set.
    """
    if language.stopwords is None:
        return frozenset()
    text = (resources.files("milvine.analysis") / "data" / language.stopwords).read_text(encoding="utf-8")
    listed = [normalize(word) for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    return frozenset(listed) | {fold(word, language.folding) for word in listed}
