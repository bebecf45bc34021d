"""Words by dictionary: jieba for Chinese, MeCab with UniDic for Japanese, Kiwi for Korean, each an optional package.

The analyzers of these languages find n-grams of characters, need no dictionary and rank about as well (ARCHITECTURE.md
has figures). These are for those who want words for terms. Each dictionary is loaded once a process, at its first text.

A text is given its Unicode form (`milvine.analysis.unicode`), cut by the dictionary, and case is folded. Tokens without
a letter or digit are dropped; Latin words and numbers are what the dictionary makes of them. There are neither stop
words nor stems: where a dictionary knows the parts of speech, those that carry meaning stay, in their base form.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, TypeVar

from milvine._texts import as_text, as_texts
from milvine.analysis.unicode import fold, normalize
from milvine.analysis.words import MAX_WORD
from milvine.errors import InputError, MissingExtraError

_T = TypeVar("_T")
_PIECE = 4096  # MeCab crashes on a run of some ten thousand letters without a break
_PIECES = re.compile(rf"(?s).{{1,{_PIECE}}}(?:(?<=[\s。、．，！？.,!?])|\Z)|.{{1,{_PIECE}}}")
_UNFIT = re.compile("[\0\ud800-\udfff]")  # the dictionaries' C code ends at the one and refuses the others
_WORDLIKE = re.compile(r"[^\W_]")

# UniDic's parts of speech that Lucene's Japanese analyzer drops, too: particles, auxiliaries, symbols, blanks.
_JAPANESE_DROPPED = frozenset({"助詞", "助動詞", "記号", "補助記号", "空白"})
# Of Kiwi's: nouns, verbs, adjectives, roots, Latin words, Chinese characters, numbers, addresses.
_KOREAN_KEPT = ("N", "VV", "VA", "XR", "SL", "SH", "SN", "W_")


@dataclass(frozen=True)
class Dictionary:
    """One way of finding words in a language.

    Attributes:
        code: What to call it: the language's code, a hyphen, the program.
        extra: milvine's extra that installs it.
        modules: What is imported.
        data: The distribution whose version determines the terms.
        cut: A text in its Unicode form to terms.
        rules: Raised whenever a change here gives some text other terms.
    """

    code: str
    extra: str
    modules: tuple[str, ...]
    data: str
    cut: Callable[[str], list[str]]
    rules: int = 1


def require(modules: Iterable[str], what: str, remedy: str) -> None:
    """See that modules can be imported, without importing them.

    Raises:
        MissingExtraError: One is not there; the message says what needs it and ends with the remedy.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(f"{what} needs the package {module}, which is not installed: {remedy}")


def pip_install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'milvine[{extra}]'"


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of at most 4,096 characters, cut behind a mark or blank where there is one."""
    text = _UNFIT.sub(" ", text)
    if len(text) <= _PIECE:
        yield text
    else:
        yield from (match.group() for match in _PIECES.finditer(text))


def _once(build: Callable[[], _T]) -> Callable[[], _T]:
    """`build`, run at the first call, by one thread; every call gives what it gave."""
    built, lock = cache(build), threading.Lock()

    def get() -> _T:
        with lock:
            return built()

    return get


@_once
def jieba() -> Any:
    """The module `jieba`, its dictionary loaded; words that a program adds to it count."""
    import logging

    module: Any = importlib.import_module("jieba")
    if not module.dt.initialized:
        logger = logging.getLogger("jieba")  # it would write to the terminal what it loads
        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            module.initialize()
        finally:
            logger.setLevel(level)
    return module


@_once
def _mecab() -> tuple[Any, threading.Lock]:
    return importlib.import_module("fugashi").Tagger(), threading.Lock()


def mecab_words(text: str, take: Callable[[Any], _T]) -> list[_T]:
    """What `take` makes of each of MeCab's words, which are `fugashi.UnidicNode`s."""
    tagger, lock = _mecab()
    found: list[_T] = []
    for piece in pieces(text):
        with lock:  # a tagger holds one text at a time, and its words point into it
            found.extend(map(take, tagger(piece)))
    return found


