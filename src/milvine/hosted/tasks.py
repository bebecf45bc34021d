"""The units of work: each becomes one request, can be split where it is too long for one, and reads its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import quote

from milvine.errors import ProviderError, ProviderRequestError
from milvine.hosted.spec import EmbeddingEndpoint, EmbedRequest, Provider, RerankEndpoint, RerankRequest, Role

if TYPE_CHECKING:
    import numpy.typing as npt

    from milvine.hosted.answers import Answer

__all__ = ["EmbedPlan", "EmbedTask", "FetchTask", "RerankPlan", "RerankTask", "Task", "TokenEstimate"]

Places = tuple[int, ...]
"""The positions at which a text stands among those that the caller passed."""

_MARGIN: Final = 0.9
_REMEMBERED: Final = 1_000_000

Result = TypeVar("Result")


class TokenEstimate:
    """How many tokens a text has, to be known before it is sent: its UTF-8 bytes over the bytes that make a token.

    What the answers say was spent mends the provider's first value. A tenth is left for texts unlike those before;
    and no tokenizer is taken to make more tokens than bytes.

    Args:
        bytes_per_token: What a token takes until the first answer.
    """

    def __init__(self, bytes_per_token: float) -> None:
        self.bytes_per_token = bytes_per_token
        self._bytes = self._tokens = 0.0

    def __call__(self, size: int) -> float:
        """The tokens of so many bytes; of none, one."""
        return max(1.0, size / self.bytes_per_token)

    def learn(self, size: int, tokens: int) -> None:
        """Takes to heart that so many bytes were so many tokens; the last million bytes count most."""
        if tokens > 0 and size > 0:
            fade = min(1.0, _REMEMBERED / (self._bytes + size))
            self._bytes = (self._bytes + size) * fade
            self._tokens = (self._tokens + tokens) * fade
            self.bytes_per_token = max(1.0, _MARGIN * self._bytes / self._tokens)


class Task(Protocol[Result]):
    """What a job needs to know of a unit of work."""

    @property
    def model(self) -> str:
        """The model that is asked."""

    @property
    def count(self) -> int:
        """How many texts are in it."""

    @property
    def tokens(self) -> float:
        """How many tokens it is likely to have."""

    def request(self) -> tuple[str, dict[str, Any] | None]:
        """The path below the base URL, and the body of a POST; of a GET, `None`."""

    def split(self) -> tuple[Task[Result], ...]:
        """Smaller tasks that do the same together; none where it cannot be split."""

    def read(self, answer: Answer) -> Result:
        """What the answer brings. Raises `ProviderResponseError` for an answer that is not of the documented form."""

    def spent(self, answer: Answer) -> int:
        """The tokens that the answer says were spent."""

    def completed(self, result: Result) -> dict[int, Any]:
        """The result by the positions of the texts among those that the caller passed."""

    def too_long(self, error: ProviderError) -> ProviderError:
        """The error to raise where it cannot be split any more and is too long still."""


@dataclass
class EmbedPlan:
    """What the requests of one call have in common.

    Attributes:
        provider: The provider's row.
        endpoint: Its embedding endpoint.
        model: The model, as the provider names it.
        role: What the texts are to the search.
        output: The kind of vectors: a key of the endpoint's `encodings`.
        estimate: How many tokens a text has.
        max_texts: Texts in one request, at most.
        max_tokens: Tokens in one request, at most.
        dimensions: How many dimensions to ask for, if not the model's own number.
        dim: How many dimensions must come back (bits, of binary vectors); learnt from the first answer.
        fields: Every further field of the body.
        prefix: What is put before each text.
        whole: Whether the texts must go in one request, in their order and with their duplicates.
    """

    provider: Provider
    endpoint: EmbeddingEndpoint
    model: str
    role: Role
    output: str
    estimate: TokenEstimate
    max_texts: int
    max_tokens: float | None
    dimensions: int | None = None
    dim: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    whole: bool = False

    def tasks(self, texts: Iterable[tuple[str, Places]]) -> Iterator[EmbedTask]:
        """Tasks that keep to the limits, made as they are asked for.

        A text over a limit goes alone, for the server to judge.
        """
        batch: list[tuple[str, Places]] = []
        size = tokens = 0.0
        for text, places in texts:
            more = len(text.encode())
            tokens = self.estimate(more) if not batch else tokens + self.estimate(more)
            full = self.max_tokens is not None and tokens > self.max_tokens
            if batch and not self.whole and (full or len(batch) == self.max_texts):
                yield EmbedTask(self, tuple(batch), int(size))
                batch, size, tokens = [], 0.0, self.estimate(more)
            batch.append((text, places))
            size += more
        if batch:
            yield EmbedTask(self, tuple(batch), int(size))


@dataclass(frozen=True)
class EmbedTask:
    """Texts to embed in one request.

    Attributes:
        plan: What it shares with others.
        texts: The texts, prefixes included, each with its places.
        size: Their bytes in UTF-8.
    """

    plan: EmbedPlan
    texts: tuple[tuple[str, Places], ...]
    size: int

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.plan.model

    @property
    def count(self) -> int:
        """How many texts are in it."""
        return len(self.texts)

    @property
    def tokens(self) -> float:
        """How many tokens it is likely to have."""
        return self.plan.estimate(self.size)

    def request(self) -> tuple[str, dict[str, Any]]:
        """The path below the base URL, and the body."""
        plan = self.plan
        texts = [text for text, _ in self.texts]
        body = plan.endpoint.body(EmbedRequest(plan.model, texts, plan.role, plan.dimensions, plan.fields))
        return _path(plan.endpoint.path, plan.model), body

    def split(self) -> tuple[EmbedTask, ...]:
        """Its two halves."""
        if self.count == 1 or self.plan.whole:
            return ()
        halves = self.texts[: self.count // 2], self.texts[self.count // 2 :]
        return tuple(EmbedTask(self.plan, half, sum(len(text.encode()) for text, _ in half)) for half in halves)

    def read(self, answer: Answer) -> npt.NDArray[Any]:
        """The vectors, one a row."""
        from milvine.hosted.arrays import read_vectors

        plan = self.plan
        bits = 8 if plan.output == "binary" else 1
        raw = plan.endpoint.vectors(answer)
        form = plan.endpoint.encodings[plan.output].form
        width = None if plan.dim is None else plan.dim // bits
        matrix = read_vectors(answer, raw, self.count, plan.output, form, width, plan.endpoint.normalize)
        plan.dim = matrix.shape[1] * bits
        tokens = self.spent(answer)
        plan.estimate.learn(self.size, tokens)
        return matrix

    def spent(self, answer: Answer) -> int:
        """The tokens that the answer says were spent."""
        return _spent(answer, self.plan.endpoint.usage)

    def completed(self, result: npt.NDArray[Any]) -> dict[int, npt.NDArray[Any]]:
        """The vectors by the positions of the texts."""
        return {place: row for (_, places), row in zip(self.texts, result, strict=True) for place in places}

    def too_long(self, error: ProviderError) -> ProviderError:
        """An error that names the text."""
        plan, (text, places) = self.plan, self.texts[0]
        model = plan.endpoint.models.get(plan.model)
        reads = f"; {plan.model} reads {model.max_tokens:,}" if model and model.max_tokens else ""
        if self.count > 1:
            what = f"The {self.count} texts must go in one request, and are too long together for {plan.provider.name}"
        else:
            what = f"texts[{places[0]}] is too long for {plan.provider.name}"
        return _restated(
            error,
            f"{what}: {len(text) if self.count == 1 else sum(len(text) for text, _ in self.texts):,} characters, about"
            f" {self.tokens:,.0f} tokens{reads}. Cut it into passages, or leave it out. {error}",
        )


@dataclass
class RerankPlan:
    """What the requests of one call have in common.

    Attributes:
        provider: The provider's row.
        endpoint: Its reranking endpoint.
        model: The model, as the provider names it.
        query: The query.
        top_k: How many documents are wanted.
        estimate: How many tokens a text has.
        max_documents: Documents in one request, at most.
        fields: Further fields of the body.
    """

    provider: Provider
    endpoint: RerankEndpoint
    model: str
    query: str
    top_k: int
    estimate: TokenEstimate
    max_documents: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def tasks(self, documents: Iterable[tuple[str, Places]]) -> Iterator[RerankTask]:
        """Tasks that keep to the limits."""
        query = self.estimate(len(self.query.encode()))
        batch: list[tuple[str, Places]] = []
        tokens = query
        for text, places in documents:
            more = self.estimate(len(text.encode()))
            full = self.endpoint.max_tokens is not None and tokens + more > self.endpoint.max_tokens
            if batch and (len(batch) == self.max_documents or (full and self.endpoint.comparable)):
                yield RerankTask(self, tuple(batch))
                batch, tokens = [], query
            batch.append((text, places))
            tokens += more
        if batch:
            yield RerankTask(self, tuple(batch))


@dataclass(frozen=True)
class RerankTask:
    """Documents to score in one request.

    Attributes:
        plan: What it shares with others.
        documents: The documents, each with its places.
    """

    plan: RerankPlan
    documents: tuple[tuple[str, Places], ...]

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.plan.model

    @property
    def count(self) -> int:
        """How many documents are in it."""
        return len(self.documents)

    @property
    def tokens(self) -> float:
        """How many tokens it is likely to have, the query's included."""
        size = len(self.plan.query.encode()) + sum(len(document.encode()) for document, _ in self.documents)
        return self.plan.estimate(size)

    @property
    def wanted(self) -> int:
        """How many of them are wanted."""
        return min(self.plan.top_k, self.count)

    def request(self) -> tuple[str, dict[str, Any]]:
        """The path below the base URL, and the body."""
        plan = self.plan
        documents = [document for document, _ in self.documents]
        body = plan.endpoint.body(RerankRequest(plan.model, plan.query, documents, self.wanted, plan.fields))
        return _path(plan.endpoint.path, plan.model), body

    def split(self) -> tuple[RerankTask, ...]:
        """Its two halves, where scores of several requests can be compared."""
        if self.count == 1 or not self.plan.endpoint.comparable:
            return ()
        middle = self.count // 2
        return replace(self, documents=self.documents[:middle]), replace(self, documents=self.documents[middle:])

    def read(self, answer: Answer) -> dict[int, float]:
        """The scores, by the documents' indices in the task."""
        from milvine.hosted.arrays import read_scores

        endpoint = self.plan.endpoint
        return read_scores(
            answer, endpoint.scores(answer), self.count, self.count if endpoint.scores_all else self.wanted
        )

    def spent(self, answer: Answer) -> int:
        """The tokens that the answer says were spent."""
        return _spent(answer, self.plan.endpoint.usage)

    def completed(self, result: dict[int, float]) -> dict[int, float]:
        """The scores by the positions of the documents."""
        return {place: score for index, score in result.items() for place in self.documents[index][1]}

    def too_long(self, error: ProviderError) -> ProviderError:
        """An error that names the document."""
        document, places = self.documents[0]
        if self.count > 1:
            what = f"The query and its {self.count} documents are too long together for {self.plan.provider.name}"
            todo = "Pass fewer, or shorter ones: scores of several requests cannot be compared."
        else:
            what = f"The query and documents[{places[0]}] ({len(document):,} characters) are too long together"
            todo = f"for {self.plan.provider.name}. Cut the document into passages, or leave it out."
        return _restated(error, f"{what}, about {self.tokens:,.0f} tokens {todo} {error}")


