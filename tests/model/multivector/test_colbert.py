"""Late interaction, on small models of the three published layouts, against PyLate and sentence-transformers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, ModelFileError, TruncationWarning
from milvine.model.multivector import ColBERTEmbeddingFunction
from tiny_token_models import (
    COLBERT_DIM,
    DATA,
    LATE,
    NATIVE,
    PYLATE,
    QUERIES,
    STANFORD,
    TEXTS,
    ragged,
    read_json,
    write_json,
    write_native,
    write_pylate,
    write_stanford,
)

PYLATES = np.load(DATA / "late_interaction_golden.npz")
"""By PyLate; see tests/reference/make_late_interaction_golden.py."""
SENTENCE_TRANSFORMERS = np.load(DATA / "token_models_golden.npz")
"""By sentence-transformers; see tests/reference/make_token_models_golden.py."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


METADATA, SETTINGS = "artifact.metadata", "config_sentence_transformers.json"


def assert_vectors(found: list[Any], expected: list[Any]) -> None:
    assert [array.shape for array in found] == [array.shape for array in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", LATE)
def test_vectors_are_the_references_alone_together_and_in_any_order(tmp_path: Path, name: str) -> None:
    folder = LATE[name](tmp_path, name)
    golden = SENTENCE_TRANSFORMERS if name in NATIVE else PYLATES
    for options in ({"threads": 2}, {"threads": 1, "batch_tokens": 40}):
        ef = ColBERTEmbeddingFunction(folder, **options)
        assert ef.dim == COLBERT_DIM
        for side, texts, run in (("query", QUERIES, ef.encode_queries), ("document", TEXTS, ef.encode_documents)):
            expected = ragged(golden, f"{name}_{side}")
            assert_vectors(run(texts), expected)
            assert_vectors(run([*texts[::-1], texts[0]]), [*expected[::-1], expected[0]])
            for text, of_text in zip(texts, expected, strict=True):
                assert_vectors(run([text]), [of_text])
        assert_vectors(ef(TEXTS), ragged(golden, f"{name}_document"))


def test_nothing_gives_an_empty_list(tmp_path: Path) -> None:
    ef = ColBERTEmbeddingFunction(write_pylate(tmp_path, "pylate"))
    assert ef([]) == ef.encode_queries([]) == []


def test_lengths_may_be_chosen(tmp_path: Path) -> None:
    ef = ColBERTEmbeddingFunction(write_stanford(tmp_path, "stanford"), query_length=15, max_length=6)
    assert [len(each) for each in ef.encode_queries(QUERIES)] == [15, 15, 15, 15]
    assert [len(each) for each in ef.encode_documents(["a b c d e f g", "a"])] == [6, 4]
    assert (ef.max_length, ef.query_length) == (6, 15)
    with pytest.raises(InputError, match="query_length must be from 4 to 19, not 20"):
        ColBERTEmbeddingFunction(tmp_path, query_length=20)
    with pytest.raises(InputError, match="max_length must be from 3 to 19, not 20"):
        ColBERTEmbeddingFunction(tmp_path, max_length=20)


def test_a_document_has_room_for_one_token_beside_its_marker(tmp_path: Path) -> None:
    folder = write_stanford(tmp_path, "stanford")
    with pytest.raises(InputError, match="max_length must be at least 4, not 3"):
        ColBERTEmbeddingFunction(folder, max_length=3)
    first, second = ColBERTEmbeddingFunction(folder, max_length=4).encode_documents(["a c", "b c"])
    assert first.shape == second.shape == (4, 8)
    assert not np.allclose(first, second, atol=1e-3)


def test_settings_may_stand_in_an_object_of_their_own(tmp_path: Path) -> None:
    folder = write_stanford(tmp_path, "stanford")
    write_json(folder / METADATA, {"config": STANFORD["stanford"], "meta": {"version": "colbert-v0.4"}})
    assert_vectors(ColBERTEmbeddingFunction(folder)(TEXTS), ragged(PYLATES, "stanford_document"))


def test_what_queries_lost_is_counted(tmp_path: Path) -> None:
    ef = ColBERTEmbeddingFunction(write_stanford(tmp_path, "stanford"))
    with pytest.warns(TruncationWarning, match="1 of 4 texts are longer than the 9 tokens"):
        ef.encode_queries(QUERIES)
    assert (ef.truncation.texts, ef.truncation.tokens) == (1, 16 - (9 - 3))


def test_what_documents_lost_is_counted(tmp_path: Path) -> None:
    ef = ColBERTEmbeddingFunction(write_stanford(tmp_path, "stanford"))
    assert ef.count_tokens([TEXTS[2], "a"]) == [24 + 3, 4]
    with pytest.warns(TruncationWarning, match="longer than the 14 tokens"):
        ef.encode_documents([TEXTS[2], "a"])
    assert (ef.truncation.texts, ef.truncation.tokens) == (1, 24 - (14 - 3))


def test_the_identity_makes_the_function_again(tmp_path: Path) -> None:
    made = ColBERTEmbeddingFunction(write_pylate(tmp_path, "pylate"), query_length=10)
    identity = json.loads(json.dumps(made.identity()))
    again = ColBERTEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    assert_vectors(again.encode_queries(QUERIES), made.encode_queries(QUERIES))


def changed(write: Callable[[Path, str], Path], name: str, file: str, **changes: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder, name)
        write_json(folder / file, read_json(folder / file) | changes)
        return folder

    return make


def without(write: Callable[[Path, str], Path], name: str, file: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder, name)
        (folder / file).unlink()
        return folder

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (changed(write_stanford, "stanford", METADATA, similarity="l2"), "similarity is 'l2'; only 'cosine'"),
        (changed(write_stanford, "stanford", METADATA, query_maxlen="32"), "query_maxlen is '32'; it must be a whole"),
        (changed(write_stanford, "stanford", METADATA, doc_maxlen=2), "doc_maxlen is 2; it must be a whole number"),
        (changed(write_stanford, "stanford", METADATA, doc_token_id=7), "doc_token_id is 7; it must be a string"),
        (changed(write_stanford, "stanford", METADATA, dim=0), "dim is 0; it must be a whole number above 0"),
        (changed(write_pylate, "pylate", SETTINGS, skiplist_words=","), "skiplist_words is ','; it must be a list"),
        (changed(write_pylate, "pylate", SETTINGS, do_query_expansion=1), "do_query_expansion is 1; it must be true"),
        (changed(write_pylate, "pylate", "1_Dense/config.json", in_features=5), "for vectors of 5 dimensions, and get"),
        (
            changed(write_pylate, "pylate", "1_Dense/config.json", activation_function="torch.nn.Mish"),
            "the activation 'torch.nn.Mish' is not known here",
        ),
        (without(write_pylate, "pylate", "1_Dense/model.safetensors"), "holds no weights"),
        (
            changed(write_native, "native", "sentence_bert_config.json", query_expansion={"strategy": "relative"}),
            "only one of the strategy 'fixed' is known here",
        ),
        (
            changed(write_native, "native", "2_MultiVectorMask/config.json", skiplist_tasks=["query"]),
            r"skiplist_tasks is \['query'\]",
        ),
    ],
)
def test_what_is_not_known_is_refused_at_once(tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    with pytest.raises(ModelFileError, match=says):
        ColBERTEmbeddingFunction(make(tmp_path))


def test_a_dense_model_is_of_no_late_interaction(tmp_path: Path) -> None:
    folder = write_pylate(tmp_path, "pylate")
    modules = read_json(folder / "modules.json")
    write_json(folder / "modules.json", modules[:1])
    with pytest.raises(ModelFileError, match="is of no late-interaction model; one has Dense modules"):
        ColBERTEmbeddingFunction(folder)
    (folder / "modules.json").unlink()
    with pytest.raises(ModelFileError, match=r"neither a modules\.json nor an artifact\.metadata"):
        ColBERTEmbeddingFunction(folder)


def test_a_marker_that_the_tokenizer_lacks_is_refused(tmp_path: Path) -> None:
    folder = changed(write_stanford, "stanford", METADATA, query_token_id="[unused7]")(tmp_path)
    with pytest.raises(
        ModelFileError, match=r"has no token '\[unused7\]', which the model's queries or documents need"
    ):
        ColBERTEmbeddingFunction(folder).encode_queries(["a"])


def test_a_tokenizer_that_puts_nothing_before_a_text_is_refused(tmp_path: Path) -> None:
    folder = write_stanford(tmp_path, "stanford")
    tokenizer = json.loads((folder / "tokenizer.json").read_text()) | {"post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelFileError, match="puts no special token before a text"):
        ColBERTEmbeddingFunction(folder).encode_documents(["a b"])


def test_a_stanford_model_without_its_settings_has_the_librarys_defaults(tmp_path: Path) -> None:
    folder = without(write_stanford, "stanford", METADATA)(tmp_path)
    ef = ColBERTEmbeddingFunction.__new__(ColBERTEmbeddingFunction)
    with pytest.raises(InputError, match="max_length must be from 3 to 19, not 220"):  # colbert-ai's DocSettings
        ef.__init__(folder)  # type: ignore[misc]
    with pytest.raises(InputError, match="query_length must be from 4 to 19, not 32"):
        ColBERTEmbeddingFunction(folder, max_length=19)


def test_all_layouts_are_covered() -> None:
    assert set(LATE) == {*STANFORD, *PYLATE, *NATIVE}
