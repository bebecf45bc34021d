"""Vectors of every type in every store: their forms, how Milvus' client takes them, scores, and what is refused.

No server of 2.4 or later is at hand: for float16, bfloat16 and int8 on one, what is tested is the schema, what pymilvus
makes of rows and queries, and what milvine makes of rows that pymilvus reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest

from milvine import Collection, Record
from milvine.errors import CollectionMismatchError, InputError
from milvine.store import DenseField, Metric, MultiVectorField, Row, SparseField, VectorType
from milvine.store._rows import Columns, to_entity, to_row
from milvine.store._server_connection import ServerConnection
from milvine.store._server_schema import check_capable, index_of, make_schema
from milvine.store._vector_types import DATA_TYPES, dense_scores, from_stored, other_types, to_score, to_stored
from milvus_servers import LiteServer, RealServer
from small_functions import DIM, HashedTokens, HashedWords

TYPES: tuple[VectorType, ...] = get_args(VectorType)
TEXTS = {f"i{n}": f"word{n % 7} word{n % 5} word{n}" for n in range(60)}
QUERY = "word3 word12"


# Forms and scores


def test_bfloat16_by_hand_and_by_its_definition() -> None:
    # 1 is 0x3F80. 1 + 1/256 and 1 + 3/256 lie between two, and go to the even ones; a little more goes up.
    floats = np.asarray([1, 1 + 1 / 256, 1 + 3 / 256, 1 + 1 / 256 + 2**-20, -2, 0], np.float32)
    stored = to_stored(floats, "bfloat16")
    assert [hex(one) for one in stored] == ["0x3f80", "0x3f80", "0x3f82", "0x3f81", "0xc000", "0x0"]
    assert from_stored(stored, "bfloat16").tolist() == [1, 1, 1 + 1 / 64, 1 + 1 / 128, -2, 0]
    chance = np.random.default_rng(3)
    many = (chance.normal(size=(500, 8)) * 10.0 ** chance.integers(-30, 30, (500, 8))).astype(np.float32)
    assert not (many.view(np.uint32) & 0xFFFF == 0x8000).any()
    # Of the two numbers with sixteen bits on either side the nearer one; half-way numbers are above.
    below = (many.view(np.uint32) & 0xFFFF0000).view(np.float32)
    above = ((many.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32)
    exact = many.astype(np.float64)
    nearest = np.where(abs(exact - below) < abs(exact - above), below, above)
    np.testing.assert_array_equal(from_stored(to_stored(many, "bfloat16"), "bfloat16"), nearest)


@pytest.mark.parametrize("type_", TYPES)
def test_what_was_stored_is_stored_again_bit_by_bit(type_: VectorType) -> None:
    chance = np.random.default_rng(5)
    vectors = {
        "int8": chance.integers(-128, 128, (9, 4)).astype(np.int8),
        "binary": chance.integers(0, 256, (9, 4)).astype(np.uint8),
    }.get(type_, chance.normal(size=(9, 4)).astype(np.float32))
    stored = to_stored(vectors, type_)
    np.testing.assert_array_equal(to_stored(from_stored(stored, type_), type_), stored)
    assert stored.dtype.itemsize == {"float32": 4, "float16": 2, "bfloat16": 2}.get(type_, 1)


def test_scores_by_hand() -> None:
    query, matrix = np.asarray([3, 4], np.float32), np.asarray([[4, 3], [0, 0], [-3, -4]], np.float32)
    assert dense_scores(query, matrix, "IP") == [24, 0, -25]
    assert dense_scores(query, matrix, "COSINE") == pytest.approx([24 / 25, 0, -1])
    assert dense_scores(query, matrix, "L2") == [1 - 2 / 2, 1 - 25 / 2, 1 - 100 / 2]
    assert dense_scores(query.astype(np.int8), matrix.astype(np.int8), "COSINE") == pytest.approx([24 / 25, 0, -1])
    bits = np.asarray([[0b11110000, 0], [0, 0], [0b00001111, 255]], np.uint8)
    assert dense_scores(np.asarray([0b11110000, 0], np.uint8), bits, "HAMMING") == [1, 1 - 2 * 4 / 16, -1]
    assert [to_score(d, "HAMMING", 16) for d in (0, 4, 16)] == [1, 0.5, -1]


# What a server gets


def fields() -> list[DenseField]:
    return [DenseField(type_, 8, type_) for type_ in TYPES]


def vectors() -> dict[str, Any]:
    floats = np.asarray([1, -2, 0.5, 0, 3, 4, -1, 1], np.float32)
    return dict.fromkeys(("float32", "float16", "bfloat16"), floats) | {
        "int8": np.asarray([1, -128, 127, 0, 3, 4, -1, 1], np.int8),
        "binary": np.asarray([0b10110001], np.uint8),
    }


def test_the_schema_and_the_indexes_of_every_type() -> None:
    columns = {field["name"]: field for field in make_schema(fields(), {}).to_dict()["fields"]}
    for type_ in TYPES:
        assert columns[type_]["type"].name == DATA_TYPES[type_]
        assert columns[type_]["params"] == {"dim": 8}
    indexes = {field.name: index_of(field, fields(), {})[0]["index_type"] for field in fields()}
    assert indexes == {**dict.fromkeys(TYPES, "AUTOINDEX"), "int8": "HNSW", "binary": "BIN_FLAT"}
    binary = DenseField("binary", 8, "binary")
    for field, index in ((binary, "HNSW"), (fields()[0], "BIN_FLAT")):
        with pytest.raises(InputError, match=f"the index {index} is not for {field.name!r}; take "):
            index_of(field, fields(), {"index": index})
    for index in ("AUTOINDEX", "BIN_IVF_FLAT"):
        assert index_of(binary, fields(), {"index": {"binary": index}}) == ({"index_type": index}, True)


def test_what_pymilvus_makes_of_rows_and_queries() -> None:
    from pymilvus import DataType
    from pymilvus.client.field_data_extractors import decode_cell
    from pymilvus.client.prepare import Prepare
    from pymilvus.grpc_gen import common_pb2

    columns = Columns(types=other_types(fields()))
    schema = make_schema(fields(), {}).to_dict()["fields"]
    row = Row(Record("a", "text"), "hash", vectors())
    request = Prepare.row_upsert_param("docs", [to_entity(row, columns)], "", schema, enable_dynamic=True)
    sent = {data.field_name: data for data in request.fields_data}
    expected = {
        "float16": vectors()["float16"].astype(np.float16).tobytes(),
        "bfloat16": bytes.fromhex("803f 00c0 003f 0000 4040 8040 80bf 803f"),
        "int8": vectors()["int8"].tobytes(),
        "binary": b"\xb1",
    }
    assert {type_: getattr(sent[type_].vectors, f"{type_}_vector") for type_ in expected} == expected
    assert list(sent["float32"].vectors.float_vector.data) == vectors()["float32"].tolist()
    assert [sent[type_].vectors.dim for type_ in TYPES] == [8] * 5

    # A query gives back what was sent: cells of bytes in a list of one.
    found = {type_: decode_cell(sent[type_], 0, wrap_byte_vectors=True) for type_ in TYPES}
    read = to_row({"id": "a", "text": "text", "content_hash": "hash", **found}, columns, fields())
    for type_ in TYPES:
        np.testing.assert_array_equal(read.vectors[type_], vectors()[type_], strict=True)
        metric = "HAMMING" if type_ == "binary" else "COSINE"
        assert columns.scores(type_, vectors()[type_], {"a": found[type_]}, ["a", "b"], metric) == {
            "a": pytest.approx(1)
        }
        asked = columns.asked(type_, [vectors()[type_]])
        kind = getattr(DataType, DATA_TYPES[type_])
        group = common_pb2.PlaceholderGroup.FromString(Prepare._prepare_placeholder_str(asked, False, kind))
        (placeholder,) = group.placeholders
        assert placeholder.type == kind
        assert list(placeholder.values) == [expected.get(type_, vectors()["float32"].tobytes())]


def connection(version: str, *, is_lite: bool = False) -> ServerConnection:
    """One that knows a server's version alone."""
    made = ServerConnection.__new__(ServerConnection)
    made.version, made.is_lite, made.shown = version, is_lite, "http://host:19530"
    return made


