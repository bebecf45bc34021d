"""What a store must do. `Collection` knows stores by this alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt

from milvine.types import DenseVector, Record

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SparseRow: TypeAlias = "csr_array"
"""One sparse vector: a `csr_array` of one row, float32, no explicit zeros; it may be empty."""

Vector: TypeAlias = "npt.NDArray[Any] | SparseRow"
"""What a field holds of one row."""


VectorType = Literal["float32", "float16", "bfloat16", "int8", "binary"]
"""What a dimension of a stored vector is: Milvus' FLOAT_VECTOR, FLOAT16_VECTOR and so on."""

Metric = Literal["COSINE", "IP", "L2"]
"""How dense vectors are compared; a higher score is better. "COSINE": the cosine; "IP": the inner product; "L2": one
minus half the squared Euclidean distance, which for unit vectors is the cosine."""


@dataclass(frozen=True)
class DenseField:
    """A field of dense vectors.

    Vectors come and go as float32 arrays of shape `(dim,)`, whatever floats they are stored as; of type "int8" as int8
    arrays of shape `(dim,)`, and of type "binary", where a dimension is a bit, as uint8 arrays of shape `(dim / 8,)`,
    the first dimension in the highest bit.

    Attributes:
        name: The field's name.
        dim: Dimensions of a vector; of binary ones a multiple of 8.
        type: How they are stored.
        metric: How they are compared. Binary ones have "COSINE", which for bits that stand for -1 and 1 is one minus
            twice the share of bits that differ (Milvus' HAMMING).
    """

    name: str
    dim: int
    type: VectorType = "float32"
    metric: Metric = "COSINE"


@dataclass(frozen=True)
class MultiVectorField:
    """A field of several vectors a text, one a token, as ColBERT makes them; the built-in store alone has such.

    A text's score is MaxSim: for each of the query's vectors the highest inner product with one of the text's, summed.
    It is not searched; `Store.score` scores what other fields found. Vectors come and go as float32 arrays of shape
    `(tokens, dim)`.

    Attributes:
        name: The field's name.
        dim: Dimensions of a vector.
        type: How they are stored: "float32" or "float16".
    """

    name: str
    dim: int
    type: VectorType = "float16"


@dataclass(frozen=True)
class SparseField:
    """A field of learned sparse vectors, such as SPLADE's, compared by their inner product; no weight is negative.

    Attributes:
        name: The field's name.
    """

    name: str


@dataclass(frozen=True)
class LexicalField:
    """A field for BM25 over the texts. The store keeps what BM25 must know of all texts, and keeps it current.

    Attributes:
        name: The field's name.
        analyze: Texts to terms.
        k1: How slowly a term's repetition saturates.
        b: How much a text's length counts, 0 to 1.
    """

    name: str
    analyze: Callable[[Sequence[str]], list[list[str]]]
    k1: float
    b: float


Field: TypeAlias = "DenseField | SparseField | LexicalField | MultiVectorField"
MakeFields: TypeAlias = Callable[[dict[str, Any]], Sequence[Field]]
"""A collection's configuration to the fields that it has."""


@dataclass(frozen=True)
class Row:
    """A record as it is written.

    Attributes:
        record: The record.
        content_hash: A hash of its text and metadata.
        vectors: For each dense, sparse and multi-vector field what it holds; an empty sparse vector is found by
            nothing. A lexical field's come of the text.
    """

    record: Record
    content_hash: str
    vectors: dict[str, Vector]


class Match(NamedTuple):
    """One place in a field's ranked list; a higher score is better."""

    id: str
    score: float


class Call(NamedTuple):
    """A method of `Store` that reads, and what it is given."""

    method: str
    arguments: tuple[Any, ...]


class Store(Protocol):
    """One collection in one database.

    A write that has returned is kept, whatever happens next. Filters are Milvus expressions over the metadata and `id`
    and `text`. One store may be used from several threads.
    """

    config: dict[str, Any]
    """What the collection's maker stored with it, as JSON."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows; a row whose id is there already is replaced whole.

        Raises:
            InputError: A sparse vector has a weight that is negative, NaN or infinite; then nothing is written.
        """

    def delete(self, ids: Sequence[str]) -> int:
        """Delete rows and return how many were there."""

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """The content hash of each of these rows that is there."""

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """Those of these records that are there, by id."""

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """The ids of all rows, or of those that pass the filter, in no particular order."""

    def count(self, filter: str | None = None) -> int:
        """How many rows there are, or pass the filter."""

    def rows(self, filter: str | None = None, *, vectors: bool = False) -> Iterator[Row]:
        """All rows, or those that pass the filter, in no particular order, read some at a time.

        Rows that are written or deleted meanwhile may be among them or not. Without `vectors` the rows have none.
        """

    def search_dense(
        self,
        field: str,
        vectors: Sequence[DenseVector],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """For each vector the nearest rows, best first; scores are those of the field's metric."""

    def search_sparse(
        self,
        field: str,
        vectors: Sequence[SparseRow],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """For each vector the rows with the highest inner product above 0, best first; an empty one finds nothing.

        Raises:
            InputError: A vector has a weight that is negative, NaN or infinite.
        """

    def search_lexical(
        self,
        field: str,
        queries: Sequence[str],
        limit: int,
        filter: str | None = None,
    ) -> list[list[Match]]:
        """For each query the rows with the highest BM25 above 0, best first."""

    def score(
        self,
        field: str,
        queries: Sequence[Vector] | Sequence[str],
        ids: Sequence[Sequence[str]],
    ) -> list[dict[str, float]]:
        """For each query the field's scores of rows that a search may not have brought, as a search would give them.

        Args:
            field: Any field.
            queries: What `search_dense`, `search_sparse` or `search_lexical` takes, after the field's kind; for a
                multi-vector field arrays of shape `(tokens, dim)`.
            ids: For each query the rows to score. A row that is not there is left out; one that shares nothing with
                the query in a sparse or lexical field has 0.
        """

    def flush(self) -> None:
        """Bring what was written into the form that is fast to search."""

    def drop(self) -> None:
        """Delete the collection and close the store."""

    def close(self) -> None:
        """Release the database; other processes can open it then."""


@runtime_checkable
class AsyncStore(Protocol):
    """A store that can be asked without a thread for each question."""

    async def ask(self, calls: Sequence[Call]) -> list[Any]:
        """What these methods give, asked at once; `search_dense`, `search_sparse`, `search_lexical`, `score`, `get`.

        It raises what they do.
        """
