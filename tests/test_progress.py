"""Bars are looked at where they appear: on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

NESTED = """
import time
from milvine._progress import progress
with progress("Outer", 2) as outer:
    for _ in range(2):
        with progress("Inner", 3_000_000, unit="bytes") as inner:
            inner(2_000_000)
            time.sleep(0.3)
        outer(1)
print("done")
"""


def on_terminal(code: str, **environment: str) -> tuple[str, str]:
    """Standard output, and what a terminal at standard error got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40", **environment},
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux' way to say that the other end is closed
            break
        if not part:
            break
        shown += part
    output, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return output, shown.decode()


def test_bars_within_bars() -> None:
    output, shown = on_terminal(NESTED)
    assert output == "done\n"
    for part in ("Outer", "0/2 texts", "1/2 texts", "Inner", "2/3 MB"):
        assert part in shown


@pytest.mark.parametrize("environment", [{"MILVINE_PROGRESS": "0"}, {}], ids=["switched off", "no terminal"])
def test_silence(environment: dict[str, str]) -> None:
    if environment:
        assert on_terminal(NESTED, **environment) == ("done\n", "")
    else:
        done = subprocess.run([sys.executable, "-c", NESTED], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("done\n", "")
