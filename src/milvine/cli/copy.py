"""`milvine copy`: collections into another store."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from milvine._bulk import Written
    from milvine._copying import Place


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--collection", "name", default="default", show_default=True, help="The collection to copy.")
@click.option("--as", "new_name", default=None, metavar="NAME", help="What to call it there.  [default: as it is]")
@click.option("--all", "every", is_flag=True, help="Copy all collections that milvine made.")
@click.option(
    "--bulk",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FOLDER",
    help="For millions of records: write Parquet files for the server's bulk import into a new folder, and say how.",
)
@click.pass_context
def copy(
    context: click.Context, source: str, target: str, name: str, new_name: str | None, every: bool, bulk: Path | None
) -> None:
    """Copy a collection to another store, vectors and all; nothing is embedded again.

    FROM and TO are paths (kb.milvine, the built-in store's, or kb.db, Milvus Lite's), or addresses of Milvus servers:
    http://host:19530. A server's token is taken from MILVUS_TOKEN, or from the address:
    http://user:password@host:19530. In the end both sides are read again and compared. Stopped anywhere, the same
    command goes on where it was. Nothing is deleted.
    """
    from milvine._copying import Place
    from milvine._texts import shown_uri
    from milvine.errors import InputError
    from milvine.store.listing import collection_names

    if not every:
        _copy(Place(source, name), Place(target, new_name or name), bulk)
        return
    if new_name is not None or context.get_parameter_source("name") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--all copies each collection under its own name: leave out --collection and --as")
    names = collection_names(source)
    if not names:
        raise InputError(f"{shown_uri(source)} holds no collection that milvine made")
    for one in names:
        _copy(Place(source, one), Place(target, one), bulk and bulk / one)


def _copy(source: Place, target: Place, bulk: Path | None) -> None:
    from milvine._bulk import write_bulk
    from milvine._copying import copy_place

    started = time.monotonic()
    if bulk is not None:
        _say_how(source, target, bulk, write_bulk(source, target, bulk))
        return
    done = copy_place(source, target)
    parts = [f"{done.added:,} new", f"{done.updated:,} replaced", f"{done.unchanged:,} there already"]
    click.echo(
        f"{target}: {done.total:,} {'record' if done.total == 1 else 'records'} ({', '.join(parts)}), compared with"
        f" {source} and equal, in {time.monotonic() - started:.1f} s."
    )


def _say_how(source: Place, target: Place, folder: Path, written: Written) -> None:
    from milvine._texts import shown_uri
    from milvine.cli._printing import command

    uri, here = shown_uri(target.uri), shlex.quote(shown_uri(source.uri))
    paths = ", ".join(f'["{target.name}/{file.name}"]' for file in written.files)
    click.echo(
        f"{target} is made, and empty. {folder} holds its {written.rows:,} records in {len(written.files)} files.\n"
        "Now:\n"
        f"1. Upload the files to the bucket of that Milvus server, into the folder {target.name}; for example:\n"
        f"     mc cp --recursive {shlex.quote(str(folder))}/ minio/a-bucket/{target.name}/\n"
        "2. Import them, once (a second import would add the records again), and wait until it is complete:\n"
        "     # pip install 'pymilvus[bulk_writer]'\n"
        "     from pymilvus.bulk_writer import bulk_import, get_import_progress\n"
        f'     job = bulk_import(url="{uri}", api_key="user:password", collection_name="{target.name}",\n'
        f'                       files=[{paths}]).json()["data"]["jobId"]\n'
        f'     get_import_progress(url="{uri}", api_key="user:password", job_id=job).json()\n'
        "3. Have it loaded, completed if need be, and compared with what it was made of:\n"
        f"     {command()} copy {here} {uri} --collection {source.name} --as {target.name}"
    )
