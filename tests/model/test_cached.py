from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from milvine import Collection
from milvine.errors import InputError, InputTypeError, ProviderError, ProviderRequestError
from milvine.model import CachedEmbeddingFunction, DefaultEmbeddingFunction
from milvine.model._cache.rows import OVERHEAD
from milvine.model.base import BaseEmbeddingFunction
from milvine.model.dense import OpenAIEmbeddingFunction
from milvine.model.sparse import BM25EmbeddingFunction
from provider_server import KEY, ProviderServer, provider_server, vector_of, wait_for
from small_functions import HashedWords

DIM = 8


class Numbers(BaseEmbeddingFunction[Any]):
    """Vectors of a text's hash in any of the kinds there are; queries have other ones than documents.

    Attributes:
        seen: The texts that were computed, in order.
    """

    def __init__(self, kind: str = "float32", version: int = 1) -> None:
        self.kind, self.version = kind, version
        self.seen: list[str] = []

    dim = DIM

    def _vectors(self, texts: list[str], role: str) -> Any:
        self.seen += texts
        rows = [hashlib.shake_256(f"{role}{self.version}{text}".encode()).digest(DIM) for text in texts]
        block = np.frombuffer(b"".join(rows), np.int8).reshape(len(texts), DIM)
        sparse = csr_array(np.where(block > 20, block, 0).astype(np.float32))
        tokens = [
            np.outer(np.arange(len(text)), row).astype(np.float32) for text, row in zip(texts, block, strict=True)
        ]
        if self.kind == "sparse":
            return sparse
        if self.kind == "hybrid":
            return {"dense": list(block.astype(np.float32)), "sparse": sparse, "colbert_vecs": tokens}
        return tokens if self.kind == "tokens" else list(block.astype(self.kind))

    def _encode_documents(self, texts: list[str]) -> Any:
        return self._vectors(texts, "document")

    def _encode_queries(self, texts: list[str]) -> Any:
        return self._vectors(texts, "query")

    def identity(self) -> dict[str, Any]:
        return {"function": "Numbers", "model": "numbers", "kind": self.kind, "version": self.version}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "vectors.sqlite3"


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[name], right[name]) for name in left)
    if isinstance(left, csr_array):
        parts = zip((left.indptr, left.indices, left.data), (right.indptr, right.indices, right.data), strict=True)
        return left.shape == right.shape and same(*map(list, zip(*parts, strict=True)))
    return len(left) == len(right) and all(
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(left, right, strict=True)
    )


# What comes back


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "uint8", "sparse", "hybrid", "tokens"])
@pytest.mark.parametrize("encode", ["__call__", "encode_documents", "encode_queries"])
def test_vectors_are_the_functions_bit_by_bit_in_the_order_of_the_texts(kind: str, encode: str, file: Path) -> None:
    texts = ["one", "two", "one", "", "Füße 日本語 🎉", "two"]
    expected = getattr(Numbers(kind), encode)(texts)
    function = Numbers(kind)
    cached = CachedEmbeddingFunction(function, file)
    assert same(getattr(cached, encode)(iter(texts)), expected)
    assert function.seen == ["one", "two", "", "Füße 日本語 🎉"]
    again = CachedEmbeddingFunction(Numbers(kind), file)
    assert same(getattr(again, encode)(texts), expected)
    half_known = getattr(again, encode)(["new", *texts, "new"])
    assert same(half_known, getattr(Numbers(kind), encode)(["new", *texts, "new"]))
    assert again.function.seen == ["new"]
    assert type(getattr(cached, encode)([])) is type(getattr(function, encode)([]))


