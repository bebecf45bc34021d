"""Functions of a user's own making, small enough to run anywhere: what the tests embed and rerank with."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from milvine.model.base import BaseEmbeddingFunction, BaseRerankFunction, RerankResult
from milvine.types import DenseMatrix, DenseVectors, SparseMatrix

DIM = 16


@cache
def _word_vector(word: str, dim: int) -> Any:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


class HashedWords(BaseEmbeddingFunction[DenseVectors]):
    """Each word adds a random but fixed vector; texts that share words are near each other.

    Attributes:
        encoded: Every document that it has encoded, in order.
    """

    def __init__(self, dim: int = DIM, version: int = 1) -> None:
        self._dim = dim
        self.version = version
        self.encoded: list[str] = []

    @property
    def dim(self) -> int:
        return self._dim

    def _vector(self, text: str) -> Any:
        vector = np.sum([_word_vector(word, self._dim) for word in text.lower().split() or [""]], axis=0)
        return vector / np.linalg.norm(vector)

    def _encode_documents(self, texts: list[str]) -> DenseVectors:
        self.encoded += texts
        return [self._vector(text) for text in texts]

    def _encode_queries(self, texts: list[str]) -> DenseVectors:
        return [self._vector(text) for text in texts]

    def identity(self) -> dict[str, Any]:
        return {"function": "HashedWords", "dim": self._dim, "version": self.version, "range": (0, 1)}


TERMS = 512


class HashedTerms(BaseEmbeddingFunction[SparseMatrix]):
    """Each word is a column; its weight is how often it comes. A blank text has an empty row.

    Attributes:
        encoded: Every document that it has encoded, in order.
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.encoded: list[str] = []

    @property
    def dim(self) -> int:
        return TERMS

    def weights(self, text: str) -> dict[int, float]:
        columns = [int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % TERMS for word in text.lower().split()]
        return {column: self.factor * columns.count(column) for column in sorted(set(columns))}

    def _matrix(self, texts: list[str]) -> Any:
        rows = [self.weights(text) for text in texts]
        ends = np.cumsum([0, *map(len, rows)])
        columns = np.asarray([column for row in rows for column in row], dtype=np.int32)
        data = np.asarray([weight for row in rows for weight in row.values()], dtype=np.float32)
        return csr_array((data, columns, ends), shape=(len(texts), TERMS))

    def _encode_documents(self, texts: list[str]) -> SparseMatrix:
        self.encoded += texts
        return self._matrix(texts)

    def _encode_queries(self, texts: list[str]) -> SparseMatrix:
        return self._matrix(texts)

    def identity(self) -> dict[str, Any]:
        return {"function": "HashedTerms", "dim": TERMS, "factor": self.factor}


class WordsAndTerms(BaseEmbeddingFunction[dict[str, Any]]):
    """The vectors of both, from one pass.

    Attributes:
        passes: The texts of each pass, in order.
    """

    def __init__(self) -> None:
        self.words, self.terms = HashedWords(), HashedTerms()
        self.passes: list[list[str]] = []

    @property
    def dim(self) -> dict[str, int]:
        return {"dense": DIM, "sparse": TERMS}

    def _encode_documents(self, texts: list[str]) -> dict[str, Any]:
        if texts:
            self.passes.append(texts)
        return {"dense": self.words.encode_documents(texts), "sparse": self.terms.encode_documents(texts)}

    _encode_queries = _encode_documents

    def identity(self) -> dict[str, Any]:
        return {"function": "WordsAndTerms", "dim": self.dim}


class HashedTokens(BaseEmbeddingFunction[list[DenseMatrix]]):
    """A vector of length 1 for each word, as ColBERT gives them; a blank text has none."""

    TASK = "multivector"

    def __init__(self, dim: int = DIM, version: int = 1) -> None:
        self._dim = dim
        self.version = version

    @property
    def dim(self) -> int:
        return self._dim

    def _matrix(self, text: str) -> DenseMatrix:
        vectors = np.asarray([_word_vector(word, self._dim) for word in text.lower().split()], np.float32)
        vectors = vectors.reshape(-1, self._dim)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def _encode_documents(self, texts: list[str]) -> list[DenseMatrix]:
        return [self._matrix(text) for text in texts]

    _encode_queries = _encode_documents

    def identity(self) -> dict[str, Any]:
        return {"function": "HashedTokens", "dim": self._dim, "version": self.version}


class CountsWord(BaseRerankFunction):
    """Scores a document by how often it has one word."""

    def __init__(self, word: str) -> None:
        self.word = word

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
        counts = [text.lower().split().count(self.word) for text in documents]
        return [RerankResult(text, float(n), at) for at, (text, n) in enumerate(zip(documents, counts, strict=True))]
