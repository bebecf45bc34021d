"""What a provider's row says: the form of the table in `providers.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = [
    "EmbedRequest",
    "EmbeddingEndpoint",
    "EmbeddingModel",
    "Encoding",
    "Limit",
    "Provider",
    "RerankEndpoint",
    "RerankRequest",
    "Role",
]

Role: TypeAlias = Literal["query", "document"]
"""What a text is to the search."""

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True)
class EmbeddingModel:
    """An embedding model of a provider.

    Attributes:
        dim: Dimensions of its vectors, unless others are asked for.
        shortens: Whether the request may ask for another number of dimensions.
        sizes: The numbers that may be asked for, where only some may; otherwise any up to `most`.
        most: The most dimensions that may be asked for, where that is more than `dim`.
        max_tokens: Tokens of one text that it reads, where that is documented.
        max_request_tokens: Tokens allowed in one request, where the model has a limit of its own.
        prefixes: What is put before each text, by its role, for a model that is told so apart.
        roles: Fields of the body that tell queries from documents, where they are not the endpoint's.
    """

    dim: int
    shortens: bool = False
    sizes: tuple[int, ...] = ()
    most: int | None = None
    max_tokens: int | None = None
    max_request_tokens: int | None = None
    prefixes: Mapping[Role, str] = field(default_factory=lambda: _NOTHING)
    roles: Mapping[Role, Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Encoding:
    """How vectors of one kind are asked for, and how they are written in the answer.

    Attributes:
        fields: Fields of the body that ask for it.
        form: `"numbers"`: a list of numbers; `"float32"`, `"int8"`, `"uint8"`: that type's little-endian bytes in
            base64. A list of numbers is understood in any case.
    """

    fields: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    form: Literal["numbers", "float32", "int8", "uint8"] = "numbers"


@dataclass(frozen=True)
class EmbedRequest:
    """Texts that go to an embedding endpoint in one request.

    Attributes:
        model: The model, as the provider names it.
        texts: The texts, prefixes included.
        role: What they are to the search.
        dimensions: How many dimensions to ask for, if not the model's own number.
        fields: Every further field of the body: the role's, the encoding's, the caller's.
    """

    model: str
    texts: Sequence[str]
    role: Role
    dimensions: int | None = None
    fields: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class RerankRequest:
    """A query and documents that go to a reranking endpoint in one request.

    Attributes:
        model: The model, as the provider names it.
        query: The query.
        documents: The documents.
        top_k: How many of them are wanted.
        fields: Every further field of the body.
    """

    model: str
    query: str
    documents: Sequence[str]
    top_k: int
    fields: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class EmbeddingEndpoint:
    """How a provider turns texts into vectors.

    Attributes:
        path: The endpoint below the base URL; `{model}` in it stands for the model's name.
        body: The body of a request, JSON; one of `shapes.py`.
        vectors: The vectors in an answer as they are written there, in the order of the texts; one of `shapes.py`.
        max_texts: Texts allowed in one request.
        max_tokens: Tokens allowed in one request, summed over its texts; `None` where no such limit is documented.
        bytes_per_token: What the first estimate of a text's tokens divides its UTF-8 bytes by. It is mended by what
            the answers say was spent; 1 never estimates too few.
        takes_empty: Whether an empty text is allowed.
        roles: Fields of the body that tell queries from documents.
        encodings: The kinds of vectors that may be asked for, by milvine's name: `"float32"`, `"int8"`, `"binary"`.
        normalize: Whether float32 vectors may come back with another length than 1, and are brought to it here.
        usage: Path of the number of tokens that an answer says were spent; empty where it says nothing.
        models: The documented models. One that is not listed works too: its dimension is learnt from the first answer.
    """

    path: str
    body: Callable[[EmbedRequest], dict[str, Any]]
    vectors: Callable[[Answer], list[Any]]
    max_texts: int
    max_tokens: int | None = None
    bytes_per_token: float = 1.0
    takes_empty: bool = False
    roles: Mapping[Role, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    encodings: Mapping[str, Encoding] = field(default_factory=lambda: MappingProxyType({"float32": Encoding()}))
    normalize: bool = False
    usage: tuple[str, ...] = ("usage", "total_tokens")
    models: Mapping[str, EmbeddingModel] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class RerankEndpoint:
    """How a provider scores documents against a query.

    Attributes:
        path: The endpoint below the base URL.
        body: The body of a request, JSON; one of `shapes.py`.
        scores: The pairs of a document's index and its score in an answer; one of `shapes.py`.
        max_documents: Documents allowed in one request; `None` where no limit is documented.
        max_tokens: Tokens allowed in one request, of the query and all documents; `None` where that is not documented.
        bytes_per_token: What the first estimate of a text's tokens divides its UTF-8 bytes by.
        scores_all: Whether an answer has a score for every document, however many are wanted.
        comparable: Whether scores of several requests with the same query may be compared, so that more documents can
            be split into several requests.
        usage: Path of the number of tokens, or of what else is billed, that an answer says were spent.
    """

    path: str
    body: Callable[[RerankRequest], dict[str, Any]]
    scores: Callable[[Answer], list[tuple[Any, Any]]]
    max_documents: int | None = None
    max_tokens: int | None = None
    bytes_per_token: float = 1.0
    scores_all: bool = False
    comparable: bool = True
    usage: tuple[str, ...] = ("usage", "total_tokens")


@dataclass(frozen=True)
class Limit:
    """The headers of an answer in which a provider tells of a rate limit.

    Attributes:
        of: What is limited: `"requests"` or `"tokens"`.
        limit: The header with the limit; empty where there is none.
        remaining: The header with what is left of it.
        reset: The header that says when it is whole again: seconds, a duration such as `6m0s` or `20ms`, or a time;
            `None` where no header does.
        window: Seconds in which the limit is whole again, where that is all that is known of it.
    """

    of: Literal["requests", "tokens"]
    limit: str
    remaining: str
    reset: str | None = None
    window: float | None = None


@dataclass(frozen=True)
class Provider:
    """A provider of hosted models.

    Attributes:
        name: Its short name, which errors carry.
        base_url: Where its API lives, version included, without a final slash; `None` where the caller must say.
        base_url_variables: Environment variables that may name another base URL, first found first used.
        key_variables: Environment variables that may hold the API key, the vendor's own name first.
        key_page: Where a key is to be had; of a server that one runs oneself, its documentation.
        needs_key: Whether there must be a key; a server of one's own has one or not.
        key_header: The header that carries the key.
        key_prefix: What stands before the key there.
        headers: Further headers of every request.
        query: Parameters of every request's URL.
        error_messages: Paths in an error's body where the message may stand, tried in order.
        error_codes: Paths in an error's body where a machine-readable code may stand.
        spent_codes: Codes of an HTTP 429 that waiting does not cure, such as an exhausted balance.
        wrong_key: What an HTTP 400 says when the API key is wrong, of a provider that has no 401 for it.
        too_long: What a refused request's message or code says when its texts, or their sum, have too many tokens.
        retry_in: What the body of a refusal says of how long to wait; its first group are the seconds.
        limits: The headers that tell of rate limits.
        advice: What to do about an HTTP status, instead of what is said of any provider; `{model}` stands for the
            model's name.
        request_id_header: The response header that names the request.
        request_id_field: The field of an error's body that names the request, used where the header is missing.
        embeddings: Its embedding endpoint, if it has one.
        rerank: Its reranking endpoint, if it has one.
    """

    name: str
    base_url: str | None
    base_url_variables: tuple[str, ...]
    key_variables: tuple[str, ...]
    key_page: str
    error_messages: tuple[tuple[str, ...], ...]
    needs_key: bool = True
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    query: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    error_codes: tuple[tuple[str, ...], ...] = ()
    spent_codes: frozenset[str] = frozenset()
    wrong_key: re.Pattern[str] | None = None
    too_long: re.Pattern[str] | None = None
    retry_in: re.Pattern[str] | None = None
    limits: tuple[Limit, ...] = ()
    advice: Mapping[int, str] = field(default_factory=lambda: _NOTHING)
    request_id_header: str = "x-request-id"
    request_id_field: str = "request_id"
    embeddings: EmbeddingEndpoint | None = None
    rerank: RerankEndpoint | None = None
