"""`milvine`: the commands, and how their errors are shown."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from milvine.cli.cache import cache
from milvine.cli.copy import copy
from milvine.cli.demo import demo
from milvine.cli.doctor import doctor
from milvine.cli.index import index
from milvine.cli.models import models
from milvine.cli.search import search
from milvine.errors import MilvineError


class Commands(click.Group):
    """A group whose commands end with a plain message, and exit status 1, on an error of milvine's."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except MilvineError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="milvine")
def main() -> None:
    """Search your texts by meaning and by words at once, on this machine.

    \b
    milvine demo                                   see it work
    milvine index docs/ --db kb.milvine            index files and folders
    milvine search "a question" --db kb.milvine    ask
    """  # noqa: D301 - the backspace is meant: click leaves the lines after it as they are
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        click.echo(f"Warning: {message}", err=True)


for command in (demo, index, search, copy, doctor, models, cache):
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
