from __future__ import annotations

import json
import math
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from milvine import Collection, Record
from milvine.analysis import get_analyzer
from milvine.errors import (
    CollectionMismatchError,
    InputError,
    InputTypeError,
    StoreError,
    StoreWriteError,
)
from milvine.store import _server_bm25
from milvine.store.milvus_server import CONFIG, PIVOT, MilvusServerStore
from milvus_servers import LiteServer, RealServer, free_port
from small_functions import DIM, HashedWords

SECRET = "s3cr3t-pass"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    """Milvus Lite over TCP: what milvine does for servers, on a server that is there wherever the tests run."""
    lite = LiteServer(tmp_path_factory.mktemp("server") / "data")
    lite.start()
    yield lite
    lite.stop()


@pytest.fixture
def collect(server: LiteServer) -> Iterator[Callable[..., Collection]]:
    """Opens collections on that server; all are dropped in the end."""
    opened: list[Collection] = []

    def collect(name: str = "docs", **options: Any) -> Collection:
        options.setdefault("embedding_function", HashedWords())
        opened.append(Collection(options.pop("uri", server.uri), name, **options))
        return opened[-1]

    yield collect
    for docs in opened:
        docs.close()
    for name in {docs.name for docs in opened}:
        with pytest.MonkeyPatch.context(), Collection(server.uri, name, embedding_function=HashedWords()) as docs:
            docs.drop()


def store_of(docs: Collection) -> MilvusServerStore:
    assert isinstance(docs._store, MilvusServerStore)
    return docs._store


def properties_of(docs: Collection) -> dict[str, str]:
    return dict((store_of(docs)._described() or {})["properties"])


# Connecting


def fails_within(seconds: float, uri: str, **options: Any) -> str:
    """The message of the error that opening ends in, which must come in time."""
    started = time.monotonic()
    with pytest.raises(StoreError) as caught:
        Collection(uri, "docs", embedding_function=HashedWords(), **options)
    assert time.monotonic() - started < seconds
    return str(caught.value)


def test_nobody_listens() -> None:
    port = free_port()
    message = fails_within(5, f"http://127.0.0.1:{port}")
    assert f"http://127.0.0.1:{port} cannot be reached: 127.0.0.1:{port}: Connection refused" in message


def test_tls_to_a_plain_port(server: LiteServer) -> None:
    message = fails_within(10, server.uri.replace("http", "https"))
    assert "does not take TLS connections" in message
    assert "use http://" in message


def test_something_that_never_answers() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        message = fails_within(15, f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=1)
    assert "took longer than 1 s" in message or "does not answer as Milvus does" in message


def test_something_else_listens() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        message = fails_within(15, f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=2)
    assert "is that Milvus' port (usually 19530)" in message


