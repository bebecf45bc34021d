"""`milvine cache`: what the cache of vectors holds, and emptying it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milvine.model._cache.file import CachedModel, CacheInfo

SHOWN_DIGITS = 12
"""Of a fingerprint; enough to tell functions apart."""

_file = click.option(
    "--path", "file", type=click.Path(path_type=Path), help="The file, if it is not the one in milvine's cache folder."
)


@click.group()
def cache() -> None:
    """See and empty the cache that CachedEmbeddingFunction keeps vectors in."""


@cache.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def info(file: Path | None, as_json: bool) -> None:
    """Print where the cache is, its size and bound, and for each function its vectors, hits and misses.

    Hits are texts that needed no computing, misses those that were computed.
    """
    path = _path(file)
    found = _info(path)
    if as_json:
        import json

        click.echo(json.dumps(_as_dict(path, found), indent=2))
    elif found is None:
        click.echo(f"{path}: there is no cache yet")
    else:
        _print(found)


@cache.command()
@_file
@click.option(
    "--model", metavar="NAME", help="Only the vectors of this model, function or fingerprint, as `info` shows them."
)
def clear(file: Path | None, model: str | None) -> None:
    """Remove all vectors, or those of one model, and give their space back."""
    path = _path(file)
    found = _info(path)
    if found is None:
        click.echo(f"{path}: there is no cache yet")
        return
    fingerprints = None if model is None else _fingerprints(found.models, model)
    from milvine.model._cache.store import open_cache

    gone = open_cache(path).clear(fingerprints)
    click.echo(f"{path}: {gone:,} {'vector' if gone == 1 else 'vectors'} removed")


def _path(file: Path | None) -> Path:
    from milvine.model._cache.file import default_path

    return (file or default_path()).expanduser().absolute()


def _info(path: Path) -> CacheInfo | None:
    """What the cache holds; nothing if there is none, and none is made."""
    from milvine.model._cache.store import open_cache

    return open_cache(path).info() if path.exists() else None


def _fingerprints(models: Sequence[CachedModel], name: str) -> list[str]:
    found = {
        each.fingerprint
        for each in models
        if name in (each.model, each.function)
        or (len(name) >= SHOWN_DIGITS and each.fingerprint.startswith(name.lower()))
    }
    if not found:
        known = sorted({each.model or each.function for each in models})
        raise click.UsageError(f"there is nothing of {name!r} here; there is {', '.join(known) or 'nothing at all'}")
    return sorted(found)


def _as_dict(path: Path, found: CacheInfo | None) -> dict[str, Any]:
    from dataclasses import asdict

    from milvine.model._cache.file import CacheInfo

    empty = CacheInfo(str(path), 0, 0, None, ())
    shown = empty if found is None else found
    totals = {name: sum(getattr(each, name) for each in shown.models) for name in ("entries", "hits", "misses")}
    return {**asdict(shown), **totals}


def _print(found: CacheInfo) -> None:
    from rich.markup import escape
    from rich.table import Table

    from milvine.cli._printing import console

    entries = sum(each.entries for each in found.models)
    hits, misses = (sum(getattr(each, name) for each in found.models) for name in ("hits", "misses"))
    click.echo(
        f"{found.path}\n"
        f"{entries:,} vectors, {found.bytes / 1e6:,.1f} of {(found.max_bytes or 0) / 1e6:,.1f} MB"
        f" (on disk {found.file_bytes / 1e6:,.1f} MB); {hits:,} hits, {misses:,} misses"
    )
    if not found.models:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Model", "Function", "Role", "Fingerprint"):
        table.add_column(heading, overflow="fold")
    for heading in ("Vectors", "MB", "Hits", "Misses"):
        table.add_column(heading, no_wrap=True, justify="right")
    for each in found.models:
        numbers = (f"{each.entries:,}", f"{each.bytes / 1e6:,.1f}", f"{each.hits:,}", f"{each.misses:,}")
        names = (each.model or "-", each.function, each.role, each.fingerprint[:SHOWN_DIGITS])
        table.add_row(*map(escape, names), *numbers)
    console().print(table)
