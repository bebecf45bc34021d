from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from milvine.analysis import counting, get_analyzer, term_ids
from milvine.analysis.counting import TermCounter
from varied_texts import TEXTS


def counted(counter: TermCounter, texts: Sequence[str]) -> list[dict[int, int]]:
    ids, times, lengths = counter(texts)
    rows = np.split(np.stack([ids, times]).astype(np.int64), np.cumsum(lengths)[:-1], axis=1)
    assert all((np.diff(row[0]) > 0).all() for row in rows)
    return [dict(zip(*row.tolist(), strict=True)) for row in rows]


@pytest.mark.parametrize("language", ["en", "de", "ja", "ru"])
@pytest.mark.parametrize("few", [0, 10**9])
def test_terms_are_those_of_the_analyzer(monkeypatch: pytest.MonkeyPatch, language: str, few: int) -> None:
    monkeypatch.setattr(counting, "FEW", few)  # either way
    analyzer = get_analyzer(language)
    counter = TermCounter(analyzer.terms)
    texts = [*TEXTS, "again and again", "again and again"] * 5
    for some in (texts[:50], texts, texts[30:]):
        assert counted(counter, some) == [dict(Counter(term_ids(analyzer(text)))) for text in some]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "FEW", 0)
    monkeypatch.setattr(counting, "MOST_TERMS", 100)
    analyzer = get_analyzer("en")
    counter = TermCounter(analyzer.terms)
    for start in range(0, 600, 30):
        texts = [f"word{number} word{number} and{number - 1}" for number in range(start, start + 30)]
        assert counted(counter, texts) == [dict(Counter(term_ids(analyzer(text)))) for text in texts]
        assert counter._known is None or len(counter._known[1]) <= 100


def test_terms_of_a_users_own_making(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(texts: Sequence[str]) -> list[list[str]]:
        return [text.split() for text in texts]

    many: Any = ["a b a"] * counting.FEW
    assert counted(TermCounter(words), many) == [dict(Counter(term_ids(["a", "b", "a"])))] * len(many)


def test_more_than_can_be_counted() -> None:
    counter = TermCounter(get_analyzer("en").terms)
    assert list(counted(counter, ["x " * 70_000])[0].values()) == [65_535]
