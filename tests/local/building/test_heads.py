from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from milvine.local.building.graph import Graph
from milvine.local.building.heads import POOLINGS, Pooling, Step
from milvine.local.reading.onnx_file import MaxTerms
from milvine.local.running.engine import session_options

STATES = np.array([[[1, -5], [2, -6], [9, 9]], [[3, -7], [4, 8], [-1, -2]]], dtype=np.float32)
MASK = np.array([[1, 1, 0], [1, 1, 1]])


def run(step: Step, states: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    g = Graph({})
    x, mask = g.input("states", ["b", "l", "h"], is_float=True), g.input("mask", ["b", "l"])
    g.output("result", step.build(g, x, mask), ["b", "h"])
    session = g.session(session_options(), ["CPUExecutionProvider"])
    (result,) = session.run(None, {"states": states, "mask": MASK})
    return np.asarray(result)


@pytest.mark.parametrize(
    ("mode", "expected"),  # by hand
    [
        ("max", [[2, -5], [4, 8]]),
        ("mean", [[1.5, -5.5], [2, -1 / 3]]),
        ("cls", [[1, -5], [3, -7]]),
        ("lasttoken", [[2, -6], [-1, -2]]),
        ("mean_sqrt_len_tokens", [[3 / 2**0.5, -11 / 2**0.5], [6 / 3**0.5, -1 / 3**0.5]]),
        ("weightedmean", [[5 / 3, -17 / 3], [8 / 6, 3 / 6]]),
    ],
)
def test_a_pooling_counts_tokens_and_no_padding(mode: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(run(Pooling((mode,)), STATES), expected, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("token", [0, 1])
@pytest.mark.parametrize("step", [Pooling(("max",)), Pooling(("mean",)), MaxTerms()])
def test_what_is_no_number_is_not_passed_over(step: Step, token: int, bad: float) -> None:
    states = STATES.copy()
    states[0, token, 1] = bad
    result = run(step, states)
    assert not np.isfinite(result[0, 1])
    assert np.isfinite(result[1]).all()


def test_every_pooling_is_tested() -> None:
    assert set(POOLINGS) == {"max", "mean", "cls", "lasttoken", "mean_sqrt_len_tokens", "weightedmean"}
