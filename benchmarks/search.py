"""The built-in store beside Milvus Lite, qdrant-edge-py, LanceDB, chromadb and sqlite-vec with FTS5.

Each contender fills its files in a process of its own, and searches in another that takes turns with the others': so
many questions each, one after the other, so that all meet the same noise. All hold the same rows and bring the ten best
with their texts and metadata; what they bring is compared with what was written, and dense search with exact float32
search.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from benchmarks.machine import machine
from benchmarks.peers import SEARCH_REQUIREMENTS, make_peers
from benchmarks.plot import plot
from benchmarks.process import ContenderError
from benchmarks.search_contenders import NOTES, STORES
from benchmarks.search_data import Data, choose, given_data, least_scores, made_data, recall, words_of
from benchmarks.search_process import Answers, SearchProcess
from benchmarks.search_stores import BEST, TENANT, WAYS, metadata_of
from benchmarks.search_tables import Figures, Timing, caption, print_size, results_of

SIZES = "10000,100000,1000000"
LARGEST_COMPARED = 100_000
"""Beyond it milvine runs alone."""
SMALL, LARGE = "all-MiniLM-L6-v2", "potion-base-8M"
"""The models for sizes up to `LARGEST_COMPARED`, and beyond."""
OURS = "milvine"
HERE = {OURS, "milvus-lite"}
"""Who runs in this Python; the others do in the peers'."""
IMAGE = "kb.milvine-image"
"""What of the built-in store's files is made anew when it is not there."""
UPSERTS, UPSERT_SECONDS = 200, 5.0


def _files(option: str, explained: str) -> Callable[..., Any]:
    return click.option(option, multiple=True, type=click.Path(exists=True, path_type=Path), help=explained)


@click.command()
@click.option("--only", help=f"Who takes part, separated by commas: {', '.join(STORES)}; by default all.")
@click.option("--sizes", default=SIZES, show_default=True, help="Numbers of rows, separated by commas.")
@click.option(
    "--compared",
    default=LARGEST_COMPARED,
    show_default=True,
    help="Up to which size the others take part.",
)
@click.option("--queries-a-way", "count", default=200, show_default=True, type=click.IntRange(10), help="Questions.")
@click.option(
    "--rounds", default=10, show_default=True, type=click.IntRange(1), help="Turns that each contender takes."
)
@click.option(
    "--on",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Texts and questions of this test collection (BEIR layout); may be given several times.",
)
@click.option("--model", help=f"What embeds; by default {SMALL}, and {LARGE} for the sizes of milvine alone.")
@_files("--texts", "Ready texts, a JSON list; may be given several times, and a size takes the first that are enough.")
@_files("--vectors", "Their vectors, an .npy file; as often as --texts.")
@_files("--queries", "Ready questions, a JSON list; as often.")
@_files("--query-vectors", "Their vectors; as often.")
@click.option("--peers", type=click.Path(path_type=Path), help="A Python that has the peers; by default one is made.")
@click.option(
    "--work", type=click.Path(path_type=Path), help="Where stores are made and removed, on a disk; by default /tmp."
)
@click.option("--json", "figures", type=click.Path(path_type=Path), help="Where to write the figures as JSON.")
@click.option("--plot", "drawing", type=click.Path(path_type=Path), help="Where to draw them, as SVG.")
def search(
    only: str | None,
    sizes: str,
    compared: int,
    count: int,
    rounds: int,
    folders: tuple[Path, ...],
    model: str | None,
    texts: tuple[Path, ...],
    vectors: tuple[Path, ...],
    queries: tuple[Path, ...],
    query_vectors: tuple[Path, ...],
    peers: Path | None,
    work: Path | None,
    figures: Path | None,
    drawing: Path | None,
) -> None:
    """How fast rows are written and found, dense, by BM25, hybrid and filtered, beside other embedded stores."""
    names = [name.strip() for name in only.split(",")] if only else list(STORES)
    if unknown := set(names) - set(STORES):
        raise click.UsageError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(STORES)}")
    numbers = parse_sizes(sizes)
    if len({len(paths) for paths in (texts, vectors, queries, query_vectors)}) > 1:
        raise click.UsageError("--texts, --vectors, --queries and --query-vectors go together")
    ready = [given_data(*paths) for paths in zip(texts, vectors, queries, query_vectors, strict=True)]
    data_of = _data_of(ready, folders, model, [number for number in numbers if number <= compared], compared)
    python = make_peers(peers, "search-peers", SEARCH_REQUIREMENTS) if set(names) - HERE else ""
    ran_on = machine("numpy", "pymilvus", "milvus-lite")
    click.echo(", ".join(f"{name} {value}" for name, value in ran_on.items()))
    measured: list[list[Figures]] = []
    about: list[str] = []
    failed = False
    for size in numbers:
        taking_part = [name for name in names if size <= compared or name == OURS]
        if not taking_part:
            continue
        data = data_of(size)
        try:
            with tempfile.TemporaryDirectory(dir=work) as scratch:
                measured.append(_measure(data, size, taking_part, python, count, rounds, Path(scratch)))
        except ContenderError as error:
            click.echo(f"\n{size:,} rows were not measured: {error}", err=True)
            failed = True
            continue
        about.append(f"{size:,} rows: {data.about}, {data.dim} dimensions")
        print_size(measured[-1], about[-1])
    click.echo("\n" + "\n".join(f"{name}: {NOTES[name]}." for name in names))
    if figures:
        report = {
            "machine": ran_on,
            "peers": [package for packages in SEARCH_REQUIREMENTS for package in packages],
            "data": about,
            "notes": NOTES,
            "figures": [asdict(each) for own in measured for each in own],
        }
        figures.write_text(json.dumps(report, indent=1), encoding="utf-8")
    if drawing and measured:
        drawing.write_text(plot(results_of(measured), caption(ran_on, count)), encoding="utf-8")
    if failed:
        sys.exit(1)