def test_local_vectors_and_a_collection_with_and_without_the_cache(file: Path, database: str) -> None:
    texts = ["Expenses above 50 euros need a receipt.", "The office is closed on public holidays."]
    function = DefaultEmbeddingFunction()
    cached = CachedEmbeddingFunction(function, file)
    assert (cached.dim, cached.identity(), cached.output) == (384, function.identity(), "float32")
    assert cached.tokenizer is function.tokenizer
    assert same(cached.encode_documents(texts), function.encode_documents(texts))
    with Collection(database, embedding_function=cached) as collection:
        collection.add(texts)
    assert (cached.hits, cached.misses) == (2, 2)
    with Collection(database) as collection:
        assert "holidays" in collection.search("When can I not come in?")[0].text
    with Collection(database, embedding_function=cached) as collection:
        assert "holidays" in collection.search("When can I not come in?")[0].text
    assert (cached.hits, cached.misses) == (2, 3)


def test_roles_versions_and_instructions_are_apart(file: Path) -> None:
    function = Numbers()
    cached = CachedEmbeddingFunction(function, file)
    document, query = cached.encode_documents(["x"])[0], cached.encode_queries(["x"])[0]
    assert not same([document], [query])
    function.version = 2
    assert not same(cached.encode_documents(["x"]), [document])
    function.version = 1
    assert same(cached(["x"]), [document])  # calling it encodes documents
    assert function.seen == ["x", "x", "x"]
    assert (cached.hits, cached.misses) == (1, 3)


def test_iterating_over_documents_uses_the_cache(file: Path) -> None:
    cached = CachedEmbeddingFunction(Numbers("sparse"), file)
    texts = [f"text {at % 7}" for at in range(20)]
    rows = list(cached.iter_documents(iter(texts), batch_size=3))
    expected = Numbers("sparse").encode_documents(texts)
    assert all(same(row, expected[[at]]) for at, row in enumerate(rows))
    assert len(cached.function.seen) == 7


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (
            (BM25EmbeddingFunction("en", ["cats and dogs"]),),
            InputError,
            "BM25EmbeddingFunction is not for a cache: each",
        ),
        ((HashedWords,), InputTypeError, "function must be an embedding function, not ABCMeta"),
        ((HashedWords(), 5), InputTypeError, "path must be a string or a Path"),
        ((HashedWords(), " "), InputError, "path is blank"),
    ],
)
def test_what_is_refused(arguments: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        CachedEmbeddingFunction(*arguments)


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5, True])
def test_bounds_that_are_refused(max_bytes: Any, file: Path) -> None:
    with pytest.raises((InputError, InputTypeError), match="max_bytes must be"):
        CachedEmbeddingFunction(HashedWords(), file, max_bytes=max_bytes)


def test_a_function_without_an_identity_of_its_own_is_warned_of(file: Path) -> None:
    class Nameless(HashedWords):
        identity = BaseEmbeddingFunction.identity

    with pytest.warns(UserWarning, match=r"Nameless has no identity\(\) of its own") as warned:
        CachedEmbeddingFunction(Nameless(), file)
    assert warned[0].filename == __file__


@pytest.mark.parametrize("given", [1, 3])
def test_a_function_that_gives_too_few_or_too_many(given: int, file: Path) -> None:
    class Wrong(HashedWords):
        def _encode_documents(self, texts: list[str]) -> Any:
            return super()._encode_documents((texts * 2)[:given])

    with pytest.raises(InputError, match=f"gave {given} vectors.* for 2 texts"):
        CachedEmbeddingFunction(Wrong(), file).encode_documents(["a", "b"])


# What is kept


class Failing(Numbers):
    """Ends with an error at a certain text, as a failing server or Ctrl-C would."""

    error: BaseException | None = None

    def _vectors(self, texts: list[str], role: str) -> Any:
        if self.error and "bad" in texts:
            raise self.error
        return super()._vectors(texts, role)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_what_was_finished_before_an_error_is_there_the_next_time(error: BaseException, file: Path) -> None:
    texts = [*(f"text {at}" for at in range(100)), "bad", "last"]
    function = Failing()
    function.error = error
    with pytest.raises(type(error)):
        CachedEmbeddingFunction(function, file).encode_documents(texts)
    finished = list(function.seen)
    assert finished == texts[: len(finished)]
    assert len(finished) >= 50
    function.error = None
    CachedEmbeddingFunction(function, file).encode_documents(texts)
    assert function.seen == texts


