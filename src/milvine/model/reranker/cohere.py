"""Cohere's rerankers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from milvine.errors import InputTypeError
from milvine.hosted.options import check_options
from milvine.hosted.providers.cohere import COHERE
from milvine.local.options import check_count
from milvine.model._hosted import HostedRerankFunction
from milvine.types import RerankResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["CohereRerankFunction"]


class CohereRerankFunction(HostedRerankFunction):
    """Orders documents by the scores of Cohere's API, called as `rf(query, documents, top_k=5)`.

    More than 1,000 documents, the most that Cohere recommends at once, go in several requests: each document is scored
    with the query alone, from 0 to 1, so their scores compare. Duplicates are sent once. A document that is too long
    loses its end.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `CO_API_KEY` is read, then `COHERE_API_KEY`.
        return_documents: Whether results hold the documents' texts; if not, `text` is empty. They are never sent back
            by the API either way.
        max_tokens_per_doc: Tokens of a document that are read; 4,096 unless told otherwise.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "rerank-english-v3.0",
        api_key: str | None = None,
        return_documents: bool = True,
        *,
        max_tokens_per_doc: int | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        check_options(options, type(self).__name__)
        if not isinstance(return_documents, bool):
            raise InputTypeError(f"return_documents must be True or False, not {return_documents!r}")
        if max_tokens_per_doc is not None:
            check_count("max_tokens_per_doc", max_tokens_per_doc)
        self.return_documents = return_documents
        fields = {} if max_tokens_per_doc is None else {"max_tokens_per_doc": max_tokens_per_doc}
        super().__init__(COHERE, model_name, api_key, fields=fields, **options)

    async def acall(self, query: str, documents: Sequence[str], top_k: int = 5) -> list[RerankResult]:
        """As calling the function, in the running event loop."""
        return self._without_texts(await super().acall(query, documents, top_k))

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
        return self._without_texts(super()._rerank(query, documents, top_k))

    def _without_texts(self, results: list[RerankResult]) -> list[RerankResult]:
        return results if self.return_documents else [replace(result, text="") for result in results]
