"""Built graphs kept on disk, so that the next start neither builds them nor quantises their weights again.

A file holds a graph, the tensors that were made of the checkpoint's (8-bit codes and their scales), and for every other
tensor where in the checkpoint it stands. It may be deleted at any moment; a damaged one is built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from milvine.local.building.graph import BuiltGraph, Origin, run_as_float32
from milvine.local.finding.files import cache_folder

if TYPE_CHECKING:
    import numpy.typing as npt

GRAPH = "graph"
"""The tensor that holds the graph's bytes."""
UNUSED_DAYS = 30
"""Files that nothing has read for so long are removed when another is written."""


def graphs_folder() -> Path:
    """Where built graphs are kept: a folder of milvine's cache."""
    return cache_folder() / "graphs"


def cached_graph(
    weights: Mapping[str, npt.NDArray[Any]], description: object, build: Callable[[], BuiltGraph]
) -> BuiltGraph:
    """The graph of this description over a checkpoint: the one on disk, or else built and written there.

    Args:
        weights: The checkpoint.
        description: What decides the graph, besides the names and shapes of the checkpoint's tensors and milvine's own
            code: JSON. For a quantised graph, that includes the weights' hash.
        build: Builds it.
    """
    path = graphs_folder() / f"{_key(weights, description)}.safetensors"
    found = _read(path, weights)
    if found is None:
        found = build()
        with suppress(OSError):  # a full disk or a read-only one costs time, and nothing else
            _write(path, found)
    return found


def _key(weights: Mapping[str, npt.NDArray[Any]], description: object) -> str:
    shapes = sorted((name, tensor.shape) for name, tensor in weights.items())
    return hashlib.sha256(json.dumps([_code(), shapes, description]).encode()).hexdigest()


@cache
def _code() -> str:
    """A hash of the code that builds graphs: what another version of it has built is not used."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


def _read(path: Path, weights: Mapping[str, npt.NDArray[Any]]) -> BuiltGraph | None:
    """What a file holds; nothing, if there is none or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            metadata = json.loads(file.metadata()["milvine"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        os.utime(path)
        model = tensors.pop(GRAPH).tobytes()
        if hashlib.sha256(model).hexdigest() != metadata["graph"]:
            return None
        origins = {name: Origin(*origin) for name, origin in metadata["origins"].items()}
        taken = {name: run_as_float32(origin.of(weights)) for name, origin in origins.items()}
        return BuiltGraph(model, tensors | taken, origins)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError):
        return None


def _write(path: Path, built: BuiltGraph) -> None:
    """Write a file whole or not at all; any number of processes may do so at once."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    now = time.time()
    for other in path.parent.iterdir():
        if now - other.stat().st_mtime > UNUSED_DAYS * 86_400:
            other.unlink(missing_ok=True)
    part = path.with_name(f".{uuid4().hex}.part")
    made = {name: tensor for name, tensor in built.tensors.items() if name not in built.origins}
    metadata = {
        "graph": hashlib.sha256(built.model).hexdigest(),
        "origins": {name: list(origin) for name, origin in built.origins.items()},
    }
    try:
        save_file({GRAPH: np.frombuffer(built.model, dtype=np.uint8), **made}, part, {"milvine": json.dumps(metadata)})
        part.replace(path)
    except Exception as error:  # safetensors reports a full disk under a name of its own
        raise OSError(str(error)) from error
    finally:
        part.unlink(missing_ok=True)
