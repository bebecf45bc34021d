"""Mistral AI's embedding models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milvine.hosted.options import check_options
from milvine.hosted.providers.mistral import MISTRAL
from milvine.model._hosted import HostedEmbeddingFunction
from milvine.model.dense._outputs import output_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["MistralAIEmbeddingFunction"]


class MistralAIEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from Mistral AI's API: a list of float32 arrays of shape `(dim,)`, or as `output_dtype` says.

    Queries and documents are encoded alike: the API knows no difference. Requests keep to the 256 texts and 16,384
    tokens that the API was seen to accept. An empty text is an `InputError`.

    Args:
        api_key: The key; where it is `None`, `MISTRAL_API_KEY` is read, then `MISTRALAI_API_KEY`.
        model_name: The model, as the API names it.
        output_dimension: How many dimensions to ask for; of the listed models only `codestral-embed` has a choice, up
            to 3,072.
        output_dtype: `"float"`; `"int8"`: int8 arrays of shape `(dim,)`; `"binary"` or `"ubinary"`: uint8 arrays of
            shape `(dim / 8,)`, a bit a dimension, as Milvus' BINARY_VECTOR takes them. Not of `mistral-embed`.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        api_key: str | None,
        model_name: str = "mistral-embed",
        *,
        output_dimension: int | None = None,
        output_dtype: str | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        check_options(options, type(self).__name__)
        output = output_of("output_dtype", output_dtype)
        super().__init__(MISTRAL, model_name, api_key, dimensions=output_dimension, output=output, **options)
