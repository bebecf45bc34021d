from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_bert
import tiny_encoders
import tiny_modern_encoders as modern
from milvine.local.building.architectures import find_architecture
from milvine.local.building.graph import Graph
from milvine.local.building.quantization import quantized_columns
from milvine.local.encoder import LocalModel
from milvine.local.running.engine import session_options
from tiny_heads import TEXTS
from tiny_tasks import SPARSE, write_model

Array = np.ndarray[Any, Any]


def random(*shape: int) -> Array:
    return np.random.RandomState(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.fixture(params=["this processor's products", "unsigned products"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on this processor, and as on one whose products of unsigned and signed factors saturate."""
    if request.param == "unsigned products":
        monkeypatch.setattr("milvine.local.building.graph.products_saturate", lambda: True)


either_way = pytest.mark.usefixtures("_either_way")


def run(g: Graph, value: str, x: Array) -> Array:
    g.output("y", value, ["rows", "outputs"])
    result: Array = g.session(session_options(), ["CPUExecutionProvider"]).run(None, {"x": x})[0]
    return result


def product(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """`x @ weight.T + bias` by a graph that quantises."""
    tensors = {"l.weight": weight} | ({} if bias is None else {"l.bias": bias})
    g = Graph(tensors, quantize="int8")
    rows = g.input("x", ["rows", x.shape[1]], is_float=True)
    value = g.linear(rows, "l", x.shape[1], len(weight), bias=bias is not None)
    return run(g, value, x)


def reference(x: Array, weight: Array) -> Array:
    """The formula: each row of `x` and of `weight` is rounded to multiples of a 127th of its largest magnitude."""

    def rounded(rows: Array) -> Array:
        steps = np.abs(rows).max(axis=1, keepdims=True).astype(np.float32) / np.float32(127)
        steps[steps == 0] = 1
        exact: Array = np.rint(rows / steps).astype(np.float64) * steps
        return exact

    return rounded(x) @ rounded(weight).T


def test_a_matrix_is_rounded_to_127ths_of_each_columns_largest_magnitude() -> None:
    weight = np.array([[1.27, -0.634, 0.006], [0, 0, 0], [-254, 3, 2.9]])
    for kind in (np.float64, np.float32, np.float16):
        codes, scales = quantized_columns(weight.astype(kind))
        # By hand: 0.634 / 0.01 is 63.4, 0.006 / 0.01 is 0.6, 3 / 2 is 1.5, 2.9 / 2 is 1.45.
        np.testing.assert_array_equal(codes.T, [[127, -63, 1], [0, 0, 0], [-127, 2, 1]])
        np.testing.assert_allclose(scales, [0.01, 1, 2], rtol=1e-3)
        assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
        shifted, _ = quantized_columns(weight.astype(kind), unsigned=True)
        np.testing.assert_array_equal(shifted, codes.astype(int) + 128)
        assert shifted.dtype == np.uint8


@either_way
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (3, 21, 37), (40, 384, 96), (9, 33, 2050)])
def test_a_product_is_that_of_the_rounded_factors(rows: int, inputs: int, outputs: int) -> None:
    x, weight, bias = random(rows, inputs), random(outputs, inputs), random(outputs)
    x *= np.logspace(-6, 6, rows, dtype=np.float32)[:, None]
    expected = reference(x, weight)
    result = product(x, weight)
    np.testing.assert_allclose(
        result / np.abs(x).max(axis=1, keepdims=True), expected / np.abs(x).max(1)[:, None], atol=1e-4
    )
    biased = product(x[:1], weight, bias)
    np.testing.assert_allclose(biased, expected[:1] + bias, atol=1e-4)


@either_way
def test_sums_do_not_saturate() -> None:
    # Two products of the largest codes, 255 and 127, are more than 16 bits hold; some processors sum such pairs there.
    sign = np.where(np.arange(128) % 4 < 2, 1, -1).astype(np.float32)
    x = np.stack([np.ones(128, np.float32), -np.ones(128, np.float32), sign])
    np.testing.assert_allclose(product(x, np.stack([x[0], x[2]] * 16)), [[128, 0] * 16, [-128, 0] * 16, [0, 128] * 16])


@either_way
def test_a_row_is_itself_beside_any_other() -> None:
    x, weight = random(17, 48), random(30, 48)
    alone = product(x[:1], weight)
    x[1:] *= 1e4
    np.testing.assert_array_equal(product(x, weight)[:1], alone)


@either_way
def test_a_row_of_zeros_gives_the_bias() -> None:
    bias = random(6)
    np.testing.assert_array_equal(product(np.zeros((2, 10), np.float32), random(6, 10), bias), [bias, bias])


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_what_overflows_a_row_is_not_hidden(value: float) -> None:
    x = random(3, 40)
    x[1, 7] = value
    result = product(x, random(5, 40))
    assert not np.isfinite(result[1]).any()
    assert np.isfinite(result[[0, 2]]).all()


def test_matrices_held_as_one_are_rounded_one_by_one_and_those_called_exact_not_at_all() -> None:
    x, weight, bias = random(8, 30), random(36, 30), random(36)
    weight[12:24] *= 100
    for number in range(3):
        g = Graph({"l.weight": weight, "l.bias": bias}, quantize="int8")
        values = g.linears(g.input("x", ["rows", 30], is_float=True), "l", 30, 12, 3, exact=(2,))
        part = slice(12 * number, 12 * number + 12)
        expected = (x @ weight[part].T if number == 2 else reference(x, weight[part])) + bias[part]
        np.testing.assert_allclose(run(g, values[number], x), expected, rtol=1e-5, atol=1e-4)
    g = Graph({"l.weight": weight, "l.bias": bias}, quantize="int8")
    value = g.linear(g.input("x", ["rows", 30], is_float=True), "l", 30, 36, exact=True)
    np.testing.assert_allclose(run(g, value, x), x @ weight.T + bias, rtol=1e-5, atol=1e-4)


ENCODERS: dict[str, tuple[dict[str, Any], dict[str, Array], list[list[int]]]] = {
    "bert": (tiny_bert.CONFIG, tiny_bert.weights(), tiny_bert.token_ids())
}
for _models in tiny_encoders.MODELS.values():
    for _name, _config in _models.items():
        ENCODERS[f"{_config['model_type']} {_name}"] = (
            _config,
            tiny_encoders.weights(_config),
            tiny_encoders.token_ids(_config),
        )
for _models, _weights in (
    (modern.MODERNBERT, modern.modernbert_weights),
    (modern.NOMIC_BERT, modern.nomic_bert_weights),
    (modern.GTE, modern.gte_weights),
    (modern.T5, modern.t5_weights),
):
    for _name, _config in _models.items():
        ENCODERS[f"{_config['model_type']} {_name}"] = (_config, _weights(_config), modern.token_ids())


def build(config: dict[str, Any], weights: dict[str, Array], quantize: str | None) -> Any:
    """A session over an encoder, as `tiny_encoders.run` wants it."""
    architecture = find_architecture(config, "config.json")
    read = architecture.read(config, "config.json")
    g = Graph(weights, quantize=quantize)
    ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
    g.output("states", architecture.build(g, read, ids, mask), ["batch", "length", read.hidden_size])
    return g.session(session_options(), ["CPUExecutionProvider"])


@either_way
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoders_states_stay_near_and_their_own_in_any_company(name: str) -> None:
    config, weights, texts = ENCODERS[name]
    exact = tiny_encoders.run(build(config, weights, None), texts)
    session = build(config, weights, "int8")
    alone = [tiny_encoders.run(session, [text])[0] for text in texts]
    together, backwards = tiny_encoders.run(session, texts), tiny_encoders.run(session, texts[::-1])[::-1]
    for states_alone, *others in zip(alone, together, backwards, strict=True):
        for other in others:
            np.testing.assert_allclose(other, states_alone, atol=1e-5)
    expected, result = np.concatenate(exact), np.concatenate(alone)
    cosines = (expected * result).sum(-1) / np.linalg.norm(expected, axis=-1) / np.linalg.norm(result, axis=-1)
    # These models' weights are so large that attention chooses one token; with a tie it may choose another.
    assert cosines.min() > 0.95
    assert 0.99 < np.median(cosines) < 0.9999999  # so it was quantised


@pytest.mark.parametrize("name", ENCODERS)
def test_nan_is_not_rounded_away(name: str) -> None:
    config, weights, texts = ENCODERS[name]
    poisoned = texts[1][0]
    damaged = dict(weights)
    for table, tensor in weights.items():
        if tensor.shape[0] == config["vocab_size"]:
            damaged[table] = tensor.copy()
            damaged[table][poisoned, 0] = np.nan
    session = build(config, damaged, "int8")
    for text, hidden in zip(texts, tiny_encoders.run(session, texts), strict=True):
        assert np.isnan(hidden).any() == (poisoned in text)


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.filterwarnings("ignore::milvine.errors.TruncationWarning")
def test_a_sparse_models_terms_stay_near(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path, SPARSE[name])
    exact = LocalModel(folder, "sparse").encode_sparse(list(TEXTS)).toarray()
    near = LocalModel(folder, "sparse", quantize="int8").encode_sparse(list(TEXTS)).toarray()
    cosine = (exact * near).sum() / np.linalg.norm(exact) / np.linalg.norm(near)
    assert 0.99 < cosine < 0.9999999
