"""What an embedding function and a reranker are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from milvine._texts import as_text, as_texts
from milvine.errors import InputError, InputTypeError
from milvine.local.options import check_count
from milvine.types import RerankResult

__all__ = ["BaseEmbeddingFunction", "BaseRerankFunction", "RerankResult"]

Vectors = TypeVar("Vectors", covariant=True)


class BaseEmbeddingFunction(ABC, Generic[Vectors]):
    """Turns texts into vectors.

    A subclass gives `_encode_documents`, `_encode_queries` and `dim`; the texts it gets are a checked list of strings,
    which may be empty. An empty or blank text is legal and has a vector like any other.

    One whose vectors are a token's each, an array of shape `(tokens, dim)` a text as ColBERT gives them, says so by the
    class attribute `TASK = "multivector"`; else a collection would take them for one vector a text.
    """

    @property
    @abstractmethod
    def dim(self) -> Any:
        """The number of dimensions of a vector; a dict of them where the function has several outputs."""

    @abstractmethod
    def _encode_documents(self, texts: list[str]) -> Vectors: ...

    @abstractmethod
    def _encode_queries(self, texts: list[str]) -> Vectors: ...

    def encode_documents(self, documents: Iterable[str]) -> Vectors:
        """The vectors of texts that are to be found.

        Args:
            documents: Any iterable of strings.

        Raises:
            InputTypeError: `documents` is a bare string, or holds something that is no string.
        """
        return self._encode_documents(as_texts(documents, "documents"))

    def encode_queries(self, queries: Iterable[str]) -> Vectors:
        """The vectors of texts that search.

        Args:
            queries: Any iterable of strings.

        Raises:
            InputTypeError: `queries` is a bare string, or holds something that is no string.
        """
        return self._encode_queries(as_texts(queries, "queries"))

    def __call__(self, texts: Iterable[str]) -> Vectors:
        """The vectors of texts that are neither queries nor documents: encoded as documents are."""
        return self._encode_documents(as_texts(texts))

    def iter_documents(self, documents: Iterable[str], batch_size: int = 4096) -> Iterator[Any]:
        """The vectors of texts that are to be found, one after the other, however many texts there are.

        Texts are taken from `documents` as their turn comes, so neither they nor their vectors are ever all in memory.

        Args:
            documents: Any iterable of strings, such as a generator.
            batch_size: Texts that are held and encoded together; one that comes twice among them is computed once.

        Yields:
            What `encode_documents` gives for one text: an array; a `csr_array` of one row; or, of a function with
            several outputs, a dict of them.

        Raises:
            InputTypeError: `documents` is a bare string, or holds something that is no string.
            InputError: `batch_size` is less than 1.
        """
        check_count("batch_size", batch_size)
        if isinstance(documents, (str, bytes, bytearray, dict)) or not isinstance(documents, Iterable):
            as_texts(documents, "documents")
        checked = (as_text(text, f"documents[{position}]") for position, text in enumerate(documents))
        return self._iter(checked, batch_size)

    def _iter(self, documents: Iterator[str], batch_size: int) -> Iterator[Any]:
        while texts := list(islice(documents, batch_size)):
            yield from one_by_one(self.encode_documents(texts))

    def identity(self) -> dict[str, Any]:
        """What must be equal for two functions' vectors to be comparable, as JSON; it never holds a key.

        A collection stores this and refuses to be opened with a function whose identity differs.
        """
        return {"function": type(self).__name__, "dim": self.dim}


def one_by_one(vectors: Any) -> Iterator[Any]:
    """The vectors of several texts as those of each: of a dict of them, dicts; of a sparse matrix, its rows."""
    if isinstance(vectors, dict):
        return (dict(zip(vectors, each, strict=True)) for each in zip(*map(one_by_one, vectors.values()), strict=True))
    if isinstance(vectors, list):
        return iter(vectors)
    return (vectors[row : row + 1] for row in range(vectors.shape[0]))


class BaseRerankFunction(ABC):
    """Orders documents by their relevance to a query.

    A subclass gives `_rerank`, which gets a checked query, a list that is not empty, and a `top_k` of at least 1.
    """

    @abstractmethod
    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]: ...

    def __call__(self, query: str, documents: Sequence[str], top_k: int = 5) -> list[RerankResult]:
        """The `top_k` most relevant documents, best first; equal scores keep the order of the documents.

        Raises:
            InputTypeError: `query` is no string, `documents` is no list of strings, or `top_k` no integer.
            InputError: `top_k` is less than 1.
        """
        listed, top_k = self._checked(query, documents, top_k)
        return self._best(self._rerank(query, listed, top_k), top_k) if listed else []

    @staticmethod
    def _checked(query: str, documents: Sequence[str], top_k: int) -> tuple[list[str], int]:
        """The documents as a list, and how many of them are wanted."""
        if isinstance(top_k, bool) or not isinstance(top_k, int):
            raise InputTypeError(f"top_k must be an integer, not {type(top_k).__name__} ({top_k!r})")
        if top_k < 1:
            raise InputError(f"top_k must be at least 1, not {top_k}")
        listed = as_texts(documents, "documents")
        as_text(query, "query")
        return listed, min(top_k, len(listed))

    @staticmethod
    def _best(results: list[RerankResult], top_k: int) -> list[RerankResult]:
        return sorted(results, key=lambda result: (-result.score, result.index))[:top_k]

    def identity(self) -> dict[str, Any]:
        """What names this reranker in logs and stored configurations, as JSON; it never holds a key."""
        return {"function": type(self).__name__}
