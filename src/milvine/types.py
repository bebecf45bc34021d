"""What passes between the parts: results, and aliases of arrays with their shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
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
        removed: Passages that documents had when they were longer.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0

    @property
    def total(self) -> int:
        """All records that were passed, or passages that were made of them."""
        return self.added + self.updated + self.unchanged

    def __add__(self, other: AddReport) -> AddReport:
        return AddReport(
            self.added + other.added,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.removed + other.removed,
        )


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
    """What one vector field says of a hit.

    Attributes:
        rank: The hit's place in the field's own list, from 1; `None` where it was not among the field's candidates and
            was scored because another field found it.
        score: The field's own score: cosine of a dense field, inner product of a sparse one, BM25 of the lexical one.
        share: How much of the fused score came from this field, 0 to 1; the shares of a hit that scores above 0 make 1.
    """

    rank: int | None
    score: float
    share: float = 1.0


@dataclass(frozen=True)
class Hit:
    """A passage that a search found.

    Attributes:
        id: The passage's id.
        text: The passage.
        score: What the hits are ordered by: the field's own score where one field was searched, else the fused one; or
            that blended with the reranker's.
        metadata: What was stored with the passage, or those keys of it that the search asked for.
        fields: For each field that has something to say of the passage, its rank, score and share.
        rerank_score: The reranker's own score, if there was one and it saw this hit.
    """

    id: str
    text: str
    score: float
    metadata: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, FieldScore] = field(default_factory=dict)
    rerank_score: float | None = None
    _find: Callable[[str], tuple[tuple[int, int], ...]] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def matches(self) -> tuple[tuple[int, int], ...]:
        """Where words stand in the text that the query has, too, as the collection's analyzer sees words.

        Each is `text[begin:end]`; they are in order and do not touch. There are none where the collection has no
        lexical field. They are looked for when they are first asked for.
        """
        return self._find(self.text) if self._find else ()

    @property
    def terms(self) -> list[str]:
        """The words at `matches` as the text has them, each once whatever its case, in their order."""
        words: dict[str, str] = {}
        for begin, end in self.matches:
            words.setdefault(self.text[begin:end].casefold(), self.text[begin:end])
        return list(words.values())

    def highlight(
        self,
        before: str = "**",
        after: str = "**",
        width: int | None = 200,
        *,
        escape: Callable[[str], str] | None = None,
    ) -> str:
        """The part of the text that has the most matches, with each match between `before` and `after`.

        Args:
            before: Put before a match.
            after: Put after it.
            width: The most characters of the text that are shown; `None` for all of it. Where text is left out there
                stands an ellipsis.
            escape: Applied to the text around and within the marks: `html.escape` where they are HTML.

        Raises:
            InputError: `width` is less than 1.
        """
        from milvine._highlighting import highlight
        from milvine.errors import InputError

        if width is not None and width < 1:
            raise InputError(f"width must be at least 1, or None, not {width}")
        return highlight(self.text, self.matches, before, after, width, escape)

    def to_dict(self) -> dict[str, Any]:
        """The hit as a dict that `json.dumps` takes."""
        return {
            "id": self.id,
            "text": self.text,
            "score": self.score,
            "metadata": self.metadata,
            "fields": {name: asdict(at) for name, at in self.fields.items()},
            "rerank_score": self.rerank_score,
            "terms": self.terms,
        }
