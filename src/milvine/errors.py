"""Every error milvine raises: one tree under `MilvineError`.

A message says what was wrong, the value, what is allowed and how to mend it. No message holds an API key.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthenticationError",
    "CollectionExistsError",
    "CollectionMismatchError",
    "CollectionNotFoundError",
    "EmptyRowWarning",
    "FilterError",
    "InputError",
    "InputTypeError",
    "MilvineError",
    "MissingExtraError",
    "ModelError",
    "ModelFileError",
    "ModelUnavailableError",
    "NegativeWeightWarning",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderRequestError",
    "ProviderResponseError",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "RateLimitError",
    "ReadError",
    "StoreConnectionError",
    "StoreError",
    "StoreLockedError",
    "StoreNotFoundError",
    "StoreWriteError",
    "TruncationWarning",
    "UnknownModelError",
]


class MilvineError(Exception):
    """The root of every error that milvine raises."""


# What the caller passed


class InputError(MilvineError, ValueError):
    """An argument has a value that is not allowed."""


class InputTypeError(MilvineError, TypeError):
    """An argument has a type that is not allowed, such as a bare string where a list of strings is due."""


class MissingExtraError(MilvineError, ImportError):
    """An optional package is not installed; the message holds the pip command that installs it."""


class ReadError(MilvineError, OSError):
    """A file cannot be read as the document it claims to be."""


# Models on this machine


class ModelError(MilvineError):
    """A local model cannot be used."""


class UnknownModelError(ModelError, ValueError):
    """A model's name is not in the catalogue."""


class ModelUnavailableError(ModelError, OSError):
    """No source could deliver a model's files; the message lists each source that was tried and why it failed."""


class ModelFileError(ModelError, OSError):
    """A model's file is missing, corrupt or contradicts its configuration."""


# Hosted models


class ProviderError(MilvineError):
    """A hosted model's provider answered with an error, or not at all.

    Attributes:
        provider: The provider's name, for example `"jina"`.
        status: The HTTP status, or `None` when no response arrived.
        body: The response's body, shortened to 2,000 characters; empty when no response arrived.
        request_id: The provider's identifier of the request, if it gave one.
        completed: Where a call took several requests, what the others brought, so that it need not be paid for twice:
            for each text that is done, its position among those that were passed, and its vector; of a reranker, the
            position of a document, and its score.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        body: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.body = body
        self.request_id = request_id
        self.completed: dict[int, Any] = {}


class AuthenticationError(ProviderError):
    """The provider refused the API key (HTTP 401 or 403), or no key was found."""


class RateLimitError(ProviderError):
    """The provider's rate limit held (HTTP 429) until the retries were spent.

    Attributes:
        retry_after: Seconds that the provider asked to wait, if it said so.
    """

    retry_after: float | None = None


class ProviderRequestError(ProviderError, ValueError):
    """The provider refused the request itself (another HTTP 4xx); sending it again cannot help."""


class ProviderUnavailableError(ProviderError):
    """The provider failed (HTTP 5xx) until the retries were spent."""


class ProviderTimeoutError(ProviderError, TimeoutError):
    """The provider did not answer in time."""


class ProviderConnectionError(ProviderError, ConnectionError):
    """The provider could not be reached, or the connection broke."""


class ProviderResponseError(ProviderError):
    """The provider's answer is not of the documented form."""


# Stores and collections


class StoreError(MilvineError):
    """A store failed."""


class StoreConnectionError(StoreError, ConnectionError):
    """The server of a store cannot be reached, or the connection to it is closed."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no database at this path."""


class StoreLockedError(StoreError):
    """Another process has the database open."""


class StoreWriteError(StoreError, OSError):
    """A write failed; what was acknowledged before it is kept."""


class FilterError(StoreError, ValueError):
    """A filter expression is not valid."""


class CollectionNotFoundError(StoreError, LookupError):
    """The database holds no collection of this name."""


class CollectionExistsError(StoreError, ValueError):
    """The database already holds a collection of this name."""


class CollectionMismatchError(StoreError, ValueError):
    """A collection was built with another model or analyzer than the one it is opened with."""


# Warnings


class EmptyRowWarning(UserWarning):
    """Some sparse rows are empty, because their texts have no known term; Milvus refuses empty rows."""


class NegativeWeightWarning(UserWarning):
    """Some sparse weights are negative; Milvus refuses queries that have one."""


class TruncationWarning(UserWarning):
    """Texts were longer than the model's maximum length and lost their ends."""
