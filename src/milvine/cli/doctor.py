"""`milvine doctor`: whether a built-in store's file is sound."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file")
@click.pass_context
def doctor(context: click.Context, file: str) -> None:
    """Check the file of a built-in store, such as kb.milvine: all pages, all records, and the images.

    Nothing is changed, and other programs may use the file meanwhile. The exit status is 1 if something is wrong.
    """
    from milvine._texts import shown_uri
    from milvine.errors import InputError
    from milvine.store.checking import check

    if "://" in file or file.endswith(".db"):
        what = "a Milvus server" if "://" in file else "a Milvus Lite database"
        raise InputError(f"{shown_uri(file)} is {what}, and only files of the built-in store can be checked")
    wrong = 0
    for finding in check(Path(file)):
        wrong += finding.kind == "wrong"
        click.echo(f"{finding.kind.upper() if finding.kind == 'wrong' else finding.kind:<6}{finding.text}")
    if wrong:
        context.exit(1)
