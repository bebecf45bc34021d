from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from child_process import child
from milvine import Collection
from milvine.errors import (
    CollectionExistsError,
    CollectionMismatchError,
    CollectionNotFoundError,
    InputError,
    InputTypeError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from small_functions import DIM, HashedTokens, HashedWords

Collect = Callable[..., Collection]

HOLDER = """
import sys
from milvine import Collection
from small_functions import HashedWords
docs = Collection(sys.argv[1], "docs", embedding_function=HashedWords())
docs.add(["kept by another"])
print("open", flush=True)
sys.stdin.read()
"""


def test_made_once_and_found_again(collect: Collect, database: str) -> None:
    made = collect(uri=Path(database))
    made.add(["one"])
    made.close()
    assert [record.text for record in collect().get(list(collect().ids())) if record] == ["one"]


def test_open_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"no database .*kb\.db; make one with: milvine index"):
        Collection.open(tmp_path / "kb.db")
    with pytest.raises(StoreNotFoundError, match=r"no folder .*nowhere"):
        Collection.open(tmp_path / "nowhere" / "kb.db")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_collection_is_an_error_that_lists_those_there(collect: Collect, database: str) -> None:
    collect("second")
    collect("first")
    with pytest.raises(CollectionNotFoundError, match=r"no collection 'third'; its collections: first, second$"):
        Collection.open(database, "third")
    with pytest.raises(CollectionNotFoundError):
        Collection.open(database)
    assert collect("first").count() == 0


def test_create_refuses_what_is_there(collect: Collect, database: str) -> None:
    collect().add(["one"])
    for function in (HashedWords(), HashedWords(version=2)):
        with pytest.raises(CollectionExistsError, match=r"kb\.db already holds a collection 'docs'"):
            Collection.create(database, "docs", embedding_function=function)
    assert collect().count() == 1
    with Collection.create(database, "other", embedding_function=HashedWords()) as other:
        assert other.count() == 0


def test_nothing_is_made_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"no folder .*nowhere to hold the database kb\.db"):
        Collection(tmp_path / "nowhere" / "kb.db", embedding_function=HashedWords())


def test_a_file_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "kb.db"
    file.write_text("SQLite format 3")
    for opening in (Collection, Collection.open, Collection.create):
        with pytest.raises(StoreError, match=r"kb\.db is a file, not a Milvus Lite database"):
            opening(file, embedding_function=HashedWords())
    assert file.read_text() == "SQLite format 3"


@pytest.mark.parametrize(
    "uri",
    [
        *("kb.milvine/", "kb.db/", "", "  ", ":memory:", "kb\0.milvine", "\ud800.milvine", "~nobody-here/kb", "loop"),
        *("a" * 300, "a" * 300 + ".db", "loop/kb.db"),
    ],
)
def test_paths_that_mean_no_store(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=r"must be the path of a file, such as \"kb\.milvine\"") as caught:
        Collection(uri, embedding_function=HashedWords())
    assert len(str(caught.value)) < 400
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize("uri", ["localhost:19530", "10.0.0.5:19530/sales", "http:/localhost:19530", "https:cloud"])
def test_an_address_without_its_scheme(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    meant = "https://cloud" if uri == "https:cloud" else f"http://{uri.removeprefix('http:/')}"
    with pytest.raises(InputError, match=rf'looks like the address of a Milvus server, which is written "{meant}"'):
        Collection(uri, embedding_function=HashedWords())
    assert list(tmp_path.iterdir()) == []
    if "/" not in uri:
        Collection(f"./{uri}", embedding_function=HashedWords()).close()
        assert (tmp_path / uri).is_file()


@pytest.mark.parametrize("name", ["kb.milvine", "kb.db"])
def test_a_folder_that_may_not_be_read(tmp_path: Path, name: str) -> None:
    folder, is_root = tmp_path / "closed", os.getuid() == 0
    folder.mkdir(mode=0)
    if is_root:  # who may read it all the same
        os.seteuid(65534)
    try:
        with pytest.raises(StoreError, match=rf"closed/{name}' may not be read by this user: Permission denied"):
            Collection(folder / name, embedding_function={})
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["kb", "kb.sqlite", "kb.DB", "kb.milvine", ".db.x"])
def test_any_other_path_is_the_built_in_stores(name: str, tmp_path: Path) -> None:
    with Collection(tmp_path / name, embedding_function=HashedWords()) as docs:
        docs.add(["one"])
    assert [(path.name, path.is_file()) for path in tmp_path.iterdir()] == [(name, True)]
    with Collection.open(tmp_path / name, embedding_function=HashedWords()) as docs:
        assert [hit.text for hit in docs.search("one")] == ["one"]


