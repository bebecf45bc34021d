"""`milvine index`: files and folders into a collection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from milvine.collection import Collection
    from milvine.ingest import Problem, ReadCounts
    from milvine.types import Record

LISTED_PROBLEMS = 20


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option("--db", required=True, metavar="FILE.db", help="The database; it is made if it is not there.")
@click.option("--collection", "name", default="default", show_default=True, help="The collection in it.")
@click.option("--language", default=None, help="The texts' language, for a new collection.  [default: en]")
@click.option("--overlap", default=0, show_default=True, help="Tokens that neighbouring passages share.")
@click.pass_context
def index(
    context: click.Context, paths: tuple[str, ...], db: str, name: str, language: str | None, overlap: int
) -> None:
    """Index files and folders: .txt, .md, .rst, .html and .jsonl.

    Texts are split into passages that fit the model. Run it again after files have changed: only what changed is
    embedded. A file that cannot be read is reported, and the rest is indexed; the exit status is 1 then.
    """
    from milvine.cli._printing import command
    from milvine.collection import Collection
    from milvine.ingest import ReadCounts, read_documents, split_passages

    started = time.monotonic()
    skipped: list[Problem] = []
    counts = ReadCounts()

    def report(problem: Problem) -> None:
        if problem.skipped:
            skipped.append(problem)
        if counts.problems <= LISTED_PROBLEMS:
            click.echo(f"{'Skipped' if problem.skipped else 'Note'}: {problem}", err=True)

    documents = read_documents(paths, on_problem=report, counts=counts)
    first = next(documents, None)
    if first is None:  # before a database is made for nothing
        raise click.ClickException(_nothing(paths, counts))
    with Collection(db, name, language=language) as collection:
        function: Any = collection.embedding_function
        if not hasattr(function, "tokenizer"):
            raise click.ClickException(
                f"{db} was made with {type(function).__name__}, whose tokens cannot be counted on this machine;"
                " split the texts yourself and add them with Collection.add"
            )
        passages = split_passages(chain([first], documents), function.tokenizer, function.max_length, overlap=overlap)
        seen: Counter[str] = Counter()
        done = collection.add(_counted(passages, seen))
        removed = _remove_leftovers(collection, seen)
        there = collection.count()
    if counts.problems > LISTED_PROBLEMS:
        click.echo(f"… and {counts.problems - LISTED_PROBLEMS} more problems", err=True)
    parts = [f"{done.added:,} new", f"{done.updated:,} changed", f"{done.unchanged:,} unchanged"]
    if removed:
        parts.append(f"{removed:,} removed")
    click.echo(
        f"{_number(counts.documents, 'document')} from {_number(counts.files, 'file')}:"
        f" {_number(done.total, 'passage')} ({', '.join(parts)}) in {time.monotonic() - started:.1f} s."
    )
    click.echo(f'{db} holds {_number(there, "passage")}. Ask:  {command()} search "a question" --db {db}')
    if skipped:
        click.echo(f"{_number(len(skipped), 'file or line', 'files or lines')} could not be read; see above.", err=True)
        context.exit(1)


def _counted(passages: Iterable[Record], seen: Counter[str]) -> Iterator[Record]:
    for passage in passages:
        seen[passage.metadata["document"]] += 1
        yield passage


def _remove_leftovers(collection: Collection, seen: Counter[str]) -> int:
    """Delete passages that documents had when they were longer."""
    leftovers = []
    for id_ in collection.ids():
        document, _, ordinal = id_.rpartition("#")
        if ordinal.isdecimal() and 0 < seen[document] <= int(ordinal):
            leftovers.append(id_)
    return collection.delete(leftovers) if leftovers else 0


def _nothing(paths: tuple[str, ...], counts: ReadCounts) -> str:
    from milvine.ingest import READERS

    ignored = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in counts.ignored.most_common(5))
    found = f" Files of other kinds there: {ignored}." if ignored else ""
    return f"There is nothing to index in {', '.join(paths)}: no readable {', '.join(sorted(READERS))} file.{found}"


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
