from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine import _identity
from milvine.errors import CollectionMismatchError, InputError, InputTypeError
from milvine.model import CachedEmbeddingFunction, DefaultEmbeddingFunction
from milvine.model.base import BaseEmbeddingFunction
from milvine.model.dense import OpenAIEmbeddingFunction
from milvine.model.hybrid import BGEM3EmbeddingFunction, MGTEEmbeddingFunction
from milvine.model.multivector import ColBERTEmbeddingFunction
from milvine.model.sparse import BM25EmbeddingFunction, SpladeEmbeddingFunction
from provider_server import KEY
from small_functions import DIM, CountsWord, HashedTerms, HashedWords, WordsAndTerms
from tiny_token_models import write_bge_m3, write_stanford

EN = {"kind": "lexical", "analyzer": {"language": "en", "rules": 2}, "k1": 0.9, "b": 0.4}


def dense(function: str = "dense", dim: int = DIM, **more: str) -> dict[str, Any]:
    return {"kind": "dense", "dim": dim, "function": function, **more}


def sparse(function: str = "sparse", **more: str) -> dict[str, Any]:
    return {"kind": "sparse", "function": function, **more}


@pytest.fixture
def m3(tmp_path: Path) -> Path:
    (tmp_path / "m3").mkdir()
    return write_bge_m3(tmp_path / "m3")


def stored(*given: Any, **options: Any) -> dict[str, Any]:
    """A new collection's configuration as it comes back out of a store."""
    config: dict[str, Any] = json.loads(json.dumps(_identity.new_config(*given, **options)))
    return config


def test_a_config_names_everything_that_vectors_depend_on() -> None:
    config = _identity.new_config(DefaultEmbeddingFunction())
    function = config["functions"]["dense"]
    assert config["format"] == 2
    assert config["fields"] == {"dense": dense(dim=384), "lexical": EN}
    assert (function["model"], function["dim"], function["pooling"]) == ("all-MiniLM-L6-v2", 384, "mean")
    # The sha256 of the published model.safetensors.
    assert function["fingerprint"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert config == _identity.new_config()


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (HashedWords(), {"dense": dense()}),
        (HashedTerms(), {"sparse": sparse()}),
        (WordsAndTerms(), {"dense": dense("hybrid", output="dense"), "sparse": sparse("hybrid", output="sparse")}),
        ({}, {}),
        ({"a": HashedWords(), "b2": HashedTerms()}, {"a": dense("a"), "b2": sparse("b2")}),
        (
            {"both": WordsAndTerms(), "other": HashedWords(dim=8)},
            {
                "both_dense": dense("both", output="dense"),
                "both_sparse": sparse("both", output="sparse"),
                "other": dense("other", 8),
            },
        ),
    ],
)
def test_the_fields_that_functions_fill(given: Any, fields: dict[str, Any]) -> None:
    assert _identity.new_config(given)["fields"] == {**fields, "lexical": EN}
    if fields:
        assert _identity.new_config(given, lexical=False)["fields"] == fields
    opened = _identity.field_set(stored(given), given)
    assert list(opened.kinds) == [*fields, "lexical"]
    assert [field.name for field in opened.store_fields()] == [*fields, "lexical"]


def test_local_functions_of_every_kind_come_back(m3: Path) -> None:
    given = {
        "minilm": DefaultEmbeddingFunction(max_length=128, doc_instruction="passage: "),
        "splade": SpladeEmbeddingFunction("splade-tiny", k_tokens_query=7),
        "m3": BGEM3EmbeddingFunction(m3, max_length=9),
        "only_sparse": BGEM3EmbeddingFunction(m3, return_dense=False),
    }
    config = stored(given, "de")
    assert {name: field["kind"] for name, field in config["fields"].items()} == {
        "minilm": "dense",
        "splade": "sparse",
        "m3_dense": "dense",
        "m3_sparse": "sparse",
        "only_sparse_sparse": "sparse",
        "lexical": "lexical",
    }
    assert config["fields"]["m3_dense"]["dim"] == 21
    rebuilt = _identity.field_set(config)
    assert {name: one.identity() for name, one in rebuilt.functions.items()} == {
        name: one.identity() for name, one in given.items()
    }
    assert [type(one) for one in rebuilt.functions.values()] == [type(one) for one in given.values()]
    assert rebuilt.analyzer is not None
    assert rebuilt.analyzer.identity["language"] == "de"
    assert _identity.field_set(config, given).functions == given


def test_a_hosted_function_comes_back_and_its_key_is_never_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key-of-the-environment")
    config = stored({"ada": OpenAIEmbeddingFunction("text-embedding-3-small", KEY, dimensions=64)})
    assert KEY not in json.dumps(config)
    rebuilt = _identity.field_set(config).functions["ada"]
    assert isinstance(rebuilt, OpenAIEmbeddingFunction)
    assert (rebuilt.model_name, rebuilt.dim) == ("text-embedding-3-small", 64)


