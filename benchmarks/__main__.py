"""`python -m benchmarks`."""

import click

from benchmarks.hosted import hosted
from benchmarks.lexical import lexical
from benchmarks.local import local
from benchmarks.quality import quality
from benchmarks.search import search


@click.group()
def benchmarks() -> None:
    """Measure milvine. README.md quotes what these commands print."""


benchmarks.add_command(hosted)
benchmarks.add_command(lexical)
benchmarks.add_command(local)
benchmarks.add_command(quality)
benchmarks.add_command(search)
benchmarks(prog_name="python -m benchmarks")
