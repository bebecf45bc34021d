"""How hits look on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from milvine.types import Hit


def console() -> Console:
    """Standard output, as wide as the terminal, or 100 columns where there is none."""
    import sys

    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 100)


def command() -> str:
    """What to type for this program: its name, or its path where the name alone would not be found."""
    import os
    import shutil
    import sys

    if shutil.which("milvine"):
        return "milvine"
    started = Path(sys.argv[0])
    return os.path.relpath(started) if started.name == "milvine" else "python -m milvine"


def title_of(hit: Hit) -> str:
    """What names a hit in a list: its document's title, else its first line."""
    return str(hit.metadata.get("title") or hit.text.strip().split("\n", 1)[0] or hit.id)


def source_of(hit: Hit) -> str:
    """Where a hit comes from, as a path relative to here where that is shorter."""
    source = str(hit.metadata.get("source", ""))
    if not source:
        return hit.id
    try:
        return str(Path(source).relative_to(Path.cwd()))
    except ValueError:
        return source


def snippet_of(hit: Hit, length: int) -> str:
    """The beginning of a hit's text after its title, on one line."""
    text = " ".join(hit.text.split())
    text = text.removeprefix(" ".join(title_of(hit).split())).strip() or text
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def marked_of(hit: Hit, length: int) -> str:
    """The part of a hit's text with the most of the question's words, in bold, on one line; rich's markup."""
    from rich.markup import escape

    return " ".join(hit.highlight("[bold]", "[/bold]", length, escape=escape).split())


def places_of(hit: Hit) -> str:
    """Where each field placed a hit, for example `dense 3 (0.512) · lexical 1 (14.2)`.

    A field that did not have it among its candidates gives `dense - (0.31)`.
    """
    places = [f"{name} {at.rank or '-'} ({at.score:.3g})" for name, at in hit.fields.items()]
    if hit.rerank_score is not None:
        places.append(f"reranker {hit.rerank_score:.3g}")
    return " · ".join(places)
