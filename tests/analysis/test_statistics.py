from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from milvine.analysis import NO_TERMS, TermStatistics, document_vectors, query_vectors, term_id, term_ids
from milvine.errors import InputError


def _random_documents(seed: int, n: int = 60) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [(chance.integers(40, size=chance.integers(12)) * 104729).tolist() for _ in range(n)]


def _statistics(documents: list[list[int]]) -> TermStatistics:
    statistics = TermStatistics()
    for ids in documents:
        statistics.add(ids)
    return statistics


def test_term_id_is_stable() -> None:
    # b2sum -l 32 of the word, read as a little-endian number.
    assert term_id("turing") == int.from_bytes(bytes.fromhex("7463c9bd"), "little")
    script = "from milvine.analysis import term_ids; print(term_ids(['turing', '東京', '']))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{term_ids(['turing', '東京', ''])}\n"}
    assert all(0 <= term_id(str(number)) < NO_TERMS for number in range(20_000))


def test_statistics_by_hand() -> None:
    statistics = _statistics([[7, 7, 9], [9], []])
    assert (statistics.n_documents, statistics.total_length, statistics.df) == (3, 4, {7: 1, 9: 2})
    assert statistics.avgdl == pytest.approx(4 / 3)
    assert statistics.idf([9, 7, 8]) == pytest.approx([math.log(4 / 2.5), math.log(4 / 1.5), math.log(4 / 0.5)])
    assert TermStatistics().avgdl == 0.0


def test_any_split_merged_equals_the_whole() -> None:
    for seed in range(5):
        documents = _random_documents(seed)
        cut = int(np.random.default_rng(seed).integers(len(documents)))
        merged = _statistics(documents[:cut])
        merged.merge(_statistics(documents[cut:]))
        assert merged == _statistics(documents)
        assert merged == _statistics(documents[::-1])


def test_remove_undoes_add() -> None:
    documents = _random_documents(11)
    statistics = _statistics(documents)
    for ids in documents[20:]:
        statistics.remove(ids)
    assert statistics == _statistics(documents[:20])
    for ids in documents[:20]:
        statistics.remove(set(ids), len(ids))
    assert statistics == TermStatistics()
    assert not statistics.df


@pytest.mark.parametrize("ids", [[1, 2, 404], [1] * 99], ids=["unknown term", "too long"])
def test_remove_of_what_is_not_there_changes_nothing(ids: list[int]) -> None:
    statistics = _statistics([[1, 2], [2, 3]])
    with pytest.raises(InputError, match="only what was added"):
        statistics.remove(ids)
    assert statistics == _statistics([[1, 2], [2, 3]])
    with pytest.raises(InputError):
        TermStatistics().remove([])


def test_vectors_by_hand_and_as_milvus_takes_them() -> None:
    documents = [[2**32 - 2, 5, 5], [], [5]]
    vectors = document_vectors(documents, 2.0, 1.5, 0.75)
    assert vectors.shape == (3, 2**32 - 1)
    assert vectors.dtype == np.float32
    assert vectors.indices.tolist() == [5, 2**32 - 2, 5]
    assert vectors.indptr.tolist() == [0, 2, 2, 3]
    # Length 3 at a mean of 2: K = 1.5 (.25 + .75 * 1.5) = 2.0625; length 1: K = 1.5 (.25 + .375) = .9375
    assert vectors.data == pytest.approx([2 * 2.5 / 4.0625, 2.5 / 3.0625, 2.5 / 1.9375])
    assert vectors[0:1].shape == (1, 2**32 - 1)
    queries = query_vectors([[5, 5, 77], [], [2**32 - 2, 5]], _statistics(documents))
    idf_both, idf_one = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    assert queries.indices.tolist() == [5, 5, 2**32 - 2]
    assert queries.data == pytest.approx([2 * idf_both, idf_both, idf_one])
    assert queries.dtype == np.float32


def test_vectors_of_nothing() -> None:
    assert document_vectors([], 0.0, 1.5, 0.75).shape == (0, 2**32 - 1)
    assert document_vectors([[], []], 0.0, 1.5, 0.75).nnz == 0
    assert query_vectors([], TermStatistics()).shape == (0, 2**32 - 1)
    assert query_vectors([[1, 2]], TermStatistics()).nnz == 0
