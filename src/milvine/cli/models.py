"""`milvine models`: what the catalogue holds, what of it is on this machine, and fetching and checking it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from milvine.local.catalogue import ModelRow

TABLE_WIDTH = 100
"""Columns of a terminal below which a table's last column would be a thread of single words."""


@click.group("models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List, fetch and check the models that run on this machine.

    Without a command, list them: what each is for, its size, its licence, and whether it is here.
    """
    if context.invoked_subcommand is not None:
        return
    from milvine.local import catalogue

    rows = catalogue.models()
    if as_json:
        import json

        click.echo(json.dumps([_as_dict(row) for row in rows], indent=2))
    else:
        _print_list(rows)


@models.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="Fetch every model of the catalogue.")
def pull(names: tuple[str, ...], every: bool) -> None:
    """Fetch models, and replace files of theirs that are corrupt."""
    from milvine.local import catalogue
    from milvine.local.files import fetch_model

    if every == bool(names):
        raise click.UsageError("Name the models to fetch, or give --all. `milvine models` lists them.")
    for row in catalogue.models() if every else [catalogue.find(name) for name in names]:
        paths = fetch_model(row, refresh=True)
        folders = dict.fromkeys(str(path.parent) for path in paths.values())
        click.echo(f"{row.name}: {len(paths)} files, {_megabytes(row.size)}, in {', '.join(folders)}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_context
def verify(context: click.Context, names: tuple[str, ...]) -> None:
    """Hash models' files again and compare them with the catalogue; without a name, those of every model.

    The exit status is 1 if a file is corrupt, or if a model that was named is not here.
    """
    from milvine.local import catalogue
    from milvine.local.files import verify_model

    failed = []
    for row in [catalogue.find(name) for name in names] or catalogue.models():
        files = verify_model(row)
        states = [state for _, state in files]
        if all(state == "missing" for state in states):
            click.echo(f"{row.name}: not here")
        else:
            for path, state in files:
                click.echo(f"{row.name}: {state:7} {path}")
        if "corrupt" in states or (names and "missing" in states):
            failed.append(row.name)
    if failed:
        click.echo(f"Run `milvine models pull {' '.join(failed)}` to mend this.", err=True)
        context.exit(1)


def _as_dict(row: ModelRow) -> dict[str, Any]:
    from milvine.local.files import is_present

    shown = ("name", "aliases", "task", "repo", "revision", "dim", "max_length", "license", "description")
    return {name: getattr(row, name) for name in shown} | {
        "size": row.size,
        "fingerprint": row.fingerprint,
        "here": is_present(row),
    }


def _print_list(rows: Iterable[ModelRow]) -> None:
    """A table where there is room for one, else a few lines a model."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    from milvine.local.files import is_present

    console = Console(highlight=False)
    if console.width < TABLE_WIDTH:
        for row in rows:
            kind = f"{row.task}, {row.dim} dimensions" if row.dim else row.task
            here = "[green]here[/]" if is_present(row) else "not here"
            console.print(f"[bold]{row.name}[/]")
            console.print(Padding(f"{kind}, {_megabytes(row.size)}, {row.license}, {here}", (0, 0, 0, 2)))
            console.print(Padding(row.description, (0, 0, 0, 2)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Name", "Task", "Dim", "Size", "Licence", "Here"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("Dim", "Size") else "left")
    table.add_column("For")
    for row in rows:
        here = "[green]yes[/]" if is_present(row) else "no"
        dim = str(row.dim or "-")
        table.add_row(row.name, row.task, dim, _megabytes(row.size), row.license, here, row.description)
    console.print(table)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
