from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from child_process import child
from milvine.local.building import graph_cache
from milvine.local.building import sessions as building
from milvine.local.encoder import LocalModel
from tiny_heads import TEXTS, write_model


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for graphs."""
    folder = tmp_path / "graphs"
    monkeypatch.setattr(graph_cache, "graphs_folder", lambda: folder)
    return folder


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Grows by one whenever a graph is built."""
    calls: list[Any] = []
    build = building._graph

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(building, "_graph", counted)
    return calls


def vectors(folder: Path, quantize: str | None = None) -> np.ndarray[Any, Any]:
    return LocalModel(folder, "dense", threads=1, quantize=quantize).encode(list(TEXTS))


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_a_graph_is_built_once_and_runs_the_same(
    tmp_path: Path, graphs: Path, built: list[Any], quantize: str | None
) -> None:
    folder = write_model(tmp_path, "prompted")
    first = vectors(folder, quantize)
    (file,) = graphs.iterdir()
    made = set(load_file(file)) - {graph_cache.GRAPH}
    assert bool(made) == (quantize == "int8")  # float32 weights are the checkpoint's own, and are not kept twice
    assert all(name.endswith((":codes", ":scales")) for name in made)
    np.testing.assert_array_equal(vectors(folder, quantize), first)
    assert len(built) == 1
    vectors(folder, None if quantize else "int8")
    assert len(built) == len(list(graphs.iterdir())) == 2


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_other_weights_under_the_same_names_run(
    tmp_path: Path, graphs: Path, built: list[Any], quantize: str | None
) -> None:
    folder = write_model(tmp_path, "prompted")
    first = vectors(folder, quantize)
    path = folder / "model.safetensors"
    halved = {name: tensor * np.float32(0.5) for name, tensor in load_file(path).items()}
    stat = path.stat()
    save_file(halved, path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # size and time are no sign of it
    kept = vectors(folder, quantize)
    for file in graphs.iterdir():
        file.unlink()
    np.testing.assert_array_equal(kept, vectors(folder, quantize))
    assert np.abs(kept - first).max() > 1e-3


@pytest.mark.parametrize("damage", [b"", b"\xff" * 200, "cut", "graph", "origins"])
def test_a_damaged_file_is_built_anew(tmp_path: Path, graphs: Path, built: list[Any], damage: Any) -> None:
    folder = write_model(tmp_path, "prompted")
    first = vectors(folder, "int8")
    (file,) = graphs.iterdir()
    if isinstance(damage, bytes):
        file.write_bytes(damage)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-7])
    elif damage == "graph":
        file.write_bytes(file.read_bytes().replace(b"QuantizeLinear", b"QuantizeLineaR", 1))
    else:
        file.write_bytes(file.read_bytes().replace(b"origins", b"originz", 1))
    for _ in range(2):
        np.testing.assert_array_equal(vectors(folder, "int8"), first)
    assert len(built) == 2
    assert [each.name for each in graphs.iterdir()] == [file.name]


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path, graphs: Path, built: list[Any]) -> None:
    graphs.write_text("a file where the folder should be")
    folder = write_model(tmp_path, "prompted")
    np.testing.assert_array_equal(vectors(folder), vectors(folder))
    assert len(built) == 2


def test_what_nobody_has_read_for_a_month_goes(tmp_path: Path, graphs: Path) -> None:
    graphs.mkdir()
    now, day = time.time(), 86_400
    for name, days in (("old", 31), ("recent", 29)):
        (graphs / name).write_bytes(b"")
        os.utime(graphs / name, (now - days * day,) * 2)
    vectors(write_model(tmp_path, "prompted"))
    names = {each.name for each in graphs.iterdir()}
    assert "old" not in names
    assert "recent" in names
    assert len(names) == 2


def test_the_second_start_does_without_the_onnx_package(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "prompted")
    program = (
        "import os, sys; os.environ['MILVINE_CACHE'] = sys.argv[1]\n"
        "from milvine.local.encoder import LocalModel\n"
        "LocalModel(sys.argv[2], 'dense').encode(['a'])\n"
        "print('onnx' in sys.modules)"
    )
    said = []
    for _ in range(2):
        out, error = child(program, str(tmp_path / "cache"), str(folder)).communicate(timeout=100)
        assert not error
        said.append(out.strip())
    assert said == ["True", "False"]
