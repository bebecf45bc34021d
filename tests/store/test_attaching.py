"""Collections that another tool made, with a schema of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milvine import Collection, Record
from milvine.errors import CollectionMismatchError, CollectionNotFoundError, InputError, InputTypeError
from milvine.store._lite_database import LiteDatabase
from small_functions import DIM, HashedTerms, HashedTokens, HashedWords

TEXTS = ["tea is made of leaves", "coffee is made of beans", "bread is made of flour"]
NAMES = {"id": "pk", "text": "body", "words": "embedding", "terms": "weights"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    """Another tool, in the same process: a plain MilvusClient."""
    database = LiteDatabase.acquire(tmp_path / "kb.db", create=True)
    with database.writing() as client:
        pass
    yield client
    database.release()


def make(client: Any, name: str = "theirs", metric: str = "COSINE", **options: Any) -> None:
    """A collection of integers for ids, declared metadata, and one dense and one sparse vector."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=options.get("dynamic", False))
    schema.add_field("pk", DataType.INT64, is_primary=True)
    schema.add_field("body", DataType.VARCHAR, max_length=1000)
    schema.add_field("year", DataType.INT32, nullable=True)
    schema.add_field("more", DataType.JSON, nullable=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("weights", DataType.SPARSE_FLOAT_VECTOR)
    client.create_collection(name, schema=schema)
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="FLAT", metric_type=metric)
    index.add_index("weights", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_index(name, index, sync=False)
    terms = HashedTerms()
    rows = zip(TEXTS, HashedWords().encode_documents(TEXTS), strict=True)
    client.insert(
        name,
        [
            {"pk": at, "body": text, "year": 2000 + at, "more": {"at": [at]}, "embedding": vector,
             "weights": terms.weights(text)}
            for at, (text, vector) in enumerate(rows)
        ],
    )  # fmt: skip


@pytest.fixture
def functions() -> dict[str, Any]:
    return {"words": HashedWords(), "terms": HashedTerms()}


def attach(tmp_path: Path, functions: Any, name: str = "theirs", names: Any = NAMES) -> Collection:
    return Collection.attach(tmp_path / "kb.db", name, names, embedding_function=functions)


def test_reading_and_searching(client: Any, tmp_path: Path, functions: dict[str, Any]) -> None:
    make(client)
    with attach(tmp_path, functions) as docs:
        assert docs.get(["1", "7", "01", "x"]) == [
            Record("1", TEXTS[1], {"year": 2001, "more": {"at": [1]}}), None, None, None,
        ]  # fmt: skip
        assert sorted(docs.ids("year >= 2001")) == ["1", "2"]
        assert docs.count() == 3
        assert sorted(record.text for record in docs) == sorted(TEXTS)
        hit = docs.search("coffee beans")[0]
        assert (hit.id, hit.text, hit.metadata["year"]) == ("1", TEXTS[1], 2001)
        assert hit.fields["terms"].score == 2.0
        query, vector = (HashedWords()._vector(text) for text in ("coffee beans", TEXTS[1]))
        assert hit.fields["words"].score == pytest.approx(float(query @ vector), abs=1e-6)
        assert docs.search("coffee", filter="year < 2001", fields=["words"])[0].id == "0"
        assert docs.analyzer is None
    # Nothing of ours has been put into it.
    assert client.describe_collection("theirs").get("properties", {}) == {}


@pytest.mark.parametrize("metric", ["IP", "L2"])
def test_other_metrics_give_cosines_of_unit_vectors(
    client: Any, tmp_path: Path, functions: dict[str, Any], metric: str
) -> None:
    make(client, metric=metric)
    with attach(tmp_path, functions) as docs:
        query = HashedWords()._vector("coffee")
        cosines = {str(at): float(query @ HashedWords()._vector(text)) for at, text in enumerate(TEXTS)}
        hits = docs.search("coffee", fields=["words"])
        assert {hit.id: hit.score for hit in hits} == pytest.approx(cosines, abs=1e-5)
        assert [hit.id for hit in hits] == sorted(cosines, key=lambda id_: -cosines[id_])
        (scores,) = docs._store.score("words", [query], [list(cosines)])
        assert scores == pytest.approx(cosines, abs=1e-5)


def test_writing(client: Any, tmp_path: Path, functions: dict[str, Any]) -> None:
    make(client)
    with attach(tmp_path, functions) as docs:
        there = [Record(str(at), text, {"year": 2000 + at, "more": {"at": [at]}}) for at, text in enumerate(TEXTS)]
        assert docs.add(there).unchanged == 3
        assert docs.add([Record("5", "milk is white", {"year": 2020}), Record("-7", "", {})]).added == 2
        assert docs.add([Record("5", "milk is white", {"year": 2020})]).unchanged == 1
        assert docs.search("white milk")[0].id == "5"
        assert docs.get(["5"]) == [Record("5", "milk is white", {"year": 2020})]
        assert docs.delete(["5", "nosuch"]) == 1
        with pytest.raises(InputError, match="the id 'x': this collection's ids are integers"):
            docs.add(["text"], ids=["x"])
        with pytest.raises(InputError, match=r"'9' has the metadata key 'author', and .* it has year, more"):
            docs.add([Record("9", "text", {"author": "me"})])
        assert docs.count() == 4
    assert client.query("theirs", filter="pk in [-7]", output_fields=["pk", "body"])[0]["body"] == ""


def test_a_schema_without_declared_text(client: Any, tmp_path: Path) -> None:
    client.create_collection("quick", dimension=DIM)
    vectors = HashedWords().encode_documents(TEXTS)
    rows = enumerate(zip(TEXTS, vectors, strict=True))
    client.insert("quick", [{"id": at, "vector": vector, "text": text, "n": at} for at, (text, vector) in rows])
    client.insert("quick", [{"id": 9, "vector": vectors[0]}])
    with attach(tmp_path, HashedWords(), "quick", {"dense": "vector"}) as docs:
        assert docs.search("coffee beans")[0].text == TEXTS[1]
        assert docs.get(["1", "9"]) == [Record("1", TEXTS[1], {"n": 1}), Record("9", "")]
        assert docs.add(["new"], ids=["12"], metadata=[{"any": "thing"}]).added == 1
        assert docs.add(["new"], ids=["12"], metadata=[{"any": "thing"}]).unchanged == 1


def test_what_can_only_be_read(client: Any, tmp_path: Path) -> None:
    make(client)
    client.create_collection("auto", dimension=DIM, auto_id=True)
    for name, names, why in (
        ("theirs", {"text": "body", "dense": "embedding"}, "no embedding function given fills: weights"),
        ("auto", {"dense": "vector"}, "Milvus makes its ids"),
    ):
        with attach(tmp_path, HashedWords(), name, names) as docs:
            docs.search("coffee")
            with pytest.raises(InputError, match=f"can only be read: .*{why}"):
                docs.add(["text"], ids=["1"])


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        ({}, CollectionMismatchError, r"'theirs' has no text field 'text' for 'text'; .*body \(VARCHAR\)"),
        ({"text": "year"}, CollectionMismatchError, "no text field 'year'"),
        ({"text": "body"}, CollectionMismatchError, "no FLOAT_VECTOR field 'dense' for 'dense'; say which one"),
        ({"text": "body", "dense": "weights"}, CollectionMismatchError, "no FLOAT_VECTOR field 'weights'"),
        ({"text": "body", "dense": "embedding", "id": "year"}, CollectionMismatchError, "which 'theirs' calls 'pk'"),
        ({"text": "body", "vector": "embedding"}, InputError, "fields names 'vector', and what .* is id, text, dense"),
        (["text"], InputTypeError, "fields must be a mapping of names to names"),
        ({"text": 5}, InputTypeError, "fields must be a mapping of names to names"),
    ],
)
def test_mappings_that_do_not_fit(client: Any, tmp_path: Path, names: Any, error: type[Exception], match: str) -> None:
    make(client)
    with pytest.raises(error, match=match):
        attach(tmp_path, HashedWords(), names=names)


