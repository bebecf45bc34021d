"""Voyage AI's embedding models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milvine.errors import InputTypeError
from milvine.hosted.options import check_options
from milvine.hosted.providers.voyage import provider_for_key
from milvine.model._hosted import HostedEmbeddingFunction
from milvine.model.dense._outputs import output_of

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["VoyageEmbeddingFunction"]


class VoyageEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from Voyage AI's API: a list of float32 arrays of shape `(dim,)`, or as `embedding_type` says.

    Queries are sent as `query` and everything else as `document`; the API puts a prompt before each. A text that is too
    long for the model loses its end unless `truncate` is false. An empty text is an `InputError`, because the API
    refuses it. Keys of MongoDB Atlas, which begin with `al-`, go to MongoDB's address of the same API.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `VOYAGE_API_KEY` is read.
        embedding_type: `"float"`; `"int8"`: int8 arrays of shape `(dim,)`; `"binary"` or `"ubinary"`: uint8 arrays of
            shape `(dim / 8,)`, a bit a dimension, as Milvus' BINARY_VECTOR takes them. Older models have floats alone.
        truncate: Whether to cut texts that are too long; if false, they are an error. The API's own choice is to cut.
        dimension: How many dimensions to ask for: 256, 512, 1,024 or 2,048, of models that have a choice.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "voyage-3-large",
        api_key: str | None = None,
        embedding_type: str | None = None,
        truncate: bool | None = None,
        dimension: int | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        check_options(options, type(self).__name__)
        if not (truncate is None or isinstance(truncate, bool)):
            raise InputTypeError(f"truncate must be True, False or None, not {type(truncate).__name__} ({truncate!r})")
        output = output_of("embedding_type", embedding_type)
        fields = {} if truncate is None else {"truncation": truncate}
        provider = provider_for_key(api_key)
        super().__init__(provider, model_name, api_key, dimensions=dimension, output=output, fields=fields, **options)

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity; the key comes from the environment.

        Raises:
            AuthenticationError: There is no API key in the environment.
        """
        return cls(
            identity["model"],
            embedding_type=identity.get("output"),
            truncate=identity.get("fields", {}).get("truncation"),
            dimension=identity.get("dimensions"),
        )