def parse_sizes(sizes: str) -> list[int]:
    """The numbers of rows, ascending.

    Raises:
        click.UsageError: One is no number, or too small.
    """
    try:
        numbers = sorted({int(size) for size in sizes.split(",")})
    except ValueError:
        raise click.UsageError(f"--sizes takes whole numbers separated by commas, not {sizes!r}") from None
    if numbers[0] < 1_000:
        raise click.UsageError(f"a size is at least 1,000 rows, so that {BEST} of them pass a filter of 1 %")
    return numbers


def _data_of(
    ready: Sequence[Data], folders: Sequence[Path], model: str | None, small: Sequence[int], compared: int
) -> Callable[[int], Data]:
    """Which data a size takes: of those that are ready, or what is made, once for all sizes that are compared."""

    def given(size: int) -> Data:
        for data in ready:
            if data.rows >= size:
                return data
        raise click.UsageError(f"none of the ready texts are {size:,}")

    if ready:
        return given
    made: dict[int, Data] = {}

    def find(size: int) -> Data:
        rows = max(small) if size <= compared else size
        if rows not in made:
            made[rows] = made_data(rows, folders, model or (SMALL if size <= compared else LARGE))
        return made[rows]

    return find


def _measure(
    data: Data, size: int, names: Sequence[str], python: str, count: int, rounds: int, scratch: Path
) -> list[Figures]:
    """All figures of all contenders with so many rows.

    Raises:
        ContenderError: One fails, or brings what was not written or does not pass the filter.
    """
    texts: list[str] = json.loads(data.texts.read_text(encoding="utf-8"))
    chosen = choose(count, len(data.queries))
    asked = [(query, words_of(query)) for query in data.queries]
    vectors = np.load(data.query_vectors)[chosen].astype(np.float32)

    def start(name: str) -> SearchProcess:
        own = sys.executable if name in HERE else python
        return SearchProcess(own, name, scratch / name, data.dim)

    found = [_filled(start, data, size, name, scratch / name) for name in names]
    least = least_scores(data.vectors, size, vectors, BEST)
    opening = {"queries": asked, "vectors": str(data.query_vectors), "first": chosen[0]}
    with ExitStack() as stack:
        processes = {}
        for figures in found:
            processes[figures.name] = process = start(figures.name)
            stack.callback(process.stop)
            figures.opened = process.ask("open", **opening)["wall"]
        answers = _searched(processes, chosen, rounds)
        for figures in found:
            process, own = processes[figures.name], answers[figures.name]
            for way, turns in own.items():
                rows = [each for turn in turns for each in turn.found]
                _check(figures.name, way, rows, texts)
                if way == "dense":
                    figures.recall = recall(
                        [[row[0] for row in each] for each in rows], data.vectors, vectors, least, BEST
                    )
                walls = [wall for turn in turns for wall in turn.walls]
                figures.ways[way] = Timing(walls, sum(turn.cpu for turn in turns) / len(walls))
            held = process.ask("memory")
            figures.memory, figures.own = held["all"], held["own"]
            _upsert(figures, process, data, size, texts)
            process.ask("close")
            process.stop()
            if (image := scratch / figures.name / IMAGE).is_dir():
                shutil.rmtree(image)
                process = start(figures.name)
                stack.callback(process.stop)
                figures.rebuilt = process.ask("open", **opening)["wall"]
    return found


