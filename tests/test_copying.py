"""Every pair of stores: the built-in one, Milvus Lite in this process, and Milvus Lite as a server."""

from __future__ import annotations

import json
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from child_process import child
from milvine import AddReport, Collection, Record
from milvine._copying import Place, copy_place
from milvine.errors import (
    CollectionMismatchError,
    CollectionNotFoundError,
    InputError,
    InputTypeError,
    StoreConnectionError,
    StoreError,
    StoreNotFoundError,
    StoreWriteError,
)
from milvine.store import Row
from milvus_servers import LiteServer
from small_disks import fill_disk, small_disk
from small_functions import HashedTerms, HashedTokens, HashedWords

Open = Callable[..., Collection]

KINDS = ("builtin", "lite", "server")
METADATA: dict[str, Any] = {
    "int": 5, "float": 5.0, "large": 2**63 - 1, "third": 1 / 3, "minus zero": -0.0, "true": True, "none": None,
    "string": "“quoted”, \\ \n \t 🐈 \u2028", "list": [1, 2.0, "3", None, []], "nested": {"a": {"b": [1.5]}, "": 0},
    "größe": "umlaut",
}  # fmt: skip
FILES = {"builtin": "kb.milvine", "lite": "kb.db"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    server = LiteServer(tmp_path_factory.mktemp("copying") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str, str], str]:
    """The URI of a store of some kind; `which` tells several files apart."""

    def place(kind: str, which: str) -> str:
        if kind == "server":
            uri: str = request.getfixturevalue("server").uri
            return uri
        (tmp_path / which).mkdir(exist_ok=True)
        return str(tmp_path / which / FILES[kind])

    return place


@pytest.fixture
def open_() -> Iterator[Open]:
    """Opens collections; all are dropped in the end, as the server is shared."""
    opened: list[Collection] = []

    def open_(uri: str, name: str = "docs", **options: Any) -> Collection:
        options.setdefault("embedding_function", functions())
        opened.append(Collection(uri, name, **options))
        return opened[-1]

    yield open_
    for docs in opened:
        if "://" in docs.uri:
            try:
                docs.drop()
            except StoreError:  # dropped under another handle
                docs.close()
        docs.close()


def functions() -> dict[str, Any]:
    return {"words": HashedWords(), "terms": HashedTerms()}


def records(count: int) -> list[Record]:
    odd = [Record('odd id \\ " \n 🐈', "a text with “quotes”\nand lines", METADATA), Record("blank", " ")]
    return odd + [Record(f"n{n}", f"text {n} of number{n % 13}", {"n": n, "half": n / 2}) for n in range(count)]


