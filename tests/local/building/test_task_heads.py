"""Sparse models and rerankers of folders, against what sentence-transformers makes of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import ModelFileError, TruncationWarning
from milvine.local.building.graph import Graph
from milvine.local.building.task_heads import LANGUAGE_HEADS, Splade
from milvine.local.encoder import LocalModel
from milvine.local.running.engine import session_options
from milvine.local.running.sparse_rows import SparseRows
from tiny_heads import TEXTS, write_chain
from tiny_tasks import DOCUMENTS, QUERY, RERANKERS, SPARSE, VOCABULARY, write_json, write_model

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "tasks_golden.npz")
"""Terms and scores by sentence-transformers, from the same folders; see tests/reference/make_tasks_golden.py."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.mark.parametrize("name", SPARSE)
def test_terms_are_sentence_transformers_alone_together_and_in_any_order(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path, SPARSE[name])
    model = LocalModel(folder, "sparse", threads=2)
    assert model.dim == VOCABULARY
    for side, prompt in (("query", model.spec.query_prompt), ("document", model.spec.document_prompt)):
        expected = GOLDEN[f"{name}_{side}"]
        together = model.encode_sparse(list(TEXTS), prompt=prompt)
        assert together.dtype == np.float32
        assert together.has_sorted_indices
        assert (together.data > 0).all()
        assert together.nnz == np.count_nonzero(expected) < 0.8 * expected.size  # so nothing else is stored
        np.testing.assert_allclose(together.toarray(), expected, atol=1e-5, rtol=0)
        backwards = LocalModel(folder, "sparse", threads=1, batch_tokens=40).encode_sparse(
            list(TEXTS)[::-1], prompt=prompt
        )
        np.testing.assert_allclose(backwards.toarray()[::-1], together.toarray(), atol=1e-5, rtol=0)
        for at, text in enumerate(TEXTS):
            alone = model.encode_sparse([text], prompt=prompt)
            np.testing.assert_allclose(alone.toarray(), together[[at]].toarray(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", RERANKERS)
def test_logits_are_sentence_transformers_alone_together_and_in_any_order(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path, RERANKERS[name])
    model, expected = LocalModel(folder, "reranker", threads=2), GOLDEN[f"{name}_logits"]
    together = model.logits(QUERY, list(DOCUMENTS))[:, 0]
    np.testing.assert_allclose(together, expected, atol=1e-5, rtol=0)
    backwards = LocalModel(folder, "reranker", threads=1, batch_tokens=60).logits(QUERY, list(DOCUMENTS)[::-1])
    np.testing.assert_allclose(backwards[::-1, 0], together, atol=1e-5, rtol=0)
    alone = [model.logits(QUERY, [document])[0, 0] for document in DOCUMENTS]
    np.testing.assert_allclose(alone, together, atol=1e-5, rtol=0)


def test_a_tied_decoder_must_be_tied(tmp_path: Path) -> None:
    untied = SPARSE["bert"].config | {"tie_word_embeddings": False}
    folder = write_model(tmp_path, replace(SPARSE["bert"], config=untied))
    with pytest.raises(ModelFileError, match=r"holds no tensor 'cls\.predictions\.decoder\.weight'"):
        LocalModel(folder, "sparse").encode_sparse(["a"])


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return config | changes


@pytest.mark.parametrize(
    ("task", "config", "says"),
    [
        ("sparse", changed(SPARSE["bert"].config, hidden_act="swish"), "the activation 'swish' is not known here"),
        ("sparse", RERANKERS["gte"].config, "no masked language model of the architecture 'gte' is known here"),
        ("reranker", changed(RERANKERS["bert"].config, id2label={"1": "yes"}), "id2label is .* keys are 0, 1 and"),
        ("reranker", changed(RERANKERS["bert"].config, id2label={}), "id2label is {}; it must be an object"),
        ("reranker", changed(SPARSE["bert"].config, num_labels="2"), "num_labels is '2'; it must be a whole number"),
        ("reranker", changed(SPARSE["bert"].config, num_labels=1 << 40), "num_labels is 1099511627776; it must be"),
        (
            "reranker",
            changed(RERANKERS["modernbert_cls"].config, classifier_pooling="max"),
            "classifier_pooling is 'max'",
        ),
        (
            "reranker",
            changed(RERANKERS["modernbert_cls"].config, classifier_activation="relu"),
            "classifier_activation is 'relu'; only 'gelu'",
        ),
    ],
)
def test_a_head_that_is_not_known_is_refused_at_once(
    tmp_path: Path, task: str, config: dict[str, Any], says: str
) -> None:
    folder = write_model(tmp_path, replace(RERANKERS["bert"], config=config))
    with pytest.raises(ModelFileError, match=rf"config\.json: {says}"):
        LocalModel(folder, task)


@pytest.mark.parametrize(
    ("task", "chain", "says"),
    [
        ("sparse", [("models.Pooling", {"pooling_mode": "mean"})], "Transformer, Pooling is of no sparse model"),
        ("sparse", [("models.SpladePooling", {"pooling_strategy": "sum"})], "pooling_strategy is 'sum'; only 'max'"),
        ("sparse", [("models.SpladePooling", {"activation_function": "gelu"})], "activation_function is 'gelu'; known"),
        ("sparse", [("models.IDF", {})], "the module sentence_transformers.models.IDF is not known here"),
        ("reranker", [("models.Pooling", {"pooling_mode": "mean"})], "Transformer, Pooling is of no reranker"),
        ("dense", [("models.SpladePooling", {})], "SpladePooling cannot stand here"),
        ("dense", [], "no pooling, so it is of no dense model"),
    ],
)
def test_a_chain_of_another_task_is_refused_at_once(tmp_path: Path, task: str, chain: Any, says: str) -> None:
    folder = write_model(tmp_path, RERANKERS["bert"])
    write_chain(folder, chain)
    with pytest.raises(ModelFileError, match=says):
        LocalModel(folder, task)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("torch.nn.modules.activation.Sigmoid", "Sigmoid"),
        ("torch.nn.modules.linear.Identity", "Identity"),
        ("torch.nn.modules.activation.Tanh", None),
        ("mine.Sigmoid", None),
        (None, "Sigmoid"),
    ],
)
def test_the_activation_is_what_the_files_name(tmp_path: Path, named: str | None, expected: str | None) -> None:
    folder = write_model(tmp_path, RERANKERS["bert_saved_by_6"])
    write_json(folder / "config_sentence_transformers.json", {"activation_fn": named})
    assert LocalModel(folder, "reranker").spec.activation == expected