def _filled(start: Callable[[str], SearchProcess], data: Data, size: int, name: str, folder: Path) -> Figures:
    click.echo(f"{size:,} rows into {name} …", err=True, nl=False)
    process = start(name)
    try:
        fill = process.ask("fill", texts=str(data.texts), vectors=str(data.vectors), count=size)
    finally:
        process.stop()
    click.echo(f" {fill['wall']:.1f} s", err=True)
    return Figures(name, size, fill, sum(path.stat().st_blocks * 512 for path in folder.rglob("*")))


def _searched(
    processes: Mapping[str, SearchProcess], queries: Sequence[int], rounds: int
) -> dict[str, dict[str, list[Answers]]]:
    """Contender -> way -> its turns; in each turn all search for the same questions."""
    answers: dict[str, dict[str, list[Answers]]] = {name: {way: [] for way in STORES[name].ways} for name in processes}
    for way in WAYS:
        click.echo(f"Searching, {way} …", err=True)
        for process in (processes[name] for name, own in answers.items() if way in own):
            process.search(way, queries[: len(queries) // rounds or 1])  # what is read and made at first use
        for some in _turns(queries, rounds):
            for name, own in answers.items():
                if way in own:
                    own[way].append(processes[name].search(way, some))
    return answers


def _turns(queries: Sequence[int], rounds: int) -> Iterator[Sequence[int]]:
    for at in range(rounds):
        some = queries[at * len(queries) // rounds : (at + 1) * len(queries) // rounds]
        if some:
            yield some


def _check(name: str, way: str, rows: Sequence[Sequence[Any]], texts: Sequence[str]) -> None:
    for each in rows:
        for number, text, metadata in each:
            if text != texts[number] or metadata != metadata_of(number):
                raise ContenderError(f"{name}, {way}: row {number} came back with another text or other metadata")
            if way == "filtered" and metadata["tenant"] != TENANT:
                raise ContenderError(f"{name}: row {number} does not pass the filter")
        if len(each) > BEST or (way != "lexical" and len(each) < BEST):
            raise ContenderError(f"{name}, {way}: {len(each)} rows came back instead of {BEST}")


def _upsert(figures: Figures, process: SearchProcess, data: Data, size: int, texts: Sequence[str]) -> None:
    """Rows far apart are replaced by texts that are not there yet, as far as there are such."""
    count = min(UPSERTS, size)
    places = [at % len(texts) for at in range(size, size + count)]
    numbers = [at * size // count for at in range(count)]
    rows = [(number, texts[place]) for number, place in zip(numbers, places, strict=True)]
    taken = process.ask("upsert", rows=rows, vectors=str(data.vectors), places=places, seconds=UPSERT_SECONDS)
    if not taken["is_found"]:
        raise ContenderError(f"{figures.name}: a row that was replaced is not found")
    figures.upserts = len(taken["walls"]) / sum(taken["walls"])
    figures.upsert = median(taken["walls"])