def test_what_an_error_brings_is_kept_and_told_by_the_callers_positions(file: Path) -> None:
    function = Failing()
    cached = CachedEmbeddingFunction(function, file)
    cached.encode_documents(["known"])
    failure = ProviderError("documents[2] is too long; texts[9]")
    failure.completed = {1: np.full(DIM, 7, np.float32)}
    function.error = failure
    with pytest.raises(ProviderError) as raised:
        cached.encode_documents(["known", "one", "known", "two", "one", "bad"])
    assert str(raised.value) == "documents[5] is too long; texts[9]"  # there were but three to compute
    assert sorted(raised.value.completed) == [0, 2, 3]
    assert raised.value.completed[3].tolist() == [7] * DIM
    function.error = None
    cached.encode_documents(["known", "one", "two", "bad"])
    assert function.seen == ["known", "one", "bad"]


def test_the_least_recently_used_goes_first_as_in_a_dict(file: Path) -> None:
    """Against an `OrderedDict` that does the same, over 400 random calls, some after the file was closed."""
    room = 5
    draw = random.Random(3)  # noqa: S311
    expected: OrderedDict[str, None] = OrderedDict()
    function = Numbers()
    cached = CachedEmbeddingFunction(function, file, max_bytes=room * (DIM * 4 + OVERHEAD))
    for step in range(400):
        text = f"text {draw.randrange(9)}"
        if draw.random() < 0.05:
            del cached
            cached = CachedEmbeddingFunction(function, file)
        before = len(function.seen)
        cached.encode_documents([text])
        assert (len(function.seen) == before) == (text in expected), step
        expected[text] = None
        expected.move_to_end(text)
        if len(expected) > room:
            expected.popitem(last=False)