@_once
def _kiwi() -> Any:
    kiwi = importlib.import_module("kiwipiepy").Kiwi()
    kiwi.tokenize("")  # what it loads at its first text
    return kiwi


def kiwi_morphemes(text: str) -> list[Any]:
    """Kiwi's morphemes of a text: `kiwipiepy.Token`s with `form` and `tag`."""
    return [token for piece in pieces(text) for token in _kiwi().tokenize(piece, normalize_coda=True)]


@_once
def kkma() -> tuple[Any, threading.Lock]:
    """KoNLPy's Kkma, which runs in a Java virtual machine, and the lock for its use."""
    return importlib.import_module("konlpy.tag").Kkma(), threading.Lock()


def _chinese(text: str) -> list[str]:
    # jieba's mode for search engines: of long words, the words within them, too.
    words = [word for piece in pieces(text) for word in jieba().lcut_for_search(piece)]
    return [word for word in words if _WORDLIKE.search(word)]


def _japanese(text: str) -> list[str]:
    words = mecab_words(text, lambda word: (word.surface, word.feature.pos1, word.feature.orthBase))
    return [
        base or surface
        for surface, part_of_speech, base in words
        if part_of_speech not in _JAPANESE_DROPPED and _WORDLIKE.search(surface)
    ]


def _korean(text: str) -> list[str]:
    kept = [token.form for token in kiwi_morphemes(text) if str(token.tag).startswith(_KOREAN_KEPT)]
    return [form for form in kept if _WORDLIKE.search(form)]


DICTIONARIES: dict[str, Dictionary] = {
    row.code: row
    for row in (
        Dictionary("zh-jieba", "zh", ("jieba",), "jieba", _chinese),
        Dictionary("ja-mecab", "ja", ("fugashi", "unidic_lite"), "unidic-lite", _japanese),
        Dictionary("ko-kiwi", "ko", ("kiwipiepy",), "kiwipiepy_model", _korean),
    )
}
"""Every dictionary, by its code."""


class DictionaryAnalyzer:
    """Turns texts into terms by a dictionary; goes wherever an `Analyzer` does.

    It may be shared between threads and pickled. Of a text without blanks and marks, every 4,096 characters are cut on
    their own.

    Args:
        dictionary: The row to follow; `get_dictionary_analyzer` finds it by its code.

    Raises:
        MissingExtraError: Its package is not installed; the message has the command that installs it.
    """

    def __init__(self, dictionary: Dictionary) -> None:
        require(dictionary.modules, f'The analyzer "{dictionary.code}"', pip_install(dictionary.extra))
        self.dictionary = dictionary

    def __repr__(self) -> str:
        return f"DictionaryAnalyzer({self.dictionary.code!r})"

    @property
    def name(self) -> str:
        """The dictionary's code."""
        return self.dictionary.code

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for two analyzers to give the same terms, as JSON; the dictionary's version is in it."""
        version = metadata.version(self.dictionary.data)
        return {
            "language": self.dictionary.code,
            "rules": self.dictionary.rules,
            "dictionary": f"{self.dictionary.data} {version}",
        }

    def __call__(self, text: str) -> list[str]:
        """The terms of one text in their order; `[]` for a text without any.

        Raises:
            InputTypeError: `text` is no string.
        """
        words = self.dictionary.cut(normalize(as_text(text, "text"), fold_case=False))
        return [fold(word)[:MAX_WORD] for word in words]

    def terms(self, texts: Iterable[str]) -> list[list[str]]:
        """The terms of each text, in the order of the texts.

        Raises:
            InputTypeError: `texts` is a bare string, or holds something that is no string.
        """
        return [self(text) for text in as_texts(texts)]


def get_dictionary_analyzer(code: str) -> DictionaryAnalyzer:
    """The analyzer by its dictionary's code: `"zh-jieba"`, `"ja-mecab"` or `"ko-kiwi"`.

    Raises:
        InputError: There is no such dictionary; the message lists those there are.
        MissingExtraError: Its package is not installed; the message has the command that installs it.
    """
    if code not in DICTIONARIES:
        raise InputError(f"There is no dictionary {code!r}; there are: {', '.join(DICTIONARIES)}")
    return DictionaryAnalyzer(DICTIONARIES[code])
