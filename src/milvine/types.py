"""What passes between the parts: results, and aliases of arrays with their shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from scipy.sparse import csr_array

DenseVector: TypeAlias = "npt.NDArray[np.float32]"
"""One dense vector: float32, shape `(dim,)`."""

DenseMatrix: TypeAlias = "npt.NDArray[np.float32]"
"""Dense vectors, one a row: float32, shape `(n, dim)`."""

DenseVectors: TypeAlias = "list[DenseVector]"
"""Dense vectors as PyMilvus takes them: `n` arrays of shape `(dim,)`, rows of one contiguous block."""

SparseMatrix: TypeAlias = "csr_array"
"""Sparse vectors: `scipy.sparse.csr_array`, float32, shape `(n, dim)`, sorted indices, no explicit zeros."""


@dataclass(frozen=True)
class Record:
    """A passage to store.

    Attributes:
        id: What identifies it in its collection; adding another passage under the same id replaces it.
        text: The passage.
        metadata: What is stored with it, and can be filtered by; JSON.
    """

    id: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AddReport:
    """What `Collection.add` did.

    Attributes:
        added: Records whose ids were new.
        updated: Records whose text or metadata had changed.
        unchanged: Records that were there already, or that a later one of the same call replaced; they cost nothing.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0

    @property
    def total(self) -> int:
        """All records."""
        return self.added + self.updated + self.unchanged

    def __add__(self, other: AddReport) -> AddReport:
        return AddReport(self.added + other.added, self.updated + other.updated, self.unchanged + other.unchanged)


@dataclass(frozen=True)
class Truncation:
    """What was left unread of texts that were longer than a model's maximum length.

    Attributes:
        texts: How many texts lost their ends.
        tokens: How many tokens they lost; of texts far too long, which are not tokenized to their ends, an estimate.
    """

    texts: int = 0
    tokens: int = 0

    def __add__(self, other: Truncation) -> Truncation:
        return Truncation(self.texts + other.texts, self.tokens + other.tokens)


@dataclass(frozen=True)
class Usage:
    """What a hosted function has spent.

    Attributes:
        requests: Requests that were sent, failed ones included.
        retries: Those of them that repeated one that had failed.
        texts: Texts that were embedded, or documents that were scored.
        tokens: Tokens that the provider says it counted; of one that says nothing, 0.
    """

    requests: int = 0
    retries: int = 0
    texts: int = 0
    tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.retries + other.retries,
            self.texts + other.texts,
            self.tokens + other.tokens,
        )


@dataclass(frozen=True)
class RerankResult:
    """A document as a reranker placed it.

    Attributes:
        text: The document.
        score: Its relevance to the query; higher is better. The scale is the model's own.
        index: Its position in the list of documents that was passed in.
    """

    text: str
    score: float
    index: int

    def to_dict(self) -> dict[str, Any]:
        """The result as a dict that `json.dumps` takes."""
        return {"text": self.text, "score": self.score, "index": self.index}


@dataclass(frozen=True)
class FieldScore:
    """Where one vector field placed a hit.

    Attributes:
        rank: The hit's place in the field's own list, from 1.
        score: The field's own score: cosine for a dense field, BM25 for the lexical one.
    """

    rank: int
    score: float


@dataclass(frozen=True)
class Hit:
    """A passage that a search found.

    Attributes:
        id: The passage's id.
        text: The passage.
        score: What the hits are ordered by: the field's own score where one field was searched, else the fused one; or
            that blended with the reranker's.
        metadata: What was stored with the passage.
        fields: For each field that found the passage, its rank and score there.
        rerank_score: The reranker's own score, if there was one.
    """

    id: str
    text: str
    score: float
    metadata: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, FieldScore] = field(default_factory=dict)
    rerank_score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The hit as a dict that `json.dumps` takes."""
        return {
            "id": self.id,
            "text": self.text,
            "score": self.score,
            "metadata": self.metadata,
            "fields": {name: {"rank": at.rank, "score": at.score} for name, at in self.fields.items()},
            "rerank_score": self.rerank_score,
        }
