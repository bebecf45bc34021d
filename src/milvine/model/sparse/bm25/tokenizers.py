"""Analyzers put together from parts, in the names of `pymilvus.model`: preprocessors, a tokenizer, filters.

    analyzer = Analyzer("mine", StandardTokenizer(), filters=[LowercaseFilter(), StopwordFilter(), StemmingFilter()])

For a language that milvine knows, `build_default_analyzer` is the better choice: the same terms, many times faster.
"""

from __future__ import annotations

import os
import re
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from milvine.analysis.analyzer import Analyzer as LanguageAnalyzer
from milvine.analysis.analyzer import get_analyzer, normalize, words
from milvine.analysis.languages import find_language, stop_words
from milvine.errors import InputError, InputTypeError, ReadError

_registry: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound="type[Any]")


class Preprocessor(ABC):
    """Changes a text before it is cut into tokens."""

    @abstractmethod
    def apply(self, text: str) -> str:
        """The text, changed."""


class Tokenizer(ABC):
    """Cuts a text into tokens."""

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """The tokens in their order."""


class TextFilter(ABC):
    """Changes or drops tokens."""

    @abstractmethod
    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens that stay, in their order."""


def register_class(register_as: str) -> Callable[[_Class], _Class]:
    """A class decorator: `build_analyzer_from_yaml` finds the class by this name; a later one of the same name wins."""

    def register(cls: _Class) -> _Class:
        _registry[register_as] = cls
        return cls

    return register


@register_class("CharacterfilterPreprocessor")
class CharacterfilterPreprocessor(Preprocessor):
    """Replaces single characters by spaces.

    Args:
        chars_to_replace: The characters: one string, or a list of strings of one character each.

    Raises:
        InputError: A string in the list is longer or shorter than one character.
    """

    def __init__(self, chars_to_replace: str | Sequence[str]) -> None:
        wrong = [char for char in chars_to_replace if len(char) != 1]
        if wrong:
            raise InputError(f"chars_to_replace must be single characters, not {wrong[0]!r}; use ReplacePreprocessor")
        self.replacement_table = str.maketrans(dict.fromkeys(chars_to_replace, " "))

    def apply(self, text: str) -> str:
        """The text with spaces in their place."""
        return text.translate(self.replacement_table)


@register_class("ReplacePreprocessor")
class ReplacePreprocessor(Preprocessor):
    """Replaces strings by others, in one pass: what was put in is not searched again.

    Args:
        replacement_mapping: String -> what to put in its place. Where several match at one place, the longest wins.

    Raises:
        InputError: A string to replace is empty.
    """

    def __init__(self, replacement_mapping: Mapping[str, str]) -> None:
        if "" in replacement_mapping:
            raise InputError("replacement_mapping must not replace the empty string")
        self.replacement_mapping = dict(replacement_mapping)
        longest_first = sorted(self.replacement_mapping, key=len, reverse=True)
        # An empty mapping must match nothing, not the empty string everywhere.
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def apply(self, text: str) -> str:
        """The text with the replacements made."""
        return self.pattern.sub(lambda match: self.replacement_mapping[match.group()], text)


@register_class("StandardTokenizer")
class StandardTokenizer(Tokenizer):
    """Finds words as milvine's English analyzer does (see `milvine.analysis.analyzer`), letter case kept.

    NLTK's `word_tokenize`, which `pymilvus.model` uses here, keeps hyphenated words whole, splits contractions in two
    (`do`, `n't`) and gives punctuation marks as tokens; this one does neither, and needs no download.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words in their order."""
        return words(normalize(text, fold_case=False))


@register_class("LowercaseFilter")
class LowercaseFilter(TextFilter):
    """Folds letter case, and gives the result one Unicode form."""

    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens, case-folded."""
        return [normalize(token) for token in tokens]


@register_class("StopwordFilter")
class StopwordFilter(TextFilter):
    """Drops stop words; put it after `LowercaseFilter`, for the lists are in lower case.

    Args:
        language: The language's name or code.
        stopword_list: More words to drop.

    Raises:
        InputError: milvine has no stop words for the language; the message lists the languages it has.
    """

    def __init__(self, language: str = "english", stopword_list: Iterable[str] | None = None) -> None:
        self.stopwords = stop_words(find_language(language)) | frozenset(stopword_list or ())

    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens that are no stop words."""
        return [token for token in tokens if token not in self.stopwords]


@register_class("PunctuationFilter")
class PunctuationFilter(TextFilter):
    """Drops tokens that are one ASCII punctuation mark.

    Args:
        extras: More characters to drop.
    """

    def __init__(self, extras: str = "") -> None:
        self.punctuation = frozenset(string.punctuation + extras)

    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens that are no punctuation mark."""
        return [token for token in tokens if token not in self.punctuation]


