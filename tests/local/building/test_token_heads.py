"""The parts of heads for each token, by hand arithmetic; whole models are in tests/model."""

from __future__ import annotations

import numpy as np

from milvine.local.building.graph import Graph
from milvine.local.building.heads import Linear, Normalize
from milvine.local.building.token_heads import EachToken, Residual, largest_weights
from milvine.local.reading.special_tokens import read_special_tokens, special_ids, special_token
from milvine.local.running.engine import session_options
from tiny_token_models import BERT, XLM_R, _tokenizer


def test_a_token_has_the_largest_of_its_weights_and_special_ones_have_none() -> None:
    ids, weights = largest_weights(
        [0, 9, 7, 9, 7, 5, 8, 3], np.array([9, 0.25, 0.5, 2, -1, 0, 1e-3, 4], dtype=np.float32), frozenset({0, 3})
    )
    assert ids.tolist() == [7, 8, 9]
    assert weights.tolist() == np.array([0.5, 1e-3, 2], dtype=np.float32).tolist()
    assert (ids.dtype, weights.dtype) == (np.int32, np.float32)
    nothing, _ = largest_weights([0, 3], np.ones(2, dtype=np.float32), frozenset({0, 3}))
    assert nothing.tolist() == []


def run(head: EachToken, tensors: dict[str, np.ndarray], states: np.ndarray) -> np.ndarray:
    g = Graph({"states": states.reshape(-1, states.shape[-1]), **tensors})
    ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
    rows = g.op("Gather", g.weight("states", (states.shape[0] * states.shape[1], states.shape[2])), ids)
    g.output("out", head.build(g, rows, mask), ["batch", "length", head.width(states.shape[-1])])
    numbers = np.arange(states.shape[0] * states.shape[1]).reshape(states.shape[:2])
    feed = {"input_ids": numbers, "attention_mask": np.ones_like(numbers)}
    return g.session(session_options(), ["CPUExecutionProvider"]).run(None, feed)[0]


def test_steps_act_on_each_tokens_state() -> None:
    random = np.random.default_rng(3)
    states = random.standard_normal((2, 3, 4)).astype(np.float32)
    wide, square, short = (random.standard_normal(shape).astype(np.float32) for shape in ((5, 4), (5, 5), (5, 4)))
    tensors = {"a.weight": wide, "r.weight": short, "b.weight": square, "b.bias": wide[:, 0]}
    head = EachToken((
        Residual(Linear("a", 4, 5, "Tanh", bias=False), Linear("r", 4, 5, bias=False)),
        Residual(Linear("b", 5, 5)),
        Normalize(),
    ))  # fmt: skip
    assert head.width(4) == 5
    first = np.tanh(states @ wide.T) + states @ short.T
    second = first @ square.T + wide[:, 0] + first
    expected = second / np.linalg.norm(second, axis=-1, keepdims=True)
    np.testing.assert_allclose(run(head, tensors, states), expected, atol=1e-5)
    assert str(head) == "each token: 5 Tanh residual, 5 Identity residual, normalize"


def test_special_tokens_are_those_named_or_the_usual_ones() -> None:
    from tokenizers import Tokenizer

    bert, xlm_r = (Tokenizer.from_str(_tokenizer(special, (".",))) for special in (BERT, XLM_R))
    kinds = ("cls_token", "eos_token", "pad_token", "unk_token")
    assert special_ids(xlm_r, {}, *kinds) == {0, 1, 2, 3}
    assert special_ids(bert, {}, *kinds) == {0, 1, 2}  # BERT has no token that ends a sequence: its [SEP] counts
    named = read_special_tokens({"mask_token": {"content": "a"}, "eos_token": "b", "unk_token": None, "sep_token": "c"})
    assert named == {"mask_token": "a", "eos_token": "b"}
    assert special_token(bert, named, "mask_token") == "a"
    assert special_token(bert, {}, "mask_token") == "[MASK]"
    assert special_ids(bert, named, *kinds) == {0, 1, 2, bert.token_to_id("b")}
