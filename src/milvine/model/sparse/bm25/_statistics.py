"""What BM25 must know of a corpus whose terms are numbered: exact integers, so no order of adding changes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from milvine._progress import progress
from milvine._texts import as_texts
from milvine.analysis.bm25 import Integers, count_terms
from milvine.analysis.vocabulary import Vocabulary
from milvine.errors import InputError, InputTypeError

BATCH_TEXTS = 4096
_BATCH_CHARACTERS = 1 << 22
_TAKEN = 64  # texts at a time
_FIRST_BATCH = 256  # small, so that the common pieces of the first texts are learned before most texts are looked at


@dataclass
class CorpusStatistics:
    """How many documents there are, how long they are, and how many of them have each term.

    Attributes:
        n_documents: The number of documents.
        total_length: Their terms, counted with repetition.
        df: In how many documents each term occurs, by its number: int64, shape `(terms,)`.
    """

    n_documents: int = 0
    total_length: int = 0
    df: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def avgdl(self) -> float:
        """The mean length of a document; 0.0 where no document has a term."""
        return self.total_length / self.n_documents if self.n_documents else 0.0

    def count(self, ids: npt.NDArray[np.int32], lengths: Integers, n_terms: int) -> None:
        """Count more documents, in place.

        Args:
            ids: The numbers of their terms, document after document, all at least 0.
            lengths: How many of them each document has.
            n_terms: How many terms have a number by now.
        """
        if n_terms > len(self.df):
            self.df = _padded(self.df, max(n_terms, 2 * len(self.df)))
        np.add.at(self.df, count_terms(ids, lengths)[0], 1)
        self.n_documents += len(lengths)
        self.total_length += int(lengths.sum())

    def plus(self, other: CorpusStatistics, n_terms: int) -> CorpusStatistics:
        """Those of both corpora, whose terms have the same numbers, for this many terms."""
        return CorpusStatistics(
            self.n_documents + other.n_documents,
            self.total_length + other.total_length,
            _padded(self.df, n_terms) + _padded(other.df, n_terms),
        )

    def minus(self, other: CorpusStatistics) -> CorpusStatistics:
        """Those of this corpus without the other's documents.

        Raises:
            InputError: They cannot all be in this corpus.
        """
        df = self.df - _padded(other.df, len(self.df))
        n_documents, total_length = self.n_documents - other.n_documents, self.total_length - other.total_length
        if n_documents < 0 or total_length < 0 or (df < 0).any() or (df > n_documents).any() or df.sum() > total_length:
            raise InputError(
                f"Cannot forget {other.n_documents} documents with {other.total_length} terms: they are not all among"
                f" the {self.n_documents} documents with {self.total_length} terms that were fitted; forget only what"
                " was fitted, with the analyzer that it was fitted with"
            )
        return CorpusStatistics(n_documents, total_length, df)


def count(
    texts: Iterable[str], what: str, vocabulary: Vocabulary, *, grow: bool = True, show_progress: bool | None = None
) -> CorpusStatistics:
    """Count documents, however many there are.

    Args:
        texts: Any iterable of strings; they are taken as they are needed.
        what: What they are called in errors.
        vocabulary: Numbers their terms.
        grow: Give numbers to new terms.
        show_progress: Show a bar; by default on a terminal only.

    Raises:
        InputError: A term is new, and is not to get a number.
        InputTypeError: As `batches`; or the analyzer gives something other than a list of strings.
    """
    statistics = CorpusStatistics()
    total = len(texts) if isinstance(texts, Sized) else None
    with progress("Counting terms", total, show=show_progress) as advance:
        for batch in batches(texts, what):
            ids, lengths = vocabulary.number(batch, grow=grow)
            if not grow and (ids < 0).any():
                raise InputError(f"Cannot forget these {what}: they have terms that were never fitted")
            statistics.count(ids, lengths, len(vocabulary))
            advance(len(batch))
    return statistics


def batches(texts: Iterable[str], what: str) -> Iterator[list[str]]:
    """The texts, at most some thousands and some millions of characters at a time; they are taken as they are needed.

    Args:
        texts: Any iterable of strings.
        what: What they are called in errors.

    Raises:
        InputTypeError: `texts` is a bare string, no iterable, or holds something that is no string.
    """
    if isinstance(texts, (str, bytes, bytearray, dict)) or not isinstance(texts, Iterable):
        as_texts(texts, what)
    source = iter(texts)
    position, characters, size = 0, 0, _FIRST_BATCH
    batch: list[str] = []
    while taken := list(islice(source, _TAKEN)):
        if set(map(type, taken)) != {str}:
            _check_strings(taken, what, position)
        batch += taken
        position += len(taken)
        characters += sum(map(len, taken))
        if len(batch) >= size or characters > _BATCH_CHARACTERS:
            yield batch
            batch, characters, size = [], 0, min(2 * size, BATCH_TEXTS)
    if batch:
        yield batch


def _check_strings(texts: list[Any], what: str, position: int) -> None:
    for at, text in enumerate(texts, position):
        if not isinstance(text, str):
            raise InputTypeError(f"{what}[{at}] must be a string, not {type(text).__name__}; convert it with str()")


def _padded(df: Integers, size: int) -> Integers:
    """The first `size` values, with zeros behind where there are fewer."""
    return np.concatenate([df[:size], np.zeros(max(0, size - len(df)), dtype=np.int64)])
