from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ModelFileError, TruncationWarning
from milvine.local import encoder
from milvine.local.encoder import LocalModel
from milvine.local.finding import catalogue
from milvine.local.finding.catalogue import ModelRow
from milvine.local.finding.files import fetch_model
from milvine.local.running.vector_form import VectorForm
from milvine.types import Truncation
from tiny_bert import CONFIG, TEXTS, files, token_ids, weights

UNIT = VectorForm(21, normalize=True)
GOLDEN = Path(__file__).parents[1] / "data" / "bert_golden.npz"


@pytest.fixture
def tiny(
    tmp_path: Path, make_row: Callable[..., ModelRow], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., LocalModel]:
    """Makes a model of a catalogue with the tiny BERT in it; `contents` replace its files, `row` fields of its row."""

    def make(contents: dict[str, bytes | None] | None = None, row: dict[str, Any] | None = None, **options: Any) -> Any:
        made = files(tmp_path) | {name: data for name, data in (contents or {}).items() if data is not None}
        kept = {name: data for name, data in made.items() if (contents or {}).get(name, b"") is not None}
        found = make_row(kept, **{"dim": 21, "max_length": 19} | (row or {}))
        monkeypatch.setattr(catalogue, "models", lambda: (found,))
        (tmp_path / "model").mkdir(exist_ok=True)
        for name, data in kept.items():
            (tmp_path / "model" / name).write_bytes(data)
        return LocalModel("small-model", options.pop("task", "dense"), folder=tmp_path / "model", **options)

    return make


