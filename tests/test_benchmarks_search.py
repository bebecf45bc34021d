"""The search benchmark's arithmetic, by hand; its contenders that need no peers, in the processes that they run in."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import search
from benchmarks.plot import plot
from benchmarks.process import ContenderError
from benchmarks.search import parse_sizes
from benchmarks.search_contenders import NOTES, STORES
from benchmarks.search_data import (
    choose,
    given_data,
    least_scores,
    machine_passages,
    recall,
    words_of,
)
from benchmarks.search_peers import SqliteVecStore, match_expression
from benchmarks.search_process import SearchProcess
from benchmarks.search_stores import BEST, TENANT, WAYS, Query, metadata_of
from benchmarks.search_tables import Figures, Timing, print_size, results_of

WORDS = ("apple", "brick", "cloud", "dance", "eagle", "flame", "grape", "horse", "igloo", "jelly")
ROWS = 1_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """5,200 texts of words, their vectors (10 dimensions, as often as each word comes), and 12 questions."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("data")
    texts = [f"number {number} " + " ".join(rng.choice(WORDS, 8)) for number in range(5_200)]
    queries = [f"the {left} and {right}" for left, right in pairwise(WORDS)] + [
        "apple",
        "flame",
        "jelly",
    ]
    paths = {name: folder / name for name in ("texts", "vectors", "queries", "query_vectors")}
    for name, own in (("texts", texts), ("queries", queries)):
        paths[name].write_text(json.dumps(own))
    for name, own in (("vectors", texts), ("query_vectors", queries)):
        counts = np.array([[text.split().count(word) for word in WORDS] for text in own], dtype=np.float32)
        counts += rng.random(counts.shape, dtype=np.float32) / 10  # so that no two have the same cosine
        with paths[name].open("wb") as file:
            np.save(file, counts / np.linalg.norm(counts, axis=1, keepdims=True))
    return paths


def test_a_filter_passes_one_row_of_a_hundred() -> None:
    rows = [metadata_of(number) for number in range(100_000)]
    assert sum(row["tenant"] == TENANT for row in rows) == pytest.approx(1_000, rel=0.1)
    assert len(Counter(row["source"] for row in rows)) == 100
    assert len(Counter(row["page"] for row in rows)) == 1_000
    assert rows[17] == metadata_of(17)


