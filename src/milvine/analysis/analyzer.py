"""Text to terms.

The path of a word: Unicode form and letter case (`normalize`), cut out of its surroundings (`words`), dropped if it is
a stop word, cut to its stem (`Analyzer`).

What counts as one word:

- letters and digits that touch: `covid`, `b12`, `20mg`; case is folded, full-width forms and ligatures become plain;
- a hyphen, slash or underscore separates: `state-of-the-art`, `max_length` and `x-ray` give their parts, so that either
  spelling finds the other;
- an apostrophe, straight or curly, holds a word together (`o'neill`, `don't`), but the endings 's 'd 'll 'm 're 've
  are cut off: `Turing's` is `Turing`, `they'll` is `they`;
- a point between digits belongs to the number or version (`891.82`, `3.11.2`); commas that group thousands go
  (`3,520,031` is `3520031`), other commas separate;
- single letters joined by points are an abbreviation and lose them: `U.S.` is `us`, `e.g.` is `eg`;
- `C++`, `C#`, `F#` and the like stay whole; `camelCase` stays one word, in lower case;
- accents stay (`café` is not `cafe`); soft hyphens and zero-width joiners go;
- emoji, symbols and punctuation are no words;
- of a word longer than 128 characters the first 128 count.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain
from typing import Any

from milvine._texts import as_texts
from milvine.analysis.languages import LANGUAGES, Language, find_language, stop_words
from milvine.errors import InputTypeError

MAX_WORD = 128
"""Characters of a word that count."""

_CACHED_FORMS = 1 << 17
_LONGEST_CACHED_FORM = 48

# Apostrophes become the plain one; what is invisible within a word goes.
_ADJUST = str.maketrans(dict.fromkeys("‘’‛ʼ", "'") | dict.fromkeys("\u00ad\u200c\u200d\u2060\ufeff"))
_SURROUNDINGS = ".,;:!?()[]'\""
_GROUPING_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")

# A letter, a digit, or a mark that combines with one; underscores are gone by then.
_W = r"[\w\u0300-\u036f]"


@cache
def _word_pattern(clitics: str) -> re.Pattern[str]:
    clitic = rf"'(?:{clitics or '(?!)'})(?!{_W})"
    return re.compile(
        rf"""
        (   (?<!{_W}) [^\W\d] (?:\.[^\W\d])+ (?!{_W})                           # U.S.
        |   (?<!{_W}) [^\W\d] (?:\+\+|\#) (?!{_W})                              # C++
        |   \w {_W}* (?: \.(?<=\d\.)(?=\d) {_W}+ | (?!{clitic}) ' \w {_W}* )*  # words and numbers
        )
        (?: {clitic} )*
        """,
        re.VERBOSE | re.IGNORECASE,
    )


def normalize(text: str, *, fold_case: bool = True) -> str:
    """The text in one Unicode form: NFKC, plain apostrophes, nothing invisible, and letter case folded if wanted."""
    if text.isascii():
        return text.lower() if fold_case else text
    text = unicodedata.normalize("NFKC", text).translate(_ADJUST)
    # Folding can take a text out of the normal form, so it goes back in.
    return unicodedata.normalize("NFKC", text.casefold()) if fold_case else text


def words(text: str, language: Language = LANGUAGES["en"]) -> list[str]:
    """The words of a normalised text in their order, as the module's docstring says; stop words are among them."""
    bare = text.strip(_SURROUNDINGS)
    if bare.isalnum():  # most pieces of most texts: the pattern would find just this
        return [bare[:MAX_WORD]]
    text = text.replace("_", " ")
    if "," in text:
        text = _GROUPING_COMMA.sub("", text)
    found = _word_pattern(language.clitics).findall(text)
    return [(word.replace(".", "") if word[1:2] == "." and word[0].isalpha() else word)[:MAX_WORD] for word in found]


class _Forms(dict[str, tuple[str, ...]]):
    """Surface form -> its terms, computed when first asked for. Bounded: it starts anew when it is full."""

    def __init__(self, compute: Callable[[str], tuple[str, ...]]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, form: str) -> tuple[str, ...]:
        terms = self._compute(form)
        if len(form) <= _LONGEST_CACHED_FORM:
            if len(self) >= _CACHED_FORMS:
                self.clear()
            self[form] = terms
        return terms


class Analyzer:
    """Turns texts of one language into terms, fast: each distinct piece of text between white space is analysed once.

    What the pieces gave is kept, at most 131,072 of them (about 50 MB), so a long-lived analyzer gets faster as it is
    used. It may be shared between threads and pickled; a pickled copy starts with nothing kept.

    Args:
        language: The row to follow; `get_analyzer` finds it by its code.
    """

    def __init__(self, language: Language) -> None:
        import Stemmer

        self.language = language
        self._stop_words = stop_words(language)
        # PyStemmer's own cache would hold the same words a second time.
        self._stemmer = Stemmer.Stemmer(language.stemmer, 0) if language.stemmer else None
        self._stemmer_lock = threading.Lock()
        self._forms = _Forms(self._analyze)

    def __reduce__(self) -> tuple[type[Analyzer], tuple[Language]]:
        return type(self), (self.language,)

    def __repr__(self) -> str:
        return f"Analyzer({self.language.code!r})"

    @property
    def name(self) -> str:
        """The language's code."""
        return self.language.code

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for two analyzers to give the same terms, as JSON; a collection stores and compares it."""
        return {"language": self.language.code, "rules": self.language.rules}

    def __call__(self, text: str) -> list[str]:
        """The terms of one text in their order; `[]` for a text without any.

        Raises:
            InputTypeError: `text` is no string.
        """
        if not isinstance(text, str):
            raise InputTypeError(f"An analyzer takes one string, not {type(text).__name__}; use terms() for a list")
        return list(chain.from_iterable(map(self._forms.__getitem__, text.split())))

    def terms(self, texts: Iterable[str]) -> list[list[str]]:
        """The terms of each text, in the order of the texts.

        Raises:
            InputTypeError: `texts` is a bare string, or holds something that is no string.
        """
        lookup = self._forms.__getitem__
        return [list(chain.from_iterable(map(lookup, text.split()))) for text in as_texts(texts)]

    def _analyze(self, form: str) -> tuple[str, ...]:
        found = [word for word in words(normalize(form), self.language) if word not in self._stop_words]
        if self._stemmer is None:
            return tuple(found)
        with self._stemmer_lock:
            return tuple(self._stemmer.stemWords(found))


def get_analyzer(language: str = "en") -> Analyzer:
    """The analyzer of a language, by its code or name.

    Raises:
        InputError: There is no such language; the message lists those there are.
    """
    return Analyzer(find_language(language))