@dataclass(frozen=True)
class FetchTask:
    """Something to get that is no model's work.

    Attributes:
        path: Where it is, below the base URL.
    """

    path: str
    model: str = ""
    count: int = 0
    tokens: float = 0.0

    def request(self) -> tuple[str, None]:
        """The path below the base URL."""
        return self.path, None

    def split(self) -> tuple[FetchTask, ...]:
        """Nothing: it cannot be split."""
        return ()

    def read(self, answer: Answer) -> Answer:
        """The answer itself."""
        return answer

    def spent(self, answer: Answer) -> int:  # noqa: ARG002 - the protocol
        """Nothing."""
        return 0

    def completed(self, result: Answer) -> dict[int, Any]:  # noqa: ARG002 - the protocol
        """Nothing."""
        return {}

    def too_long(self, error: ProviderError) -> ProviderError:
        """The error itself."""
        return error


def _path(path: str, model: str) -> str:
    return path.replace("{model}", quote(model, safe=""))


def _spent(answer: Answer, path: tuple[str, ...]) -> int:
    from milvine.hosted._failures import dig

    tokens = dig(answer.data, path) if path else None
    return int(tokens) if isinstance(tokens, (int, float)) and not isinstance(tokens, bool) and tokens > 0 else 0


def _restated(error: ProviderError, message: str) -> ProviderError:
    return ProviderRequestError(
        message, provider=error.provider, status=error.status, body=error.body, request_id=error.request_id
    )