@pytest.mark.parametrize("name", ["", "a b", "a-b", "1st", "größe", "a.b", "../up", "a" * 256])
def test_names_that_are_not_allowed(name: str, tmp_path: Path) -> None:
    for path in ("kb.db", "kb.milvine", "http://localhost:1"):
        with pytest.raises(InputError, match="letters, digits and underscores, 255 at most") as caught:
            Collection(path if "://" in path else tmp_path / path, name, embedding_function=HashedWords())
        assert len(str(caught.value)) < 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "match"), [((5,), "uri must be"), (("kb.db", 5), "name must be")])
def test_types_that_are_not_allowed(arguments: tuple[Any, ...], match: str) -> None:
    with pytest.raises(InputTypeError, match=match):
        Collection(*arguments, embedding_function=HashedWords())


def test_a_bad_function_or_language_leaves_no_database_behind(tmp_path: Path) -> None:
    options: Any
    for options, error, match in (
        ({"embedding_function": "all-MiniLM-L6-v2"}, InputTypeError, "not str"),
        ({"embedding_function": HashedWords(), "language": "tlh"}, InputError, "tlh"),
        ({"embedding_function": HashedWords(), "reranker": print}, InputTypeError, "reranker"),
        ({"embedding_function": HashedWords(), "vector_type": "float16"}, InputError, "Milvus Lite has float32"),
        ({"embedding_function": {"a": HashedWords(), "b": HashedTokens()}}, InputError, "has no field for that"),
    ):
        with pytest.raises(error, match=match):
            Collection(tmp_path / "kb.db", **options)
    assert list(tmp_path.iterdir()) == []


def test_another_model_is_refused_and_both_sides_are_named(collect: Collect, database: str) -> None:
    collect().add(["one"])
    with pytest.raises(CollectionMismatchError, match=r"another embedding function \(version: 1 there, 2 here\)"):
        collect(embedding_function=HashedWords(version=2))
    with pytest.raises(CollectionMismatchError, match=rf"dim: {DIM} there, 8 here"):
        Collection.open(database, "docs", embedding_function=HashedWords(dim=8))
    assert collect().count() == 1


def test_a_function_that_cannot_be_rebuilt_must_be_passed(collect: Collect, database: str) -> None:
    collect()
    for opening in (Collection, Collection.open):
        with pytest.raises(CollectionMismatchError, match=r"HashedWords, which cannot be rebuilt .* pass it as embedd"):
            opening(database, "docs")


def test_an_identity_must_be_json(database: str) -> None:
    class Unstorable(HashedWords):
        def identity(self) -> dict[str, Any]:
            return {"function": "Unstorable", "made_of": object()}

    with pytest.raises(InputTypeError, match=r"identity\(\) of Unstorable is not JSON"):
        Collection(database, embedding_function=Unstorable())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 3}, r"has format 3, and this milvine reads 1 to 2: upgrade milvine"),
        ({"analyzer": {"language": "en", "rules": 0}}, r"another analyzer \(rules: 0 there, 2 here\)"),
        ({"analyzer": {"language": "fr", "rules": 1}}, r"another analyzer \(language: 'fr' there, 'en' here"),
    ],
)
def test_a_stored_config_that_differs_is_refused(collect: Collect, change: dict[str, Any], match: str) -> None:
    docs = collect()
    stored = json.loads(json.dumps(docs._store.config))
    if "analyzer" in change:
        stored["fields"]["lexical"].update(change)
    else:
        stored.update(change)
    with docs._store._database.writing() as client:  # type: ignore[attr-defined]
        client.alter_collection_properties("docs", {"milvine.config": json.dumps(stored)})
    with pytest.raises(CollectionMismatchError, match=match):
        collect(language="en")


def test_a_collection_of_another_program_is_refused(tmp_path: Path, collect: Collect) -> None:
    # In a process of its own, as it would be: a client closes no database before its process ends.
    code = (
        "import sys; from pymilvus import MilvusClient\n"
        "client = MilvusClient(sys.argv[1]); client.create_collection('theirs', dimension=4)\n"
        "client.insert('theirs', [{'id': 1, 'vector': [1, 0, 0, 0]}])"
    )
    path = str(tmp_path / "shared.db")
    subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True)
    with pytest.raises(CollectionMismatchError, match=r"'theirs' in .*shared\.db was not made by milvine"):
        collect("theirs", uri=path)
    assert collect("mine", uri=path).add(["beside theirs"]).added == 1


