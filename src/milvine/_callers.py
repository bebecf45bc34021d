"""Where a call of milvine came from."""

from __future__ import annotations

import sys


def levels_to_caller() -> int:
    """The `stacklevel` at which a warning of the calling function points at the first line outside milvine."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "milvine":
        frame, level = frame.f_back, level + 1
    return level
