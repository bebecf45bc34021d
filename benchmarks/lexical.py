"""BM25 beside pymilvus.model, bm25s and rank-bm25: time, memory, and how well each ranks.

Each round gives each contender a new process, so that nothing is warm but its imports; they take turns. Time and memory
are those of one process between having the texts and having the weights of all of them. Ranking is by exact search.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from benchmarks.groups import Entrant
from benchmarks.machine import machine
from benchmarks.measures import Result, Round, Row, round_of, rows_of
from benchmarks.passages import collected_passages, passages
from benchmarks.peers import LEXICAL_REQUIREMENTS, make_nltk_data, make_peers
from benchmarks.plot import plot
from benchmarks.process import Contender, Memory, Program, Seconds
from benchmarks.table import in_units, print_result, print_table

if TYPE_CHECKING:
    from milvine.evaluate import TestCollection

TEXTS = 64_000
PYMILVUS_TEXTS = 2_000
"""It takes minutes for all; its time a text does not depend on how many there are."""
K1, B = 0.9, 0.4
KEYS = ("speed", "quality")
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Quality:
    """How well a test collection is ranked.

    Attributes:
        collection: Its folder's name.
        documents: How many it has.
        queries: How many it has.
        ndcg: Contender -> nDCG@10.
    """

    collection: str
    documents: int
    queries: int
    ndcg: dict[str, float]


@click.command()
@click.option("--only", help=f"What to measure, separated by commas: {', '.join(KEYS)}; by default both.")
@click.option("--rounds", default=5, show_default=True, help="Times that each contender takes its turn.")
@click.option("--texts", "count", default=TEXTS, show_default=True, type=click.IntRange(100), help="Texts.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of test collections in the BEIR layout; by default MILVINE_TEST_DATA's.",
)
@click.option(
    "--on",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure speed on the documents of this test collection, cut to 40 words; may be given several times.",
)
@click.option("--peers", type=click.Path(path_type=Path), help="A Python that has the peers; by default one is made.")
@click.option("--json", "figures", type=click.Path(path_type=Path), help="Where to write the figures as JSON.")
@click.option("--plot", "drawing", type=click.Path(path_type=Path), help="Where to draw them, as SVG.")
def lexical(
    only: str | None,
    rounds: int,
    count: int,
    data: Path | None,
    folders: tuple[Path, ...],
    peers: Path | None,
    figures: Path | None,
    drawing: Path | None,
) -> None:
    """How fast texts become BM25 weights, in how much memory, and how well they rank, beside other libraries."""
    keys = [key.strip() for key in only.split(",")] if only else list(KEYS)
    if unknown := set(keys) - set(KEYS):
        raise click.UsageError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(KEYS)}")
    if drawing and "speed" not in keys:
        raise click.UsageError("--plot draws speed, which is not among what is to be measured")
    python = make_peers(peers, "lexical-peers", LEXICAL_REQUIREMENTS)
    nltk_data = make_nltk_data(python)
    ran_on = machine("numpy", "scipy", "PyStemmer")
    click.echo(", ".join(f"{name} {value}" for name, value in ran_on.items()))
    report: dict[str, Any] = {
        "machine": ran_on,
        "rounds": rounds,
        "peers": [name for names in LEXICAL_REQUIREMENTS for name in names],
    }
    results: list[Result] = []
    if "speed" in keys:
        texts = collected_passages(folders, count) if folders else passages(count)
        report["texts"] = describe(texts)
        click.echo(", ".join(f"{number:,} {what}" for what, number in report["texts"].items()))
        results = list(_speed(_entrants(python, nltk_data, len(texts)), texts, rounds))
        print_result(results[0])
        for result in results[1:]:
            rows = [[row.name, in_units(row.speed, result.unit), f"{row.ratio:.2f}"] for row in result.rows]
            print_table(result.title, ["", "memory", "×"], rows)
    if "quality" in keys:
        folder = data or (Path(os.environ["MILVINE_TEST_DATA"]) if "MILVINE_TEST_DATA" in os.environ else None)
        if folder is None:
            click.echo("\nRanking was not measured: neither --data nor MILVINE_TEST_DATA names a folder", err=True)
        else:
            qualities = _quality(sorted(path.parent for path in folder.glob("*/corpus.jsonl")), python, nltk_data)
            report["quality"] = list(map(asdict, qualities))
            print_table(f"nDCG@10 by exact search, k1 {K1}, b {B}", *quality_table(qualities))
    if figures:
        figures.write_text(json.dumps(report | {"results": list(map(asdict, results))}, indent=2), encoding="utf-8")
    if drawing:
        drawing.write_text(plot(results, _caption(ran_on, rounds)), encoding="utf-8")


def describe(texts: Sequence[str]) -> dict[str, int]:
    """How many texts, words, and distinct words there are."""
    words = [word for text in texts for word in text.split()]
    return {"texts": len(texts), "words": len(words), "distinct words": len(set(words))}


def language_of(collection: str) -> str:
    """The language of a test collection: the end of its name, if that is one that milvine analyses, or English."""
    from milvine.analysis import get_analyzer
    from milvine.errors import InputError

    _, separator, code = collection.rpartition("_")
    try:
        return get_analyzer(code).name if separator else "en"
    except InputError:
        return "en"


def memory_row(name: str, memories: Sequence[Memory], first: Sequence[Memory]) -> Row:
    """A contender's megabytes beyond those that it began with, median over rounds; and how many times the first's."""
    own, other = (median(memory.peak - memory.before for memory in each) / MEGABYTE for each in (memories, first))
    return Row(name, "", speed=own, wall=0, cpu=0, ratio=own / other, cpu_ratio=own / other)


def quality_table(qualities: Sequence[Quality]) -> tuple[list[str], list[list[str]]]:
    """Headings, milvine first, and a row for each collection; a contender that did not take part has a blank."""
    names = list(dict.fromkeys(name for quality in qualities for name in quality.ndcg))
    names.sort(key=lambda name: not name.startswith("milvine"))
    rows = [
        [
            quality.collection,
            f"{quality.documents:,}",
            f"{quality.queries:,}",
            *(f"{quality.ndcg[name]:.4f}" if name in quality.ndcg else "" for name in names),
        ]
        for quality in qualities
    ]
    return ["", "documents", "queries", *names], rows


def ranked(positions: Any, query_ids: Sequence[str], document_ids: Sequence[str]) -> dict[str, list[str]]:
    """Query id to document ids, best first, of an array of positions."""
    return {
        query: [document_ids[int(at)] for at in row if at >= 0] for query, row in zip(query_ids, positions, strict=True)
    }


def _entrants(python: str, nltk_data: str, count: int) -> tuple[Entrant, ...]:
    part = min(PYMILVUS_TEXTS, count)
    return (
        Entrant("milvine", Program("milvine_bm25"), note="fit and encode_documents, one process, nothing kept"),
        Entrant(
            "pymilvus.model",
            Program("pymilvus_bm25", {"nltk_data": nltk_data}, python),
            part,
            f"the same, on {part:,} of the texts, and its time multiplied",
        ),
        Entrant(
            "bm25s",
            Program("bm25s_index", {}, python),
            note="tokenize and index; its own tokenizer and stop words, PyStemmer's English stemmer",
        ),
        Entrant(
            "rank-bm25",
            Program("rank_bm25_index", {}, python),
            note="BM25Okapi, which counts, and weighs only when it is asked; bm25s' pattern and stop words and the same"
            " stemmer, written out in Python",
        ),
    )


def _speed(entrants: Sequence[Entrant], texts: list[str], rounds: int) -> tuple[Result, ...]:
    taken: dict[str, list[Round]] = {entrant.name: [] for entrant in entrants}
    memories: dict[str, list[Memory]] = {entrant.name: [] for entrant in entrants}
    notes = {entrant.name: entrant.note for entrant in entrants}
    for number in range(rounds):
        click.echo(f"Round {number + 1} of {rounds} …", err=True)
        for entrant in entrants:
            inputs = texts[: entrant.inputs]
            seconds, memory = _once(entrant.program, inputs)
            taken[entrant.name].append(round_of(seconds, scale=len(texts) / len(inputs), each=False))
            memories[entrant.name] += memory
    for entrant in entrants:
        if entrant.inputs and entrant.inputs < len(texts):
            click.echo(f"All texts, once, by {entrant.name} …", err=True)
            seconds, memories[entrant.name] = _once(entrant.program, texts)
            notes[entrant.name] += f"; run once on all of them it took {seconds.cpu:.0f} s of CPU"
    title = f"BM25: {len(texts):,} texts to weights"
    time = Result("time", title, "s CPU", False, rows_of(taken, notes), rounds=taken)
    if not all(memories.values()):
        return (time,)
    rows = tuple(memory_row(name, own, memories[entrants[0].name]) for name, own in memories.items())
    return time, Result("memory", "Memory at most, beyond imports and texts", "MB", False, rows)


def _once(program: Program, texts: list[str]) -> tuple[Seconds, list[Memory]]:
    """What a new process takes for the texts; no memory where the system does not say."""
    with tempfile.TemporaryDirectory() as scratch:
        contender = Contender(program, Path(scratch, "log"))
        try:
            contender.prepare([texts])
            return contender.round(), [contender.memory()] if sys.platform == "linux" else []
        finally:
            contender.stop()


def _quality(folders: Sequence[Path], python: str, nltk_data: str) -> list[Quality]:
    from milvine.evaluate import load_beir, ndcg

    found = []
    for folder in folders:
        click.echo(f"Ranking {folder.name} …", err=True)
        tested = load_beir(folder)
        values = {
            name: ndcg(tested.qrels, _run(program, tested))
            for name, program in _rankers(language_of(folder.name), python, nltk_data).items()
        }
        found.append(Quality(folder.name, len(tested.documents), len(tested.queries), values))
    return found


def _rankers(language: str, python: str, nltk_data: str) -> Mapping[str, Program]:
    """Who can rank texts of the language; the peers read English."""
    from milvine.analysis.dictionaries import DICTIONARIES

    programs = {"milvine": Program("milvine_bm25_ranking", {"analyzer": language})}
    for code, row in DICTIONARIES.items():
        if code.startswith(f"{language}-") and all(map(importlib.util.find_spec, row.modules)):
            programs["milvine, by dictionary"] = Program("milvine_bm25_ranking", {"analyzer": code})
    if language == "en":
        programs["pymilvus.model"] = Program("pymilvus_bm25_ranking", {"nltk_data": nltk_data}, python)
        programs["bm25s"] = Program("bm25s_ranking", {}, python)
        programs["rank-bm25"] = Program("rank_bm25_ranking", {}, python)
    return programs


def _run(program: Program, tested: TestCollection) -> dict[str, list[str]]:
    import numpy as np

    texts = [document.text for document in tested.documents]
    given = {"documents": texts, "queries": list(tested.queries.values()), "k1": K1, "b": B}
    with tempfile.TemporaryDirectory() as scratch:
        contender = Contender(program, Path(scratch, "log"))
        try:
            contender.results([json.dumps(given)], Path(scratch, "results.npy"))
        finally:
            contender.stop()
        positions = np.load(Path(scratch, "results.npy"))
    return ranked(positions, list(tested.queries), [document.id for document in tested.documents])


def _caption(ran_on: dict[str, str], rounds: int) -> str:
    peers = {name.partition("==")[0]: name.partition("==")[2] for names in LEXICAL_REQUIREMENTS for name in names}
    used = ", ".join(f"{name} {peers[name]}" for name in ("pymilvus.model", "bm25s", "rank-bm25"))
    return f"{ran_on['cores']} cores of {ran_on['processor']}; medians of {rounds} interleaved rounds; {used}"
