"""What an analyzer does before its tokenizer, to the text, and behind it, to the tokens.

Each class keeps what it was made with as `params`, so that analyzers can be compared.
"""

from __future__ import annotations

import re
import string
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from milvine.analysis.analyzer import normalize
from milvine.analysis.languages import find_language, stop_words
from milvine.errors import InputError, InputTypeError
from milvine.model.sparse.bm25._registry import register_class


class Preprocessor(ABC):
    """Changes a text before it is cut into tokens."""

    @abstractmethod
    def apply(self, text: str) -> str:
        """The text, changed."""


class TextFilter(ABC):
    """Changes or drops tokens."""

    @abstractmethod
    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens that stay, in their order."""


@register_class("CharacterfilterPreprocessor")
class CharacterfilterPreprocessor(Preprocessor):
    """Replaces single characters by spaces.

    Args:
        chars_to_replace: The characters: one string, or a list of strings of one character each.

    Raises:
        InputError: A string in the list is longer or shorter than one character.
        InputTypeError: There is something that is no string.
    """

    def __init__(self, chars_to_replace: str | Sequence[str]) -> None:
        chars = _strings(chars_to_replace, "chars_to_replace")
        wrong = [char for char in chars if len(char) != 1]
        if wrong:
            raise InputError(f"chars_to_replace must be single characters, not {wrong[0]!r}; use ReplacePreprocessor")
        self.params: dict[str, Any] = {"chars_to_replace": chars}
        self.replacement_table = str.maketrans(dict.fromkeys(chars, " "))

    def apply(self, text: str) -> str:
        """The text with spaces in their place."""
        return text.translate(self.replacement_table)


@register_class("ReplacePreprocessor")
class ReplacePreprocessor(Preprocessor):
    """Replaces strings by others, in one pass: what was put in is not searched again.

    Args:
        replacement_mapping: String -> what to put in its place. Where several match at one place, the longest wins;
            in `pymilvus.model`, the first.

    Raises:
        InputError: A string to replace is empty.
        InputTypeError: It is no mapping of strings to strings.
    """

    def __init__(self, replacement_mapping: Mapping[str, str]) -> None:
        if not isinstance(replacement_mapping, Mapping):
            raise InputTypeError(
                f"replacement_mapping must map strings to strings, and is of type {type(replacement_mapping).__name__}"
            )
        _strings(list(replacement_mapping), "the keys of replacement_mapping")
        _strings(list(replacement_mapping.values()), "the values of replacement_mapping")
        if "" in replacement_mapping:
            raise InputError("replacement_mapping must not replace the empty string")
        self.replacement_mapping = dict(replacement_mapping)
        self.params: dict[str, Any] = {"replacement_mapping": self.replacement_mapping}
        longest_first = sorted(self.replacement_mapping, key=len, reverse=True)
        # An empty mapping must match nothing, not the empty string everywhere.
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def apply(self, text: str) -> str:
        """The text with the replacements made."""
        return self.pattern.sub(lambda match: self.replacement_mapping[match.group()], text)


@register_class("LowercaseFilter")
class LowercaseFilter(TextFilter):
    """Folds letter case, and gives the result one Unicode form."""

    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens, case-folded."""
        return [normalize(token) for token in tokens]


@register_class("StopwordFilter")
class StopwordFilter(TextFilter):
    """Drops stop words; put it after `LowercaseFilter`, for the lists are in lower case.

    The lists are those of milvine's own analyzers; a language without one, such as Chinese, drops only yours.

    Args:
        language: The language's name or code.
        stopword_list: More words to drop.

    Raises:
        InputError: milvine does not know the language; the message lists those it does.
        InputTypeError: `stopword_list` is no list of strings.
    """

    def __init__(self, language: str = "english", stopword_list: Iterable[str] | None = None) -> None:
        if isinstance(stopword_list, str):
            raise InputTypeError(f"stopword_list must be a list of strings, not one string: [{stopword_list!r}]")
        more = _strings(stopword_list or (), "stopword_list")
        self.params: dict[str, Any] = {"language": language, "stopword_list": sorted(more)}
        self.stopwords = stop_words(find_language(language)) | frozenset(more)

    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens that are no stop words."""
        return [token for token in tokens if token not in self.stopwords]


@register_class("PunctuationFilter")
class PunctuationFilter(TextFilter):
    """Drops tokens that are one ASCII punctuation mark.

    Args:
        extras: More characters to drop.

    Raises:
        InputTypeError: `extras` is no string, nor a list of them.
    """

    def __init__(self, extras: str | Sequence[str] = "") -> None:
        more = _strings(extras, "extras")
        self.params: dict[str, Any] = {"extras": "".join(more)}
        self.punctuation = frozenset([*string.punctuation, *more])

    def apply(self, tokens: list[str]) -> list[str]:
        """The tokens that are no punctuation mark."""
        return [token for token in tokens if token not in self.punctuation]


@register_class("StemmingFilter")
class StemmingFilter(TextFilter):
    """Cuts words to their stems with Snowball; may be pickled and shared between threads.

    Args:
        language: The name of a Snowball algorithm, such as `"english"` or `"german"`.

    Raises:
        InputError: PyStemmer has no such algorithm; the message lists those it has.
    """

    def __init__(self, language: str = "english") -> None:
        import Stemmer

        if language not in Stemmer.algorithms():
            raise InputError(f"There is no stemmer {language!r}; there are: {', '.join(Stemmer.algorithms())}")
        self.params: dict[str, Any] = {"language": language}
        self.stemmer = Stemmer.Stemmer(language)
        self._lock = threading.Lock()  # a stemmer works on one list at a time

    def __reduce__(self) -> tuple[type[StemmingFilter], tuple[str]]:
        return type(self), (self.params["language"],)

    def apply(self, tokens: list[str]) -> list[str]:
        """The stems of the tokens."""
        with self._lock:
            stems: list[str] = self.stemmer.stemWords(tokens)
        return stems


def _strings(values: Iterable[str], what: str) -> list[str]:
    listed = list(values) if isinstance(values, Iterable) else [values]
    if not all(isinstance(value, str) for value in listed):
        raise InputTypeError(f"{what} must be strings, not {values!r}")
    return listed
