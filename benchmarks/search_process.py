"""A store in a process of its own, that fills, opens and searches when it is told to.

`python -m benchmarks.search_process NAME FOLDER DIM` reads commands from its standard input, one line of JSON each, and
answers each with one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from benchmarks.process import ROOT, ContenderError

WARM_UP = 2
"""Searches at the beginning of a turn that are not counted: other contenders have had the caches meanwhile."""


@dataclass(frozen=True)
class Answers:
    """Some searches.

    Attributes:
        walls: Wall seconds of each.
        cpu: CPU seconds of all.
        found: For each the rows that were found, as `benchmarks.search_stores.Found`.
    """

    walls: list[float]
    cpu: float
    found: list[list[tuple[int, str, dict[str, Any]]]]


class SearchProcess:
    """A store's process.

    Args:
        python: The Python that has the store.
        name: The store, of `benchmarks.search_contenders.STORES`.
        folder: Where its files are.
        dim: Dimensions of a vector.

    Raises:
        ContenderError: It fails; this and all else.
    """

    def __init__(self, python: str, name: str, folder: Path, dim: int) -> None:
        self._name = name
        self._log = folder.with_suffix(".log")
        folder.mkdir(exist_ok=True)
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.search_process", name, str(folder), str(dim)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # LanceDB warns of every search.
                env={**os.environ, "HF_HUB_OFFLINE": "1", "LANCE_LOG": "error"},
                text=True,
                encoding="utf-8",
            )
        self.ask("nothing")  # what is imported is not measured

    def search(self, way: str, queries: Sequence[int], warm_up: int = WARM_UP) -> Answers:
        """Search for some of the queries that it was opened with, by their positions."""
        return Answers(**self.ask("search", way=way, queries=list(queries), warm_up=warm_up))

    def stop(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.communicate()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have one of the methods of `_Served` called."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps([command, arguments]), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            self.stop()  # so that all it had to say is in its log
            last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            raise ContenderError(f"{self._name} failed:\n" + "\n".join(last)) from None


class _Clock:
    """Wall and CPU seconds between its beginning and `stop`; CPU seconds are those of all threads."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        return {"wall": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


class _Served:
    """What a process does: its methods are its commands."""

    def __init__(self, name: str, folder: str, dim: int) -> None:
        from benchmarks.search_contenders import STORES

        self._store = STORES[name](Path(folder), dim)
        self._queries: list[Any] = []

    def nothing(self) -> None:
        pass

    def fill(self, texts: str, vectors: str, count: int) -> dict[str, float]:
        """Fill the store with the first rows of two files."""
        import numpy as np

        rows = json.loads(Path(texts).read_text(encoding="utf-8"))[:count]
        matrix = np.array(np.load(vectors, mmap_mode="r")[:count], dtype=np.float32)
        before = self.memory(anew=True)["all"]
        clock = _Clock()
        self._store.fill(rows, matrix)
        return {**clock.stop(), "memory": self.memory()["peak"] - before}

    def open(self, queries: Sequence[Any], vectors: str, first: int) -> dict[str, float]:
        """Open the store and search once.

        Args:
            queries: Text and words of each query that will come.
            vectors: The file with their vectors.
            first: The first query.
        """
        import numpy as np

        from benchmarks.search_stores import Query

        matrix = np.load(vectors).astype(np.float32)
        self._queries = [Query(text, words, vector) for (text, words), vector in zip(queries, matrix, strict=True)]
        way = "hybrid" if "hybrid" in self._store.ways else "dense"
        clock = _Clock()
        self._store.open()
        getattr(self._store, way)(self._queries[first])
        return clock.stop()

    def search(self, way: str, queries: Sequence[int], warm_up: int) -> dict[str, Any]:
        work = getattr(self._store, way)
        for at in queries[:warm_up]:
            work(self._queries[at])
        walls, found = [], []
        cpu = time.process_time()
        for at in queries:
            started = time.perf_counter()
            found.append(work(self._queries[at]))
            walls.append(time.perf_counter() - started)
        return {"walls": walls, "cpu": time.process_time() - cpu, "found": found}

    def upsert(self, rows: Sequence[tuple[int, str]], vectors: str, places: Sequence[int], seconds: float) -> Any:
        """Replace rows one by one for some seconds at most.

        Args:
            rows: Number and new text of each row.
            vectors: The file with their new vectors.
            places: Where those are in the file.
            seconds: When to end.

        Returns:
            The wall seconds of each that was replaced, and whether a search for the last one finds it.
        """
        import numpy as np

        from benchmarks.search_stores import Query

        matrix = np.array(np.load(vectors, mmap_mode="r")[list(places)], dtype=np.float32)
        walls: list[float] = []
        clock = _Clock()
        for (number, text), vector in zip(rows, matrix, strict=True):
            if sum(walls) > seconds:
                break
            started = time.perf_counter()
            self._store.upsert(number, text, vector)
            walls.append(time.perf_counter() - started)
        taken = clock.stop()
        last = len(walls) - 1
        found = self._store.dense(Query(rows[last][1], [], matrix[last]))
        return {"walls": walls, "cpu": taken["cpu"], "is_found": any(row.text == rows[last][1] for row in found)}

    def memory(self, *, anew: bool = False) -> dict[str, int]:
        """Bytes of physical memory: all, those that no file could give back, and the peak; 0 where Linux is not.

        Args:
            anew: Count the peak from here on.
        """
        if sys.platform != "linux":
            return {"all": 0, "own": 0, "peak": 0}
        if anew:
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        held = {
            key: int(value.split()[0]) * 1024
            for key, _, value in (line.partition(":") for line in lines)
            if "kB" in value
        }
        return {"all": held["VmRSS"], "own": held["RssAnon"], "peak": held["VmHWM"]}

    def close(self) -> None:
        self._store.close()


def _serve(name: str, folder: str, dim: int, answers: TextIO) -> None:
    served = _Served(name, folder, dim)
    for line in sys.stdin:
        command, arguments = json.loads(line)
        print(json.dumps(getattr(served, command)(**arguments)), file=answers, flush=True)


if __name__ == "__main__":
    # Libraries print; what they print must not stand among the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), answers)
