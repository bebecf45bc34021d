"""Jina AI's rerankers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from milvine.hosted.providers.jina import JINA, LISTWISE
from milvine.hosted.spec import Provider
from milvine.model._hosted import HostedRerankFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["JinaRerankFunction"]


class JinaRerankFunction(HostedRerankFunction):
    """Orders documents by the scores of Jina AI's API, called as `rf(query, documents, top_k=5)`.

    One request scores all documents; duplicates are sent once. Jina documents no limit on their number. Where they are
    too long together they are sent in halves, except to jina-reranker-v3 and v3.5, which read all documents at once, so
    that scores of two requests cannot be compared: that is a `ProviderRequestError`.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `JINA_API_KEY` is read, then `JINAAI_API_KEY`.
        **options: See `milvine.hosted.options.HostedOptions`. The base URL may also come from `JINA_BASE_URL`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "jina-reranker-v2-base-multilingual",
        api_key: str | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        super().__init__(_row(model_name), model_name, api_key, **options)


def _row(model_name: str) -> Provider:
    if JINA.rerank is None or model_name not in LISTWISE:
        return JINA
    return replace(JINA, rerank=replace(JINA.rerank, comparable=False))
