from __future__ import annotations

import numpy as np
import pytest

from milvine.store.builtin.parts import best
from milvine.store.filtering.strings import Strings, joined

WORDS = ["", "a", "zwölf Boxkämpfer", "日本語", "", "\0", "🙂 end", ""]


def test_strings_come_back_by_position_and_in_order() -> None:
    strings = Strings.build(WORDS)
    assert len(strings) == 8
    assert [strings[at] for at in range(8)] == WORDS
    assert list(strings) == WORDS
    assert {name: array.dtype.str for name, array in strings.arrays.items()} == {"ends": "<i8", "bytes": "|u1"}
    assert strings.arrays["ends"][-1] == len("".join(WORDS).encode())


@pytest.mark.parametrize("words", [[], [""], ["", ""]])
def test_strings_without_a_byte(words: list[str]) -> None:
    strings = Strings(joined(Strings.merged([Strings.build(words)], [None])))
    assert list(strings) == words
    assert len(strings) == len(words)


def test_merged_strings_are_those_that_are_kept() -> None:
    others = ["x", "yy", ""]
    keep = np.array([True, False, True, True, False, False, True, True])
    nothing = np.zeros(3, np.bool_)
    several = [Strings.build(words) for words in (WORDS, others, [], others, WORDS)]
    merged = Strings(joined(Strings.merged(several, [None, nothing, None, None, keep])))
    kept = [word for word, stays in zip(WORDS, keep, strict=True) if stays]
    assert list(merged) == [*WORDS, *others, *kept]
    none = Strings(joined(Strings.merged([Strings.build(others)], [nothing])))
    assert list(none) == []


@pytest.mark.parametrize("size", [1, 2, 9, 10, 11, 299, 300, 301, 20_000])
@pytest.mark.parametrize("levels", [1, 2, 50, 10**9])
def test_the_best_are_those_of_a_stable_sort(size: int, levels: int) -> None:
    generator = np.random.default_rng(size)
    scores = (generator.integers(levels, size=size) - levels // 2).astype(np.float32)
    wanted = np.argsort(-scores, kind="stable")
    for limit in (1, 10, 300, size, 30_000):
        found = best(scores, limit)
        assert found.dtype == np.int64
        assert found.tolist() == wanted[:limit].tolist()
        above = [at for at in wanted.tolist() if scores[at] > 0]
        assert best(scores, limit, above=0).tolist() == above[:limit]


def test_the_best_of_scores_that_may_be_ruled_out() -> None:
    scores = np.full(9000, -np.inf, np.float32)
    scores[[8999, 4, 700]] = 1, 2, 1
    assert best(scores, 5, above=0).tolist() == best(scores, 5).tolist() == [4, 700, 8999]
    assert best(scores[:0], 5).tolist() == []