def test_a_cached_function_is_the_function(tmp_path: Path, m3: Path) -> None:
    function: BaseEmbeddingFunction[Any]
    for function in (HashedWords(), HashedTerms(), WordsAndTerms(), BGEM3EmbeddingFunction(m3)):
        with CachedEmbeddingFunction(function, tmp_path / "cache.sqlite3", show_progress=False) as cached:
            assert _identity.new_config(cached) == _identity.new_config(function)
            (found,) = _identity.field_set(stored(function), cached).functions.values()
            assert found is cached
            assert list(_identity.field_set(stored(cached), function).functions.values()) == [function]


def test_a_function_alone_opens_what_a_mapping_of_one_made() -> None:
    function = HashedWords()
    assert _identity.field_set(stored({"words": function}), function).functions == {"words": function}
    assert _identity.field_set(stored(function), {"dense": function}).functions == {"dense": function}


def test_a_collection_of_format_1_is_read_as_what_it_was() -> None:
    # As milvine 0.1 wrote it.
    old = {
        "format": 1,
        "fields": {
            "dense": {"function": "HashedWords", "dim": 16, "version": 1, "range": [0, 1]},
            "lexical": {"analyzer": {"language": "en", "rules": 2}, "k1": 0.9, "b": 0.4},
        },
    }
    function = HashedWords()
    opened = _identity.field_set(old, function)
    assert opened.kinds == {"dense": "dense", "lexical": "lexical"}
    assert opened.functions == {"dense": function}
    assert opened.encode_documents(["a b"]).keys() == {"dense"}
    with pytest.raises(CollectionMismatchError, match=r"another embedding function \(version: 1 there, 2 here\)"):
        _identity.field_set(old, HashedWords(version=2))


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"max_length": 128}, "max_length: 256 there, 128 here"),
        ({"normalize_embeddings": False}, "normalize_embeddings: True there, False here"),
        ({"query_instruction": "q: "}, "query_instruction: '' there, 'q: ' here"),
    ],
)
def test_every_option_that_changes_vectors_is_compared(options: dict[str, Any], difference: str) -> None:
    with pytest.raises(CollectionMismatchError, match=difference):
        _identity.field_set(_identity.new_config(), DefaultEmbeddingFunction(**options))


TWO = {"words": HashedWords(), "terms": HashedTerms()}


@pytest.mark.parametrize(
    ("made", "opened", "match"),
    [
        (TWO, {**TWO, "terms": HashedTerms(2)}, r"another embedding function 'terms' \(factor: 1.0 there, 2 here\)"),
        (TWO, {"words": HashedWords()}, "functions 'words', 'terms', and is opened with 'words'"),
        (TWO, {**TWO, "more": HashedWords()}, "and is opened with 'words', 'terms', 'more'"),
        (TWO, {"words": HashedTerms(), "terms": HashedWords()}, "function: 'HashedWords' there, 'HashedTerms' here"),
        (TWO, HashedWords(), "and is opened with one without a name"),
        (TWO, {}, "and is opened with none"),
        ({}, HashedWords(), "embedding functions none, and is opened with one"),
        (HashedWords(), {"words": HashedWords()}, "functions 'dense', and is opened with 'words'"),
        (HashedWords(), HashedTerms(), "function: 'HashedWords' there, 'HashedTerms' here"),
        (HashedWords(), WordsAndTerms(), "function: 'HashedWords' there, 'WordsAndTerms' here"),
        (HashedWords(), HashedWords(8), "dim: 16 there, 8 here"),
        (TWO, None, "made with HashedWords, which cannot be rebuilt .* pass it as embedding_function={'words': ..., "),
        (HashedWords(), None, "made with HashedWords, which cannot be rebuilt .* pass it as embedding_function$"),
    ],
)
def test_other_functions_are_refused_and_both_sides_are_named(made: Any, opened: Any, match: str) -> None:
    with pytest.raises(CollectionMismatchError, match=match):
        _identity.field_set(stored(made), opened)


def test_only_embedding_functions_are_rebuilt() -> None:
    for name in ("Path", "np", "__all__", "dense", "LocalDenseFunction", "CrossEncoderRerankFunction"):
        config = stored(HashedWords())
        config["functions"]["dense"]["function"] = name
        with pytest.raises(CollectionMismatchError, match=f"made with {name}, which cannot be rebuilt"):
            _identity.field_set(config)


def test_lexical_search_is_there_or_not() -> None:
    without = stored(HashedWords(), lexical=False)
    assert _identity.field_set(without, HashedWords()).analyzer is None
    assert _identity.field_set(without, HashedWords(), lexical=False).kinds == {"dense": "dense"}
    for options in ({"lexical": True}, {"language": "en"}):
        with pytest.raises(CollectionMismatchError, match="made without lexical search and is opened with it"):
            _identity.field_set(without, HashedWords(), **options)
    with pytest.raises(CollectionMismatchError, match="made with lexical search and is opened without it"):
        _identity.field_set(stored(HashedWords()), HashedWords(), lexical=False)
    with pytest.raises(InputError, match="language='de' is for lexical search, and lexical=False"):
        _identity.new_config(HashedWords(), "de", lexical=False)
    with pytest.raises(InputError, match="there is nothing to search by"):
        _identity.new_config({}, lexical=False)