@pytest.mark.parametrize(
    ("version", "able"),
    [
        ("2.3.5", ["float32", "binary"]),
        ("v2.4.0", ["float32", "binary", "float16", "bfloat16"]),
        ("2.5.27", ["float32", "binary", "float16", "bfloat16"]),
        ("v2.6.0", TYPES),
        ("3.0", TYPES),
        ("", TYPES),
    ],
)
def test_versions_that_have_a_type(version: str, able: Any) -> None:
    for field in fields():
        if field.type in able:
            check_capable(connection(version), [field], {})
        else:
            since = "2.6" if field.type == "int8" else "2.4"
            with pytest.raises(
                InputError, match=rf"version {version}, which lacks {field.type} vectors .*Milvus {since}:"
            ):
                check_capable(connection(version), [field], {})


def test_token_vectors_are_for_the_built_in_store() -> None:
    for made, where in ((connection("2.6.0"), "Milvus"), (connection("x", is_lite=True), "Milvus Lite")):
        with pytest.raises(InputError, match=f"and {where} has no field .*kb.milvine.*reranker=ColBERTRerankFunction"):
            check_capable(made, [SparseField("terms"), MultiVectorField("tokens", 8)], {})


# In the stores


class LongWords(HashedWords):
    """Vectors of all lengths: each word adds its own."""

    def _vector(self, text: str) -> Any:
        return super()._vector(text) * np.float32(1 + len(text) % 4)


