"""`milvine demo`: the whole path, on documents that every machine with Python has."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from milvine.collection import Collection, Mode
    from milvine.model.base import BaseRerankFunction
    from milvine.types import Hit

COLLECTION = "python"
SHOWN = 3
QUESTIONS = (
    "how do I catch two exceptions in one handler?",
    "how do I count how often each word occurs?",
    "how do I copy a whole folder?",
    "pick a random element of a list",
    "why does changing a default argument affect later calls?",
)


@click.command()
@click.option("--db", default="demo.milvine", show_default=True, metavar="FILE", help="Where the index is kept.")
def demo(db: str) -> None:
    """Index Python's own documentation, ask it a few questions, and compare the ways of searching.

    The documents are the language reference and the standard library's docstrings, as installed on this machine. The
    first run fetches two models (about 160 MB) if they are not here; a second run reuses what is indexed.
    """
    from milvine.cli._printing import command, console
    from milvine.collection import Collection
    from milvine.ingest import python_documents
    from milvine.model.reranker import CrossEncoderRerankFunction

    out = console()
    out.print("[bold]Indexing[/] the language reference and the standard library's docstrings …")
    started = time.monotonic()
    with Collection(db, COLLECTION) as collection:
        done = collection.add((document.to_record() for document in python_documents()), split=True)
        seconds = time.monotonic() - started
        out.print(f"{done.total:,} passages, {done.added + done.updated:,} of them embedded now: {seconds:.1f} s\n")
        reranker = CrossEncoderRerankFunction()
        collection.search(QUESTIONS[0], reranker=reranker)  # models and indexes are loaded at first use
        for question in QUESTIONS:
            _ask(collection, reranker, question)
    again = f" --db {shlex.quote(db)} --collection {COLLECTION}"
    out.print("[bold]Next[/], ask your own question:")
    out.print(f'    {command()} search "how do I read a file line by line?" --rerank{again}', soft_wrap=True)
    out.print("or index your own files:")
    out.print(f"    {command()} index PATH... --db kb.milvine", soft_wrap=True)


def _ask(collection: Collection, reranker: BaseRerankFunction, question: str) -> None:
    """One question, answered in four ways side by side."""
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    from milvine.cli._printing import console, snippet_of, title_of

    ways: list[tuple[str, Mode, BaseRerankFunction | None]] = [
        ("dense", "dense", None),
        ("BM25", "lexical", None),
        ("hybrid", "hybrid", None),
        ("reranked", "hybrid", reranker),
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("", width=2)
    columns: list[list[Hit]] = []
    for heading, mode, reranking in ways:
        started = time.monotonic()
        columns.append(collection.search(question, mode=mode, limit=SHOWN, reranker=reranking))
        table.add_column(f"{heading} [dim]{(time.monotonic() - started) * 1000:.0f} ms[/]", ratio=1)
    for place in range(SHOWN):
        cells = [escape(title_of(hits[place])) if place < len(hits) else "-" for hits in columns]
        table.add_row(f"{place + 1}.", *cells)
    out = console()
    out.print(f"[bold cyan]{escape(question)}[/]")
    out.print(table)
    if columns[-1]:
        out.print(Padding(f"[dim]{escape(snippet_of(columns[-1][0], 240))}[/]", (0, 0, 1, 3)))
