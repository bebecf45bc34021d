"""`milvine index`: files and folders into a collection."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from milvine.collection import Collection
    from milvine.ingest import Document, Problem, ReadCounts
    from milvine.types import Record

LISTED_PROBLEMS = 20
BATCH = 1000  # passages looked at together


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option(
    "--db",
    required=True,
    metavar="FILE",
    help="The database: a path such as kb.milvine, or kb.db for Milvus Lite, made if it is not there; or a Milvus"
    " server's address.",
)
@click.option("--collection", "name", default="default", show_default=True, help="The collection in it.")
@click.option("--language", default=None, help="The texts' language, for a new collection.  [default: en]")
@click.option("--overlap", default=0, show_default=True, help="Tokens that neighbouring passages share.")
@click.option("--keep", is_flag=True, help="Keep what was indexed of files that are no longer there.")
@click.pass_context
def index(
    context: click.Context, paths: tuple[str, ...], db: str, name: str, language: str | None, overlap: int, keep: bool
) -> None:
    """Index files and folders: .txt, .md, .rst, .html and .jsonl.

    Texts are split into passages that fit the model. Run it again after files have changed: only what changed is
    embedded, and what was indexed of a file in these folders that is no longer there is removed. A file that cannot be
    read is reported, and the rest is indexed; the exit status is 1 then.
    """
    from milvine.cli._printing import command
    from milvine.collection import Collection
    from milvine.ingest import ReadCounts, read_documents

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
        seen: set[str] = set()
        done = collection.add(_records(chain([first], documents), seen), split=True, overlap=overlap)
        removed = done.removed
        if not keep:
            doubtful = {problem.path for problem in skipped if problem.line is not None}
            removed += _remove_gone(collection, paths, seen, counts.read - doubtful)
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
    click.echo(f'{db} holds {_number(there, "passage")}. Ask:  {command()} search "a question" --db {shlex.quote(db)}')
    if skipped:
        click.echo(f"{_number(len(skipped), 'file or line', 'files or lines')} could not be read; see above.", err=True)
        context.exit(1)


def _records(documents: Iterable[Document], seen: set[str]) -> Iterator[Record]:
    for document in documents:
        seen.add(document.id)
        yield document.to_record()


def _remove_gone(collection: Collection, paths: tuple[str, ...], seen: set[str], read: set[str]) -> int:
    """Delete passages of documents that are no longer in these files and folders.

    That is those of a file that is not there, and those that were not met in a file that was read to its end. A file
    that is there and could not be read keeps its passages.
    """
    from milvine._records import in_batches

    roots = tuple(os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace") for path in paths)
    below = tuple(end for root in roots for end in (root + os.sep, root + "#"))
    documents = ((id_, id_.rpartition("#")[0]) for id_ in collection.ids())
    candidates = (id_ for id_, one in documents if one not in seen and (one in roots or one.startswith(below)))
    gone: dict[str, list[str]] = {}
    for batch in in_batches(candidates, BATCH):
        for record in filter(None, collection.get(batch)):
            source = record.metadata.get("source") if "document" in record.metadata else None
            if isinstance(source, str) and (source in read or not _exists(source)):
                gone.setdefault(source, []).append(record.id)
    for source, ids in list(gone.items())[:LISTED_PROBLEMS]:
        what = "what is no longer in it" if source in read else "it is no longer there"
        click.echo(f"Removed: {source}: {what} ({_number(len(ids), 'passage')}; --keep would keep them)", err=True)
    if len(gone) > LISTED_PROBLEMS:
        click.echo(f"… and what was indexed of {len(gone) - LISTED_PROBLEMS} more files", err=True)
    return collection.delete([id_ for ids in gone.values() for id_ in ids]) if gone else 0


def _exists(path: str) -> bool:
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # it cannot be told
        return True
    return True


def _nothing(paths: tuple[str, ...], counts: ReadCounts) -> str:
    from milvine.ingest import READERS

    ignored = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in counts.ignored.most_common(5))
    found = f" Files of other kinds there: {ignored}." if ignored else ""
    return f"There is nothing to index in {', '.join(paths)}: no readable {', '.join(sorted(READERS))} file.{found}"


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
