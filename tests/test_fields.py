"""A collection's fields: the vectors that functions give, their checks, and collections of several fields."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array

from milvine import Collection
from milvine._fields import FieldSet
from milvine._identity import field_set, new_config
from milvine._vectors import checked_dense, checked_sparse
from milvine.errors import CollectionMismatchError, InputError
from milvine.model import CachedEmbeddingFunction
from milvine.model.hybrid import BGEM3EmbeddingFunction
from milvine.model.sparse import SpladeEmbeddingFunction
from small_functions import DIM, TERMS, HashedTerms, HashedWords, WordsAndTerms
from tiny_token_models import write_bge_m3

Collect = Callable[..., Collection]


def fields_of(given: Any) -> FieldSet:
    return field_set(new_config(given), given)


# What functions give


def test_each_function_runs_once_however_many_fields_it_fills() -> None:
    both, words = WordsAndTerms(), HashedWords()
    fields = fields_of({"both": both, "words": words})
    texts = ["a b", "", "c"]
    vectors = fields.encode_documents(texts)
    assert {name: len(column) for name, column in vectors.items()} == {"both_dense": 3, "both_sparse": 3, "words": 3}
    assert both.passes == [texts]
    np.testing.assert_array_equal(np.stack(vectors["both_dense"]), np.stack(HashedWords().encode_documents(texts)))
    for row, text in zip(vectors["both_sparse"], texts, strict=True):
        assert row.shape == (1, TERMS)
        assert dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) == HashedTerms().weights(text)


def test_only_the_functions_of_the_fields_that_are_searched_run() -> None:
    both, words = WordsAndTerms(), HashedWords()
    fields = fields_of({"both": both, "words": words})
    assert fields.encode_queries(["a"], ["words", "lexical"]).keys() == {"words"}
    assert both.passes == []
    assert fields.encode_queries(["a"], ["both_sparse", "both_dense"]).keys() == {"both_dense", "both_sparse"}
    assert both.passes == [["a"]]
    assert fields.encode_queries(["a"], ["lexical"]) == {}


class Awaited(HashedWords):
    async def aencode_queries(self, queries: list[str]) -> Any:
        await asyncio.sleep(0)
        return self.encode_queries(queries)


def test_queries_can_be_awaited() -> None:
    fields = fields_of({"own": Awaited(), "thread": WordsAndTerms()})
    names = ["own", "thread_dense", "thread_sparse", "lexical"]
    awaited = asyncio.run(fields.aencode_queries(["a b", "c"], names))
    expected = fields.encode_queries(["a b", "c"], names)
    assert awaited.keys() == expected.keys()
    for name in ("own", "thread_dense"):
        np.testing.assert_array_equal(awaited[name], expected[name])
    assert [row.indices.tolist() for row in awaited["thread_sparse"]] == [
        row.indices.tolist() for row in expected["thread_sparse"]
    ]


class Told(WordsAndTerms):
    """Gives what it is told to."""

    result: Any = None

    def _encode_documents(self, texts: list[str]) -> Any:
        return self.result if texts else super()._encode_documents(texts)


@pytest.mark.parametrize(
    ("result", "match"),
    [
        ({"dense": [[0.5] * DIM]}, r"Told's 'sparse' gave a NoneType of shape \? for 1 texts"),
        ({"sparse": csr_array((1, TERMS))}, "Told's 'dense' gave"),
        ([[0.5] * DIM], "Told's 'dense' gave"),
        ({"dense": [[0.5] * DIM], "sparse": csr_array((2, TERMS))}, r"a csr_array of shape \(2, 512\) for 1 texts"),
        ({"dense": [[0.5] * DIM], "sparse": [{1: 0.5}]}, r"a list of shape \? for 1 texts"),
    ],
)
def test_outputs_that_are_missing_or_wrong(result: Any, match: str) -> None:
    function = Told()
    function.result = result
    with pytest.raises(InputError, match=match):
        fields_of(function).encode_documents(["a"])


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        ([[0.0] * DIM], rf"F gave vectors of shape \(1, {DIM}\) for 2 texts; the shape must be \(2, {DIM}\)"),
        ([[0.0] * DIM] * 3, r"gave vectors of shape \(3, "),
        ([[0.0] * 8] * 2, r"gave vectors of shape \(2, 8\)"),
        ([0.0, 0.0], r"gave vectors of shape \(2,\)"),
        ([[0.0] * DIM, [0.0] * 8], "gave no list of 2 vectors of one length"),
        ([["x"] * DIM] * 2, "gave no list of 2 vectors"),
        (None, "F gave"),
        (
            [[0.0] * DIM, [0.0] * (DIM - 1) + [float("nan")]],
            "a vector with NaN, infinity or a number beyond 1e.17 for text 1 of 2",
        ),
        (
            [[float("inf")] + [0.0] * (DIM - 1), [0.0] * DIM],
            "a vector with NaN, infinity or a number beyond 1e.17 for text 0 of 2",
        ),
        ([[0.0] * DIM, [1e300] * DIM], "infinity or .* for text 1"),  # too large for float32
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_dense_vectors_that_are_refused(vectors: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        checked_dense(vectors, 2, DIM, "F")


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf"), -0.5, 1e300])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_sparse_weights_that_are_refused(weight: float) -> None:
    matrix = csr_array(([1.0, 2.0, weight], ([0, 2, 2], [3, 1, 5])), shape=(4, 9))
    with pytest.raises(InputError, match=r"F gave the weight .* for text 2 of 4; sparse weights must be finite and at"):
        checked_sparse(matrix, 4, "F")


def test_sparse_matrices_of_any_form_become_rows_and_stay_as_they_were() -> None:
    # Unsorted, with a duplicate and an explicit zero: what scipy makes of it is the reference.
    matrix = coo_array(([1.0, 2.0, 3.0, 0.0], ([1, 0, 1, 0], [4, 2, 4, 3])), shape=(3, 6))
    dense = matrix.toarray()
    rows = checked_sparse(matrix, 3, "F")
    assert [(row.shape, row.dtype, row.nnz) for row in rows] == [((1, 6), np.float32, n) for n in (1, 1, 0)]
    np.testing.assert_array_equal(np.vstack([row.toarray() for row in rows]), dense)
    given = csr_array(([0.0, 1.0], [1, 0], [0, 2]), shape=(1, 2))
    assert [row.nnz for row in checked_sparse(given, 1, "F")] == [1]
    assert given.nnz == 2


# Collections of several fields

TEXTS = {
    "tea": "tea is made of leaves and hot water",
    "coffee": "coffee is made of beans and hot water",
    "bread": "bread is made of flour water and yeast",
    "blank": "",
    "dog": "the dog sleeps in the house",
}


def test_a_collection_of_four_fields(collect: Collect) -> None:
    both, terms = WordsAndTerms(), HashedTerms()
    docs = collect(embedding_function={"both": both, "terms": terms})
    assert docs.add(TEXTS.values(), ids=list(TEXTS)).added == 5
    assert both.passes == [list(TEXTS.values())]
    assert docs.embedding_functions == {"both": both, "terms": terms}
    query = "hot coffee coffee"
    asked = terms.weights(query)
    # Inner products, by hand.
    expected = {}
    for id_, text in TEXTS.items():
        score = sum(weight * asked.get(column, 0) for column, weight in terms.weights(text).items())
        expected |= {id_: score} if score else {}
    assert expected == {"coffee": 3, "tea": 1}
    for field in ("both_sparse", "terms"):
        hits = docs.search(query, fields=[field])
        assert {hit.id: hit.fields[field].score for hit in hits} == expected
    assert {hit.id for hit in docs.search(query, fields=["both_dense"])} == set(TEXTS)
    assert docs.search(query)[0].id == "coffee"
    assert docs.search(query)[0].fields.keys() == {"both_dense", "both_sparse", "terms", "lexical"}
    assert docs.add(TEXTS.values(), ids=list(TEXTS)).unchanged == 5
    docs.delete(["tea"])
    assert [hit.id for hit in docs.search("tea hot", fields=["terms"])] == ["coffee"]


def test_without_lexical_search(collect: Collect) -> None:
    docs = collect(embedding_function=HashedTerms(), lexical=False)
    docs.add(TEXTS.values(), ids=list(TEXTS))
    assert docs.analyzer is None
    assert [hit.id for hit in docs.search("dog house")] == ["dog"]
    docs.close()
    again = collect(embedding_function=HashedTerms())
    assert [hit.id for hit in again.search("dog house")] == ["dog"]
    with pytest.raises(CollectionMismatchError, match="without lexical search"):
        collect(embedding_function=HashedTerms(), lexical=True)


def test_lexical_search_alone(collect: Collect, database: str) -> None:
    docs = collect(embedding_function={})
    docs.add(TEXTS.values(), ids=list(TEXTS))
    assert [hit.id for hit in docs.search("dogs")] == ["dog"]
    with pytest.raises(InputError, match="not one embedding function but: none"):
        docs.embedding_function  # noqa: B018
    docs.close()
    with Collection.open(database, "docs") as again:
        assert [hit.id for hit in again.search("dogs")] == ["dog"]


def test_models_of_every_kind_are_rebuilt_when_the_collection_is_opened(database: str, tmp_path: Path) -> None:
    (tmp_path / "m3").mkdir()
    m3 = BGEM3EmbeddingFunction(write_bge_m3(tmp_path / "m3"))
    splade = SpladeEmbeddingFunction("splade-tiny")
    texts = ["c d e f g h i j k l m n o p", "b a a b a . , a", "q a b b r", ""]
    query = "a b q c d"
    with Collection.create(database, "docs", embedding_function={"m3": m3, "splade": splade}) as docs:
        docs.add(texts, ids=list("0123"))
        names = ("m3_dense", "m3_sparse", "splade")
        before = {name: docs.search(query, fields=[name]) for name in names}
    # The functions' own inner products are the reference.
    encoded, asked = m3.encode_documents(texts), m3.encode_queries([query])
    for name, inner in (
        ("m3_dense", np.stack(encoded["dense"]) @ asked["dense"][0]),
        ("m3_sparse", (encoded["sparse"] @ asked["sparse"].T).toarray()[:, 0]),
        ("splade", (splade.encode_documents(texts) @ splade.encode_queries([query]).T).toarray()[:, 0]),
    ):
        expected = {str(at): float(score) for at, score in enumerate(inner) if score > 0 or name == "m3_dense"}
        assert {hit.id: hit.fields[name].score for hit in before[name]} == pytest.approx(expected, abs=1e-5), name
        assert expected, name
    with Collection.open(database, "docs") as again:
        assert {name: type(one) for name, one in again.embedding_functions.items()} == {
            "m3": BGEM3EmbeddingFunction,
            "splade": SpladeEmbeddingFunction,
        }
        assert {name: again.search(query, fields=[name]) for name in names} == before
        assert again.add(texts, ids=list("0123")).unchanged == 4


def test_a_cache_can_be_put_before_a_collections_function(collect: Collect, tmp_path: Path) -> None:
    function = WordsAndTerms()
    with CachedEmbeddingFunction(function, tmp_path / "cache.sqlite3", show_progress=False) as cached:
        docs = collect(embedding_function=cached)
        docs.add(TEXTS.values(), ids=list(TEXTS))
        docs.drop()
        docs = collect(embedding_function=cached)
        docs.add(TEXTS.values(), ids=list(TEXTS))
    assert len(function.passes) == 1
    docs.close()
    assert [hit.id for hit in collect(embedding_function=function).search("dog house", fields=["sparse"])] == ["dog"]


class NegativeLater(HashedTerms):
    def _encode_documents(self, texts: list[str]) -> Any:
        matrix = super()._encode_documents(texts)
        matrix.data[matrix.data > 3] *= -1
        return matrix


def test_a_negative_weight_reaches_no_store(collect: Collect) -> None:
    docs = collect(embedding_function={"a": HashedWords(), "b": NegativeLater()})
    docs.add(["fine"])
    with pytest.raises(InputError, match=r"NegativeLater gave the weight -4\.0 for text 1 of 2"):
        docs.add(["fine too", "four four four four"])
    assert docs.count() == 1


def test_metadata_cannot_be_called_what_a_field_is_called(collect: Collect) -> None:
    docs = collect(embedding_function={"meaning": HashedWords()})
    with pytest.raises(InputError, match="the record 'x': the metadata key 'meaning' is the name of a vector field"):
        docs.add(["text"], ids=["x"], metadata=[{"meaning": 1}])
    assert docs.count() == 0