def exactly(value: Any) -> Any:
    """The value with its types, which `==` does not tell apart: 5 and 5.0, 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: exactly(one) for key, one in value.items()}
    if isinstance(value, list):
        return [exactly(one) for one in value]
    return type(value), struct.pack("d", value) if isinstance(value, float) else value


def stored(docs: Collection) -> dict[str, Any]:
    """Everything that a collection holds, vectors as their bytes."""

    def bits(vector: Any) -> Any:
        return (vector.indices.tolist(), vector.data.tobytes()) if isinstance(vector, csr_array) else vector.tobytes()

    rows = list(docs._store.rows(vectors=True))
    found = {
        row.record.id: (
            row.record.text,
            exactly(row.record.metadata),
            row.content_hash,
            {name: bits(vector) for name, vector in row.vectors.items()},
        )
        for row in rows
    }
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_everything_moves(open_: Open, place: Any, source: str, target: str) -> None:
    docs = open_(place(source, "here"))
    docs.add(records(1100))
    before = stored(docs)
    assert docs.copy_to(place(target, "there"), "moved") == AddReport(added=1102)
    there = functions()
    moved = open_(place(target, "there"), "moved", embedding_function=there)
    assert stored(moved) == before == stored(docs)
    assert moved._store.config == docs._store.config
    for query in ("text 7 of number7", "quotes", "text 800 of number7"):
        for mode in ("dense", "sparse", "lexical", "hybrid"):
            hits = [one.search(query, mode=mode, limit=8) for one in (docs, moved)]  # type: ignore[call-overload]
            assert hits[0][0].id == hits[1][0].id
            if mode in ("dense", "sparse"):  # how a store counts a text's length in BM25 is its own
                scores = [sorted((hit.score for hit in some), reverse=True) for some in hits]
                assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert moved.add(records(1100)).unchanged == 1102
    assert there["words"].encoded == there["terms"].encoded == []
    assert docs.copy_to(place(target, "there"), "moved") == AddReport(unchanged=1102)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_or_differs_there_is_copied(open_: Open, place: Any, kind: str) -> None:
    docs = open_(place("lite", "here"))
    docs.add(records(40))
    moved = open_(place(kind, "there"), "moved")
    moved.add(records(30))
    moved.add([Record("n3", "an older text"), Record("n4", "text 4 of number4", {"n": -1})])
    assert docs.copy_to(moved.uri, "moved") == AddReport(added=10, updated=2, unchanged=30)
    assert stored(moved) == stored(docs)


@pytest.mark.parametrize("kind", KINDS)
def test_records_that_only_the_other_side_has(open_: Open, place: Any, kind: str) -> None:
    docs = open_(place("lite", "here"))
    docs.add(records(20))
    moved = open_(place(kind, "there"), "moved")
    moved.add([Record(f"own{n}", "a text of its own") for n in range(8)])
    moved.add([Record("n3", "another text")])
    before = stored(moved)
    with pytest.raises(CollectionMismatchError) as caught:
        docs.copy_to(moved.uri, "moved")
    message = str(caught.value)
    assert "does not have: 'own0', 'own1', 'own2', 'own3', 'own4' and others" in message
    assert "nothing was copied. Delete them there if nobody wants them" in message
    assert stored(moved) == before
    moved.delete([f"own{n}" for n in range(8)])
    docs.copy_to(moved.uri, "moved")
    assert stored(moved) == stored(docs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"embedding_function": {"words": HashedWords(version=2), "terms": HashedTerms()}}, r"'version': 1.* 2"),
        ({"embedding_function": {"words": HashedWords()}}, "function 'terms': .* here, None there"),
        ({"lexical": False}, "field 'lexical': .* here, None there"),
        ({"language": "de"}, "field 'lexical': .*'en'.*'de'"),
    ],
)
def test_a_collection_of_another_kind(open_: Open, place: Any, kind: str, options: dict[str, Any], match: str) -> None:
    docs = open_(place("lite", "here"))
    docs.add(records(3))
    other = open_(place(kind, "there"), "other", **options)
    with pytest.raises(CollectionMismatchError, match=match) as caught:
        docs.copy_to(other.uri, "other")
    assert "give" in str(caught.value) or "giving another name" in str(caught.value)
    assert len(other) == 0


def test_where_a_models_folder_lies_makes_no_difference(open_: Open, place: Any) -> None:
    class Moved(HashedWords):
        def __init__(self, folder: str) -> None:
            super().__init__()
            self.folder = folder

        def identity(self) -> dict[str, Any]:
            return {**super().identity(), "folder": self.folder}

    docs = open_(place("lite", "here"), embedding_function=Moved("/one"))
    docs.add(["a text"])
    moved = open_(place("lite", "there"), embedding_function=Moved("/two"))
    assert docs.copy_to(moved.uri) == AddReport(added=1)


def test_what_differs_in_the_end_is_named(open_: Open, place: Any) -> None:
    docs = open_(place("builtin", "here"))
    docs.add(records(2000))
    docs.copy_to(place("lite", "there"))
    moved = open_(place("lite", "there"))
    rows = {row.record.id: row for row in moved._store.rows(vectors=True)}
    one, other, third = rows["n1"], rows["n2"], rows["n3"]
    nudged = one.vectors["words"].copy()  # type: ignore[union-attr]
    nudged[3] = np.nextafter(nudged[3], np.float32(9))
    moved._store.write(  # as if it had been damaged: the content hashes say that nothing has changed
        [
            Row(one.record, one.content_hash, {**one.vectors, "words": nudged}),
            Row(Record("n2", other.record.text, {"n": 3, "half": 1.0}), other.content_hash, other.vectors),
            Row(third.record, third.content_hash, {**third.vectors, "terms": one.vectors["terms"]}),
        ]
    )
    with pytest.raises(StoreWriteError) as caught:
        docs.copy_to(moved.uri)
    assert "with another text: 'n2'; with other vectors: 'n1', 'n3'" in str(caught.value)
    assert "delete these there, and copy again" in str(caught.value)
    moved.delete(["n1", "n2", "n3"])
    assert docs.copy_to(moved.uri) == AddReport(added=3, unchanged=1999)


def test_a_source_that_changes_in_the_middle(open_: Open, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = open_(place("lite", "here"))
    docs.add(records(30))
    rows = docs._store.rows

    def and_then(*arguments: Any, **options: Any) -> Any:
        yield from rows(*arguments, **options)
        monkeypatch.undo()
        docs.add([Record("late", "came late")])
        docs.delete(["n3"])

    monkeypatch.setattr(docs._store, "rows", and_then)
    with pytest.raises(StoreWriteError) as caught:
        docs.copy_to(place("lite", "there"))
    assert "not copied: 'late'; not in the source: 'n3'" in str(caught.value)
    assert "If either was written to meanwhile, copy again" in str(caught.value)
    with pytest.raises(CollectionMismatchError, match="does not have: 'n3'"):
        docs.copy_to(place("lite", "there"))
    with open_(place("lite", "there")) as moved:
        moved.delete(["n3"])
        docs.copy_to(moved.uri)
        assert stored(moved) == stored(docs)


COPIES = """
import sys
import time
from milvine import Collection
from milvine._copying import BATCH, stored_fields
from milvine.store import open_store
from small_functions import HashedTerms, HashedWords
docs = Collection(sys.argv[1], embedding_function={"words": HashedWords(), "terms": HashedTerms()}, name="docs")
rows = docs._store.rows
def slowly(*arguments, **options):
    for number, row in enumerate(rows(*arguments, **options)):
        if number == 2 * BATCH + 5:
            there = open_store(sys.argv[2], "moved", fields=stored_fields)
            while not there.count():  # a thread of its own writes
                time.sleep(0.01)
            print("in the middle", flush=True)
            sys.stdin.readline()
        yield row
    docs._store.rows = rows
