"""How often texts have which terms, many texts at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from milvine.analysis.statistics import term_id
from milvine.analysis.vocabulary import Vocabulary

Array = npt.NDArray[Any]

FEW = 100  # texts, for which `analyze` is as quick
MOST_TERMS = 1 << 18  # remembered, with their ids


class TermCounter:
    """Counts the terms of texts.

    milvine's own analyzers go by way of `Vocabulary`, which keeps what pieces of text gave: that takes a third of the
    time that `analyze` does. What is kept takes some 50 MB, until `forget`.

    Args:
        analyze: Texts to terms, such as `Analyzer.terms`.
    """

    def __init__(self, analyze: Callable[[Sequence[str]], list[list[str]]]) -> None:
        self._analyze = analyze
        self._lock = threading.Lock()
        self._known: tuple[Vocabulary, Array] | None = None  # terms' numbers, and their ids by these

    def forget(self) -> None:
        """Keep nothing."""
        self._known = None

    def __call__(self, texts: Sequence[str]) -> tuple[Array, Array, Array]:
        """The ids of each text's distinct terms, ascending, how often it has each, and how many each text has."""
        with self._lock:
            ids, lengths = self._numbered(list(texts))
        keys, counts = np.unique(
            np.repeat(np.arange(len(texts), dtype=np.uint64) << np.uint64(32), lengths) | ids, return_counts=True
        )
        distinct = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(texts))
        return keys & np.uint64(0xFFFFFFFF), np.minimum(counts, 0xFFFF), distinct

    def _numbered(self, texts: list[str]) -> tuple[Array, Array]:
        """The ids of all terms, uint64, text after text, and how many each text has."""
        analyzer: Any = getattr(self._analyze, "__self__", None)
        if len(texts) < FEW or not hasattr(analyzer, "terms_of"):
            terms = self._analyze(texts)
            return _ids(chain.from_iterable(terms)), np.fromiter(map(len, terms), np.int64, len(texts))
        vocabulary, ids = self._known or (Vocabulary(analyzer), np.empty(0, np.uint64))
        numbers, lengths = vocabulary.number(texts, grow=True)
        new = list(islice(reversed(vocabulary.numbers), len(vocabulary) - len(ids)))
        ids = np.concatenate([ids, _ids(reversed(new))])
        self._known = (vocabulary, ids) if len(ids) <= MOST_TERMS else None
        return ids[numbers], lengths


def _ids(terms: Iterable[str]) -> Array:
    return np.fromiter(map(term_id, terms), np.uint64)