@register_class("StemmingFilter")
class StemmingFilter(TextFilter):
    """Cuts words to their stems with Snowball; may be pickled, not shared between threads.

    Args:
        language: The name of a Snowball algorithm, such as `"english"` or `"german"`.

    Raises:
        InputError: PyStemmer has no such algorithm; the message lists those it has.
    """

    def __init__(self, language: str = "english") -> None:
        import Stemmer

        if language not in Stemmer.algorithms():
            raise InputError(f"There is no stemmer {language!r}; there are: {', '.join(Stemmer.algorithms())}")
        self.language = language
        self.stemmer = Stemmer.Stemmer(language)

    def __reduce__(self) -> tuple[type[StemmingFilter], tuple[str]]:
        return type(self), (self.language,)

    def apply(self, tokens: list[str]) -> list[str]:
        """The stems of the tokens."""
        stems: list[str] = self.stemmer.stemWords(tokens)
        return stems


class Analyzer:
    """Preprocessors, a tokenizer and filters, applied in this order.

    Args:
        name: What to call it.
        tokenizer: Anything with `tokenize(text)`.
        preprocessors: Things with `apply(text)`, in their order; `None`: none.
        filters: Things with `apply(tokens)`, in their order; `None`: none.
    """

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        preprocessors: Sequence[Preprocessor] | None = None,
        filters: Sequence[TextFilter] | None = None,
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.preprocessors = list(preprocessors or ())
        self.filters = list(filters or ())

    def __call__(self, text: str) -> list[str]:
        """The terms of a text in their order."""
        for preprocessor in self.preprocessors:
            text = preprocessor.apply(text)
        tokens = self.tokenizer.tokenize(text)
        for text_filter in self.filters:
            tokens = text_filter.apply(tokens)
        return tokens


def build_default_analyzer(language: str = "en") -> LanguageAnalyzer:
    """The analyzer that milvine itself uses for a language; it goes wherever an `Analyzer` does.

    It gives nearly the terms of `pymilvus.model`'s analyzer of the same name (NLTK's tokenizer and stop words, and its
    older Snowball stemmer). What differs: hyphenated words are split, thousands lose their commas, `U.S.` loses its
    points, contractions are not cut in two; `milvine.analysis.analyzer` says it all.

    Raises:
        InputError: There is no such language; the message lists those there are.
    """
    return get_analyzer(language)


def build_analyzer_from_yaml(filepath: str | os.PathLike[str], name: str) -> Analyzer:
    """An `Analyzer` as a YAML file describes it under `name`.

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
        InputError: It has no such entry, or the entry names an unknown class or wrong parameters.
    """
    import yaml

    try:
        config = yaml.safe_load(Path(filepath).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"Cannot read analyzers from {filepath}: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReadError(f"{filepath} is not YAML: {error}") from error
    entry = config.get(name) if isinstance(config, dict) else None
    if not isinstance(entry, dict) or "tokenizer" not in entry:
        known = ", ".join(map(str, config)) if isinstance(config, dict) else "none"
        raise InputError(f"{filepath} describes no analyzer {name!r} with a tokenizer; its entries: {known}")
    return Analyzer(
        name,
        _build(entry["tokenizer"]),
        [_build(part) for part in entry.get("preprocessors") or ()],
        [_build(part) for part in entry.get("filters") or ()],
    )


def _build(part: Any) -> Any:
    class_name = part.get("class") if isinstance(part, dict) else None
    if not isinstance(class_name, str) or class_name not in _registry:
        raise InputError(
            f"There is no analyzer class {class_name!r}; register_class adds one,"
            f" and there are {', '.join(sorted(_registry))}"
        )
    params = part.get("params") or {}
    try:
        return _registry[class_name](**params)
    except TypeError as error:
        raise InputTypeError(f"{class_name} does not take the parameters {params!r}: {error}") from error
