"""Analyzers put together from parts, in the names of `pymilvus.model`: preprocessors, a tokenizer, filters.

    analyzer = Analyzer("mine", StandardTokenizer(), filters=[LowercaseFilter(), StopwordFilter(), StemmingFilter()])

For a language that milvine knows, `build_default_analyzer` is the better choice: it is many times faster.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from milvine.analysis import dictionaries
from milvine.analysis.analyzer import Analyzer as LanguageAnalyzer
from milvine.analysis.analyzer import get_analyzer, normalize, words
from milvine.errors import MissingExtraError
from milvine.model.sparse.bm25._filters import (
    CharacterfilterPreprocessor,
    LowercaseFilter,
    Preprocessor,
    PunctuationFilter,
    ReplacePreprocessor,
    StemmingFilter,
    StopwordFilter,
    TextFilter,
)
from milvine.model.sparse.bm25._registry import check_part, parts_from_yaml, register_class

__all__ = [
    "Analyzer",
    "CharacterfilterPreprocessor",
    "JiebaTokenizer",
    "KiwiTokenizer",
    "KonlpyTokenizer",
    "LowercaseFilter",
    "MecabTokenizer",
    "Preprocessor",
    "PunctuationFilter",
    "ReplacePreprocessor",
    "StandardTokenizer",
    "StemmingFilter",
    "StopwordFilter",
    "TextFilter",
    "Tokenizer",
    "build_analyzer_from_yaml",
    "build_default_analyzer",
    "register_class",
]


class Tokenizer(ABC):
    """Cuts a text into tokens."""

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """The tokens in their order."""


@register_class("StandardTokenizer")
class StandardTokenizer(Tokenizer):
    """Finds words as milvine's English analyzer does (see `milvine.analysis.analyzer`), letter case kept.

    NLTK's `word_tokenize`, which `pymilvus.model` uses here, keeps hyphenated words whole, splits contractions in two
    (`do`, `n't`) and gives punctuation marks as tokens; this one does neither, and needs no download.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words in their order."""
        return words(normalize(text, fold_case=False))


class _DictionaryTokenizer(Tokenizer):
    """A tokenizer whose dictionary is an optional package, loaded once a process, at the first text.

    Raises:
        MissingExtraError: The package is not installed; the message has the command that installs it.
    """

    _needs: tuple[str, ...]
    _remedy: str

    def __init__(self) -> None:
        dictionaries.require(self._needs, type(self).__name__, self._remedy)


@register_class("JiebaTokenizer")
class JiebaTokenizer(_DictionaryTokenizer):
    """jieba's words of a Chinese text, marks and blanks among them: `jieba.lcut`; `pip install 'milvine[zh]'`.

    Raises:
        MissingExtraError: jieba is not installed.
    """

    _needs = ("jieba",)
    _remedy = dictionaries.pip_install("zh")

    def tokenize(self, text: str) -> list[str]:
        """The words in their order."""
        found: list[str] = dictionaries.jieba().lcut(text)
        return found


@register_class("MecabTokenizer")
class MecabTokenizer(_DictionaryTokenizer):
    """MeCab's words of a Japanese text, with the dictionary UniDic; `pip install 'milvine[ja]'`.

    Raises:
        MissingExtraError: fugashi or unidic-lite is not installed.
    """

    _needs = ("fugashi", "unidic_lite")
    _remedy = dictionaries.pip_install("ja")

    def tokenize(self, text: str) -> list[str]:
        """The words in their order."""
        surfaces = dictionaries.mecab_words(text, lambda word: str(word.surface))
        return [surface for surface in surfaces if not surface.isspace()]


@register_class("KiwiTokenizer")
class KiwiTokenizer(_DictionaryTokenizer):
    """Kiwi's morphemes of a Korean text, particles and endings among them; `pip install 'milvine[ko]'`.

    Raises:
        MissingExtraError: kiwipiepy is not installed.
    """

    _needs = ("kiwipiepy",)
    _remedy = dictionaries.pip_install("ko")

    def tokenize(self, text: str) -> list[str]:
        """The morphemes in their order."""
        return [token.form for token in dictionaries.kiwi_morphemes(text)]


@register_class("KonlpyTokenizer")
class KonlpyTokenizer(_DictionaryTokenizer):
    """The nouns of a Korean text by KoNLPy's Kkma, which needs a Java runtime.

    It is here for programs that use it already, and milvine has no extra for it: KoNLPy is under the GPL, and Kiwi
    does the same work without Java, many times faster.

    Raises:
        MissingExtraError: KoNLPy or a Java runtime is not installed.
    """

    _needs = ("konlpy",)
    _remedy = f"pip install konlpy, and a Java runtime; or use KiwiTokenizer, {dictionaries.pip_install('ko')}"

    def tokenize(self, text: str) -> list[str]:
        """The nouns, and compounds of them, each once."""
        try:
            kkma, lock = dictionaries.kkma()
        except Exception as error:  # JPype has its own for each way of not finding Java
            raise MissingExtraError(f"KonlpyTokenizer cannot start Java ({error}): {self._remedy}") from error
        with lock:
            nouns: list[str] = kkma.nouns(text)
        return nouns


class Analyzer:
    """Preprocessors, a tokenizer and filters, applied in this order.

    Args:
        name: What to call it.
        tokenizer: Anything with `tokenize(text)`.
        preprocessors: Things with `apply(text)`, in their order; `None`: none.
        filters: Things with `apply(tokens)`, in their order; `None`: none.

    Raises:
        InputTypeError: A part lacks its method, or is a class and not an object.
    """

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        preprocessors: Sequence[Preprocessor] | None = None,
        filters: Sequence[TextFilter] | None = None,
    ) -> None:
        self.name = name
        self.tokenizer = check_part(tokenizer, "tokenize", "tokenizer")
        self.preprocessors = [
            check_part(part, "apply", f"preprocessors[{at}]") for at, part in enumerate(preprocessors or ())
        ]
        self.filters = [check_part(part, "apply", f"filters[{at}]") for at, part in enumerate(filters or ())]

    @property
    def identity(self) -> dict[str, Any]:
        """The parts as in a file for `build_analyzer_from_yaml`; of a class of yours, what it keeps as `params`."""
        return {
            "tokenizer": _described(self.tokenizer),
            "preprocessors": list(map(_described, self.preprocessors)),
            "filters": list(map(_described, self.filters)),
        }

    def __call__(self, text: str) -> list[str]:
        """The terms of a text in their order."""
        for preprocessor in self.preprocessors:
            text = preprocessor.apply(text)
        tokens: list[str] = self.tokenizer.tokenize(text)
        for text_filter in self.filters:
            tokens = text_filter.apply(tokens)
        return tokens


def _described(part: Any) -> dict[str, Any]:
    return {"class": type(part).__name__, "params": getattr(part, "params", {})}


def build_default_analyzer(language: str = "en") -> LanguageAnalyzer | dictionaries.DictionaryAnalyzer:
    """The analyzer that milvine itself uses for a language; it goes wherever an `Analyzer` does.

    For English it gives nearly the terms of `pymilvus.model`'s analyzer of the same name (NLTK's tokenizer and stop
    words, and its older Snowball stemmer). What differs: hyphenated words are split, thousands lose their commas,
    `U.S.` loses its points, contractions are not cut in two; `milvine.analysis` says it all. For Chinese, Japanese and
    Korean it finds n-grams of characters where `pymilvus.model` asks jieba, MeCab and Kkma: no dictionary is needed,
    and results are as good.

    Args:
        language: A code or name; `"sp"`, `"jp"` and `"kr"` are Spanish, Japanese and Korean, too; `"zh-jieba"`,
            `"ja-mecab"` and `"ko-kiwi"` use a dictionary after all.

    Raises:
        InputError: There is no such language; the message lists those there are.
    """
    return get_analyzer(language)


def build_analyzer_from_yaml(filepath: str | os.PathLike[str], name: str) -> Analyzer:
    """An `Analyzer` as a YAML file describes it under `name`, in the layout of `pymilvus.model`.

    The entry has a `tokenizer` and may have lists of `preprocessors` and `filters`; each is a `class`, as
    `register_class` named it, and its `params`, if any:

        mine:
          tokenizer: {class: StandardTokenizer}
          filters:
            - class: LowercaseFilter
            - class: StemmingFilter
              params: {language: english}

    Raises:
        ReadError: There is no such file, or it is no YAML.
        InputError: It has no such entry, or the entry is not of this layout, or names an unknown class or a wrong
            parameter; the message says at which key.
        InputTypeError: A class does not take such parameters.
        MissingExtraError: A tokenizer's package is not installed.
    """
    return Analyzer(name, *parts_from_yaml(filepath, name))
