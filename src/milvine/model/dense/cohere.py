"""Cohere's embedding models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from milvine.errors import InputError, InputTypeError
from milvine.hosted.options import check_options
from milvine.hosted.providers.cohere import COHERE
from milvine.model._hosted import HostedEmbeddingFunction
from milvine.model.dense._outputs import output_of
from milvine.types import DenseVectors

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["CohereEmbeddingFunction"]

_INPUT_TYPES: Final = ("search_document", "search_query", "classification", "clustering")
_TRUNCATIONS: Final = ("NONE", "START", "END")


class CohereEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from Cohere's API: a list of float32 arrays of shape `(dim,)`, or as `embedding_types` says.

    `encode_queries` sends `search_query`, `encode_documents` sends `search_document`, and calling the function itself
    sends `input_type`. An `input_type` that is not for search holds for all three. A text that is too long for the
    model loses its end, unless `truncate` says otherwise.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `CO_API_KEY` is read, then `COHERE_API_KEY`.
        input_type: What the texts are when the function itself is called: `"search_document"` or `"search_query"`; or
            what all texts are for: `"classification"` or `"clustering"`.
        embedding_types: One type, as a string or a list of one: `"float"`; `"int8"`: int8 arrays of shape `(dim,)`;
            `"binary"` or `"ubinary"`: uint8 arrays of shape `(dim / 8,)`, a bit a dimension, as Milvus' BINARY_VECTOR
            takes them.
        truncate: `"END"` or `"START"`: what a text that is too long loses; `"NONE"`: it is an error.
        output_dimension: How many dimensions to ask for; only `embed-v4.0` and later models have a choice.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    input_type = "search_document"

    def __init__(
        self,
        model_name: str = "embed-english-light-v3.0",
        api_key: str | None = None,
        input_type: str = "search_document",
        embedding_types: Sequence[str] | None = None,
        truncate: str | None = None,
        *,
        output_dimension: int | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        check_options(options, type(self).__name__)
        if input_type not in _INPUT_TYPES:
            raise InputError(f"input_type must be one of {', '.join(_INPUT_TYPES)}, not {input_type!r}")
        if not (truncate is None or truncate in _TRUNCATIONS):
            raise InputError(f"truncate must be one of {', '.join(_TRUNCATIONS)}, not {truncate!r}")
        self.input_type = input_type
        is_search = input_type.startswith("search")
        role = {"input_type": input_type}
        super().__init__(
            COHERE,
            model_name,
            api_key,
            dimensions=output_dimension,
            output=output_of("embedding_types", _only(embedding_types)),
            roles=None if is_search else {"query": role, "document": role},
            fields={} if truncate is None else {"truncate": truncate},
            **options,
        )

    def __call__(self, texts: Iterable[str]) -> DenseVectors:
        """The vectors of texts as `input_type` says."""
        return self.encode_queries(texts) if self.input_type == "search_query" else super().__call__(texts)

    async def acall(self, texts: Iterable[str]) -> DenseVectors:
        """As calling the function, in the running event loop."""
        return await (self.aencode_queries(texts) if self.input_type == "search_query" else super().acall(texts))


def _only(embedding_types: Sequence[str] | None) -> str | None:
    """The one type that is asked for."""
    if embedding_types is None or isinstance(embedding_types, str):
        return embedding_types
    if not isinstance(embedding_types, (list, tuple)):
        raise InputTypeError(f"embedding_types must be a list of one string, not {type(embedding_types).__name__}")
    if len(embedding_types) != 1:
        raise InputError(f"embedding_types must hold one type, not {len(embedding_types)}; make a function for each")
    kind: str = embedding_types[0]
    return kind