docs._store.rows = slowly
docs.copy_to(sys.argv[2], "moved")
"""


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle(open_: Open, place: Any, target: str, with_signal: int) -> None:
    here, there = place("builtin", "here"), place(target, "there")
    with open_(here) as docs:
        docs.add(records(2200))
    process = child(COPIES, here, there)
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    process.send_signal(with_signal)
    process.communicate()
    assert process.returncode != 0
    moved = open_(there, "moved")
    done = len(moved)
    assert 1 <= done < 2202
    docs = open_(here)
    assert docs.copy_to(there, "moved") == AddReport(added=2202 - done, unchanged=done)
    assert stored(moved) == stored(docs)


@pytest.mark.parametrize("kind", ["builtin", "lite"])
def test_a_full_disk_there(open_: Open, place: Any, tmp_path: Path, kind: str) -> None:
    docs = open_(place("builtin", "here"))
    docs.add(records(2200))
    before = stored(docs)
    with small_disk(tmp_path / "small", "40m") as disk:
        there = str(disk / FILES[kind])
        ballast = fill_disk(disk, leaving=800_000)
        with pytest.raises(StoreError):
            docs.copy_to(there)
        ballast.unlink()
        docs.copy_to(there)
        with open_(there) as moved:
            assert stored(moved) == before == stored(docs)


def test_a_server_that_goes_away_and_comes_back(open_: Open, place: Any, tmp_path: Path) -> None:
    docs = open_(place("builtin", "here"))
    docs.add(records(2200))
    server = LiteServer(tmp_path / "own")
    server.start()
    rows, sent = docs._store.rows, threading.Event()

    def rows_until_it_is_gone(*arguments: Any, **options: Any) -> Any:
        for number, row in enumerate(rows(*arguments, **options)):
            if number == 1200:
                server.kill()
                sent.set()
            yield row

    docs._store.rows = rows_until_it_is_gone  # type: ignore[method-assign]
    with pytest.raises((StoreWriteError, StoreConnectionError)):
        docs.copy_to(server.uri, timeout=1)
    assert sent.is_set()
    docs._store.rows = rows  # type: ignore[method-assign]
    try:
        server.start()
        assert docs.copy_to(server.uri).total == 2202
        with Collection(server.uri, "docs", embedding_function=functions()) as moved:
            assert stored(moved) == stored(docs)
    finally:
        server.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_the_collection_itself(open_: Open, place: Any, tmp_path: Path, kind: str) -> None:
    docs = open_(place(kind, "here"))
    docs.add(["a text"])
    ways = [f"{docs.uri}/"] if kind == "server" else [docs.uri, Path(docs.uri).parent / ".." / "here" / FILES[kind]]
    for uri in ways:
        with pytest.raises(InputError, match="is the collection itself"):
            docs.copy_to(uri)
    assert docs.copy_to(docs.uri, "second") == AddReport(added=1)
    assert stored(open_(docs.uri, "second")) == stored(docs)


def test_wrong_places(open_: Open, place: Any, tmp_path: Path) -> None:
    docs = open_(place("lite", "here"))
    with pytest.raises(StoreNotFoundError, match="no folder"):
        docs.copy_to(tmp_path / "nowhere" / "kb.db")
    with pytest.raises(InputError, match="letters, digits"):
        docs.copy_to(place("lite", "there"), "a-b")
    with pytest.raises(InputTypeError, match="name must be"):
        docs.copy_to(place("lite", "there"), 5)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="uri must be"):
        docs.copy_to(5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="for Milvus servers alone"):
        docs.copy_to(place("lite", "there"), index="HNSW")
    with pytest.raises(StoreConnectionError):
        docs.copy_to("http://127.0.0.1:9", timeout=0.5)


@pytest.mark.parametrize("vector_type", ["float16", "bfloat16", "int8", "binary"])
def test_vectors_of_other_types(open_: Open, place: Any, vector_type: Any) -> None:
    words = {"embedding_function": HashedWords(), "vector_type": vector_type}
    docs = open_(place("builtin", "here"), **words)
    docs.add(records(60))
    assert docs.copy_to(place("builtin", "there")) == AddReport(added=62)
    moved = open_(place("builtin", "there"), **words)
    assert stored(moved) == stored(docs)
    hits = [one.search("text 7 of number7", limit=5) for one in (docs, moved)]
    assert [(hit.id, hit.score) for hit in hits[0]] == [(hit.id, hit.score) for hit in hits[1]]
    with pytest.raises(InputError, match=f"holds {vector_type} vectors, and Milvus Lite has float32 ones alone"):
        docs.copy_to(place("lite", "there"))
    with pytest.raises(InputError, match=f"{vector_type} vectors"):
        docs.copy_to(place("server", "there"), "typed")
    with pytest.raises(CollectionNotFoundError):
        Collection.open(place("server", "there"), "typed", embedding_function=HashedWords())


def test_several_vectors_a_text(open_: Open, place: Any) -> None:
    both = {"embedding_function": {"words": HashedWords(), "tokens": HashedTokens()}}
    docs = open_(place("builtin", "here"), **both)
    docs.add(records(60))
    assert docs.copy_to(place("builtin", "there")) == AddReport(added=62)
    assert stored(open_(place("builtin", "there"), **both)) == stored(docs)
    with pytest.raises(InputError, match="holds a vector a token, and Milvus Lite has no field for that"):
        docs.copy_to(place("lite", "there"))
    with pytest.raises(InputError, match="holds a vector a token"):
        docs.copy_to(place("server", "there"), "tokens")


def test_two_processes_at_once(open_: Open, place: Any) -> None:
    here, there = place("builtin", "here"), place("builtin", "there")
    docs = open_(here)
    docs.add(records(2200))
    both = [child(COPIES, here, there) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
    for process in both:
        _, errors = process.communicate("\n", timeout=60)
        assert process.returncode == 0, errors
    assert stored(open_(there, "moved")) == stored(docs)


def test_an_empty_collection(open_: Open, place: Any) -> None:
    docs = open_(place("lite", "here"))
    assert docs.copy_to(place("lite", "there")) == AddReport()
    assert len(Collection.open(place("lite", "there"), "docs", embedding_function=functions())) == 0


def test_no_model_is_needed(open_: Open, place: Any) -> None:
    here, there = Place(place("lite", "here"), "docs"), Place(place("lite", "there"), "moved")
    with open_(*here) as docs:
        docs.add(records(50))
        before = stored(docs)
    with pytest.raises(CollectionMismatchError, match="cannot be rebuilt"):
        Collection.open(*here)
    assert copy_place(here, there) == AddReport(added=52)
    assert stored(open_(*there)) == before
    with pytest.raises(CollectionNotFoundError):
        copy_place(Place(here.uri, "nosuch"), there)
    with pytest.raises(StoreNotFoundError):
        copy_place(Place(f"{here.uri}.db", "docs"), there)


def test_a_collection_of_another_tool(open_: Open, place: Any) -> None:
    from pymilvus import DataType, MilvusClient

    uri = place("lite", "here")
    client = MilvusClient(uri)
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("body", DataType.VARCHAR, max_length=1000)
    schema.add_field("year", DataType.INT64)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=16)
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="FLAT", metric_type="COSINE")
    client.create_collection("theirs", schema=schema, index_params=index)
    texts = [f"text {n}" for n in range(20)]
    vectors = HashedWords().encode_documents(texts)
    rows = zip(texts, vectors, strict=True)
    client.insert(
        "theirs", [{"key": n, "body": text, "year": n, "embedding": v, "more": "x"} for n, (text, v) in enumerate(rows)]
    )
    client.close()
    names = {"text": "body", "dense": "embedding"}
    theirs = Collection.attach(uri, "theirs", names, embedding_function=HashedWords())
    assert theirs.copy_to(place("lite", "there"), "ours") == AddReport(added=20)
    assert theirs.copy_to(place("lite", "there"), "ours") == AddReport(unchanged=20)
    ours = open_(place("lite", "there"), "ours", embedding_function=HashedWords(), lexical=False)
    assert ours.get(["7"]) == [Record("7", "text 7", {"year": 7, "more": "x"})]
    assert ours.search("text 7", limit=1)[0].id == "7"
    theirs.close()


def test_metadata_that_no_collection_of_milvine_may_have(open_: Open, place: Any) -> None:
    from pymilvus import MilvusClient

    uri = place("lite", "here")
    client = MilvusClient(uri)
    client.create_collection("theirs", dimension=16, vector_field_name="embedding", id_type="string", max_length=50)
    vector = HashedWords().encode_documents(["a text"])[0]
    client.insert("theirs", [{"id": "a", "embedding": vector, "text": "a text", "lexical": 5}])
    client.close()
    theirs = Collection.attach(uri, "theirs", {"dense": "embedding"}, embedding_function=HashedWords())
    with pytest.raises(InputError, match="'a' has the metadata key 'lexical'"):
        theirs.copy_to(place("lite", "there"))
    theirs.close()


def test_configurations_of_the_first_format(open_: Open, place: Any) -> None:
    from pymilvus import MilvusClient

    here, there = place("lite", "here"), place("lite", "there")
    with open_(here, embedding_function=HashedWords()) as docs:
        docs.add(records(5))
        config = docs._store.config
    lexical = {key: value for key, value in config["fields"]["lexical"].items() if key != "kind"}
    old = {"format": 1, "fields": {"dense": config["functions"]["dense"], "lexical": lexical}}
    client = MilvusClient(here)
    client.alter_collection_properties("docs", {"milvine.config": json.dumps(old)})
    client.close()
    with open_(here, embedding_function=HashedWords()) as docs:
        if docs._store.config["format"] != 1:
            pytest.skip("Milvus Lite did not take the older configuration")
        docs.copy_to(there)
        assert stored(open_(there, embedding_function=HashedWords())) == stored(docs)