def test_exact_search_and_recall(tmp_path: Path) -> None:
    angles = np.radians([0, 10, 20, 90, 100, 180])
    path = tmp_path / "vectors.npy"
    np.save(path, np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
    queries = np.array([[1, 0], [0, 1]], dtype=np.float32)
    least = least_scores(path, 5, queries, 2)  # rows 0 and 1; rows 3 and 4
    assert least == pytest.approx(np.cos(np.radians([10, 10])))
    assert recall([[0, 1], [4, 3]], path, queries, least, 2) == 1
    assert recall([[0, 2], [3, 3]], path, queries, least, 2) == 0.5  # one wrong; one twice
    assert recall([[0], []], path, queries, least, 2) == 0.25


def test_exact_search_in_pieces(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    queries = np.load(files["query_vectors"])
    whole = least_scores(files["vectors"], ROWS, queries, BEST)
    monkeypatch.setattr("benchmarks.search_data.CHUNK", 300)
    assert least_scores(files["vectors"], ROWS, queries, BEST) == pytest.approx(whole)
    scores = np.sort(queries @ np.load(files["vectors"])[:ROWS].T, axis=1)
    assert whole == pytest.approx(scores[:, -BEST], abs=1e-6)


def test_texts_are_windows_over_sources(tmp_path: Path) -> None:
    prose, code = [f"word{at}" for at in range(100)], [f"name{at} =" for at in range(30)]
    source = f'"""{" ".join(prose)}"""\n# a comment\n' + "\n".join(code) + "\n"
    (tmp_path / "one.py").write_text(source)
    (tmp_path / "again.py").write_text(source)
    found = machine_passages(3, [tmp_path])
    # What is left over is no more than half a text. Then windows overlap by a half; one of them ends as the first kind.
    assert sorted(found) == sorted(" ".join(prose[at : at + 40]) for at in (0, 40, 20))
    everything = machine_passages(1_000, [tmp_path])
    assert len(everything) == len(set(everything)) > 5
    assert any("# a comment name0 =" in text for text in everything)


def test_questions() -> None:
    assert words_of("What is the GIL, and the GIL's use?") == ["gil", "use"]
    assert words_of("To be or not to be") == ["to", "be", "or", "not"]
    assert match_expression(["a", "b"]) == '"a" OR "b"'
    assert choose(3, 9) == [0, 3, 6]
    assert choose(5, 2) == [0, 1]


def test_wrong_data(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="5,200 texts"):
        given_data(**{**files, "vectors": files["query_vectors"]})
    np.save(tmp_path / "long.npy", 2 * np.load(files["vectors"]))
    with pytest.raises(click.UsageError, match="length is not 1"):
        given_data(**{**files, "vectors": tmp_path / "long.npy"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "milvine,oracle"], "there is no oracle; there are milvine, milvus-lite"),
        (["--sizes", "many"], "whole numbers"),
        (["--sizes", "10"], "at least 1,000 rows"),
        (["--texts", __file__], "go together"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(search.search, arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", "").split())


def test_sizes() -> None:
    assert parse_sizes("100000,1000, 10000") == [1_000, 10_000, 100_000]


# What searches


@pytest.mark.parametrize(("name", "rows"), [("milvine", 5_000), ("milvus-lite", ROWS)])
def test_a_store_in_its_processes(name: str, rows: int, files: dict[str, Path], tmp_path: Path) -> None:
    data = given_data(**files)
    (figures,) = search._measure(data, rows, [name], "no peers", 12, 3, tmp_path)
    assert tuple(figures.ways) == WAYS
    assert all(len(timing.walls) == 12 and min(timing.walls) > 0 and timing.cpu > 0 for timing in figures.ways.values())
    assert figures.recall >= 0.99
    assert figures.disk > rows * 10 * 4
    assert figures.opened > 0
    assert figures.upserts > 0
    assert figures.fill["wall"] > 0
    assert (figures.rebuilt is not None) == (name == "milvine")


def test_a_store_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"(?s)nobody failed.*KeyError"):
        SearchProcess(search.sys.executable, "nobody", tmp_path / "nobody", 2)


class _WithoutExtension(SqliteVecStore):
    """An ordinary table in the place of vec0's."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "rows.sqlite", isolation_level=None)
        self._db.executescript(self.TABLES)
        self._db.execute("CREATE TABLE vectors(vector BLOB, tenant TEXT)")


def test_the_statements_of_fts5(tmp_path: Path) -> None:
    store = _WithoutExtension(tmp_path)
    texts = ["the cats sat", "dogs chase a cat", "a ship at sea", "cat and cat and cat", "birds"]
    vector = np.zeros(2, dtype=np.float32)
    store._insert((number, text, vector) for number, text in enumerate(texts))
    found = store.lexical(Query("cat or sea", ["cat", "sea"], vector))
    assert {row.number for row in found} == {0, 1, 2, 3}  # cats is a cat
    assert found[0].number == 2  # of the two words the rarer
    assert found[0].text == texts[2]
    assert found[0].metadata == metadata_of(2)
    store.upsert(2, "dogs again", vector)
    found = store.lexical(Query("a ship with dogs", ["ship", "dogs"], vector))
    assert [(row.number, row.text) for row in found] == [(2, "dogs again"), (1, texts[1])]  # the shorter text first
    store.close()


# What is shown


def _figures(name: str, hybrid: float | None, seconds: float) -> Figures:
    ways = {"dense": Timing([0.001, 0.002, 0.003], 0.002)}
    if hybrid:
        ways |= {"hybrid": Timing([hybrid], hybrid), "filtered": Timing([hybrid / 2], hybrid / 2)}
    return Figures(name, 1_000, {"wall": seconds, "cpu": seconds, "memory": 5_000_000}, 1_000_000, ways=ways)


def test_the_drawing_and_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    ours, others, plain = _figures("milvine", 0.002, 0.5), _figures("other", 0.005, 1.0), _figures("plain", None, 0.25)
    ours.rebuilt = 0.25
    hybrid, filtered, insert = results_of([[ours, others, plain]])
    assert [row.name for row in hybrid.rows] == ["milvine", "other"]
    assert [row.ratio for row in hybrid.rows] == [1, 2.5]
    assert [row.speed for row in filtered.rows] == [0.001, 0.0025]
    assert [(row.speed, row.ratio) for row in insert.rows] == [(2_000, 1), (1_000, 2), (4_000, 0.5)]
    drawn = plot([hybrid, filtered, insert], "")
    assert "5.00 ms · 2.50 × the time" in drawn
    assert "Hybrid search: 1,000 rows" in drawn
    print_size([ours, others, plain], "a thousand rows")
    shown = capsys.readouterr().out
    assert "2.00 / 2.90" in shown  # the 95th percentile of 1, 2 and 3 ms
    assert "2.5" in shown
    assert "Without its image milvine is open after 0.25 s." in shown


def test_every_store_is_a_store() -> None:
    assert next(iter(STORES)) == search.OURS
    assert set(NOTES) == set(STORES)
    for store in STORES.values():
        assert set(store.ways) <= set(WAYS)
        assert all(callable(getattr(store, way)) for way in store.ways)
