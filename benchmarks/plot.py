"""Figures as a drawing: bars in SVG, one panel a group."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.measures import Result, Row
from benchmarks.table import in_units

WIDTH = 860
MARGIN = 24
LABELS = 245
"""Where bars begin."""
FIGURES = 206
"""Room for what stands behind the longest bar."""
BAR, GAP = 20, 8
OURS, THEIRS, LIMIT, INK, PALE = "#1f6feb", "#b6c2cf", "#d3e3fb", "#1f2328", "#57606a"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


def plot(results: Sequence[Result], caption: str) -> str:
    """An SVG document with a panel of bars for each result.

    Args:
        results: What was measured.
        caption: What stands below: machine and versions.
    """
    parts, top = [], float(MARGIN)
    for result in results:
        panel, height = _panel(result, top)
        parts += panel
        top += height
    parts.append(_text(MARGIN, top + 4, caption, size=11, fill=PALE))
    height = top + MARGIN
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}"'
            f' height="{height:.0f}" font-family="{FONT}">',
            f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        )
    )


def _panel(result: Result, top: float) -> tuple[list[str], float]:
    better = "longer is better" if result.longer_is_better else "shorter is better"
    values = [_value(result, row) for row in result.rows]
    limit = _limit(result)
    longest = max([*values, limit or 0])
    room = WIDTH - MARGIN - LABELS - FIGURES
    legend = "; pale is what the same work would reach at the rate of a plain matrix product" if limit else ""
    parts = [
        _text(MARGIN, top + 12, result.title, size=14, weight=600),
        _text(MARGIN, top + 29, f"{result.unit}, {better}{legend}", size=11, fill=PALE),
    ]
    y = top + 42
    for row, value in zip(result.rows, values, strict=True):
        is_ours = row.name.startswith("milvine")
        width = end = max(room * value / longest, 1)
        if row is result.rows[0] and limit:
            end = room * limit / longest
            parts.append(_bar(y, end, LIMIT))
        middle = y + BAR / 2 + 4.5
        parts.append(_text(LABELS - 10, middle, row.name, size=13, weight=600 if is_ours else 400, anchor="end"))
        parts.append(_bar(y, width, OURS if row is result.rows[0] else THEIRS))
        figure = in_units(value, result.unit)
        ratio = "" if row is result.rows[0] else f" · {_ratio(result, row)}"
        parts.append(_text(LABELS + max(width, end) + 8, middle, figure + ratio, size=12))
        y += BAR + GAP
    return parts, y - top + 18


def _value(result: Result, row: Row) -> float:
    return row.cpu if result.unit == "s CPU" else row.speed


def _ratio(result: Result, row: Row) -> str:
    ratio, what = (row.cpu_ratio, "CPU time") if result.unit == "s CPU" else (row.ratio, "time")
    if result.unit == "MB":
        what = "memory"
    return f"{ratio:.{1 if ratio >= 10 else 2}f} × the {what}"


def _limit(result: Result) -> float | None:
    """What the first contender's speed would be at the matrix product's rate."""
    share = result.rows[0].share
    return result.rows[0].speed / share if share else None


def _bar(y: float, width: float, fill: str) -> str:
    return f'<rect x="{LABELS}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="3" fill="{fill}"/>'


def _text(
    x: float, y: float, text: str, *, size: int, fill: str = INK, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )
