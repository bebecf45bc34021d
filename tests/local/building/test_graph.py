from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError
from milvine.local.building.graph import Graph
from milvine.local.running.engine import session_options

CPU = ["CPUExecutionProvider"]


def random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.RandomState(sum(shape)).standard_normal(shape).astype(np.float32)


def run(g: Graph, value: str, width: int, ids: list[int]) -> np.ndarray[Any, Any]:
    g.output("rows", value, ["n", width])
    result: np.ndarray[Any, Any] = g.session(session_options(), CPU).run(None, {"ids": np.array(ids)})[0]
    return result


def test_linear_and_layer_norm_are_what_their_formulas_say() -> None:
    table, weight, bias, scale, shift = random(9, 5), random(3, 5), random(3), random(6)[:3], random(8)[:3]
    g = Graph({"table": table, "l.weight": weight, "l.bias": bias, "n.weight": scale, "n.bias": shift})
    rows = g.linear(g.op("Gather", g.weight("table", (9, 5)), g.input("ids", ["n"])), "l", 5, 3)
    result = run(g, g.layer_norm(rows, "n", 3, 0.01), 3, [8, 0, 3, 3])
    # https://pytorch.org/docs/stable/generated/torch.nn.Linear.html and LayerNorm.html, in float64
    linear = table[[8, 0, 3, 3]].astype(float) @ weight.T.astype(float) + bias
    centred = linear - linear.mean(1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 0.01) * scale + shift
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.dtype == np.float32


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_weights_of_another_type_or_layout_run_as_float32(kind: type) -> None:
    table = random(5, 9).astype(kind).T  # not contiguous
    g = Graph({"table": table})
    result = run(g, g.op("Gather", g.weight("table", (9, 5)), g.input("ids", ["n"])), 5, [1, 7])
    np.testing.assert_array_equal(result, table[[1, 7]].astype(np.float32))


def test_a_session_does_not_need_the_arrays_it_was_built_from() -> None:
    # onnxruntime must have copied them: what it merely pointed at could be freed under it.
    arrays = {"table": random(300, 40), "l.weight": random(50, 40), "l.bias": random(50), "gain": random(1, 50)}
    g = Graph(arrays)
    rows = g.linear(g.op("Gather", g.weight("table", (300, 40)), g.input("ids", ["n"])), "l", 40, 50)
    g.output("rows", g.op("Mul", rows, g.weight("gain", (1, 50))), ["n", 50])
    session = g.session(session_options(), CPU)
    feed = {"ids": np.array([5, 299])}
    before = session.run(None, feed)[0].copy()
    for array in arrays.values():
        array[:] = 1e9
    np.testing.assert_array_equal(session.run(None, feed)[0], before)


def test_what_a_checkpoint_lacks_or_contradicts_is_named_with_the_file() -> None:
    g = Graph({"table": random(9, 5)}, "/models/model.safetensors")
    with pytest.raises(ModelFileError, match=r"/models/model.safetensors holds no tensor 'tabel'"):
        g.weight("tabel", (9, 5))
    with pytest.raises(ModelFileError, match=r"model.safetensors: the tensor 'table' has shape \(9, 5\); .*\(9, 6\)"):
        g.weight("table", (9, 6))


def test_a_graph_that_onnxruntime_refuses_is_an_error_that_names_the_checkpoint() -> None:
    g = Graph({}, "/models/model.safetensors")
    g.output("rows", g.op("NoSuchOperation", g.input("ids", ["n"])), ["n"])
    with pytest.raises(ModelFileError, match=r"/models/model.safetensors.*NoSuchOperation"):
        g.session(session_options(), CPU)