def test_a_rerankers_prompt_is_refused_not_left_out(tmp_path: Path) -> None:
    folder = write_model(tmp_path, RERANKERS["bert"])
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"a": "a: "}, "default_prompt_name": "a"})
    with pytest.raises(ModelFileError, match="a reranker's prompts are not known here"):
        LocalModel(folder, "reranker")


def test_rows_keep_their_largest_values_and_may_come_in_any_order() -> None:
    rows = SparseRows(3, 6, keep=2)
    rows.store([2, 0], np.array([[0, 3, -1, 2, 3, 1], [0, 0, 5, 0, 0, 0]], dtype=np.float32))
    rows.store([1], np.array([[1, 1, 1, 1, 0, -7]], dtype=np.float32))
    expected = [[0, 3, 0, 0, 3, 0], [0, 0, 5, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 5, 0, 0, 0]]
    matrix = rows.matrix([2, 0, 1, 0])
    assert matrix.toarray().tolist() == expected
    assert (matrix.has_sorted_indices, matrix.dtype, matrix.nnz) == (True, np.float32, 6)
    assert SparseRows(0, 6).matrix([]).shape == (0, 6)
    assert SparseRows(2, 6).matrix([0, 1]).nnz == 0


def test_nan_of_any_token_becomes_nan_of_its_text_and_of_no_other() -> None:
    # onnxruntime's ReduceMax passes over a NaN that is not the first.
    random = np.random.default_rng(5)
    names, size, vocabulary = LANGUAGE_HEADS["bert"], 4, 7
    shapes = {f"{names.dense}.weight": (size, size), f"{names.dense}.bias": (size,), names.decoder: (vocabulary, size)}
    shapes |= {f"{names.norm}.weight": (size,), f"{names.norm}.bias": (size,), names.biases[0]: (vocabulary,)}
    g = Graph({name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})
    states, mask = g.input("states", ["b", "l", size], is_float=True), g.input("mask", ["b", "l"])
    head = Splade(names, size, vocabulary, "gelu", 1e-12, is_tied=False)
    g.output("terms", head.build(g, states, mask), ["b", vocabulary])
    session = g.session(session_options(), ["CPUExecutionProvider"])
    given = random.standard_normal((3, 5, size)).astype(np.float32)
    feed = {"states": given, "mask": np.array([[1] * 5, [1, 1, 1, 0, 0], [1] * 5])}
    (sound,) = session.run(None, feed)
    assert np.isfinite(sound).all()
    for row, token, is_read in ((0, 0, True), (0, 4, True), (1, 2, True), (1, 3, False)):
        damaged = given.copy()
        damaged[row, token, 1] = np.nan
        (terms,) = session.run(None, feed | {"states": damaged})
        assert np.isnan(terms[row]).all() == is_read
        np.testing.assert_array_equal(np.delete(terms, row, 0), np.delete(sound, row, 0))