def test_the_file_keeps_to_its_bound_and_shrinks_to_a_smaller_one(file: Path) -> None:
    bound, mega = 4_000_000, 1 << 20

    class Long(Numbers):  # 6,144 bytes each
        def _vectors(self, texts: list[str], role: str) -> Any:
            return [np.resize(row, 1536) for row in super()._vectors(texts, role)]

    cached = CachedEmbeddingFunction(Long(), file, max_bytes=bound)
    for start in range(0, 3000, 300):
        cached.encode_documents([f"text {at}" for at in range(start, start + 300)])
    assert bound / 2 < file.stat().st_size < bound + 2 * mega
    hits = cached.hits
    cached.encode_documents([f"text {at}" for at in range(2800, 3000)])
    assert cached.hits == hits + 200
    CachedEmbeddingFunction(Long(), file, max_bytes=bound // 4)
    assert file.stat().st_size < bound / 4 + mega


def test_threads_share_one_object(file: Path) -> None:
    texts = [f"text {at}" for at in range(300)]
    expected = Numbers().encode_documents(texts)
    cached = CachedEmbeddingFunction(Numbers(), file)
    wrong: list[int] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311
        for _ in range(20):
            chosen = draw.sample(range(300), 30)
            if not same(cached.encode_documents([texts[at] for at in chosen]), [expected[at] for at in chosen]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cached.hits + cached.misses == 6 * 20 * 30


# Hosted functions


def hosted(server: ProviderServer, **options: Any) -> OpenAIEmbeddingFunction:
    return OpenAIEmbeddingFunction("text-embedding-3-small", KEY, server.url_of("openai"), **options)


def sent(server: ProviderServer) -> list[str]:
    return [text for request in server.requests for text in request.body["input"]]


def test_a_hosted_text_is_paid_for_once_and_the_key_is_not_stored(server: ProviderServer, file: Path) -> None:
    texts = [f"text {at}" for at in range(30)]
    with CachedEmbeddingFunction(hosted(server, batch_size=4), file) as cached:
        vectors = cached.encode_documents([*texts, *texts])
        assert cached.usage.texts == 30
    assert same(vectors, [vector_of(text) for text in [*texts, *texts]])
    with CachedEmbeddingFunction(hosted(server), file) as again:
        assert same(again.encode_documents(texts), vectors[:30])
        assert KEY not in repr(again)
    assert sorted(sent(server)) == sorted(texts)
    stored = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert b"OpenAIEmbeddingFunction" in stored
    assert KEY.encode() not in stored
    assert b"text 7" not in stored


def test_the_async_twins_go_through_the_same_cache(server: ProviderServer, file: Path) -> None:
    async def ask() -> Any:
        async with CachedEmbeddingFunction(hosted(server), file) as cached:
            both = await asyncio.gather(cached.aencode_documents(["a", "b"]), cached.aencode_queries(["q"]))
            return both, await cached.acall(["a", "b", "a"]), await cached.aencode_documents([])

    (documents, queries), called, none = asyncio.run(ask())
    assert same(documents, [vector_of("a"), vector_of("b")])
    assert same(queries, [vector_of("q")])
    assert same(called, [vector_of("a"), vector_of("b"), vector_of("a")])
    assert none == []
    assert sorted(sent(server)) == ["a", "b", "q"]
    with CachedEmbeddingFunction(hosted(server), file) as cached:
        cached.encode_documents(["a", "b"])
    assert len(sent(server)) == 3


def test_local_functions_have_async_twins_too(file: Path) -> None:
    cached = CachedEmbeddingFunction(Numbers("hybrid"), file)
    assert same(asyncio.run(cached.aencode_queries(["a", "b"])), Numbers("hybrid").encode_queries(["a", "b"]))
    assert same(cached.encode_queries(["b"]), Numbers("hybrid").encode_queries(["b"]))
    assert cached.function.seen == ["a", "b"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_batch_that_fails_for_good_costs_no_other_twice(server: ProviderServer, file: Path, is_async: bool) -> None:
    texts = [f"text {at}" for at in range(12)]
    texts[6] = "x " * 40_000  # over the model's limit
    cached = CachedEmbeddingFunction(hosted(server, batch_size=2), file)
    cached.encode_documents([texts[1]])
    encode: Callable[[list[str]], Any] = cached.encode_documents
    if is_async:
        encode = lambda texts: asyncio.run(cached.aencode_documents(texts))  # noqa: E731
    with pytest.raises(ProviderRequestError, match=r"texts\[6\]") as raised:
        encode(texts)
    done = raised.value.completed
    assert {0, 1, 2} <= set(done)
    assert all(same([vector], [vector_of(texts[at])]) for at, vector in done.items())
    before = len(server.requests)
    del texts[6]
    cached.encode_documents(texts)
    again = [text for request in server.requests[before:] for text in request.body["input"]]
    assert len(again) == len(texts) - len(done)


def test_ctrl_c_keeps_what_the_provider_has_answered(file: Path) -> None:
    with provider_server(latency=0.01) as server:
        texts = [f"text {at}" for at in range(200)]
        cached = CachedEmbeddingFunction(hosted(server, batch_size=2, concurrency=2), file)

        def interrupt() -> None:
            wait_for(lambda: len(server.requests) >= 30)
            os.kill(os.getpid(), signal.SIGINT)

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            cached.encode_documents(texts)
        interrupting.join()
        cached.encode_documents(texts)
        assert 100 < len(server.requests) <= 100 + 4  # some were under way


def test_documents_that_depend_on_each_other_are_refused(server: ProviderServer, file: Path) -> None:
    from milvine.model.dense import JinaEmbeddingFunction

    late = JinaEmbeddingFunction("jina-embeddings-v3", KEY, base_url=server.url_of("jina"), late_chunking=True)
    cached = CachedEmbeddingFunction(late, file)
    with pytest.raises(InputError, match="JinaEmbeddingFunction encodes the documents of a call in the light of each"):
        cached.encode_documents(["a", "b"])
    assert cached.encode_queries(["q"])[0].shape == (1024,)
