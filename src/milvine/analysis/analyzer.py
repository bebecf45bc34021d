"""Text to terms.

The path of a text: its pieces between white space are brought into one Unicode form (`milvine.analysis.unicode`), words
are cut out of them, or n-grams where the script has no spaces (`words`, `ngrams`), letter case and variants of spelling
are folded, stop words dropped, and what is left cut to its stem. The language's row (`languages`) says how; the modules
named say what is done with accents, numbers, identifiers, e-mail addresses, emoji and the like.

`multilingual` goes by the script of each word: Latin words are treated as English ones, Cyrillic, Greek, Arabic and
Devanagari ones as Russian, Greek, Arabic and Hindi. It does not tell one language of a script from another: a German
word gets the English stemmer, which is still better than none (nDCG@10 on German passages .929, without .916, with the
German row .945), a Ukrainian one the Russian.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from milvine._texts import as_texts
from milvine.analysis.dictionaries import DICTIONARIES, DictionaryAnalyzer, get_dictionary_analyzer
from milvine.analysis.languages import LANGUAGES, Language, find_language, stop_words
from milvine.analysis.ngrams import has_runs, ngrams, split_runs
from milvine.analysis.unicode import fold, folds_as_lower, normalize
from milvine.analysis.words import EDGES, SEPARATORS, plain_words, spaced_words, words
from milvine.errors import InputError, InputTypeError

__all__ = ["Analyzer", "get_analyzer", "normalize", "words"]

_CACHED_FORMS = 1 << 17
_LONGEST_CACHED_FORM = 48
_MOST_CACHED_TERMS = 12


class _Forms(dict[str, tuple[str, ...]]):
    """Surface form -> its terms, computed when first asked for. Bounded: it starts anew when it is full."""

    def __init__(self, compute: Callable[[str], tuple[str, ...]]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, form: str) -> tuple[str, ...]:
        terms = self._compute(form)
        # A piece of text without spaces is long, and hardly ever comes again.
        if len(form) <= _LONGEST_CACHED_FORM and len(terms) <= _MOST_CACHED_TERMS:
            if len(self) >= _CACHED_FORMS:
                self.clear()
            self[form] = terms
        return terms


class _Treatment:
    """What a language does with a word once it is found: folding, stop words, stem."""

    def __init__(self, language: Language) -> None:
        import Stemmer

        self._folding = language.folding
        self._plain_case = folds_as_lower(language.folding)
        self._stop_words = stop_words(language)
        # PyStemmer's own cache would hold the same words a second time.
        self._stemmer = Stemmer.Stemmer(language.stemmer, 0) if language.stemmer else None
        self._lock = threading.Lock()

    def __call__(self, words: Iterable[str]) -> list[str]:
        """The term of each word; "" for stop words."""
        folding = self._folding
        if self._plain_case:
            folded = [word.lower() if word.isascii() else fold(word, folding) for word in words]
        else:
            folded = [fold(word, folding) for word in words]
        if self._stemmer is None:
            stems = folded
        else:
            with self._lock:
                stems = self._stemmer.stemWords(folded)
        # Of some Greek words the stemmer leaves nothing.
        return ["" if word in self._stop_words else stem or word for word, stem in zip(folded, stems, strict=True)]


class Analyzer:
    """Turns texts of one language into terms, fast: each distinct piece of text between white space is analysed once.

    What the pieces gave is kept, at most 131,072 of them (about 50 MB), so a long-lived analyzer gets faster as it is
    used. It may be shared between threads and pickled; a pickled copy starts with nothing kept.

    Args:
        language: The row to follow; `get_analyzer` finds it by its code.

    Attributes:
        separators: ASCII characters at which a text may be cut as at white space, and gives the same terms.
        edges: ASCII characters that may be taken off such a piece at either end.
    """

    separators = SEPARATORS
    edges = EDGES

    def __init__(self, language: Language) -> None:
        self.language = language
        self._treat = _Treatment(language)
        self._by_script = {script: _Treatment(LANGUAGES[code]) for script, code in language.scripts}
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

    def terms_of(self, pieces: Sequence[str]) -> list[Sequence[str]]:
        """The terms of each of these pieces of text; a text's terms are those of its pieces between white space.

        Words that several pieces have are treated once, and what the pieces gave is not kept: this is for who keeps it.
        """
        if self._by_script:
            return list(map(self._analyze, pieces))
        found = list(map(self._words, pieces))
        words = dict.fromkeys(chain.from_iterable(found))
        terms = dict(zip(words, self._treat(words), strict=True))
        return [
            [term for word in words if (term := terms[word])] if words else self._analyze(piece)
            for piece, words in zip(pieces, found, strict=True)
        ]

    def terms(self, texts: Iterable[str]) -> list[list[str]]:
        """The terms of each text, in the order of the texts.

        Raises:
            InputTypeError: `texts` is a bare string, or holds something that is no string.
        """
        lookup = self._forms.__getitem__
        return [list(chain.from_iterable(map(lookup, text.split()))) for text in as_texts(texts)]

    def _analyze(self, form: str) -> tuple[str, ...]:
        text = normalize(form, fold_case=False)
        if not has_runs(text):
            found = spaced_words(text, self.language)
            return tuple(filter(None, self._by_their_scripts(found) if self._by_script else self._treat(found)))
        terms: list[str] = []
        for place, part in enumerate(split_runs(text)):
            if place % 2:
                terms += ngrams(part)
            else:  # mostly punctuation, and that is looked up faster than analysed
                terms.extend(chain.from_iterable(map(self._forms.__getitem__, part.split())))
        return tuple(terms)

    def _words(self, piece: str) -> list[str]:
        """The piece's words as they are found; none where it has characters of scripts without spaces."""
        if piece.isascii() and (found := plain_words(piece)):
            return found
        text = normalize(piece, fold_case=False)
        return [] if has_runs(text) else spaced_words(text, self.language)

    def _by_their_scripts(self, words: list[str]) -> list[str]:
        return [term for word in words for term in self._by_script.get(_script(word), self._treat)([word])]


def get_analyzer(language: str = "en") -> Analyzer | DictionaryAnalyzer:
    """The analyzer of a language, by its code, an alias or its name; or of a dictionary, by its code.

    Raises:
        InputError: There is no such language; the message lists those there are.
        MissingExtraError: The dictionary's package is not installed.
    """
    if language in DICTIONARIES:
        return get_dictionary_analyzer(language)
    try:
        return Analyzer(find_language(language))
    except InputError as error:
        raise InputError(f"{error}; and with a dictionary: {', '.join(DICTIONARIES)}") from None


def _script(word: str) -> str:
    """The script of a word's first letter, as the first word of that letter's name in Unicode; "" without letters."""
    letter = next(filter(str.isalpha, word), "")
    return unicodedata.name(letter, "").partition(" ")[0] if letter else ""
