"""What the public functions over hosted models share: everything but their names and arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from milvine._texts import as_texts
from milvine.errors import InputError, InputTypeError
from milvine.hosted.client import HostedClient
from milvine.hosted.options import check_options
from milvine.hosted.spec import EmbeddingEndpoint, EmbeddingModel, Provider, RerankEndpoint, Role
from milvine.hosted.tasks import EmbedPlan, RerankPlan, TokenEstimate
from milvine.model._closing import Closing
from milvine.model.base import BaseEmbeddingFunction, BaseRerankFunction
from milvine.types import DenseVectors, RerankResult, Usage

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["HostedEmbeddingFunction", "HostedFunction", "HostedRerankFunction"]

_OPTIONAL: Final = ("roles", "prefixes", "fields", "whole", "base_url")
"""What an identity holds only where it is not the default."""


class HostedFunction(Closing):
    """A model's name and the client that reaches it; it can be closed, and its repr shows no key.

    Args:
        provider: The provider's row.
        model_name: The model, as the provider names it.
        api_key: The key; without it the row's environment variables are looked at.
        options: `HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(self, provider: Provider, model_name: str, api_key: str | None, options: Mapping[str, Any]) -> None:
        check_options(options, type(self).__name__)
        if not isinstance(model_name, str):
            raise InputTypeError(f"model_name must be a string, not {type(model_name).__name__} ({model_name!r})")
        if not model_name:
            raise InputError(f"model_name is empty; give the name of one of {provider.name}'s models")
        self.model_name = model_name
        self._provider = provider
        self._batch_size: int | None = options.get("batch_size")
        self._client = HostedClient(provider, api_key, **{**options, "batch_size": None})

    @property
    def usage(self) -> Usage:
        """What this function has spent so far; it may be read at any time, from any thread."""
        return self._client.usage

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_name!r}, client={self._client!r})"

    def close(self) -> None:
        """Closes the connections; the function cannot be used again."""
        self._client.close()

    async def aclose(self) -> None:
        """Closes the connections, those of the running event loop included; the function cannot be used again."""
        await self._client.aclose()

    def _asked(self) -> dict[str, Any]:
        """What names the model in an identity; the URL only of a provider that is wherever its user runs it."""
        asked = {"function": type(self).__name__, "provider": self._provider.name, "model": self.model_name}
        return asked | ({} if self._provider.base_url else {"base_url": self._client.base_url})


class HostedEmbeddingFunction(HostedFunction, BaseEmbeddingFunction[DenseVectors]):
    """Dense vectors from a hosted model: a list of arrays, rows of one contiguous block.

    With `output="float32"` and `"int8"` an array has that type and shape `(dim,)`; with `"binary"` it is uint8 and of
    shape `(dim / 8,)`, eight dimensions an element, highest bit first, as Milvus' BINARY_VECTOR takes it.

    Lists of any length are split to the provider's limits and sent in several requests at once; what occurs twice is
    sent once. Each method that sends has a coroutine that does the same in the running event loop.

    Args:
        provider: The provider's row.
        model_name: The model, as the provider names it.
        api_key: The key; without it the row's environment variables are looked at.
        dimensions: How many dimensions to ask for, where the model can give another number than its own.
        output: `"float32"`, `"int8"` or `"binary"`, as far as the provider has them.
        roles: Fields of the body that tell queries from documents, instead of the row's.
        prefixes: What is put before queries and documents, instead of what the model's row says.
        fields: Further fields of the body.
        whole: Whether the documents of a call must go in one request, because their vectors depend on each other.
        **options: `HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        provider: Provider,
        model_name: str,
        api_key: str | None,
        *,
        dimensions: int | None = None,
        output: str = "float32",
        roles: Mapping[Role, Mapping[str, Any]] | None = None,
        prefixes: Mapping[Role, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        whole: bool = False,
        **options: Unpack[HostedOptions],
    ) -> None:
        super().__init__(provider, model_name, api_key, options)
        self._endpoint = cast(EmbeddingEndpoint, provider.embeddings)
        if output not in self._endpoint.encodings:
            known = " or ".join(map(repr, self._endpoint.encodings))
            raise InputError(f"{provider.name} gives vectors as {known}, not {output!r}")
        self.output = output
        model = self._endpoint.models.get(model_name)
        self.dimensions = _check_dimensions(self._endpoint, model_name, model, dimensions)
        self._dim = self.dimensions or (model.dim if model else None)
        self._roles, self._prefixes, self._fields, self._whole = roles, prefixes, dict(fields or {}), whole
        self._estimate = TokenEstimate(self._endpoint.bytes_per_token)

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector, of a binary one the number of bits.

        For a model that is not in the table, one request finds it out.
        """
        if self._dim is None:
            self._encode_documents(["a"])
        return cast(int, self._dim)

    async def aencode_documents(self, documents: Iterable[str]) -> DenseVectors:
        """As `encode_documents`, in the running event loop."""
        return await self._aencode(as_texts(documents, "documents"), "document")

    async def aencode_queries(self, queries: Iterable[str]) -> DenseVectors:
        """As `encode_queries`, in the running event loop."""
        return await self._aencode(as_texts(queries, "queries"), "query")

    async def acall(self, texts: Iterable[str]) -> DenseVectors:
        """As calling the function, in the running event loop."""
        return await self._aencode(as_texts(texts), "document")

    def identity(self) -> dict[str, Any]:
        """What must be equal for two functions' vectors to be comparable, as JSON; it never holds the key."""
        changed: dict[str, Any] = {
            "output": self.output if self.output != "float32" else None,
            "roles": self._roles and {role: dict(fields) for role, fields in self._roles.items()},
            "prefixes": self._prefixes and dict(self._prefixes),
            "fields": self._fields,
            "whole": self._whole,
        }
        asked = {**self._asked(), "dim": self.dim, "dimensions": self.dimensions}
        return asked | {name: value for name, value in changed.items() if value}

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity; the key comes from the environment.

        It is made by this class's constructor alone, so a subclass keeps nothing besides what it passes on.

        Raises:
            AuthenticationError: There is no API key in the environment.
            InputError: It is no identity, or another function's.
        """
        made = cls.__new__(cls)
        HostedEmbeddingFunction.__init__(
            made,
            _provider_in(cls, identity),
            identity["model"],
            None,
            dimensions=identity.get("dimensions"),
            output=identity.get("output", "float32"),
            **{
                name: identity[name]
                for name in ("roles", "prefixes", "fields", "whole", "base_url")
                if name in identity
            },
        )
        return made

    def _plan(self, role: Role) -> EmbedPlan:
        endpoint = self._endpoint
        model = endpoint.models.get(self.model_name)
        roles = self._roles
        if roles is None:
            roles = endpoint.roles if model is None or model.roles is None else model.roles
        prefixes = self._prefixes if self._prefixes is not None else model.prefixes if model else {}
        return EmbedPlan(
            provider=self._provider,
            endpoint=endpoint,
            model=self.model_name,
            role=role,
            output=self.output,
            estimate=self._estimate,
            max_texts=min(self._batch_size or endpoint.max_texts, endpoint.max_texts),
            max_tokens=(model and model.max_request_tokens) or endpoint.max_tokens,
            dimensions=self.dimensions,
            dim=self._dim,
            fields={**roles.get(role, {}), **endpoint.encodings[self.output].fields, **self._fields},
            prefix=prefixes.get(role, ""),
            whole=self._whole and role == "document",
        )

    def _encode(self, texts: list[str], role: Role) -> DenseVectors:
        from milvine.hosted.calls import embed

        if not texts:
            return []
        plan = self._plan(role)
        matrix = embed(self._client, plan, texts)
        self._dim = plan.dim
        return list(matrix)

    async def _aencode(self, texts: list[str], role: Role) -> DenseVectors:
        from milvine.hosted.calls import aembed

        if not texts:
            return []
        plan = self._plan(role)
        matrix = await aembed(self._client, plan, texts)
        self._dim = plan.dim
        return list(matrix)

    def _encode_documents(self, texts: list[str]) -> DenseVectors:
        return self._encode(texts, "document")

    def _encode_queries(self, texts: list[str]) -> DenseVectors:
        return self._encode(texts, "query")

    def _iter(self, documents: Iterator[str], batch_size: int) -> Iterator[Any]:
        from milvine.hosted.calls import embed_each

        if self._whole:  # then the documents of a batch are a call's
            yield from super()._iter(documents, batch_size)
            return
        plan = self._plan("document")
        for vector in embed_each(self._client, plan, documents, batch_size):
            self._dim = plan.dim
            yield vector


class HostedRerankFunction(HostedFunction, BaseRerankFunction):
    """Orders documents by the scores of a hosted model, called as `rf(query, documents, top_k=5)`.

    Duplicates are sent once. More documents than the provider takes in a request go in several at once where their
    scores can be compared, and are an `InputError` where they cannot.

    Args:
        provider: The provider's row.
        model_name: The model, as the provider names it.
        api_key: The key; without it the row's environment variables are looked at.
        fields: Further fields of the body.
        **options: `HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        provider: Provider,
        model_name: str,
        api_key: str | None,
        *,
        fields: Mapping[str, Any] | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        super().__init__(provider, model_name, api_key, options)
        self._endpoint = cast(RerankEndpoint, provider.rerank)
        self._fields = dict(fields or {})
        self._estimate = TokenEstimate(self._endpoint.bytes_per_token)

    async def acall(self, query: str, documents: Sequence[str], top_k: int = 5) -> list[RerankResult]:
        """As calling the function, in the running event loop."""
        from milvine.hosted.calls import arerank

        listed, top_k = self._checked(query, documents, top_k)
        if not listed:
            return []
        scores = await arerank(self._client, self._plan(query, top_k), listed)
        return self._best(_results(scores, listed), top_k)

    def identity(self) -> dict[str, Any]:
        """What names this reranker in logs and stored configurations, as JSON; it never holds the key."""
        return self._asked() | ({"fields": self._fields} if self._fields else {})

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
        from milvine.hosted.calls import rerank

        return _results(rerank(self._client, self._plan(query, top_k), documents), documents)

    def _plan(self, query: str, top_k: int) -> RerankPlan:
        endpoint = self._endpoint
        most = endpoint.max_documents
        if self._batch_size is not None and endpoint.comparable:
            most = self._batch_size if most is None else min(most, self._batch_size)
        return RerankPlan(
            self._provider, endpoint, self.model_name, query, top_k, self._estimate, most, fields=self._fields
        )


def _results(scores: dict[int, float], documents: list[str]) -> list[RerankResult]:
    return [RerankResult(text=documents[index], score=score, index=index) for index, score in scores.items()]


def _provider_in(cls: type[HostedFunction], identity: dict[str, Any]) -> Provider:
    from milvine.hosted.providers import PROVIDERS

    if not isinstance(identity, dict) or identity.get("provider") not in PROVIDERS:
        raise InputError(f"{identity!r} is no identity; pass what identity() of a {cls.__name__} gave")
    if identity.get("function") != cls.__name__:
        raise InputError(
            f"this is the identity of {identity.get('function')!r}, not of {cls.__name__}; use that function"
        )
    return PROVIDERS[identity["provider"]]


def _check_dimensions(
    endpoint: EmbeddingEndpoint, name: str, model: EmbeddingModel | None, dimensions: int | None
) -> int | None:
    """The number of dimensions to ask for; `None` where it is the model's own and the request may not name it."""
    if dimensions is None:
        return None
    if isinstance(dimensions, bool) or not isinstance(dimensions, int):
        raise InputTypeError(f"dimensions must be an integer, not {type(dimensions).__name__} ({dimensions!r})")
    if dimensions < 1:
        raise InputError(f"dimensions must be at least 1, not {dimensions}")
    if model is None:
        return dimensions
    most = max(model.dim, model.most or 0, *model.sizes)
    if dimensions > most:
        raise InputError(f"{name} has at most {most} dimensions, not {dimensions}")
    if not model.shortens:
        if dimensions == model.dim:
            return None
        able = [other for other, row in endpoint.models.items() if row.shortens]
        raise InputError(
            f"{name} cannot shorten its {model.dim} dimensions to {dimensions}; leave dimensions out"
            + (f", or take {' or '.join(able)}" if able else "")
        )
    if model.sizes and dimensions not in model.sizes:
        raise InputError(f"{name} has {', '.join(map(str, model.sizes))} dimensions, not {dimensions}")
    return dimensions
