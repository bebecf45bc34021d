"""OpenAI's embedding models on Azure."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from milvine.errors import InputTypeError
from milvine.hosted.options import check_options
from milvine.hosted.providers.azure import AZURE, DEPLOYMENTS_PATH
from milvine.hosted.spec import Provider
from milvine.model._hosted import HostedEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from milvine.hosted.options import RequestOptions

__all__ = ["AzureOpenAIEmbeddingFunction"]

_API_PATH: Final = re.compile(r"/openai(/v1)?/?$")


class AzureOpenAIEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from an Azure OpenAI resource: a list of float32 arrays of shape `(dim,)`.

    Queries and documents are encoded alike: the API knows no difference. Which model a deployment serves cannot be told
    from its name, so its dimension is learnt from the first answer. Without `api_version` Azure's v1 API is used, with
    a date the older API, whose URL names the deployment; the vectors are the same.

    Args:
        model_name: The deployment, by the name that it was given.
        api_key: The resource's key; without it `AZURE_OPENAI_API_KEY` is read. It goes in the header `api-key`.
        azure_endpoint: The resource, such as `https://YOUR-RESOURCE.openai.azure.com`; without it
            `AZURE_OPENAI_ENDPOINT`. A path `/openai` or `/openai/v1` at its end is taken off.
        api_version: A dated version such as `"2024-10-21"`; without it `OPENAI_API_VERSION`, or the v1 API.
        dimensions: How many dimensions to ask for; only `text-embedding-3` and later models can shorten their vectors.
        base_url: The same as `azure_endpoint`, which goes before.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: There is no endpoint, or an argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str,
        api_key: str | None = None,
        azure_endpoint: str | None = None,
        api_version: str | None = None,
        dimensions: int | None = None,
        *,
        base_url: str | None = None,
        **options: Unpack[RequestOptions],
    ) -> None:
        check_options(options, type(self).__name__)
        if not (api_version is None or isinstance(api_version, str)):
            raise InputTypeError(f"api_version must be a string, not {type(api_version).__name__} ({api_version!r})")
        provider = _provider(api_version or os.environ.get("OPENAI_API_VERSION") or None)
        endpoint = azure_endpoint or base_url or os.environ.get("AZURE_OPENAI_ENDPOINT")
        if isinstance(endpoint, str):
            endpoint = _API_PATH.sub("", endpoint)
        super().__init__(provider, model_name, api_key, dimensions=dimensions, base_url=endpoint, **options)

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity; the key, and the API version if any, come from the environment.

        Raises:
            AuthenticationError: There is no API key in the environment.
        """
        return cls(identity["model"], azure_endpoint=identity["base_url"], dimensions=identity.get("dimensions"))


def _provider(api_version: str | None) -> Provider:
    """The row, as it is for an API version: a date belongs to the older API, `"v1"` and `"preview"` to the newer."""
    endpoint = AZURE.embeddings
    if api_version is None or endpoint is None:
        return AZURE
    path = DEPLOYMENTS_PATH if api_version[0].isdigit() else endpoint.path
    query = MappingProxyType({"api-version": api_version})
    return replace(AZURE, query=query, embeddings=replace(endpoint, path=path))
