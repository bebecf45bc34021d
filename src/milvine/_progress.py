"""Progress of long work: bars on a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_running: ContextVar[Progress | None] = ContextVar("milvine-progress", default=None)


def wants_progress(show: bool | None) -> bool:
    """Whether to show progress: as the caller says, else only on a terminal where `MILVINE_PROGRESS` is not `0`."""
    if show is not None:
        return show
    return os.environ.get("MILVINE_PROGRESS", "1") != "0" and sys.stderr.isatty()


@contextmanager
def progress(
    description: str, total: int | None = None, *, unit: str = "texts", show: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves a bar on by a number of units.

    A bar within another's work stands below it while it lasts. Bars are written to standard error, so that standard
    output stays clean for results.

    Args:
        description: What is going on.
        total: How many units there are, if that is known.
        unit: What they are; "bytes" are shown as megabytes.
        show: As in `wants_progress`.
    """
    if not wants_progress(show):
        yield lambda _: None
        return
    outer = _running.get()
    if outer is not None:
        task = outer.add_task(description, total=total, unit=unit)
        try:
            yield lambda count: outer.advance(task, count)
        finally:
            outer.remove_task(task)
        return
    with _bars() as bars:
        token = _running.set(bars)
        task = bars.add_task(description, total=total, unit=unit)
        try:
            yield lambda count: bars.advance(task, count)
        finally:
            _running.reset(token)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            unit, scale, name = task.fields["unit"], 1.0, task.fields["unit"]
            if unit == "bytes":
                scale, name = 1e6, "MB"
            done = f"{task.completed / scale:,.0f}"
            return Text(f"{done} {name}" if task.total is None else f"{done}/{task.total / scale:,.0f} {name}")

    columns = [TextColumn("{task.description}"), BarColumn(), Count(), TimeRemainingColumn()]
    return Progress(*columns, console=Console(stderr=True), transient=True)
