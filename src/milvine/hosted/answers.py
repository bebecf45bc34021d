"""A provider's answer, read: what rows take their vectors out of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from milvine.errors import ProviderResponseError

__all__ = ["Answer", "Quota"]


@dataclass(frozen=True)
class Quota:
    """What an answer told of a rate limit.

    Attributes:
        of: What is limited.
        limit: How much there is when the limit is whole; infinite where that was not told.
        remaining: What was left of it after the request.
        reset: Seconds until it is whole again; `None` where that was not told.
    """

    of: Literal["requests", "tokens"]
    limit: float
    remaining: float
    reset: float | None


@dataclass(frozen=True)
class Answer:
    """A provider's answer to a request that succeeded.

    Attributes:
        data: The body: a JSON object or array.
        provider: The provider's name.
        status: The HTTP status.
        body: The body as text, shortened to 2,000 characters.
        request_id: The provider's identifier of the request, if it gave one.
        quotas: What it told of its rate limits.
    """

    data: Any
    provider: str
    status: int
    body: str = field(repr=False)
    request_id: str | None
    quotas: tuple[Quota, ...] = ()

    def malformed(self, why: str) -> ProviderResponseError:
        """The error to raise when the body is JSON, but not of the documented form."""
        return ProviderResponseError(
            f"{self.provider}'s answer is not of the documented form: {why}."
            " Check base_url and the model's name; if they are right, the fault is the provider's.",
            provider=self.provider,
            status=self.status,
            body=self.body,
            request_id=self.request_id,
        )