def test_nothing_is_printed(server: LiteServer) -> None:
    program = """
import sys
from milvine import Collection
from milvine.errors import StoreError
from small_functions import HashedWords
for uri in sys.argv[1:]:
    try:
        Collection(uri, "docs", embedding_function=HashedWords(), timeout=2)
    except StoreError:
        pass
"""
    uris = [server.uri.replace("http", "https"), f"http://127.0.0.1:{free_port()}", server.uri + "/nosuch"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", program, *uris], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == ran.stderr == ""


@pytest.mark.parametrize(
    "uri",
    ["ftp://host:19530", "http://", "http://host:port", "http://host:99999", "http://host:19530/a/b", "http:///kb.db"],
)
def test_uris_that_name_no_server(uri: str) -> None:
    with pytest.raises(InputError, match="names no Milvus server"):
        Collection(uri.replace("://", f"://root:{SECRET}@", 1), embedding_function=HashedWords())


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"timeout": 0}, InputError, "timeout must be a number of seconds above 0"),
        ({"timeout": "5"}, InputTypeError, "timeout must be a number"),
        ({"token": 5}, InputTypeError, "token must be a string"),
        ({"token": SECRET, "user": "root", "password": SECRET}, InputError, "either token, or user"),
        ({"user": "root"}, InputError, "belong together"),
        ({"password": SECRET}, InputError, "belong together"),
        ({"consistency_level": "strong"}, InputError, "Strong, Session, Bounded, Eventually"),
        ({"replicas": 0}, InputError, "replicas must be at least 1"),
        ({"shards": 1.5}, InputTypeError, "shards must be an integer"),
        ({"index": 5}, InputTypeError, "index must be a type"),
        ({"index": {"nosuch": "HNSW"}}, InputError, "'nosuch', and the vector fields are dense, lexical"),
        ({"index": {"dense": {"M": 16}}}, InputError, "no 'index_type'"),
        ({"partition_key": "text"}, InputError, "partition_key must be"),
        ({"partition_key": "dense"}, InputError, "partition_key must be"),
        ({"partition_key": "a b"}, InputError, "partition_key must be"),
        ({"tokn": SECRET}, InputTypeError, "tokn: no such argument"),
    ],
)
def test_options_that_are_not_allowed(
    server: LiteServer, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        Collection(server.uri, "never_made", embedding_function=HashedWords(), **options)
    assert SECRET not in str(caught.value)
    with pytest.raises(LookupError):
        Collection.open(server.uri, "never_made", embedding_function=HashedWords())


def test_options_of_a_server_are_refused_for_a_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"timeout, token: for Milvus servers alone"):
        Collection(tmp_path / "kb.db", embedding_function=HashedWords(), token=SECRET, timeout=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("user", "options", "environment"),
    [
        ("", {"token": f"root:{SECRET}"}, ""),
        ("", {"token": SECRET}, ""),
        ("", {"user": "root", "password": SECRET}, ""),
        (f"root:{SECRET}@", {}, ""),
        (f"{SECRET}@", {}, ""),
        ("", {}, f"root:{SECRET}"),
    ],
)
def test_secrets_are_shown_nowhere(
    server: LiteServer,
    collect: Callable[..., Collection],
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    options: dict[str, Any],
    environment: str,
) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", environment)
    uri = server.uri.replace("://", f"://{user}")
    docs = collect(uri=uri, **options)
    docs.add(["a text"])
    store = store_of(docs)
    assert store._connection._token.endswith(SECRET)  # it is what the server is told
    shown = [repr(docs), str(docs.uri), repr(store), repr(store._connection), json.dumps(properties_of(docs))]
    for wrong in (f"http://{user}127.0.0.1:{free_port()}", uri + "/nosuch"):
        with pytest.raises(StoreError) as caught:
            Collection(wrong, "docs", embedding_function=HashedWords(), **options)
        shown.append(str(caught.value))
    docs.close()
    with pytest.raises(StoreError, match="is closed") as caught:
        docs.count()
    shown.append(str(caught.value))
    assert not [text for text in shown if SECRET in text]


def test_a_database_that_is_not_there(server: LiteServer) -> None:
    for uri, options in ((server.uri + "/nosuch", {}), (server.uri, {"db_name": "nosuch"})):
        assert "'nosuch'" in fails_within(15, uri, timeout=2, **options)