@pytest.mark.parametrize("config", [{}, {"format": 0}, {"format": 3, "fields": {}}, {"format": "1"}])
def test_another_format_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(CollectionMismatchError, match=r"has format .*, and this milvine reads 1 to 2: upgrade milvine"):
        _identity.field_set(config)


@pytest.mark.parametrize(
    "config",
    [
        {"format": 1},
        {"format": 1, "fields": {"dense": {"dim": 3}}},
        {"format": 2, "fields": {}},
        {"format": 2, "functions": {}, "fields": {"dense": {"kind": "dense", "function": "dense"}}},
        {"format": 2, "functions": [], "fields": []},
    ],
)
def test_a_damaged_config_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(CollectionMismatchError, match="configuration is damaged"):
        _identity.field_set(config)


@pytest.mark.parametrize("function", ["all-MiniLM-L6-v2", HashedWords, CountsWord("x"), 5, [HashedWords()]])
def test_what_is_no_embedding_function(function: Any) -> None:
    for given in (function, {"a": HashedWords(), "b": function}):
        with pytest.raises(InputTypeError, match=r"must be an embedding function.* not (str|ABCMeta|Count|int|list)"):
            _identity.new_config(given)


def test_a_function_that_a_collection_has_no_field_for() -> None:
    for given in (BM25EmbeddingFunction(), {"mine": BM25EmbeddingFunction()}):
        with pytest.raises(InputError, match=r"does BM25 by itself, .*language="):
            _identity.new_config(given)


def test_functions_that_give_a_vector_a_token(m3: Path, tmp_path: Path) -> None:
    (tmp_path / "colbert").mkdir()
    colbert = ColBERTEmbeddingFunction(write_stanford(tmp_path / "colbert", "stanford"))
    function = BGEM3EmbeddingFunction(m3, return_colbert_vecs=True)
    config = stored({"m3": function, "late": colbert})
    assert {name: field["kind"] for name, field in config["fields"].items()} == {
        "m3_dense": "dense",
        "m3_sparse": "sparse",
        "m3_colbert_vecs": "multivector",
        "late": "multivector",
        "lexical": "lexical",
    }
    assert config["fields"]["late"] == {"kind": "multivector", "dim": colbert.dim, "function": "late"}
    opened = _identity.field_set(config)
    assert [type(one) for one in opened.functions.values()] == [BGEM3EmbeddingFunction, ColBERTEmbeddingFunction]
    vectors, given = opened.encode_documents(["a b c", ""]), function.encode_documents(["a b c", ""])
    for one, expected in zip(vectors["m3_colbert_vecs"], given["colbert_vecs"], strict=True):
        np.testing.assert_array_equal(one, expected)
    for one, expected in zip(vectors["late"], colbert.encode_documents(["a b c", ""]), strict=True):
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("name", ["", "a b", "a-b", "1st", "größe", "a" * 101, 5, "id", "text", "lexical", "_private"])
def test_names_that_are_not_allowed(name: Any) -> None:
    with pytest.raises(InputError, match=r"cannot name a field: .*(letters, digits and underscores|are reserved)"):
        _identity.new_config({name: HashedWords()})


def test_two_functions_for_one_field() -> None:
    with pytest.raises(InputError, match="two embedding functions would fill the field 'a_sparse'"):
        _identity.new_config({"a": WordsAndTerms(), "a_sparse": HashedTerms()})


@pytest.mark.parametrize("dim", [0, -1, None, "16", True])
def test_a_dim_that_is_none(dim: Any) -> None:
    with pytest.raises(InputTypeError, match="the dim of HashedWords must be an integer of at least 1, not"):
        _identity.new_config(HashedWords(dim))


class FailsOnNothing(HashedWords):
    def _encode_documents(self, texts: list[str]) -> Any:
        if not texts:
            raise ValueError("need at least one array to stack")
        return super()._encode_documents(texts)


def test_a_function_that_fails_on_an_empty_list_is_taken_for_dense() -> None:
    assert _identity.new_config(FailsOnNothing())["fields"]["dense"] == dense()


def test_mgte_and_bge_m3_say_which_outputs_they_give_without_being_loaded() -> None:
    # Neither model is on this machine, and asking it for nothing would have to load it.
    for made in (MGTEEmbeddingFunction, BGEM3EmbeddingFunction):
        function: Any = made.__new__(made)
        function.return_dense, function.return_sparse, function.return_colbert_vecs = False, True, False
        assert _identity._kinds(function) == {"sparse": "sparse"}