def expected(pooling: str = "mean") -> np.ndarray[Any, Any]:
    """The vectors of `TEXTS` by transformers' BertModel, pooled by hand."""
    states = np.load(GOLDEN)["gelu"][-len(TEXTS) :]
    lengths = [len(ids) for ids in token_ids()[-len(TEXTS) :]]
    if pooling == "cls":
        return states[:, 0]
    return np.stack([state[:length].mean(axis=0) for state, length in zip(states, lengths, strict=True)])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_the_references_from_files_to_arrays(tiny: Callable[..., LocalModel], pooling: str) -> None:
    model, vectors = tiny(row={"pooling": pooling}), expected(pooling)
    np.testing.assert_allclose(model.encode(list(TEXTS)), vectors, atol=1e-5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for _ in range(2):  # the first use loads the model
        np.testing.assert_allclose(model.encode(list(reversed(TEXTS)), UNIT)[::-1], unit, atol=1e-5)


def test_a_text_that_comes_again_is_computed_once(
    tiny: Callable[..., LocalModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(threads=1)
    engine = model._load()[1]
    session, ran = engine.session(1), []
    ids_of = lambda feed: [tuple(row) for row in feed["input_ids"].tolist()]  # noqa: E731

    class Counting:
        def run(self, outputs: list[str], feed: dict[str, Any]) -> Any:
            ran.extend(ids_of(feed))
            return session.run(outputs, feed)

    monkeypatch.setitem(engine._sessions, 1, Counting())
    texts = [TEXTS[at] for at in (1, 2, 1, 0, 0, 1, 2)]
    vectors = model.encode(texts)
    assert len(ran) == len(set(ran)) == 3
    np.testing.assert_allclose(vectors, expected()[[1, 2, 1, 0, 0, 1, 2]], atol=1e-5)
    assert vectors.flags.c_contiguous


def test_nothing_is_read_before_first_use_nor_for_an_empty_list(
    tmp_path: Path, tiny: Callable[..., LocalModel]
) -> None:
    model = tiny()
    (tmp_path / "model" / "config.json").unlink()
    assert (model.dim, model.max_length) == (21, 19)
    assert model.encode([], UNIT).shape == (0, 21)
    with pytest.raises(ModelFileError, match=r"does not hold config\.json"):
        model.encode(["a"], UNIT)


def test_half_precision_weights_run_as_float32(tmp_path: Path, tiny: Callable[..., LocalModel]) -> None:
    from safetensors.numpy import save

    half = save({name: tensor.astype(np.float16) for name, tensor in weights().items()})
    vectors = tiny({"model.safetensors": half}).encode(list(TEXTS))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(), atol=0.02)  # float16 keeps three digits of each weight


def test_several_threads_may_use_a_model_that_is_not_loaded_yet(
    tiny: Callable[..., LocalModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, results, loads = tiny(threads=2), {}, []
    barrier = threading.Barrier(4)

    def fetch(*arguments: Any, **options: Any) -> Any:
        loads.append(threading.current_thread())
        return fetch_model(*arguments, **options)

    monkeypatch.setattr(encoder, "fetch_model", fetch)

    def work(number: int) -> None:
        barrier.wait()
        results[number] = [model.encode(list(TEXTS) * 3)[:3] for _ in range(10)]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(results) == [0, 1, 2, 3]
    assert len(loads) == 1
    for vectors in results.values():
        np.testing.assert_allclose(vectors, [expected()] * 10, atol=1e-5)


def test_long_texts_are_counted_once_by_a_warning_at_the_callers_line(tiny: Callable[..., LocalModel]) -> None:
    model = tiny()
    long = "a b c d e f g h i j k l m n o p q r"  # 18 letters and two special tokens
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.encode(list(TEXTS), UNIT)  # the longest has exactly 19 tokens
        assert not caught
        short = [f"b{number:o}" for number in range(2000)]  # so that they are tokenized in two windows
        vectors = model.encode([*TEXTS, long, long + " s", *short, TEXTS[1], long + " t"], UNIT)
        model.encode([long], UNIT)
    (warning,) = caught
    assert warning.category is TruncationWarning
    assert str(warning.message).startswith("3 of 2006 texts are longer than the 19 tokens that small-model")
    assert "lost their ends, about 5 tokens; split them" in str(warning.message)  # 20, 21 and 21 tokens
    assert model.truncation == Truncation(4, 6)
    assert model.count_tokens([long, "", long + " s"]) == [20, 2, 21]
    assert warning.filename == __file__
    np.testing.assert_array_equal(vectors[3], vectors[4])  # they differ behind the cut alone


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_size": 24}, "contradicts small-model: hidden_size is 24, not 21"),
        ({"max_position_embeddings": 18}, "contradicts small-model: a text may have 18 tokens, fewer than the 19"),
        ({"vocab_size": 47}, "contradicts small-model: vocab_size is 47, fewer than tokenizer.json's 48"),
        ({"num_attention_heads": 4}, "hidden_size 21 is no multiple of num_attention_heads 4"),
        ({"hidden_act": "swish"}, "the activation 'swish' is not known here"),
    ],
)
def test_a_configuration_that_contradicts_the_model_is_named(
    tiny: Callable[..., LocalModel], changes: dict[str, Any], says: str
) -> None:
    model = tiny({"config.json": json.dumps(CONFIG | changes).encode()})
    with pytest.raises(ModelFileError, match=rf"model/config\.json.*{says}"):
        model.encode(["a"], UNIT)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", b"{", "is not JSON"),
        ("config.json", b"\xff\xfe", "is not JSON"),
        ("config.json", b"[]", "must hold a JSON object, not list"),
        ("config.json", b"{}", "the architecture None is not known here"),
        ("config.json", json.dumps(CONFIG | {"intermediate_size": 38}).encode(), None),
        ("tokenizer.json", b"{", "is not a usable tokenizer.json"),
        ("model.safetensors", b"\x00" * 40, "is not a usable safetensors file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tiny: Callable[..., LocalModel], name: str, content: bytes, says: str | None
) -> None:
    model = tiny({name: content})
    says = says or r"safetensors: the tensor '.*intermediate.*' has shape \(37, 21\); .*\(38, 21\)"
    for _ in range(2):  # it fails the same way again
        with pytest.raises(ModelFileError, match=rf"model/.*{says}"):
            model.encode(["a"], UNIT)


def test_an_onnx_file_that_cannot_be_used_is_named(tiny: Callable[..., LocalModel]) -> None:
    from onnx import TensorProto, helper

    row = {"weights": "model.onnx", "task": "reranker", "dim": None, "pooling": None}
    with pytest.raises(ModelFileError, match=r"model/model\.onnx is not a usable ONNX file"):
        tiny({"model.onnx": b"no graph"}, row, task="reranker").logits("a", ["b"])
    value = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["pixels"], ["out"])],
        "g",
        [value],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n"])],
    )
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    with pytest.raises(ModelFileError, match=r"model/model\.onnx wants the input 'pixels'; known are input_ids"):
        tiny({"model.onnx": other}, row, task="reranker").logits("a", ["b"])


def test_options_are_checked_before_anything_is_read(tiny: Callable[..., LocalModel]) -> None:
    for options, says in (
        ({"max_length": 2}, "max_length must be from 3 to 19, not 2"),
        ({"max_length": 20}, "max_length must be from 3 to 19, not 20"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"batch_tokens": -5}, "batch_tokens must be at least 1, not -5"),
        ({"task": "reranker"}, "small-model is a dense model; a reranker model is needed here"),
    ):
        with pytest.raises(InputError, match=says):
            tiny(**options)
    for name in ("max_length", "threads", "batch_tokens"):
        for wrong in ("7", 7.0, True):
            with pytest.raises(InputTypeError, match=f"{name} must be a whole number, not {type(wrong).__name__}"):
                tiny(**{name: wrong})
    with pytest.raises(InputTypeError, match="a model's name must be one string"):
        LocalModel(None, "dense")  # type: ignore[arg-type]


def test_a_shorter_maximum_length_reads_less(tiny: Callable[..., LocalModel]) -> None:
    short = tiny(max_length=7)
    with pytest.warns(TruncationWarning, match="1 of 1 texts are longer than the 7 tokens"):
        cut = short.encode([TEXTS[2]], UNIT)
    np.testing.assert_array_equal(cut, short.encode([" ".join(TEXTS[2].split()[:5])], UNIT))
