"""The lexical benchmark's arithmetic, by hand; its contenders on texts whose ranking is plain."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import lexical, lexical_contenders
from benchmarks.lexical import Quality, describe, language_of, memory_row, quality_table, ranked
from benchmarks.measures import Result
from benchmarks.passages import LONGEST, SHORTEST, collected_passages, grow, passages
from benchmarks.plot import plot
from benchmarks.process import Contender, Memory, Program
from benchmarks.table import in_units

MB = 1_000_000


def test_memory_is_what_came_on_top() -> None:
    ours = [Memory(5 * MB, 15 * MB), Memory(5 * MB, 17 * MB), Memory(5 * MB, 95 * MB)]  # 10, 12 and 90 more
    theirs = [Memory(50 * MB, 80 * MB)]
    row = memory_row("other", theirs, ours)
    assert (row.name, row.speed, row.ratio) == ("other", 30, 2.5)
    assert memory_row("ours", ours, ours).ratio == 1
    result = Result("memory", "Memory", "MB", False, (memory_row("ours", ours, ours), row))
    assert "30.0 MB · 2.50 × the memory" in plot([result], "")
    assert in_units(row.speed, "MB") == "30.0 MB"


def test_texts_of_collections_are_cut_and_come_again(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(99)]
    texts = {"a": " ".join(words), "b": "too short"}
    lines = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "?"}))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    found = collected_passages([tmp_path], 4)
    # What is left over is less than half a text.
    assert sorted(found[:2]) == [" ".join(words[:40]), " ".join(words[40:80])]
    assert found[2:] == found[:2]


def test_a_table_of_qualities() -> None:
    headings, rows = quality_table(
        [Quality("a", 1200, 3, {"milvine": 0.51234, "bm25s": 0.5}), Quality("b_zh", 2, 1, {"milvine, x": 1.0})]
    )
    assert headings == ["", "documents", "queries", "milvine", "milvine, x", "bm25s"]
    assert rows == [["a", "1,200", "3", "0.5123", "", "0.5000"], ["b_zh", "2", "1", "", "1.0000", ""]]


def test_positions_become_ids() -> None:
    positions = np.array([[1, 0], [0, -1], [-1, -1]], dtype=np.float32)
    assert ranked(positions, ["q", "r", "s"], ["d", "e"]) == {"q": ["e", "d"], "r": ["d"], "s": []}


@pytest.mark.parametrize(
    ("collection", "language"), [("scifact", "en"), ("nq_utd", "en"), ("xquad_en", "en"), ("de", "en")]
)
def test_the_language_of_a_collection(collection: str, language: str) -> None:
    assert language_of(collection) == language


def test_texts_are_the_same_each_time_and_of_the_length_that_is_said() -> None:
    texts = passages(300)
    lengths = [len(text.split()) for text in texts]
    assert texts == passages(300)
    assert min(lengths) >= SHORTEST
    assert max(lengths) <= LONGEST
    assert np.mean(lengths) == pytest.approx(40, abs=2)
    assert describe(["a b", "b c d"]) == {"texts": 2, "words": 5, "distinct words": 4}


def test_words_grow_as_the_law_says() -> None:
    source = ["".join(chr(97 + number * 7919 // 26**place % 26) for place in range(6)) for number in range(200)]
    source += source[:100] * 3  # 100 of 200 words occur once, so d is a half
    words = grow(source, 4_500, seed=1)
    assert len(words) == 4_500
    # The length grows tenfold, 500 to 5,000; the distinct words by its root, 200 to 632.
    assert len({*source, *words}) == pytest.approx(200 * 10**0.5, rel=0.1)
    common = Counter(words).most_common()
    assert common[0][1] > 20 * common[-1][1]


def test_best_ten() -> None:
    scores = np.array([0.0, 2.0, 1.0, 2.0, -0.5])
    (row,) = lexical_contenders._best([scores])
    assert row.tolist() == [1, 3, 2, 4, -1, -1, -1, -1, -1, -1]
    (row,) = lexical_contenders._best([np.arange(20.0)])
    assert row.tolist() == list(range(19, 9, -1))


GIVEN = {
    "documents": ["The cat sat on the mat.", "Dogs chase cats.", "A ship at sea", "dogs and dogs", "birds"],
    "queries": ["a dog", "ships", "zebra"],
    "k1": 0.9,
    "b": 0.4,
}
CONTENDERS = {"milvine_bm25_ranking": "milvine", "bm25s_ranking": "bm25s", "rank_bm25_ranking": "rank_bm25"}


@pytest.mark.filterwarnings("ignore:.*no term of the vocabulary")
@pytest.mark.parametrize("name", CONTENDERS)
def test_contenders_rank(name: str) -> None:
    for module in {CONTENDERS[name], "bm25s" if name != "milvine_bm25_ranking" else "milvine"}:
        pytest.importorskip(module, reason=f"{module} is not installed")
    work = getattr(lexical_contenders, name)(**({"analyzer": "en"} if CONTENDERS[name] == "milvine" else {}))
    best = work([json.dumps(GIVEN)])
    assert [row[row >= 0].tolist() for row in best] == [[3, 1], [2], []]


def test_every_contender_is_a_function() -> None:
    entrants = lexical._entrants("python", "data", 64_000)
    rankers = lexical._rankers("en", "python", "data").values()
    names = [entrant.program.name for entrant in entrants] + [program.name for program in rankers]
    assert all(callable(getattr(lexical_contenders, name)) for name in names)
    assert [entrant.inputs for entrant in entrants] == [None, 2_000, None, None]
    assert list(lexical._rankers("de", "python", "data")) == ["milvine"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is what Linux says it is")
def test_a_process_tells_its_memory(tmp_path: Path) -> None:
    contender = Contender(Program("milvine_bm25"), tmp_path / "log")
    try:
        contender.prepare([["the cat sat on the mat"] * 20_000])
        contender.round()
        memory = contender.memory()
    finally:
        contender.stop()
    assert memory.before > 20 * MB  # Python, numpy and scipy
    assert memory.before < memory.peak < memory.before + 200 * MB


def test_wrong_arguments() -> None:
    done = CliRunner().invoke(lexical.lexical, ["--only", "speed,taste"])
    assert done.exit_code == 2
    assert "there is no taste; there are speed, quality" in done.output
