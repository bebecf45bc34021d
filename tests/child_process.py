"""Programs that run beside a test, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python program that can import what lies in `tests`; its standard streams are pipes."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
