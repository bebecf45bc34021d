"""Voyage AI's rerankers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milvine.errors import InputTypeError
from milvine.hosted.options import check_options
from milvine.hosted.providers.voyage import provider_for_key
from milvine.model._hosted import HostedRerankFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["VoyageRerankFunction"]


class VoyageRerankFunction(HostedRerankFunction):
    """Orders documents by the scores of Voyage AI's API, called as `rf(query, documents, top_k=5)`.

    More documents than the API takes at once, 1,000 or 600,000 tokens, go in several requests: each document is scored
    with the query alone, so their scores compare. Duplicates are sent once. Keys of MongoDB Atlas, which begin with
    `al-`, go to MongoDB's address of the same API.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `VOYAGE_API_KEY` is read.
        truncate: Whether to cut a query or a document that is too long; if false, it is an error. The API's own choice
            is to cut.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "rerank-2",
        api_key: str | None = None,
        *,
        truncate: bool | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        check_options(options, type(self).__name__)
        if not (truncate is None or isinstance(truncate, bool)):
            raise InputTypeError(f"truncate must be True, False or None, not {type(truncate).__name__} ({truncate!r})")
        fields = {} if truncate is None else {"truncation": truncate}
        super().__init__(provider_for_key(api_key), model_name, api_key, fields=fields, **options)
