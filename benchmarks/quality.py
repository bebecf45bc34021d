"""How well each way of searching ranks, on test collections in the BEIR layout."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click

from milvine import Collection
from milvine.evaluate import TestCollection, load_beir, ndcg
from milvine.model.reranker import CrossEncoderRerankFunction

WAYS: dict[str, dict[str, Any]] = {
    "dense": {"mode": "dense"},
    "BM25": {"mode": "lexical"},
    "hybrid, RRF": {"fusion": "rrf"},
    "hybrid (default)": {},
}


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rerank", is_flag=True, help="Also rerank, which takes about a second a query.")
@click.option("--candidates", default=100, show_default=True, help="Hits taken from each field.")
@click.option("--keep", type=click.Path(path_type=Path), help="A folder to keep the databases in, for a second run.")
def quality(folders: tuple[Path, ...], rerank: bool, candidates: int, keep: Path | None) -> None:
    """NDCG@10 of every way of searching, with Collection's defaults, and milliseconds a query (median)."""
    with tempfile.TemporaryDirectory() as scratch:
        where = keep or Path(scratch)
        where.mkdir(parents=True, exist_ok=True)
        for folder in folders:
            tested = load_beir(folder)
            with Collection(where / f"{folder.name}.db") as collection:
                started = time.monotonic()
                collection.add(tested.documents)
                seconds = time.monotonic() - started
                click.echo(f"{folder.name}: {len(tested.documents):,} documents in {seconds:.0f} s")
                for name, options in WAYS.items():
                    _report(name, collection, tested, {**options, "candidates": candidates})
                if rerank:
                    reranker = CrossEncoderRerankFunction(show_progress=False)
                    _report("hybrid, reranked", collection, tested, {"candidates": candidates, "reranker": reranker})


def _report(name: str, collection: Collection, tested: TestCollection, options: dict[str, Any]) -> None:
    runs: dict[str, list[str]] = {}
    times = []
    for id_, query in tested.queries.items():
        started = time.monotonic()
        runs[id_] = [hit.id for hit in collection.search(query, **options)]
        times.append(time.monotonic() - started)
    click.echo(f"  {name:18} nDCG@10 {ndcg(tested.qrels, runs):.4f}   {median(times) * 1000:7.1f} ms a query")
