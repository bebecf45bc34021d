"""What the seconds mean: pure functions from rounds to rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.contenders import PRODUCT_SIZE, PRODUCTS
from benchmarks.process import Seconds


@dataclass(frozen=True)
class Round:
    """Wall and CPU seconds that one round takes, scaled to all inputs."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One contender's figures, all medians over rounds.

    Attributes:
        name: What ran.
        note: What is to be known about it.
        speed: Units of work a second; or seconds, where a unit of work is one call.
        wall: Wall seconds a round.
        cpu: CPU seconds a round.
        ratio: Wall seconds over those of the first contender in the same round.
        cpu_ratio: The same for CPU seconds.
        share: Floating-point operations a second over those of the matrix product in the same round.
    """

    name: str
    note: str
    speed: float
    wall: float
    cpu: float
    ratio: float
    cpu_ratio: float
    share: float | None = None


@dataclass(frozen=True)
class Result:
    """What a group gave.

    Attributes:
        key: The group's name on the command line.
        title: What was done.
        unit: Of `Row.speed`.
        longer_is_better: Whether more of the unit is better.
        rows: The contenders, milvine first.
        checks: What was seen when results were compared.
        limit: Floating-point operations a second of the matrix product, if it ran.
        rounds: Every round of every contender.
    """

    key: str
    title: str
    unit: str
    longer_is_better: bool
    rows: tuple[Row, ...]
    checks: tuple[str, ...] = ()
    limit: float | None = None
    rounds: dict[str, list[Round]] = field(default_factory=dict)


def flop_of_minilm(lengths: Sequence[int]) -> float:
    """Floating-point operations of all-MiniLM-L6-v2's matrix products over texts of these lengths, padding not counted.

    A layer has four matrices of 384 x 384, two of 384 x 1536, and in its attention two products of length x length
    with 384 columns; a product of m x k with k x n matrices takes 2 m k n operations.
    """
    layers, hidden, wide = 6, 384, 1536
    dense = sum(lengths) * 2 * (4 * hidden * hidden + 2 * hidden * wide)
    attention = sum(length * length for length in lengths) * 2 * 2 * hidden
    return float(layers * (dense + attention))


def flop_of_products() -> float:
    """Floating-point operations of a round of `benchmarks.contenders.matrix_product`."""
    return float(PRODUCTS * 2 * PRODUCT_SIZE**3)


def round_of(seconds: Seconds, *, scale: float, each: bool) -> Round:
    """A round's seconds: of all its calls, or of the median call where each call counts on its own.

    Args:
        seconds: What the contender measured.
        scale: By how much more inputs there are than it was given.
        each: Whether calls count on their own; CPU seconds are then the mean call's.
    """
    if each:
        return Round(median(seconds.walls), seconds.cpu / len(seconds.walls))
    return Round(sum(seconds.walls) * scale, seconds.cpu * scale)


def rows_of(
    rounds: Mapping[str, Sequence[Round]],
    notes: Mapping[str, str],
    *,
    amount: float | None = None,
    flop: float | None = None,
    limit: Sequence[float] = (),
) -> tuple[Row, ...]:
    """Rows of a table.

    Args:
        rounds: The rounds of each contender, milvine's first.
        notes: What is to be known about each contender.
        amount: Units of work in a round; without it, a row's speed is its wall seconds.
        flop: Floating-point operations of a round.
        limit: Those a second of the matrix product, round by round.
    """
    first = next(iter(rounds.values()))
    rows = []
    for name, own in rounds.items():
        wall = median(each.wall for each in own)
        speeds = [flop / each.wall / most for each, most in zip(own, limit, strict=True)] if flop and limit else []
        rows.append(
            Row(
                name=name,
                note=notes.get(name, ""),
                speed=wall if amount is None else amount / wall,
                wall=wall,
                cpu=median(each.cpu for each in own),
                ratio=median(one.wall / other.wall for one, other in zip(own, first, strict=True)),
                cpu_ratio=median(one.cpu / max(other.cpu, 1e-9) for one, other in zip(own, first, strict=True)),
                share=median(speeds) if speeds else None,
            )
        )
    return tuple(rows)


def least_cosine(left: Any, right: Any) -> float:
    """The smallest cosine of two rows that belong together; arrays of shape `(n, dim)`."""
    import numpy as np

    products = (left * right).sum(axis=1)
    return float((products / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))).min())


def largest_difference(left: Any, right: Any) -> float:
    """The largest difference between two numbers that belong together."""
    return float(abs(left - right).max())
