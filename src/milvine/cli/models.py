"""`milvine models`: what the catalogue holds, what of it is on this machine, and fetching and checking it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from milvine.local.finding.catalogue import ModelRow

TABLE_WIDTH = 140
"""Columns of a terminal below which a table's last column would be a thread of single words."""


@click.group("models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List, fetch and check the models that run on this machine.

    Without a command, list them: what each is for, its size, its licence, whether it is here, and whether its row is
    verified, which means that the catalogue has the sha256 of its files. A model that is not is fetched from the
    Hugging Face hub, and what arrives is compared with what the hub states.
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json is for the list alone: milvine models --json")
        return
    from milvine.local.finding import catalogue

    rows = catalogue.models()
    if as_json:
        import json

        click.echo(json.dumps([_as_dict(row) for row in rows], indent=2))
    else:
        _print_list(rows)


@models.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="Fetch every verified model of the catalogue.")
@click.option("--revision", help="Fetch this commit, branch or tag from the hub; by default the catalogue's, or main.")
def pull(names: tuple[str, ...], every: bool, revision: str | None) -> None:
    """Fetch models, and replace files of theirs that are corrupt.

    A NAME is one of the catalogue, or a hub id, owner/name.
    """
    from milvine.local.finding import catalogue

    if every and names:
        raise click.UsageError("--all fetches every verified model; name none beside it.")
    if not every and not names:
        raise click.UsageError("Name the models to fetch, or give --all. `milvine models` lists them.")
    if revision is not None and not revision.strip():
        raise click.UsageError("--revision is blank; name a commit, branch or tag, or leave it out.")
    if revision and len(names) != 1:
        raise click.UsageError("--revision is of one model; name that one.")
    found = [row for row in catalogue.models() if row.verified] if every else [_find(name) for name in names]
    for model in found:
        name, paths, folders = _fetched(model, revision)
        size = sum(path.stat().st_size for path in paths)
        click.echo(f"{name}: {len(paths)} files, {_megabytes(size)}, in {', '.join(folders)}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_context
def verify(context: click.Context, names: tuple[str, ...]) -> None:
    """Hash models' files again and compare them with the catalogue; without a name, those of every model that is here.

    Of a model whose row is not verified, the files are fetched if it was named, compared with what the hub states, and
    the row's claims with what they say. If all is well its row is printed with their sha256, for the catalogue to take.

    The exit status is 1 if a file is corrupt, a claim is wrong, or a model that was named is not here.
    """
    from milvine.errors import ModelError
    from milvine.local.finding import catalogue
    from milvine.local.finding.claims import contradictions, with_files
    from milvine.local.finding.files import fetch_folder, is_present, verify_model

    failed, wrong = [], False
    for row in [_known(name) for name in names] or catalogue.models():
        if row.verified:
            files = verify_model(row)
            states = [state for _, state in files]
            if all(state == "missing" for state in states):
                click.echo(f"{row.name}: not here")
            else:
                for path, state in files:
                    click.echo(f"{row.name}: {state:7} {path}")
            if "corrupt" in states or (names and "missing" in states):
                failed.append(row.name)
        elif not names and not is_present(row):
            click.echo(f"{row.name}: not here")
        else:
            try:
                folder = fetch_folder(row)
            except ModelError as error:
                click.echo(f"{row.name}: {error}", err=True)
                failed.append(row.name)
                continue
            problems = contradictions(row, folder)
            for problem in problems:
                click.echo(f"{row.name}: {problem}", err=True)
            wrong = wrong or bool(problems)
            if not problems:
                click.echo(catalogue.row_text(with_files(row, folder)))
    if failed:
        click.echo(f"Run `milvine models pull {' '.join(failed)}` to mend this.", err=True)
    if failed or wrong:
        context.exit(1)


def _known(name: str) -> ModelRow:
    """The row of this name; there must be one."""
    from milvine.errors import UnknownModelError
    from milvine.local.finding import catalogue
    from milvine.local.finding.hub import is_hub_id

    try:
        return catalogue.find(name)
    except UnknownModelError as error:
        if is_hub_id(name):
            raise UnknownModelError(
                f"{name} is not in the catalogue, so nothing is known to compare it with; `milvine models pull {name}`"
                " compares its files with what the hub states."
            ) from error
        raise


def _find(name: str) -> ModelRow | str:
    """The row of this name, or the name itself if it can be one on the hub."""
    from milvine.errors import UnknownModelError
    from milvine.local.finding import catalogue
    from milvine.local.finding.hub import is_hub_id

    try:
        return catalogue.find(name)
    except UnknownModelError:
        if is_hub_id(name):
            return name
        raise


def _fetched(model: ModelRow | str, revision: str | None) -> tuple[str, list[Path], list[str]]:
    """Fetch a model; its name, its files and the folders that they are in."""
    from milvine.local.finding.files import fetch_folder, fetch_model
    from milvine.local.finding.hub import resolve_hub
    from milvine.local.finding.hub_files import model_files

    if isinstance(model, str):
        name, at = model, resolve_hub(model, revision, refresh=True)
    elif revision not in (None, model.revision):
        name, at = model.repo, resolve_hub(model.repo, revision, refresh=True)
    elif model.verified:
        paths = [*fetch_model(model, refresh=True).values()]
        return model.name, paths, [*dict.fromkeys(str(path.parent) for path in paths)]
    else:
        name, at = model.name, fetch_folder(model, refresh=True)
    return name, [at / file for file in model_files(at)], [str(at)]


def _as_dict(row: ModelRow) -> dict[str, Any]:
    from milvine.local.finding.files import is_present

    shown = ("name", "aliases", "tasks", "architecture", "repo", "revision", "dim", "max_length", "license", "verified")
    return {name: getattr(row, name) for name in (*shown, "description")} | {
        "size": row.size if row.verified else None,
        "fingerprint": row.fingerprint if row.verified else None,
        "here": is_present(row),
    }


def _print_list(rows: Iterable[ModelRow]) -> None:
    """A table where there is room for one, else a few lines a model."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    from milvine.local.finding.files import is_present

    console = Console(highlight=False)
    if console.width < TABLE_WIDTH:
        for row in rows:
            tasks = ", ".join(row.tasks)
            facts = [f"{tasks}, {row.dim} dimensions" if row.dim else tasks]
            facts += [_megabytes(row.size)] if row.verified else []
            facts += [row.license, "[green]here[/]" if is_present(row) else "not here"]
            facts += [] if row.verified else ["not verified"]
            console.print(f"[bold]{row.name}[/]")
            console.print(Padding(", ".join(facts), (0, 0, 0, 2)))
            console.print(Padding(row.description, (0, 0, 0, 2)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Name", "Task", "Dim", "Size", "Licence", "Verified", "Here"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("Dim", "Size") else "left")
    table.add_column("For")
    for row in rows:
        here = "[green]yes[/]" if is_present(row) else "no"
        size = _megabytes(row.size) if row.verified else "-"
        facts = [", ".join(row.tasks), str(row.dim or "-"), size, row.license, "yes" if row.verified else "no", here]
        table.add_row(row.name, *facts, row.description)
    console.print(table)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
