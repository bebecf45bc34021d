"""What `benchmarks search` measured, as tables and as a drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from benchmarks.measures import Result, Row
from benchmarks.peers import SEARCH_REQUIREMENTS
from benchmarks.search_stores import WAYS
from benchmarks.table import in_units, print_table

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Timing:
    """One way of searching: wall seconds of each query, and CPU seconds of the mean one."""

    walls: list[float]
    cpu: float

    @property
    def median(self) -> float:
        return median(self.walls)

    @property
    def p95(self) -> float:
        return float(np.quantile(self.walls, 0.95))


@dataclass
class Figures:
    """What was measured of one contender with so many rows.

    Attributes:
        name: The contender.
        rows: How many there were.
        fill: Wall and CPU seconds until all is written and indexed, and the most memory that took.
        disk: Bytes; of files with holes what they take.
        opened: Wall seconds of opening and one hybrid search, of dense search where there is no hybrid; files cached.
        rebuilt: The same for the built-in store without its image.
        memory: Bytes that the searching process holds after its searches, Python and all.
        own: Those of them that are not files mapped into memory.
        ways: Its times.
        recall: Of dense search.
        upserts: Rows a second, replaced one by one.
        upsert: Wall seconds of the median one.
    """

    name: str
    rows: int
    fill: dict[str, float]
    disk: int
    opened: float = 0
    rebuilt: float | None = None
    memory: int = 0
    own: int = 0
    ways: dict[str, Timing] = field(default_factory=dict)
    recall: float = 0
    upserts: float = 0
    upsert: float = 0


def print_size(measured: Sequence[Figures], about: str) -> None:
    """Print the tables of one size.

    Args:
        measured: The contenders' figures.
        about: What was searched.
    """
    rows = [
        [
            each.name,
            *(_cell(each, way, lambda timing: f"{_ms(timing.median)} / {_ms(timing.p95)}") for way in WAYS),
            f"{each.recall:.3f}",
        ]
        for each in measured
    ]
    title = f"Searching {measured[0].rows:,} rows: ms a query, median / 95th percentile"
    print_table(title, ["", *WAYS, "recall@10"], rows, [f"{about}."])
    rows = [
        [
            each.name,
            *(_cell(each, way, lambda timing: _ms(timing.cpu)) for way in WAYS),
            *(_cell(each, way, lambda timing, way=way: _times(timing, measured[0].ways.get(way))) for way in WAYS),
        ]
        for each in measured
    ]
    print_table("CPU ms a query; and wall time over the first one's", ["", *WAYS, *(f"× {way}" for way in WAYS)], rows)
    rows = [
        [
            each.name,
            in_units(each.rows / each.fill["wall"], "rows/s"),
            f"{each.fill['cpu']:.1f} s",
            *(f"{size / MEGABYTE:,.0f} MB" for size in (each.fill["memory"], each.disk, each.memory, each.own)),
            f"{each.opened:.3f} s",
            in_units(each.upserts, "rows/s"),
        ]
        for each in measured
    ]
    headings = ["", "insert", "CPU", "memory for it", "disk", "memory", "of it own", "reopen", "upsert"]
    lines = [
        f"Without its image {each.name} is open after {each.rebuilt:.2f} s."
        for each in measured
        if each.rebuilt is not None
    ]
    print_table("Writing, until all is on the disk and indexed, and keeping", headings, rows, lines)


def _cell(figures: Figures, way: str, shown: Callable[..., str]) -> str:
    timing = figures.ways.get(way)
    return shown(timing) if timing else ""


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.{0 if seconds >= 0.1 else 1 if seconds >= 0.01 else 2}f}"


def _times(timing: Timing, first: Timing | None) -> str:
    return f"{timing.median / first.median:,.1f}" if first else ""


def results_of(measured: Sequence[Sequence[Figures]]) -> list[Result]:
    """The panels of the drawing: hybrid and filtered search at each size, and writing at the largest compared."""
    results = []
    for found in measured:
        for way, title in (
            ("hybrid", "Hybrid search"),
            ("filtered", "Hybrid search among 1 % of the rows, by a filter"),
        ):
            taking_part = [each for each in found if way in each.ways and "hybrid" in each.ways]
            if taking_part:
                first = taking_part[0].ways[way]
                rows = tuple(_row(each.name, each.ways[way], first) for each in taking_part)
                results.append(Result(way, f"{title}: {found[0].rows:,} rows", "ms", False, rows))
    most = max(measured, key=lambda found: (len(found), found[0].rows))
    walls = [each.fill["wall"] for each in most]
    rows = tuple(
        Row(each.name, "", each.rows / wall, wall, each.fill["cpu"], wall / walls[0], 1)
        for each, wall in zip(most, walls, strict=True)
    )
    results.append(Result("insert", f"Writing {most[0].rows:,} rows, indexes included", "rows/s", True, rows))
    return results


def _row(name: str, timing: Timing, first: Timing) -> Row:
    ratio = timing.median / first.median
    return Row(name, "", timing.median, timing.median, timing.cpu, ratio, timing.cpu / max(first.cpu, 1e-9))


def caption(ran_on: dict[str, str], count: int) -> str:
    peers = ", ".join(package.replace("==", " ") for packages in SEARCH_REQUIREMENTS for package in packages[:-1])
    return f"{ran_on['cores']} cores of {ran_on['processor']}; medians of {count} questions in turns; {peers}"
