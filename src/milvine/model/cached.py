"""Any embedding function, with a cache on disk: no text is computed, or paid for, twice."""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from milvine._callers import levels_to_caller
from milvine._progress import progress
from milvine._texts import as_texts
from milvine.errors import InputError, InputTypeError
from milvine.local.options import check_count, check_place, check_switch
from milvine.model._closing import Closing
from milvine.model.base import BaseEmbeddingFunction, Vectors

if TYPE_CHECKING:
    from milvine.model._cache.call import Call
    from milvine.model._cache.file import Space

__all__ = ["CachedEmbeddingFunction"]

Role = Literal["documents", "queries", "texts"]
METHODS: dict[Role, tuple[str, str]] = {
    "documents": ("encode_documents", "aencode_documents"),
    "queries": ("encode_queries", "aencode_queries"),
    "texts": ("__call__", "acall"),
}


class CachedEmbeddingFunction(Closing, BaseEmbeddingFunction[Vectors], Generic[Vectors]):
    """An embedding function that computes only what it has not computed before, on this machine.

    It gives what the function gives: the same kind of vectors, of the same type, bit by bit, in the order of the texts.
    Vectors are known by what the function's `identity()` says, by the role (documents and queries apart), and by the
    sha256 of the text; the texts themselves are not stored. What is computed is stored as it comes, so what was done
    before an error, Ctrl-C or a crash is there the next time; an error's `completed` covers what the cache had, too.

    A collection may be opened with or without it: its `identity()` is the function's. Everything else that the function
    has, such as `tokenizer` or `usage`, can be had of this one. Async twins are there for every function; one that has
    none of its own computes in a thread.

    The file may be used by several processes and threads. Beyond its bound, what was used longest ago is removed. A
    damaged file is begun anew; one that cannot be written, on a full disk for example, costs the time of computing
    again, and a warning.

    Args:
        function: The function. One that learns by `fit`, such as BM25, is refused: each text learned changes all its
            vectors, and computing them takes no longer than looking them up. So is, with its first documents, one that
            encodes documents in the light of each other (Jina's late chunking). A function of your own needs an
            `identity()` that names all that its vectors depend on; without one there is a warning.
        path: The file; by default `vectors.sqlite3` in milvine's cache folder, which `MILVINE_CACHE` names.
        max_bytes: How large the file may grow, give or take 1 MB, and a log of some MB beside it. It is the file's
            bound: whoever opens it next without naming one keeps to it. 2 GiB for a new file: 300,000 vectors of 1,536
            float32 dimensions, 1.2 million of 384.
        show_progress: Show a bar while texts are computed; by default on a terminal only.

    Attributes:
        function: The function.
        path: The file.

    Raises:
        InputTypeError: `function` is no embedding function, or `path` or `max_bytes` of the wrong type.
        InputError: The function can be fitted, `max_bytes` is less than 1, or the file is no cache of vectors, or one
            of a newer milvine.
    """

    def __init__(
        self,
        function: BaseEmbeddingFunction[Vectors],
        path: str | Path | None = None,
        *,
        max_bytes: int | None = None,
        show_progress: bool | None = None,
    ) -> None:
        from milvine.model._cache.file import default_path
        from milvine.model._cache.store import open_cache

        _check_function(function)
        if path is not None:
            check_place("path", path)
        if max_bytes is not None:
            check_count("max_bytes", max_bytes)
        check_switch("show_progress", show_progress)
        self.function = function
        self._show_progress = show_progress
        self._cache = open_cache(default_path() if path is None else Path(path), max_bytes)
        self.path = self._cache.path
        self._hits = self._misses = 0
        self._counting = threading.Lock()
        weakref.finalize(self, self._cache.flush)

    @property
    def dim(self) -> Any:
        """The function's."""
        return self.function.dim

    @property
    def hits(self) -> int:
        """Texts that this object was given and that needed no computing."""
        return self._hits

    @property
    def misses(self) -> int:
        """Texts that this object was given and that were computed, each once however often it came."""
        return self._misses

    def identity(self) -> dict[str, Any]:
        """The function's: a cache changes no vector."""
        return self.function.identity()

    def __call__(self, texts: Iterable[str]) -> Vectors:
        """The vectors that the function gives when it is called."""
        return self._encode(self._role_of_calls(), as_texts(texts))

    async def aencode_documents(self, documents: Iterable[str]) -> Vectors:
        """As `encode_documents`, awaited."""
        return await self._aencode("documents", as_texts(documents, "documents"))

    async def aencode_queries(self, queries: Iterable[str]) -> Vectors:
        """As `encode_queries`, awaited."""
        return await self._aencode("queries", as_texts(queries, "queries"))

    async def acall(self, texts: Iterable[str]) -> Vectors:
        """As a call, awaited."""
        return await self._aencode(self._role_of_calls(), as_texts(texts))

    def close(self) -> None:
        """Write down what is pending, and close the function if it can be closed."""
        self._cache.flush()
        if close := getattr(self.function, "close", None):
            close()

    async def aclose(self) -> None:
        """As `close`, awaited."""
        self._cache.flush()
        if aclose := getattr(self.function, "aclose", None):
            await aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.function!r}, {str(self.path)!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "function":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.function, name)

    def _encode_documents(self, texts: list[str]) -> Vectors:
        return self._encode("documents", texts)

    def _encode_queries(self, texts: list[str]) -> Vectors:
        return self._encode("queries", texts)

    def _encode(self, role: Role, texts: list[str]) -> Vectors:
        if not texts:
            return self._compute(role)(texts)
        call = self._begin(role, texts)
        with self._progress(call) as advance:
            for part in call.parts(remote=self._is_remote):
                with part, closing(self._stream(role, part.texts)) as stream:
                    for vectors in stream:
                        advance(self._kept(part.keep(vectors)))
        return cast(Vectors, call.result())

    async def _aencode(self, role: Role, texts: list[str]) -> Vectors:
        import asyncio

        def in_thread(some: list[str]) -> Awaitable[Vectors]:
            return asyncio.to_thread(self._compute(role), some)

        compute = getattr(self.function, METHODS[role][1], in_thread)
        if not texts:
            return cast(Vectors, await compute(texts))
        call = await asyncio.to_thread(self._begin, role, texts)
        with self._progress(call) as advance:
            for part in call.parts(remote=self._is_remote):
                with part:
                    vectors = await compute(part.texts)
                    advance(self._kept(await asyncio.to_thread(part.keep, vectors)))
        return cast(Vectors, await asyncio.to_thread(call.result))

    def _begin(self, role: Role, texts: list[str]) -> Call:
        from milvine.model._cache.call import Call

        call = Call(self._cache, self._space(role), texts)
        with self._counting:
            self._hits += len(texts) - call.missing
        return call

    def _kept(self, count: int) -> int:
        with self._counting:
            self._misses += count
        return count

    def _progress(self, call: Call) -> Any:
        return progress("Encoding", call.missing, show=self._show_progress if call.missing else False)

    def _compute(self, role: Role) -> Callable[[list[str]], Vectors]:
        return cast("Callable[[list[str]], Vectors]", getattr(self.function, METHODS[role][0]))

    def _stream(self, role: Role, texts: list[str]) -> Generator[Any, None, None]:
        """The texts' vectors: one at a time where the function gives documents' as they come, else all together."""
        if role != "documents" or not self._is_remote:
            yield self._compute(role)(texts)
            return
        vectors: Any = self.function.iter_documents(texts, len(texts))  # all are checked before the first is sent
        with closing(vectors):  # Ctrl-C while one is stored must end the requests, too
            for vector in vectors:
                yield [vector]

    @property
    def _is_remote(self) -> bool:
        """Whether the function has requests under way, and so async methods: it gives a list of arrays then."""
        return hasattr(self.function, "aencode_documents")

    def _role_of_calls(self) -> Role:
        return "documents" if type(self.function).__call__ is BaseEmbeddingFunction.__call__ else "texts"

    def _space(self, role: Role) -> Space:
        """Asked for with every call: an instruction may have been changed."""
        from milvine.model._cache.file import Space

        identity = self.identity()
        if role != "queries":
            _check_independent(self.function, identity)
        # Where a model's folder lies says nothing of its vectors.
        telling = {name: value for name, value in identity.items() if name != "folder"}
        try:
            canonical = json.dumps(telling, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise InputTypeError(f"the identity() of {type(self.function).__name__} is not JSON: {error}") from error
        name = str(identity.get("function") or type(self.function).__name__)
        return Space(hashlib.sha256(canonical.encode()).hexdigest(), role, name, str(identity.get("model") or ""))


def _check_function(function: Any) -> None:
    name = type(function).__name__
    if not isinstance(function, BaseEmbeddingFunction):
        raise InputTypeError(f"function must be an embedding function, not {name}")
    if callable(getattr(function, "fit", None)):
        raise InputError(
            f"{name} is not for a cache: each fit changes all its vectors, and computing them takes no longer than"
            " looking them up; use it as it is"
        )
    if type(function).identity is BaseEmbeddingFunction.identity:
        warnings.warn(
            f"{name} has no identity() of its own: the cache knows it by its name and dim alone, and takes another of"
            " that name for it. Give it one that names all that its vectors depend on",
            stacklevel=levels_to_caller(),
        )


def _check_independent(function: Any, identity: dict[str, Any]) -> None:
    if identity.get("whole"):
        raise InputError(
            f"{type(function).__name__} encodes the documents of a call in the light of each other, so none has a"
            " vector of its own that could be kept; use it without a cache, or switch that off"
        )
