"""OpenAI's embedding models, and any server that speaks its `/v1/embeddings`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from milvine.errors import InputError
from milvine.hosted.options import check_options
from milvine.hosted.providers.openai import OPENAI, encodings
from milvine.hosted.spec import Provider
from milvine.model._hosted import HostedEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from milvine.hosted.options import RequestOptions

__all__ = ["OpenAIEmbeddingFunction"]


class OpenAIEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from OpenAI's API: a list of float32 arrays of shape `(dim,)`, rows of one contiguous block.

    Queries and documents are encoded alike: the API knows no difference. Lists of any length are split to the API's
    limits, duplicates are sent once, an empty list is answered without a request. A blank text is sent as it is; an
    empty one is an `InputError`, because the API refuses it.

    With `base_url` it serves whatever speaks the same API: vLLM, llama.cpp, LM Studio, LocalAI, a gateway, another
    vendor. Such a server needs no key, may have models of any name, whose dimension is learnt from the first answer,
    and may answer with lists of numbers where base64 was asked for. If it takes fewer than 2,048 texts a request, say
    so with `batch_size`; if it refuses `encoding_format`, use `encoding_format=None`.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `OPENAI_API_KEY` is read, also where `base_url` is given.
        base_url: Where the API lives, version included; without it `OPENAI_BASE_URL`, or OpenAI itself.
        dimensions: How many dimensions to ask for; only `text-embedding-3` and later models can shorten their vectors.
        encoding_format: How vectors travel: `"base64"`, a quarter of the bytes; `"float"`; or `None`: the field is not
            sent. The vectors are the same.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "text-embedding-ada-002",
        api_key: str | None = None,
        base_url: str | None = None,
        dimensions: int | None = None,
        *,
        encoding_format: str | None = "base64",
        **options: Unpack[RequestOptions],
    ) -> None:
        check_options(options, type(self).__name__)
        if encoding_format not in ("base64", "float", None):
            raise InputError(f"encoding_format must be 'base64', 'float' or None, not {encoding_format!r}")
        provider = _provider(model_name, base_url, encoding_format)
        super().__init__(provider, model_name, api_key, dimensions=dimensions, base_url=base_url, **options)

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity; the key comes from the environment, and of OpenAI's models the URL too.

        Raises:
            AuthenticationError: There is no API key in the environment, and OpenAI's servers need one.
        """
        return cls(identity["model"], base_url=identity.get("base_url"), dimensions=identity.get("dimensions"))


def _provider(model_name: str, base_url: str | None, encoding_format: str | None) -> Provider:
    """The row, as it is for the server that is asked."""
    endpoint = OPENAI.embeddings
    assert endpoint is not None  # noqa: S101 - it stands in the row
    row = replace(OPENAI, embeddings=replace(endpoint, encodings=encodings(encoding_format)))
    if not (base_url or any(os.environ.get(name) for name in OPENAI.base_url_variables)):
        return row
    # OpenAI's own models are the same behind a gateway; of others the URL says which they are.
    return replace(row, needs_key=False, base_url=row.base_url if model_name in endpoint.models else None)
