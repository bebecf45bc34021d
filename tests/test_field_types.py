"""Types and metrics of vector fields: what is stored of them, and what they are compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine import _identity
from milvine.errors import CollectionMismatchError, InputError, InputTypeError
from milvine.model import CachedEmbeddingFunction, DefaultEmbeddingFunction
from milvine.model.dense import CohereEmbeddingFunction
from milvine.store import DenseField, MultiVectorField
from provider_server import KEY
from small_functions import DIM, HashedTerms, HashedTokens, HashedWords, WordsAndTerms


def fields_of(given: Any, **options: Any) -> dict[str, Any]:
    """What a new collection stores of its vector fields, as it comes back out of a store, without the usual."""
    config: dict[str, Any] = json.loads(json.dumps(_identity.new_config(given, **options)))
    kept = ("type", "metric")
    fields = config["fields"].items()
    return {
        name: {key: field[key] for key in kept if key in field} for name, field in fields if field["kind"] != "lexical"
    }


TWO = {"a": HashedWords(), "b": HashedWords(8)}


@pytest.mark.parametrize(
    ("given", "options", "fields"),
    [
        (HashedWords(), {}, {"dense": {}}),
        (HashedWords(), {"vector_type": "float32", "metric": "COSINE"}, {"dense": {}}),
        (HashedWords(), {"vector_type": "int8"}, {"dense": {"type": "int8"}}),
        (HashedWords(), {"metric": "L2"}, {"dense": {"metric": "L2"}}),
        (WordsAndTerms(), {"vector_type": "binary"}, {"dense": {"type": "binary"}, "sparse": {}}),
        (
            TWO,
            {"vector_type": {"b": "float16"}, "metric": {"a": "IP"}},
            {"a": {"metric": "IP"}, "b": {"type": "float16"}},
        ),
        (
            TWO,
            {"vector_type": "bfloat16", "metric": "IP"},
            {name: {"type": "bfloat16", "metric": "IP"} for name in TWO},
        ),
        (HashedTokens(), {}, {"multivector": {}}),
        (HashedTokens(), {"vector_type": {"multivector": "float32"}}, {"multivector": {"type": "float32"}}),
        ({"w": HashedWords(), "t": HashedTokens()}, {"vector_type": "int8"}, {"w": {"type": "int8"}, "t": {}}),
    ],
)
def test_what_is_stored(given: Any, options: dict[str, Any], fields: dict[str, Any]) -> None:
    assert fields_of(given, **options) == fields
    _identity.field_set(_identity.new_config(given, **options), given, **options)
    _identity.field_set(_identity.new_config(given, **options), given)


@pytest.mark.parametrize("output", ["float16", "int8", "binary"])
def test_a_functions_own_type_is_its_fields(output: Any) -> None:
    local, hosted = DefaultEmbeddingFunction(output=output), None
    if output != "float16":
        hosted = CohereEmbeddingFunction("embed-english-light-v3.0", KEY, embedding_types=output)
    for function in filter(None, (local, hosted)):
        config = _identity.new_config(function)
        assert config["fields"]["dense"] == {"kind": "dense", "dim": 384, "function": "dense", "type": output}
        (field, _) = _identity.field_set(config, function).store_fields()
        assert field == DenseField("dense", 384, output)
    assert _identity.field_set(_identity.new_config(local)).functions["dense"].identity() == local.identity()


def test_a_cached_function_gives_the_same_types(tmp_path: Path) -> None:
    for function, kinds in (
        (DefaultEmbeddingFunction(output="int8"), {"dense": {"type": "int8"}}),
        (DefaultEmbeddingFunction(output="binary"), {"dense": {"type": "binary"}}),
        (HashedTokens(), {"multivector": {}}),
    ):
        with CachedEmbeddingFunction(function, tmp_path / "cache.sqlite3", show_progress=False) as cached:
            assert fields_of(cached) == kinds
            (name,) = kinds
            for _ in range(2):
                fields = _identity.field_set(_identity.new_config(cached), cached)
                plain = _identity.field_set(_identity.new_config(function), function).encode_documents(["a b", ""])
                for one, other in zip(fields.encode_documents(["a b", ""])[name], plain[name], strict=True):
                    np.testing.assert_array_equal(one, other, strict=True)


def test_what_a_functions_vectors_become() -> None:
    texts = ["the cat sat", "on the mat"]
    floats = np.stack(DefaultEmbeddingFunction().encode_documents(texts))
    for output, vector_type in (("float32", "int8"), ("int8", None), ("float32", "binary"), ("binary", None)):
        function = DefaultEmbeddingFunction(output=output)
        fields = _identity.field_set(_identity.new_config(function, vector_type=vector_type), function)
        documents, queries = fields.encode_documents(texts)["dense"], fields.encode_queries(texts, ["dense"])["dense"]
        expected = (
            np.packbits(floats > 0, axis=1)
            if "binary" in (output, vector_type)
            else np.rint(floats * (127 / np.abs(floats).max(axis=1, keepdims=True))).astype(np.int8)
        )
        for vectors in (documents, queries):
            assert np.stack(vectors).dtype == expected.dtype
            np.testing.assert_array_equal(np.stack(vectors), expected)
    function = DefaultEmbeddingFunction(output="float16")
    fields = _identity.field_set(_identity.new_config(function), function)
    np.testing.assert_array_equal(
        np.stack(fields.encode_documents(texts)["dense"]), floats.astype(np.float16).astype(np.float32)
    )


def test_fields_of_token_vectors() -> None:
    made = _identity.new_config({"words": HashedWords(), "tokens": HashedTokens()})
    assert made["fields"]["tokens"] == {"kind": "multivector", "dim": DIM, "function": "tokens"}
    opened = _identity.field_set(made, {"words": HashedWords(), "tokens": HashedTokens()})
    assert MultiVectorField("tokens", DIM, "float16") in opened.store_fields()
    alone = _identity.new_config(HashedTokens())
    assert list(alone["fields"]) == ["multivector", "lexical"]
    for given in (HashedTokens(), {"tokens": HashedTokens()}):
        with pytest.raises(
            InputError, match="holds a vector a token: it scores what other fields find, and finds nothing"
        ):
            _identity.new_config(given, lexical=False)


@pytest.mark.parametrize(
    ("given", "options", "match"),
    [
        (
            HashedWords(),
            {"vector_type": "int4"},
            "the vector_type of 'dense' must be one of 'float32', .*'binary', not",
        ),
        (
            HashedWords(),
            {"metric": "cosine"},
            "the metric of 'dense' must be one of 'COSINE', 'IP', 'L2', not 'cosine'",
        ),
        (TWO, {"vector_type": {"c": "int8"}}, "vector_type names 'c', and the fields that it is for are: 'a', 'b'"),
        (TWO, {"metric": {"lexical": "IP"}}, "metric names 'lexical', and the fields that it is for are: 'a', 'b'"),
        (HashedTerms(), {"vector_type": "int8"}, "vector_type='int8' is for dense fields, and there is none"),
        (HashedTokens(), {"vector_type": {"multivector": "int8"}}, "must be one of 'float32', 'float16', not 'int8'"),
        (HashedTokens(), {"metric": {"multivector": "IP"}}, "metric names 'multivector', .*are: none"),
        (HashedWords(12), {"vector_type": "binary"}, "has 12 dimensions, and binary vectors pack 8 into a byte"),
        (HashedWords(), {"vector_type": "int8", "metric": "IP"}, "int8, each on a scale of its own, so that their len"),
        (
            HashedWords(),
            {"vector_type": "binary", "metric": "L2"},
            "binary, of which only the number of bits that diff",
        ),
        (
            DefaultEmbeddingFunction(output="int8"),
            {"vector_type": "float32"},
            "gives int8 vectors, which cannot be made float32; leave vector_type out",
        ),
    ],
)
def test_what_is_refused(given: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        _identity.new_config(given, **options)


@pytest.mark.parametrize("option", ["vector_type", "metric"])
def test_options_that_are_no_names(option: str) -> None:
    with pytest.raises(InputTypeError, match=f"{option} must be a string, or a mapping of fields to such, not int"):
        _identity.new_config(HashedWords(), **{option: 8})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "opened", "match"),
    [
        ({"vector_type": "int8"}, {"vector_type": "float32"}, "vector_type='int8', and .* with vector_type='float32'"),
        ({}, {"vector_type": {"dense": "binary"}}, "vector_type='float32', and .* vector_type='binary'; leave it out"),
        ({"metric": "IP"}, {"metric": "COSINE"}, "the field 'dense' was made with metric='IP', and .* metric='COSINE'"),
    ],
)
def test_another_choice_than_what_is_stored_is_refused(made: Any, opened: Any, match: str) -> None:
    config = _identity.new_config(HashedWords(), **made)
    with pytest.raises(CollectionMismatchError, match=match):
        _identity.field_set(config, HashedWords(), **opened)
