"""Contenders as processes: one that stays and works in rounds, and one that starts, works once and ends.

`python -m benchmarks.process PROGRAM` is the process that stays. It reads commands from its standard input, one JSON
object a line, and answers each with one line of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[1]
WARM_UP = 64
"""Texts that a contender works on before it is timed."""


@dataclass(frozen=True)
class Program:
    """Which function of `benchmarks.contenders`, or its like for other benchmarks, runs, how, and in which Python."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    python: str = sys.executable


@dataclass(frozen=True)
class Seconds:
    """Wall and CPU seconds of each call of one round; CPU seconds are the round's, shared out."""

    walls: list[float]
    cpu: float


@dataclass(frozen=True)
class Memory:
    """Bytes of physical memory that a process holds before it is timed, and at most since then."""

    before: int
    peak: int


class ContenderError(Exception):
    """A contender did not start, or failed at its work."""


class Contender:
    """A process that does its work on all inputs whenever it is told to."""

    def __init__(self, program: Program, log: Path) -> None:
        self._program = program
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [program.python, "-m", "benchmarks.process", program.name, json.dumps(program.settings)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
                text=True,
                encoding="utf-8",
            )

    def prepare(self, calls: Sequence[list[str]]) -> None:
        """Load the model, keep the inputs of every call of a round, and work on the first few once.

        Raises:
            ContenderError: It fails; this and what follows.
        """
        self._ask({"calls": calls})

    def results(self, call: list[str], where: Path) -> None:
        """Save what the work makes of one input, as an array of numpy's."""
        self._ask({"results": call, "where": str(where)})

    def round(self) -> Seconds:
        """The time of a round: each input once."""
        return Seconds(**self._ask({}))

    def memory(self) -> Memory:
        """What the process has held since it was prepared; on Linux only."""
        return Memory(**self._ask({"memory": True}))

    def stop(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.communicate()

    def _ask(self, command: dict[str, Any]) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(command), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())
        except (OSError, ValueError):
            self.stop()  # so that all it had to say is in its log
            last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            raise ContenderError(f"{self._program.name} failed:\n" + "\n".join(last)) from None


def start_once(program: Program, texts: list[str]) -> Seconds:
    """The time of a new process that loads the model, does its work once, and ends; Python's own start included.

    Raises:
        ContenderError: It fails.
    """
    code = "import json, sys; from benchmarks import contenders\n"
    code += "name, settings, texts = map(json.loads, sys.argv[1:]); getattr(contenders, name)(**settings)(texts)"
    arguments = [json.dumps(value) for value in (program.name, program.settings, texts)]
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(
        [program.python, "-c", code, *arguments], cwd=ROOT, env=_environment(), capture_output=True, check=False
    )
    wall, after = time.perf_counter() - started, os.times()
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-5:]
        raise ContenderError(f"{program.name} failed:\n" + "\n".join(last))
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Seconds([wall], cpu)


def _environment() -> dict[str, str]:
    # No contender may ask a hub for anything: all files are at hand, and waiting for a network is not to be timed.
    return {**os.environ, "HF_HUB_OFFLINE": "1"}


def _as_array(results: Any) -> Any:
    import numpy as np

    if hasattr(results, "to_dense"):  # torch
        results = results.to_dense()
    return np.asarray(results.todense() if hasattr(results, "todense") else results, dtype=np.float32)


def _held(key: str) -> int:
    """Bytes of memory that this process holds, by Linux' name for them: `VmRSS` now, `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _forget_peak() -> int:
    """What is held now; from here on, `VmHWM` counts anew."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return _held("VmRSS")


def _serve(name: str, settings: dict[str, Any], answers: TextIO) -> None:
    from benchmarks import contenders, hosted_contenders, lexical_contenders

    modules = (contenders, lexical_contenders, hosted_contenders)
    work = next(getattr(module, name) for module in modules if hasattr(module, name))(**settings)
    calls: list[list[str]] = []
    before = 0
    for line in sys.stdin:
        command = json.loads(line)
        answer: Any = None
        if "calls" in command:
            calls = command["calls"]
            work(calls[0][:WARM_UP])
            before = _forget_peak() if sys.platform == "linux" else 0
        elif "memory" in command:
            answer = {"before": before, "peak": _held("VmHWM")}
        elif "results" in command:
            import numpy as np

            np.save(command["where"], _as_array(work(command["results"])))
        else:
            walls = []
            cpu = time.process_time()
            for call in calls:
                started = time.perf_counter()
                work(call)
                walls.append(time.perf_counter() - started)
            answer = {"walls": walls, "cpu": time.process_time() - cpu}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # Libraries print; what they print must not stand among the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _serve(sys.argv[1], json.loads(sys.argv[2]), answers)
