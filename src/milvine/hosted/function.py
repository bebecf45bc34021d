"""What every public function over a hosted model shares."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, TypeVar

from milvine.errors import InputError, InputTypeError
from milvine.hosted.client import HostedClient
from milvine.hosted.providers import Provider

__all__ = ["HostedFunction"]

_OPTIONS: Final = ("base_url", "timeout", "max_retries", "http_client")

_Function = TypeVar("_Function", bound="HostedFunction")


class HostedFunction:
    """A model's name and the client that reaches it; it can be closed, and its repr shows no key.

    Args:
        provider: The provider's row.
        model_name: The model, as the provider names it.
        api_key: The key; without it the row's environment variables are looked at.
        options: Keyword arguments of `HostedClient`: `base_url`, `timeout`, `max_retries`, `http_client`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(self, provider: Provider, model_name: str, api_key: str | None, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise InputTypeError(
                f"{type(self).__name__} has no argument {', '.join(unknown)};"
                f" the further arguments that it takes are {', '.join(_OPTIONS)}"
            )
        if not isinstance(model_name, str):
            raise InputTypeError(f"model_name must be a string, not {type(model_name).__name__} ({model_name!r})")
        if not model_name:
            raise InputError(f"model_name is empty; give the name of one of {provider.name}'s models")
        self.model_name = model_name
        self._client = HostedClient(provider, api_key, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_name!r}, client={self._client!r})"

    def __enter__(self: _Function) -> _Function:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the function cannot be used again."""
        self._client.close()
