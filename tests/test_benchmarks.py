"""The benchmarks' arithmetic and drawing, by hand arithmetic; and a contender as the process that it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tiny_tasks
from benchmarks import contenders
from benchmarks.groups import KEYS, make_groups
from benchmarks.measures import (
    Result,
    Round,
    Row,
    flop_of_minilm,
    flop_of_products,
    largest_difference,
    least_cosine,
    round_of,
    rows_of,
)
from benchmarks.peers import MODELS
from benchmarks.plot import LABELS, WIDTH, plot
from benchmarks.process import Contender, ContenderError, Program, Seconds, start_once
from benchmarks.table import in_units
from benchmarks.texts import choose
from milvine.model.reranker import CrossEncoderRerankFunction

SVG = "{http://www.w3.org/2000/svg}"


def test_operations_of_a_text_of_two_tokens() -> None:
    # A layer: 2 tokens x 2 x (4 x 384 x 384 + 2 x 384 x 1536) = 7,077,888, and 2 x 2 x 2 x 2 x 384 = 6,144.
    assert flop_of_minilm([2]) == 6 * (7_077_888 + 6_144)
    assert flop_of_minilm([2, 2]) == 2 * flop_of_minilm([2])


def test_operations_of_the_matrix_product() -> None:
    assert flop_of_products() == 20 * 2 * 8_589_934_592


def test_texts_are_of_mixed_length_and_long_enough_on_average() -> None:
    lengths = [5] * 900 + list(range(10, 210))
    chosen = choose(lengths, count=100, mean=60)
    taken = [lengths[at] for at in chosen]
    assert len(set(chosen)) == 100
    assert np.mean(taken) == pytest.approx(60, rel=0.05)
    assert min(taken) == 5
    assert max(taken) >= 205
    assert taken != sorted(taken)
    assert chosen == choose(lengths, count=100, mean=60)


@pytest.mark.parametrize("lengths", [[5] * 1000, [100] * 9])
def test_too_few_texts(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="10 are needed"):
        choose(lengths, count=10, mean=60)


def test_rounds() -> None:
    seconds = Seconds(walls=[1.0, 5.0, 3.0], cpu=12.0)
    assert round_of(seconds, scale=2, each=False) == Round(wall=18.0, cpu=24.0)
    assert round_of(seconds, scale=1, each=True) == Round(wall=3.0, cpu=4.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    ours = [Round(1, 2), Round(2, 2), Round(4, 8)]
    theirs = [Round(4, 4), Round(4, 6), Round(8, 8)]  # 4, 2 and 2 times the wall seconds; 2, 3 and 1 times the CPU's
    first, second = rows_of(
        {"milvine": ours, "other": theirs}, {"other": "slow"}, amount=100, flop=10, limit=[20, 10, 2.5]
    )
    assert first == Row("milvine", "", speed=50, wall=2, cpu=2, ratio=1, cpu_ratio=1, share=0.5)
    assert (second.wall, second.speed, second.ratio, second.cpu_ratio, second.note) == (4, 25, 2, 2, "slow")
    assert second.share == 0.25  # 10 / 4 / 20 = .125, 10 / 4 / 10 = .25, 10 / 8 / 2.5 = .5


def test_without_an_amount_the_speed_is_the_time() -> None:
    (row,) = rows_of({"milvine": [Round(3, 1)]}, {})
    assert (row.speed, row.share) == (3, None)


def test_agreement() -> None:
    ours = np.array([[3.0, 4.0], [1.0, 0.0]])
    assert least_cosine(ours, 2 * ours) == pytest.approx(1)
    assert least_cosine(ours, np.array([[3.0, 4.0], [1.0, 1.0]])) == pytest.approx(0.5**0.5)
    assert largest_difference(ours, np.array([[3.0, 3.5], [1.25, 0.0]])) == 0.5


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (14_412.3, "tokens/s", "14,412 tokens/s"),
        (31.26, "pairs/s", "31.3 pairs/s"),
        (0.00456, "ms", "4.56 ms"),
        (0.714, "s CPU", "0.71 s CPU"),
    ],
)
def test_units(value: float, unit: str, shown: str) -> None:
    assert in_units(value, unit) == shown


RESULT = Result(
    key="dense",
    title="vectors & more",
    unit="tokens/s",
    longer_is_better=True,
    rows=(
        Row("milvine", "", 8000, 1, 2, 1, 1, share=0.8),
        Row("other", "", 2000, 4, 8, 4, 4, share=0.2),
    ),
    limit=1e11,
)


def _parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - it is our own


def _bars(svg: str) -> list[ET.Element]:
    return [bar for bar in _parsed(svg).iter(f"{SVG}rect") if bar.get("x") == str(LABELS)]


def test_a_drawing() -> None:
    svg = plot([RESULT], "two cores")
    texts = [text.text for text in _parsed(svg).iter(f"{SVG}text")]
    assert {"vectors & more", "milvine", "8,000 tokens/s", "2,000 tokens/s · 4.00 × the time", "two cores"} <= set(
        texts
    )
    limit, ours, theirs = (float(bar.attrib["width"]) for bar in _bars(svg))
    assert ours == pytest.approx(4 * theirs, abs=0.2)
    assert limit == pytest.approx(ours / 0.8, abs=0.2)  # milvine's share of the matrix product is 80 %
    assert LABELS + limit < WIDTH


def test_a_drawing_of_cpu_seconds() -> None:
    rows = (Row("milvine", "", 9, 9, 0.5, 1, 1), Row("other", "", 9, 9, 1.0, 1, 2))
    svg = plot([replace(RESULT, unit="s CPU", longer_is_better=False, rows=rows)], "")
    ours, theirs = (float(bar.attrib["width"]) for bar in _bars(svg))
    assert theirs == pytest.approx(2 * ours, abs=0.2)
    assert "1.00 s CPU · 2.00 × the CPU time" in svg
    assert "shorter is better" in svg


def test_every_group_runs_programs_that_there_are() -> None:
    models = dict.fromkeys(MODELS, "folder")
    groups = make_groups("python", models, Path("splade"), ["text"] * 2000, [60] * 2000)
    assert tuple(groups) == KEYS
    for group in groups.values():
        assert group.entrants[0].name.startswith("milvine")
        assert all(callable(getattr(contenders, entrant.program.name)) for entrant in group.entrants)
    assert [len(call) for call in groups["reranker"].calls] == [101] * 4
    assert groups["reranker"].amount == 400
    assert groups["dense"].amount == 120_000


def test_a_contender_gives_what_the_library_gives(tmp_path: Path) -> None:
    folder = tiny_tasks.write_model(tmp_path / "model", tiny_tasks.RERANKERS["bert"])
    call = [tiny_tasks.QUERY, "q u i c k", "a b q", "a"]
    contender = Contender(Program("milvine_reranker", {"folder": str(folder)}), tmp_path / "log")
    try:
        contender.prepare([call, call[:2]])
        contender.results(call, tmp_path / "results.npy")
        seconds = contender.round()
    finally:
        contender.stop()
    results = CrossEncoderRerankFunction(folder, activation_fct=float)(call[0], call[1:], top_k=len(call))
    by_index = {result.index: result.score for result in results}
    np.testing.assert_allclose(np.load(tmp_path / "results.npy"), [by_index[at] for at in range(len(call) - 1)])
    assert len(seconds.walls) == 2
    assert all(wall > 0 for wall in seconds.walls)
    assert seconds.cpu > 0


def test_a_start_counts_the_childs_seconds(tmp_path: Path) -> None:
    folder = tiny_tasks.write_model(tmp_path / "model", tiny_tasks.RERANKERS["bert"])
    seconds = start_once(Program("milvine_reranker", {"folder": str(folder)}), [tiny_tasks.QUERY, "a"])
    assert seconds.walls[0] > 0
    assert seconds.cpu > 0.05  # it imports numpy and onnxruntime


def test_a_contender_that_fails_says_why(tmp_path: Path) -> None:
    program = Program("milvine_reranker", {"folder": str(tmp_path / "nothing")})
    contender = Contender(program, tmp_path / "log")
    with pytest.raises(ContenderError, match=r"(?s)milvine_reranker failed.*There is no folder"):
        contender.prepare([["a", "b"]])
    contender.stop()
    with pytest.raises(ContenderError, match=r"(?s)milvine_reranker failed.*There is no folder"):
        start_once(program, ["a", "b"])