def test_without_arguments_the_default_function_is_rebuilt(tmp_path: Path) -> None:
    texts = ["Turing was born in London.", "Berlin has many museums."]
    with Collection(tmp_path / "kb.db") as made:
        made.add(texts)
        before = made.search("Where was Turing born?")
    with Collection.open(tmp_path / "kb.db") as opened:
        assert opened.embedding_function is not made.embedding_function
        assert opened.embedding_function.identity() == made.embedding_function.identity()
        assert opened.search("Where was Turing born?") == before
        assert before[0].text == texts[0]
    with pytest.raises(CollectionMismatchError, match="SentenceTransformerEmbeddingFunction' there, 'HashedWords' he"):
        Collection.open(tmp_path / "kb.db", embedding_function=HashedWords())


def test_another_process_holds_it(collect: Collect, database: str) -> None:
    holder = child(HOLDER, database)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError, match=r"another process has .*kb\.db open, and Milvus Lite admits one"):
            collect()
    finally:
        holder.communicate(timeout=60)
    assert holder.returncode == 0
    assert collect().count() == 1


def test_objects_of_one_process_share_a_database(collect: Collect, database: str, tmp_path: Path) -> None:
    first, second, other = collect(), collect(), collect("other")
    (tmp_path / "link.db").symlink_to(database)
    (tmp_path / "plain").symlink_to(database)
    linked = collect(uri=str(tmp_path / "link.db"))
    first.add(["from the first"])
    other.add(["another collection"])
    assert [hit.text for hit in second.search("first", mode="lexical")] == ["from the first"]
    assert linked.count() == 1
    first.close()
    second.add(["from the second"])
    other.close()
    assert sorted(hit.text for hit in linked.search("from")) == ["from the first", "from the second"]
    for collection in (second, linked):
        collection.close()
    with Collection.open(database, "docs", embedding_function=HashedWords()) as opened:
        assert opened.count() == 2


def test_a_link_whose_target_has_another_suffix(collect: Collect, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "kb.db").symlink_to(tmp_path / "data")
    docs = collect()
    docs.add(["through the link"])
    assert docs.count() == 1


def test_closing(collect: Collect) -> None:
    docs = collect()
    docs.add(["one"])
    docs.close()
    docs.close()
    uses: list[Callable[[], Any]] = [
        docs.count,
        docs.drop,
        lambda: docs.add(["two"]),
        lambda: docs.search("one"),
        lambda: docs.search("one", mode="lexical"),
        lambda: docs.get(["one"]),
        lambda: docs.delete(["one"]),
        lambda: docs.ids(),
    ]
    for use in uses:
        with pytest.raises(StoreError, match=r"collection 'docs' of .*kb\.db is closed; open it again"):
            use()
    assert collect().count() == 1


def test_closing_while_another_thread_adds(collect: Collect) -> None:
    docs = collect()
    started, errors = threading.Event(), []

    def texts() -> Iterator[str]:
        for number in range(100_000):
            if number == 6000:
                started.set()
            yield f"text {number}"

    def add() -> None:
        try:
            docs.add(texts())
        except StoreError as error:
            errors.append(str(error))

    thread = threading.Thread(target=add)
    thread.start()
    started.wait()
    docs.close()
    thread.join()
    assert len(errors) == 1
    assert "closed" in errors[0]
    again = collect()
    there = again.count()
    assert there >= 1024
    assert again.add(f"text {number}" for number in range(1024)).unchanged == 1024


def test_dropping(collect: Collect, database: str) -> None:
    docs, same, other = collect(), collect(), collect("other")
    docs.add(["one two"])
    other.add(["stays"])
    docs.drop()
    uses: list[Callable[[], Any]] = [same.count, lambda: same.search("one"), lambda: same.add(["two"])]
    for use in uses:
        with pytest.raises(CollectionNotFoundError, match="was dropped"):
            use()
    with pytest.raises(CollectionNotFoundError, match="its collections: other"):
        Collection.open(database, "docs", embedding_function=HashedWords())
    again = collect()
    again.add(["three"])
    assert again.search("two", mode="lexical") == []  # nothing is left of the old statistics
    assert len(again.search("three", mode="lexical")) == 1
    assert other.count() == 1


def test_threads_that_open_at_once_get_one_database(database: str) -> None:
    barrier, counts, errors = threading.Barrier(4), [], []

    def use(number: int) -> None:
        barrier.wait()
        try:
            with Collection(database, "docs", embedding_function=HashedWords()) as docs:
                docs.add([f"text {number}"])
                counts.append(docs.count())
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Collection.open(database, "docs", embedding_function=HashedWords()) as docs:
        assert docs.count() == 4
    assert len(counts) == 4
