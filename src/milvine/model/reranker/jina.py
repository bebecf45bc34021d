"""Jina AI's rerankers."""

from __future__ import annotations

from typing import Any, cast

from milvine.hosted.function import HostedFunction
from milvine.hosted.providers import JINA, RerankEndpoint
from milvine.model.base import BaseRerankFunction
from milvine.types import RerankResult

__all__ = ["JinaRerankFunction"]


class JinaRerankFunction(HostedFunction, BaseRerankFunction):
    """Orders documents by the scores of Jina AI's API, called as `rf(query, documents, top_k=5)`.

    One request scores all documents; duplicates are sent once. Jina documents no limit on their number or length, so
    a list that its server refuses is a `ProviderRequestError` with the server's own words.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `JINA_API_KEY` is read, then `JINAAI_API_KEY`.
        **kwargs: `base_url` (without it `JINA_BASE_URL`, or Jina AI itself), `timeout` in seconds (60),
            `max_retries` (3), `http_client` (an `httpx.Client`).

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "jina-reranker-v2-base-multilingual",
        api_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(JINA, model_name, api_key, kwargs)
        self._endpoint = cast(RerankEndpoint, JINA.rerank)

    def identity(self) -> dict[str, Any]:
        """What names this reranker in logs and stored configurations, as JSON; it never holds the key."""
        return {**super().identity(), "provider": JINA.name, "model": self.model_name}

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:
        from milvine.hosted.calls import rerank

        scored = rerank(self._client, self._endpoint, self.model_name, query, documents, top_k)
        return [RerankResult(text=documents[index], score=score, index=index) for index, score in scored]