class TlsProxy:
    """A port with TLS in front of a plain one, as a gateway before Milvus has."""

    def __init__(self, folder: Path, port: int) -> None:
        self.certificate, key = folder / "certificate.pem", folder / "key.pem"
        names = "subjectAltName=DNS:milvus.test,IP:127.0.0.1"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=milvus.test",
             "-addext", names, "-keyout", str(key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        context.set_alpn_protocols(["h2"])
        self._target = port
        self._listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self.uri = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except ssl.SSLError:  # a client that does not trust it
                continue
            except OSError:
                return
            target = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((connection, target), (target, connection)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()


def test_tls(server: LiteServer, tmp_path: Path) -> None:
    try:
        proxy = TlsProxy(tmp_path, server.port)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    try:
        message = fails_within(15, proxy.uri, timeout=3)
        assert "its certificate is not trusted" in message
        assert "server_pem_path" in message
        message = fails_within(15, proxy.uri.replace("https", "http"), timeout=3)
        assert "does it take connections without TLS" in message
        options: dict[str, Any] = {"server_pem_path": str(proxy.certificate), "embedding_function": HashedWords()}
        for name in ("127.0.0.1", "milvus.test"):
            with Collection(proxy.uri, "tls", server_name=name, **options) as docs:
                docs.add(["a text"])
                assert [hit.text for hit in docs.search("text")] == ["a text"]
        docs = Collection(proxy.uri, "tls", **options)
        docs.drop()
    finally:
        proxy.close()


# The server goes away


class Slow(HashedWords):
    """Encodes its hundredth document only when the server has gone and comes back."""

    def __init__(self, away: Callable[[], None]) -> None:
        super().__init__()
        self._away = away
        self._gone = False

    def _encode_documents(self, texts: list[str]) -> Any:
        if len(self.encoded) > 2000 and not self._gone:
            self._gone = True
            self._away()
        return super()._encode_documents(texts)


def records(count: int) -> list[Record]:
    return [Record(f"i{n}", f"text number {n}", {"n": n}) for n in range(count)]


def indexes_of(docs: Collection) -> dict[str, Any]:
    def described(client: Any) -> dict[str, Any]:
        return {name: client.describe_index("docs", name) for name in client.list_indexes("docs")}

    return store_of(docs)._connection.read(described)


def all_of(docs: Collection) -> list[Record]:
    return sorted(docs.records(), key=lambda record: record.metadata["n"])


@pytest.mark.parametrize("kind", [LiteServer, RealServer])
def test_a_server_that_restarts_in_the_middle_of_an_add(kind: type[LiteServer | RealServer], tmp_path: Path) -> None:
    if issubclass(kind, RealServer):
        kind.skip_unless_possible()
    server = kind(tmp_path / "data")
    server.start()
    try:
        pool = ThreadPoolExecutor(1)
        returned: list[Any] = []

        def away() -> None:
            server.kill()
            returned.append(pool.submit(server.start))

        options = {**server.options, "lexical": kind is LiteServer, "timeout": 60}
        docs = Collection(server.uri, "docs", embedding_function=Slow(away), **options)
        report = docs.add(iter(records(6000)))
        assert [back.result() for back in returned] == [None]
        assert report.added == 6000
        assert all_of(docs) == records(6000)
        assert docs.search("text number 77", limit=1)[0].id == "i77"
        docs.close()
    finally:
        server.stop()


def test_index_files_that_a_killed_lite_server_tore_are_made_again(tmp_path: Path) -> None:
    server = LiteServer(tmp_path / "data")
    server.start()
    try:
        with Collection(server.uri, "docs", embedding_function=HashedWords(), index="HNSW") as docs:
            docs.add(records(200))
            made = indexes_of(docs)
            assert made["dense"]["index_type"] == "HNSW"
        server.stop()  # that flushes
        server.start()
        with Collection.open(server.uri, "docs", embedding_function=HashedWords()) as docs:
            files = list(tmp_path.rglob("*.idx"))
            assert files
            assert docs.search("text number 77", limit=1)[0].id == "i77"
            server.kill()
            whole = [file.stat().st_size for file in files]
            for file, size in zip(files, whole, strict=True):
                os.truncate(file, size // 2)
            server.start()
            assert docs.search("text number 77", mode="dense", limit=1)[0].id == "i77"
            assert [file.stat().st_size for file in files] == whole
            assert indexes_of(docs) == made
    finally:
        server.stop()


def test_a_server_that_goes_and_stays_away(tmp_path: Path) -> None:
    server = LiteServer(tmp_path / "data")
    server.start()
    try:
        with Collection(server.uri, "docs", embedding_function=HashedWords(), timeout=2) as docs:
            docs.add(records(100))
            server.kill()
            for use in (
                docs.count,
                lambda: docs.search("text"),
                lambda: docs.get(["i1"]),
                lambda: list(docs.records()),
            ):
                started = time.monotonic()
                with pytest.raises(StoreError, match=r"cannot be reached: .*Connection refused"):
                    use()
                assert time.monotonic() - started < 10
            with pytest.raises(StoreError, match="Connection refused"):
                docs.add(records(200))
            server.start()
            assert docs.count() == 100
            report = docs.add(records(200))
            assert (report.added, report.unchanged) == (100, 100)
            assert all_of(docs) == records(200)
    finally:
        server.stop()


def test_a_write_to_a_server_that_is_gone_says_what_to_do(tmp_path: Path) -> None:
    server = LiteServer(tmp_path / "data")
    server.start()
    docs = Collection(server.uri, "docs", embedding_function=HashedWords(), timeout=1)
    docs.add(["one"])
    server.kill()
    with pytest.raises(StoreWriteError, match="what was written before is kept: mend the cause and run the same call"):
        docs.drop()
    docs.close()


# Lexical search, indexes, partitions


def bm25(texts: dict[str, str], query: str, pivot: float) -> dict[str, float]:
    """BM25 by its formula (Robertson and Zaragoza 2009, with Lucene's idf) around a given mean length."""
    (terms,) = get_analyzer("en").terms([query])
    counts = {id_: Counter(get_analyzer("en").terms([text])[0]) for id_, text in texts.items()}
    scores: defaultdict[str, float] = defaultdict(float)
    for term in terms:
        df = sum(term in count for count in counts.values())
        idf = math.log(1 + (len(counts) - df + 0.5) / (df + 0.5))
        for id_, count in counts.items():
            if count[term]:
                scores[id_] += idf * count[term] * 1.9 / (count[term] + 0.9 * (0.6 + 0.4 * count.total() / pivot))
    return dict(scores)


def lexical(docs: Collection, query: str) -> dict[str, float]:
    return {hit.id: hit.fields["lexical"].score for hit in docs.search(query, mode="lexical", limit=1000)}


TEXTS = {
    "a": "The quick brown fox jumps over the lazy dog.",
    "b": "A dog is a dog is a dog.",
    "c": "Foxes are quick; dogs are quicker.",
    "d": "Nothing of the kind, but a longer text about databases, indexes, vectors and the like, with many words.",
    "e": "the of and",
    "f": "",
}


def test_lexical_scores_are_bm25_around_the_first_rows(collect: Callable[..., Collection]) -> None:
    docs = collect()
    docs.add(TEXTS.values(), ids=list(TEXTS))
    lengths = [len(terms) for terms in get_analyzer("en").terms(list(TEXTS.values()))]
    pivot = (10 * 100 + sum(lengths)) / (10 + len(lengths))  # ten passages of usual length join the first rows
    assert float(properties_of(docs)[f"{PIVOT}.lexical"]) == pivot
    for query in ("quick dog", "dog dog fox", "databases", "zebra fox"):
        assert lexical(docs, query) == pytest.approx(bm25(TEXTS, query, pivot), rel=1e-6)
    assert lexical(docs, "zebra") == lexical(docs, "the of") == {}
    more = {f"m{n}": "dog " * 300 for n in range(3)}
    docs.add(more.values(), ids=list(more))
    docs.delete(["c", "f"])
    now = {**TEXTS, **more}
    del now["c"], now["f"]
    assert lexical(docs, "quick dog") == pytest.approx(bm25(now, "quick dog", pivot), rel=1e-6)
    assert float(properties_of(docs)[f"{PIVOT}.lexical"]) == pivot


def test_what_another_writes_counts(collect: Callable[..., Collection], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server_bm25, "CHECK_EVERY", 0.0)
    docs, others = collect(), collect()
    docs.add(TEXTS.values(), ids=list(TEXTS))
    pivot = float(properties_of(docs)[f"{PIVOT}.lexical"])
    assert lexical(docs, "dog") == pytest.approx(bm25(TEXTS, "dog", pivot), rel=1e-6)
    more = {"x": "A zebra and a dog", "y": "zebra"}
    others.add(more.values(), ids=list(more))
    for query in ("dog", "zebra"):
        assert lexical(docs, query) == pytest.approx(bm25({**TEXTS, **more}, query, pivot), rel=1e-6)


def test_a_term_that_another_has_just_written_is_found(collect: Callable[..., Collection]) -> None:
    docs, others = collect(), collect()
    docs.add(TEXTS.values(), ids=list(TEXTS))
    assert lexical(docs, "dog")  # so that the statistics are known
    others.add(["zebra"], ids=["z"])
    assert lexical(docs, "zebra").keys() == {"z"}


def test_a_sample_tells_idf(collect: Callable[..., Collection], monkeypatch: pytest.MonkeyPatch) -> None:
    docs = collect()
    texts = [f"common {'half' if n % 2 else 'other'} rare{n}" for n in range(2000)]
    docs.add(texts)
    monkeypatch.setattr(_server_bm25, "SAMPLE", 500)
    statistics = store_of(docs)._lexical["lexical"]._current(store_of(docs)._reader)
    # A binomial sample of a quarter, give or take four standard deviations.
    assert 500 - 4 * 19.4 < statistics.n_documents < 500 + 4 * 19.4
    common, half = (get_analyzer("en").terms([word])[0][0] for word in ("common", "half"))
    n = statistics.n_documents
    df = {term: statistics.df[_server_bm25.term_ids([term])[0]] for term in (common, half)}
    assert df[common] == n
    assert abs(df[half] - n / 2) < 4 * math.sqrt(n) / 2
    assert [hit.text for hit in docs.search("rare77", mode="lexical")] == [texts[77]]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (None, {"dense": "AUTOINDEX", "lexical": "SPARSE_INVERTED_INDEX"}),
        ("HNSW", {"dense": "HNSW", "lexical": "SPARSE_INVERTED_INDEX"}),
        ({"index_type": "IVF_FLAT", "nlist": 4}, {"dense": "IVF_FLAT", "lexical": "SPARSE_INVERTED_INDEX"}),
        (
            {"dense": "FLAT", "lexical": {"index_type": "SPARSE_INVERTED_INDEX", "inverted_index_algo": "DAAT_WAND"}},
            {"dense": "FLAT", "lexical": "SPARSE_INVERTED_INDEX"},
        ),
    ],
)
def test_indexes(collect: Callable[..., Collection], index: Any, expected: dict[str, str]) -> None:
    docs = collect(index=index, search_params={"ef": 64, "nprobe": 4})
    docs.add([f"text number {n}" for n in range(50)])
    assert {name: one["index_type"] for name, one in indexes_of(docs).items()} == expected
    assert docs.search("text number 7", limit=1)[0].text == "text number 7"
    again = collect(index=index)  # asked for again, it is there
    again.close()
    if expected["dense"] == "HNSW":
        with pytest.raises(CollectionMismatchError, match="has the index HNSW, and FLAT was given"):
            collect(index="FLAT")


def test_partitions_keep_tenants_apart(collect: Callable[..., Collection]) -> None:
    docs = collect(partition_key="tenant")
    docs.add(
        [f"text number {n}" for n in range(20)],
        ids=[f"i{n}" for n in range(20)],
        metadata=[{"tenant": f"t{n % 2}", "n": n} for n in range(20)],
    )
    assert docs.get(["i3"]) == [Record("i3", "text number 3", {"tenant": "t1", "n": 3})]
    hits = docs.search("text number 3", filter='tenant == "t0"', limit=20)
    assert {hit.metadata["tenant"] for hit in hits} == {"t0"}
    assert len(hits) == 10
    docs.add(["text number 3"], ids=["i3"], metadata=[{"tenant": "t0", "n": 3}])  # moves
    assert (docs.count(), docs.count('tenant == "t0"')) == (20, 11)
    for metadata in ({}, {"tenant": 5}):
        with pytest.raises(InputError, match="by which the collection is partitioned; it must be a string"):
            docs.add(["a text"], metadata=[metadata])
    docs.close()
    assert collect().count('tenant == "t1"') == 9  # it need not be named again
    with pytest.raises(CollectionMismatchError, match="has partition key 'tenant', and partition_key='n' was given"):
        collect(partition_key="n")


def write_at_once(writers: list[Collection]) -> None:
    with ThreadPoolExecutor(2) as pool:
        parts = [records(1500), records(3000)[1000:]]
        reports = list(pool.map(lambda pair: pair[0].add(pair[1]), zip(writers, parts, strict=True)))
    assert sum(report.added + report.updated + report.unchanged for report in reports) == 3500
    for docs in writers:
        assert all_of(docs) == records(3000)


def test_two_writers_at_once(collect: Callable[..., Collection]) -> None:
    write_at_once([collect(), collect()])


def test_what_another_tool_made(server: LiteServer) -> None:
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(server.uri, dedicated=True)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("pk", DataType.INT64, is_primary=True)
    schema.add_field("body", DataType.VARCHAR, max_length=1000)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params("embedding", index_type="HNSW", metric_type="COSINE")
    client.create_collection("theirs", schema=schema, index_params=index)
    texts = ["quick brown fox", "lazy dog"]
    vectors = HashedWords().encode_documents(texts)
    client.insert("theirs", [{"pk": n, "body": texts[n], "embedding": vectors[n], "year": n} for n in range(2)])
    with pytest.raises(CollectionMismatchError, match="was not made by milvine"):
        Collection(server.uri, "theirs", embedding_function=HashedWords())
    fields = {"text": "body", "dense": "embedding"}
    with Collection.attach(server.uri, "theirs", fields, embedding_function=HashedWords(), timeout=5) as docs:
        assert [(hit.id, hit.text, hit.metadata) for hit in docs.search("fox", limit=1)] == [
            ("0", texts[0], {"year": 0})
        ]
        docs.add(["a cat"], ids=["7"])
        assert sorted(docs.ids()) == ["0", "1", "7"]
        assert docs.delete(["0"]) == 1
    client.drop_collection("theirs")
    client.close()


def test_a_server_without_sparse_vectors(tmp_path: Path) -> None:
    RealServer.skip_unless_possible()
    server = RealServer(tmp_path / "data")
    server.start()
    try:
        for token, words in (
            (None, "a request without a token"),
            (f"root:{SECRET}", "the token, or user and password"),
        ):
            options = {} if token is None else {"token": token}
            message = fails_within(10, server.uri, **options)
            assert f"refused {words}" in message
            assert SECRET not in message
        several = {"one": HashedWords(), "two": HashedWords(version=2)}
        options = dict(server.options)
        with pytest.raises(InputError, match=r"version v2\.3\.5.*lacks sparse vectors \(the field 'lexical'\)"):
            Collection(server.uri, "docs", embedding_function=HashedWords(), **options)
        with pytest.raises(InputError, match="lacks several vector fields; they came with"):
            Collection(server.uri, "docs", embedding_function=several, lexical=False, **options)
        options |= {"lexical": False, "embedding_function": HashedWords()}
        # Its upsert hashes the wrong column: https://github.com/milvus-io/milvus/issues/30607.
        with pytest.raises(InputError, match="puts what is written again into wrong partitions"):
            Collection(server.uri, "docs", partition_key="tenant", **options)
        index = {"index_type": "HNSW", "M": 8, "efConstruction": 64}
        more: dict[str, Any] = {"index": index, "shards": 2, "search_params": {"ef": 128}}
        with Collection(server.uri, "docs", **options, **more) as docs:
            docs.add([f"text number {n}" for n in range(200)], ids=[f"i{n}" for n in range(200)])
            assert docs.search("text number 7", limit=120)[0].id == "i7"
            described = store_of(docs)._described() or {}
            assert described["num_shards"] == 2
            assert CONFIG in described["properties"]
            for level in ("Strong", "Session"):
                with Collection(server.uri, "docs", consistency_level=level, **options) as again:
                    again.add(["more"], ids=[level])
                    assert again.get([level])[0] is not None
            large = [f"id{n:05} {'x' * 100}" for n in range(12_000)]  # more than two pages of ids
            docs.add(["text"] * len(large), ids=large)
            assert sorted(docs.ids('text == "text"')) == large
        strong = {**options, "consistency_level": "Strong"}
        with Collection(server.uri, "both", **strong) as one, Collection(server.uri, "both", **strong) as other:
            write_at_once([one, other])
    finally:
        server.stop()