@pytest.fixture(scope="module", params=["builtin", "lite", "lite server", "real server"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Where to open a collection, and the types that it may have there."""
    folder = tmp_path_factory.mktemp("types")
    floats: tuple[VectorType, ...] = ("float32",)
    if request.param in ("builtin", "lite"):
        name, types = ("kb.milvine", TYPES) if request.param == "builtin" else ("kb.db", floats)
        yield {"uri": str(folder / name), "types": types, "options": {}}
        return
    server: LiteServer | RealServer
    if request.param == "lite server":
        server = LiteServer(folder / "data")
    else:
        RealServer.skip_unless_possible()
        server = RealServer(folder)
    server.start()
    types = floats if request.param == "lite server" else ("float32", "binary")
    yield {"uri": server.uri, "types": types, "options": server.options}
    server.stop()


Open = Callable[..., Collection]


@pytest.fixture
def open_(place: dict[str, Any]) -> Iterator[Open]:
    opened: list[Collection] = []

    def open_(name: str, **options: Any) -> Collection:
        options = {"embedding_function": LongWords(), "lexical": False, **place["options"], **options}
        opened.append(Collection(place["uri"], name, **options))
        return opened[-1]

    yield open_
    for docs in opened:
        docs.close()


def expected_scores(metric: Metric, type_: VectorType) -> dict[str, float]:
    """What each text should score, of the definitions."""
    query, stored = LongWords().encode_queries([QUERY])[0], np.stack(LongWords().encode_documents(list(TEXTS.values())))
    if type_ == "binary":
        query, stored = np.where(query > 0, 1, -1), np.where(stored > 0, 1, -1)
    elif type_ == "int8":
        query, stored = (
            np.rint(vectors / np.abs(vectors).max(axis=-1, keepdims=True) * 127) for vectors in (query, stored)
        )
    inner = stored @ query
    if metric == "COSINE":
        inner = inner / np.linalg.norm(stored, axis=1) / np.linalg.norm(query)
    elif metric == "L2":
        inner = 1 - np.square(stored - query).sum(axis=1) / 2
    return dict(zip(TEXTS, inner.tolist(), strict=True))


@pytest.mark.parametrize(
    ("type_", "metric"),
    [("float32", metric) for metric in get_args(Metric)] + [(type_, "COSINE") for type_ in TYPES[1:]],
)
def test_scores_in_a_store(open_: Open, place: dict[str, Any], type_: VectorType, metric: Metric) -> None:
    name = f"{type_}_{metric}"
    if type_ not in place["types"]:
        with pytest.raises(InputError, match=f"{type_} vectors"):
            open_(name, vector_type=type_)
        # Nothing was made.
        assert open_(name).count() == 0
        return
    docs = open_(name, vector_type=type_, metric=metric)
    assert docs.add(TEXTS.values(), ids=list(TEXTS)).added == 60
    scores = expected_scores(metric, type_)
    near = {"float16": 2e-3, "bfloat16": 1e-2}.get(type_, 1e-5)
    hits = docs.search(QUERY, limit=60)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(scores, abs=near, rel=near)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    query = docs._fields.encode_queries([QUERY], ["dense"])["dense"]
    assert docs._store.score("dense", query, [["i3", "nosuch", "i12"]])[0] == pytest.approx(
        {"i3": scores["i3"], "i12": scores["i12"]}, abs=near, rel=near
    )
    # What comes back is what was given, rounded as the type rounds.
    given = docs._fields.encode_documents(list(TEXTS.values()))["dense"]
    rows = {row.record.id: row.vectors["dense"] for row in docs._store.rows(vectors=True)}
    for id_, vector in zip(TEXTS, given, strict=True):
        np.testing.assert_array_equal(rows[id_], from_stored(to_stored(vector, type_), type_), strict=True)
    docs.close()
    again = open_(name)
    assert {hit.id: hit.score for hit in again.search(QUERY, limit=60)} == pytest.approx(scores, abs=near, rel=near)
    other = "L2" if metric == "COSINE" else "COSINE"
    with pytest.raises(CollectionMismatchError, match=f"metric={metric!r}, and the collection .* metric={other!r}"):
        open_(name, metric=other)


def test_token_vectors_where_a_store_has_no_field_for_them(open_: Open, place: dict[str, Any]) -> None:
    functions = {"words": HashedWords(), "tokens": HashedTokens()}
    if place["types"] == TYPES:
        assert open_("tokens", embedding_function=functions).count() == 0
        return
    with pytest.raises(InputError, match=r"'tokens' holds a vector a token, and Milvus.* has no field for that"):
        open_("tokens", embedding_function=functions)


def test_a_binary_field_of_another_tool(open_: Open, place: dict[str, Any]) -> None:
    if place["types"] != ("float32", "binary"):
        pytest.skip("tried on a real Milvus")
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(place["uri"], **place["options"])
    for name, metric in (("theirs", "HAMMING"), ("jaccard", "JACCARD")):
        schema = client.create_schema(auto_id=False)
        schema.add_field("pk", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=100)
        schema.add_field("bits", DataType.BINARY_VECTOR, dim=DIM)
        client.create_collection(name, schema=schema, consistency_level="Strong")
        index = client.prepare_index_params()
        index.add_index("bits", index_type="BIN_FLAT", metric_type=metric)
        client.create_index(name, index)
    bits = [np.packbits(vector > 0).tobytes() for vector in LongWords().encode_documents(list(TEXTS.values()))]
    client.insert("theirs", [{"pk": n, "text": TEXTS[f"i{n}"], "bits": one} for n, one in enumerate(bits)])
    client.close()

    options: dict[str, Any] = {"embedding_function": LongWords(), **place["options"]}
    fields = {"dense": "bits"}
    with pytest.raises(
        CollectionMismatchError, match=r"no FLOAT_VECTOR field 'bits' .*vector_type={'dense': 'binary'}"
    ):
        Collection.attach(place["uri"], "theirs", fields, **options)
    with pytest.raises(CollectionMismatchError, match="compared by JACCARD, and milvine knows HAMMING"):
        Collection.attach(place["uri"], "jaccard", fields, vector_type="binary", **options)
    with pytest.raises(InputError, match="metric is chosen when a collection is made"):
        Collection.attach(place["uri"], "theirs", fields, metric="IP", **options)
    with Collection.attach(place["uri"], "theirs", fields, vector_type="binary", **options) as docs:
        scores = {hit.id: hit.score for hit in docs.search(QUERY, limit=60)}
    assert scores == pytest.approx({id_[1:]: one for id_, one in expected_scores("COSINE", "binary").items()})
