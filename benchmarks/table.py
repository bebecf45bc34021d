"""Figures on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.measures import Result

WIDTH = 110
"""Columns where there is no terminal."""


def in_units(value: float, unit: str) -> str:
    """A speed, or a time, with its unit."""
    if unit == "ms":
        return f"{value * 1000:,.2f} ms"
    if unit == "s CPU":
        return f"{value:.2f} s CPU"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:,.1f} {unit}"


def print_result(result: Result) -> None:
    """Print a group's table, what was compared, and what is to be known about each contender."""
    speed = ("speed",) if result.longer_is_better else ()
    share = ("of matrix product",) if any(row.share is not None for row in result.rows) else ()
    rows = []
    for row in result.rows:
        unit = "ms" if result.unit == "ms" else "s"
        rows.append(
            [
                row.name,
                *([in_units(row.speed, result.unit)] if speed else []),
                _seconds(row.wall, unit),
                _seconds(row.cpu, unit),
                f"{row.ratio:.2f}",
                f"{row.cpu_ratio:.2f}",
                *([f"{row.share:.0%}"] if row.share is not None else []),
            ]
        )
    lines = [f"× is the time over that of {result.rows[0].name} in the same round."]
    if result.limit:
        lines.append(f"The matrix product gives {result.limit / 1e9:,.0f} GFLOP/s.")
    lines += [f"{row.name}: {row.note}." for row in result.rows if row.note]
    if result.checks:
        lines.append("Results beside the first's, compared before timing: " + "; ".join(result.checks) + ".")
    print_table(result.title, ["", *speed, "wall", "CPU", "× wall", "× CPU", *share], rows, lines)


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[str] = ()) -> None:
    """Print a title, a table whose first column names the rows, and lines that explain it."""
    table = Table(box=None)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(f"\n{title}", style="bold", markup=False)
    console.print(table)
    for line in lines:
        console.print(line, style="dim", markup=False)


def _seconds(value: float, unit: str) -> str:
    return f"{value * 1000:.2f} ms" if unit == "ms" else f"{value:.2f} s"
