"""`milvine search`: a question to a collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from milvine.collection import Mode


@click.command()
@click.argument("question")
@click.option("--db", required=True, metavar="FILE", help="The database: a path, or a Milvus server's address.")
@click.option("--collection", "name", default="default", show_default=True, help="The collection in it.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "dense", "sparse", "lexical"]),
    default="hybrid",
    show_default=True,
    help="Search by meaning (dense), by learned weights (sparse), by words (lexical: BM25), or all.",
)
@click.option(
    "--fusion",
    type=click.Choice(["weighted", "rrf", "minmax", "distribution"]),
    default="weighted",
    show_default=True,
    help="How a hybrid search makes one list of several.",
)
@click.option("--limit", default=5, show_default=True, help="Hits wanted.")
@click.option("--offset", default=0, show_default=True, help="Hits to leave out before the first.")
@click.option("--filter", "filter_", default=None, help="A Milvus expression over the metadata: 'year >= 2020'.")
@click.option("--rerank", is_flag=True, help="Let a cross-encoder reorder the best hits.")
@click.option("--highlight", is_flag=True, help="Show the part of each passage that has the question's words, marked.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a hit.")
def search(
    question: str,
    db: str,
    name: str,
    mode: Mode,
    fusion: str,
    limit: int,
    offset: int,
    filter_: str | None,
    rerank: bool,
    highlight: bool,
    as_json: bool,
) -> None:
    """Ask a collection, and print the passages that answer."""
    from milvine.cli._printing import console, marked_of, places_of, snippet_of, source_of, title_of
    from milvine.collection import Collection
    from milvine.model.reranker import CrossEncoderRerankFunction

    reranker = CrossEncoderRerankFunction() if rerank else None
    with Collection.open(db, name) as collection:
        hits = collection.search(
            question, limit=limit, offset=offset, mode=mode, fusion=fusion, filter=filter_, reranker=reranker
        )
    if as_json:
        for hit in hits:
            click.echo(json.dumps(hit.to_dict(), ensure_ascii=False))
        return
    if not hits:
        click.echo("Nothing was found.", err=True)
        return
    from rich.markup import escape
    from rich.padding import Padding

    out = console()
    for number, hit in enumerate(hits, start=offset + 1):
        out.print(f"[bold]{number}. {escape(title_of(hit))}[/]  [dim]{hit.score:.3f}  {escape(places_of(hit))}[/]")
        out.print(Padding(marked_of(hit, 300) if highlight else escape(snippet_of(hit, 300)), (0, 0, 0, 3)))
        out.print(Padding(f"[dim]{escape(source_of(hit))}[/]", (0, 0, 0, 3)))
