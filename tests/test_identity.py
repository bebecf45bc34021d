from __future__ import annotations

from typing import Any

import pytest

from milvine import _identity
from milvine._vectors import checked_vectors
from milvine.errors import CollectionMismatchError, InputError, InputTypeError
from milvine.model import DefaultEmbeddingFunction
from milvine.model.sparse import BM25EmbeddingFunction
from small_functions import DIM, CountsWord, HashedWords


def test_a_config_names_everything_that_vectors_depend_on() -> None:
    config = _identity.new_config(DefaultEmbeddingFunction(), None)
    dense = config["fields"]["dense"]
    assert config["format"] == 1
    assert config["fields"]["lexical"] == {"analyzer": {"language": "en", "rules": 2}, "k1": 0.9, "b": 0.4}
    assert (dense["model"], dense["dim"], dense["pooling"]) == ("all-MiniLM-L6-v2", 384, "mean")
    # The sha256 of the published model.safetensors.
    assert dense["fingerprint"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_the_same_functions_come_back() -> None:
    made = DefaultEmbeddingFunction(max_length=128, doc_instruction="passage: ")
    config = _identity.new_config(made, "en")
    rebuilt, analyzer = _identity.functions(config, None, None)
    assert rebuilt.identity() == made.identity()
    assert analyzer.identity == {"language": "en", "rules": 2}
    given, _ = _identity.functions(config, made, "english")
    assert given is made


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"max_length": 128}, "max_length: 256 there, 128 here"),
        ({"normalize_embeddings": False}, "normalize_embeddings: True there, False here"),
        ({"query_instruction": "q: "}, "query_instruction: '' there, 'q: ' here"),
    ],
)
def test_every_option_that_changes_vectors_is_compared(options: dict[str, Any], difference: str) -> None:
    config = _identity.new_config(None, None)
    with pytest.raises(CollectionMismatchError, match=difference):
        _identity.functions(config, DefaultEmbeddingFunction(**options), None)


@pytest.mark.parametrize("stored", [{}, {"format": 0}, {"format": 2, "fields": {}}, {"format": "1"}])
def test_another_format_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(CollectionMismatchError, match=r"has format .*, and this milvine reads 1: upgrade milvine"):
        _identity.functions(stored, None, None)


@pytest.mark.parametrize("function", ["all-MiniLM-L6-v2", HashedWords, CountsWord("x"), BM25EmbeddingFunction(), 5])
def test_what_is_no_dense_function(function: Any) -> None:
    with pytest.raises(InputTypeError, match="must be a dense embedding function"):
        _identity.new_config(function, None)


@pytest.mark.parametrize("output", ["float16", "int8", "binary"])
def test_vectors_of_another_type_than_a_collection_stores(output: str) -> None:
    with pytest.raises(InputError, match=f"gives {output} vectors, and a collection stores float32 ones; make it with"):
        _identity.new_config(DefaultEmbeddingFunction(output=output), None)


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        ([[0.0] * DIM], rf"gave vectors of shape \(1, {DIM}\) for 2 texts; the shape must be \(2, {DIM}\)"),
        ([[0.0] * DIM] * 3, r"gave vectors of shape \(3, "),
        ([[0.0] * 8] * 2, r"gave vectors of shape \(2, 8\)"),
        ([0.0, 0.0], r"gave vectors of shape \(2,\)"),
        ([[0.0] * DIM, [0.0] * 8], "gave no list of 2 vectors of one length"),
        ([["x"] * DIM] * 2, "gave no list of 2 vectors"),
        (None, "HashedWords gave"),
        ([[0.0] * DIM, [0.0] * (DIM - 1) + [float("nan")]], "a vector with NaN or infinity for text 1 of 2"),
        ([[float("inf")] + [0.0] * (DIM - 1), [0.0] * DIM], "a vector with NaN or infinity for text 0 of 2"),
        ([[0.0] * DIM, [1e300] * DIM], "infinity for text 1"),  # too large for float32
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_vectors_that_are_refused(vectors: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        checked_vectors(vectors, 2, HashedWords())