def test_collections_that_cannot_be_attached(client: Any, tmp_path: Path) -> None:
    make(client)
    Collection(tmp_path / "kb.db", "ours", embedding_function=HashedWords()).close()
    names = {"text": "body", "dense": "embedding"}
    with pytest.raises(
        CollectionMismatchError, match="has 16 dimensions, and the embedding function of 'dense' gives 8"
    ):
        attach(tmp_path, HashedWords(8), names=names)
    with pytest.raises(CollectionMismatchError, match=r"milvine made the collection 'ours'; use Collection\.open"):
        attach(tmp_path, HashedWords(), "ours", {})
    with pytest.raises(CollectionNotFoundError, match="no collection 'nosuch'; its collections: ours, theirs"):
        attach(tmp_path, HashedWords(), "nosuch", {})
    with pytest.raises(
        CollectionMismatchError, match=r"was not made by milvine; use another name, or Collection\.atta"
    ):
        Collection(tmp_path / "kb.db", "theirs", embedding_function=HashedWords())
    client.release_collection("theirs")
    client.drop_index("theirs", "embedding")
    with pytest.raises(CollectionMismatchError, match="'embedding' of 'theirs' has no index"):
        attach(tmp_path, HashedWords(), names=names)


def test_another_vector_type_than_the_columns(client: Any, tmp_path: Path, functions: dict[str, Any]) -> None:
    make(client)
    options: dict[str, Any] = {"embedding_function": functions}
    match = r"no INT8_VECTOR field 'embedding' for 'words'; open it with vector_type={'words': 'float32'}; its fields: "
    with pytest.raises(CollectionMismatchError, match=match):
        Collection.attach(tmp_path / "kb.db", "theirs", NAMES, vector_type="int8", **options)
    with Collection.attach(tmp_path / "kb.db", "theirs", NAMES, vector_type="float32", **options) as docs:
        assert docs.search("coffee beans", fields=["words"])[0].id == "1"
    tokens = {**functions, "tokens": HashedTokens()}
    with pytest.raises(InputError, match="'tokens' holds a vector a token, and Milvus has no field for that"):
        Collection.attach(tmp_path / "kb.db", "theirs", NAMES, embedding_function=tokens)
