"""OpenAI's embedding models, and any server that speaks its `/v1/embeddings`."""

from __future__ import annotations

from typing import Any, cast

from milvine.errors import InputError, InputTypeError
from milvine.hosted.function import HostedFunction
from milvine.hosted.providers import OPENAI, EmbeddingEndpoint
from milvine.model.base import BaseEmbeddingFunction
from milvine.types import DenseVectors

__all__ = ["OpenAIEmbeddingFunction"]


class OpenAIEmbeddingFunction(HostedFunction, BaseEmbeddingFunction[DenseVectors]):
    """Dense vectors from OpenAI's API: a list of float32 arrays of shape `(dim,)`, rows of one contiguous block.

    Queries and documents are encoded alike: the API knows no difference. Lists of any length are split to the API's
    limits, duplicates are sent once, an empty list is answered without a request. A blank text is sent as it is; an
    empty one is an `InputError`, because the API refuses it.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `OPENAI_API_KEY` is read.
        base_url: Where the API lives; without it `OPENAI_BASE_URL`, or OpenAI itself.
        dimensions: How many dimensions to ask for; only `text-embedding-3` and later models can shorten their vectors.
        **kwargs: `timeout` in seconds (60), `max_retries` (3), `http_client` (an `httpx.Client`).

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
        **kwargs: Any,
    ) -> None:
        super().__init__(OPENAI, model_name, api_key, {"base_url": base_url, **kwargs})
        self._endpoint = cast(EmbeddingEndpoint, OPENAI.embeddings)
        self.dimensions = self._check_dimensions(dimensions)
        model = self._endpoint.models.get(model_name)
        self._dim = self.dimensions if self.dimensions is not None or model is None else model.dim

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector; for a model that is not in the table, one request finds it out."""
        if self._dim is None:
            self._dim = len(self._encode_documents(["a"])[0])
        return self._dim

    def identity(self) -> dict[str, Any]:
        """What must be equal for two functions' vectors to be comparable, as JSON; it never holds the key."""
        asked = {"provider": OPENAI.name, "model": self.model_name, "dimensions": self.dimensions}
        return {**super().identity(), **asked}

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> OpenAIEmbeddingFunction:
        """The function that has this identity; the key, and the base URL, come from the environment.

        Raises:
            AuthenticationError: There is no API key in the environment.
        """
        return cls(identity["model"], dimensions=identity["dimensions"])

    def _encode_documents(self, texts: list[str]) -> DenseVectors:
        from milvine.hosted.calls import embed

        if not texts:
            return []
        matrix = embed(self._client, self._endpoint, self.model_name, texts, dimensions=self.dimensions, dim=self._dim)
        self._dim = matrix.shape[1]
        return list(matrix)

    def _encode_queries(self, texts: list[str]) -> DenseVectors:
        return self._encode_documents(texts)

    def _check_dimensions(self, dimensions: int | None) -> int | None:
        if dimensions is None:
            return None
        if isinstance(dimensions, bool) or not isinstance(dimensions, int):
            raise InputTypeError(f"dimensions must be an integer, not {type(dimensions).__name__} ({dimensions!r})")
        if dimensions < 1:
            raise InputError(f"dimensions must be at least 1, not {dimensions}")
        model = self._endpoint.models.get(self.model_name)
        if model is None:
            return dimensions
        if dimensions > model.dim:
            raise InputError(f"{self.model_name} has at most {model.dim} dimensions, not {dimensions}")
        if model.shortens:
            return dimensions
        if dimensions < model.dim:
            able = [name for name, row in self._endpoint.models.items() if row.shortens]
            raise InputError(
                f"{self.model_name} cannot shorten its {model.dim} dimensions to {dimensions};"
                f" leave dimensions out, or take {' or '.join(able)}"
            )
        # The API refuses the field for such a model, whatever its value.
        return None
