"""Progress of long work: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def wants_progress(show: bool | None) -> bool:
    """Whether to show progress: as the caller says, else only on a terminal where `MILVINE_PROGRESS` is not `0`."""
    if show is not None:
        return show
    return os.environ.get("MILVINE_PROGRESS", "1") != "0" and sys.stderr.isatty()


@contextmanager
def progress(
    description: str, total: int | None = None, *, unit: str = "texts", show: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves the bar on by a number of units; `unit="bytes"` shows sizes and speed.

    The bar is written to standard error, so that standard output stays clean for results.
    """
    if not wants_progress(show):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn(), TextColumn(unit)]
    columns = [TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)
