"""TypeSafe's model Jev as a reranker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from milvine._texts import as_text
from milvine.errors import InputError
from milvine.hosted.providers.typesafe import DOCUMENT_PROMPT, QUERY_PROMPT, TYPESAFE, asking
from milvine.hosted.spec import Provider
from milvine.model._hosted import HostedRerankFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["JevRerankFunction"]


class JevRerankFunction(HostedRerankFunction):
    """Orders documents by TypeSafe's model Jev, called as `rf(query, documents, top_k=5)`.

    Jev answers questions with probabilities. It is asked about each document whether it matters to the query, and the
    score is the probability of a yes, from 0 to 1. The prompts that it gets by default are those of `pymilvus.model`,
    which are worded for scientific claims and evidence; for other texts, give your own, such as
    `query_prompt="Search query: {query}"` and `document_prompt="Passage: {document} — Does it answer the query?"`.

    Each question is answered alone, so documents that are too many for one request go in several. A document that is
    left without an answer is a `ProviderResponseError`: no score could be given in its place that means "not asked",
    and without it the list would look complete.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `TYPESAFE_API_KEY` is read.
        query_prompt: What all questions are about; `{query}` in it stands for the query.
        document_prompt: The question about a document; `{document}` in it stands for the document.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "jev-latest",
        api_key: str | None = None,
        *,
        query_prompt: str = QUERY_PROMPT,
        document_prompt: str = DOCUMENT_PROMPT,
        **options: Unpack[HostedOptions],
    ) -> None:
        for what, prompt, place in (
            ("query_prompt", query_prompt, "{query}"),
            ("document_prompt", document_prompt, "{document}"),
        ):
            if place not in as_text(prompt, what):
                raise InputError(f"{what} must have {place} in it, where the text goes, not {prompt!r}")
        self._prompts = {"query_prompt": query_prompt, "document_prompt": document_prompt}
        super().__init__(_row(query_prompt, document_prompt), model_name, api_key, **options)

    def identity(self) -> dict[str, Any]:
        """What names this reranker in logs and stored configurations, as JSON; it never holds the key."""
        return {**super().identity(), **self._prompts}


def _row(query_prompt: str, document_prompt: str) -> Provider:
    assert TYPESAFE.rerank is not None  # noqa: S101 - the row has one
    return replace(TYPESAFE, rerank=replace(TYPESAFE.rerank, body=asking(query_prompt, document_prompt)))
