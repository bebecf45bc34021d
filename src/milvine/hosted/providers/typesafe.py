"""TypeSafe, whose model Jev answers questions with probabilities."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from milvine.hosted.spec import Provider, RerankEndpoint, RerankRequest

if TYPE_CHECKING:
    from milvine.hosted.answers import Answer

__all__ = ["DOCUMENT_PROMPT", "QUERY_PROMPT", "TYPESAFE", "asking"]

QUERY_PROMPT: Final = "Scientific claim: {query}"
DOCUMENT_PROMPT: Final = "Document: {document} — Does this document provide evidence relevant to the claim?"
"""Both as pymilvus.model 0.3.4 has them."""


def asking(query_prompt: str, document_prompt: str) -> Callable[[RerankRequest], dict[str, Any]]:
    """The body that asks one yes-or-no question ("noul") about each document.

    Args:
        query_prompt: What all questions are about ("state"), with `{query}` in it.
        document_prompt: The question, with `{document}` in it.
    """

    def body(request: RerankRequest) -> dict[str, Any]:
        return {
            "model": request.model,
            "state": query_prompt.replace("{query}", request.query),
            "questions": {
                f"d{index}": {"type": "noul", "instructions": document_prompt.replace("{document}", document)}
                for index, document in enumerate(request.documents)
            },
            **request.fields,
        }

    return body


def _scores(answer: Answer) -> list[tuple[Any, Any]]:
    """`{"answers": {"d0": {"type": "noul", "noul": 0.98}, ...}}`: the probability of a yes."""
    answers = answer.data.get("answers") if isinstance(answer.data, dict) else None
    if not isinstance(answers, dict):
        raise answer.malformed("it has no object named 'answers'")
    scores: list[tuple[Any, Any]] = []
    for name, given in answers.items():
        if not re.fullmatch(r"d\d{1,9}", name) or not isinstance(given, dict):
            raise answer.malformed(f"it answers {name!r}, which was not asked")
        scores.append((int(name[1:]), given.get("noul")))
    return scores


TYPESAFE: Final = Provider(
    # typesafe-sdk 0.7.5, the vendor's own client: constants.py, _core, and _schemas/models.py, which is made from
    # https://api.typesafe.ai/openapi.json (read 2026-11-23). The version belongs to the path, so that TYPESAFE_BASE_URL
    # means what it means to that client.
    name="typesafe",
    base_url="https://api.typesafe.ai",
    base_url_variables=("TYPESAFE_BASE_URL",),
    key_variables=("TYPESAFE_API_KEY",),
    key_page="https://docs.typesafe.ai (the console)",
    # In this order in the vendor's client; "detail" is a string, an object, or FastAPI's list. It tries again after
    # HTTP 408, 429 and 5xx, and honours retry-after-ms and Retry-After.
    error_messages=(("error", "message"), ("error",), ("message",), ("detail",), ("detail", "message")),
    error_codes=(("detail", "error_type"), ("error",)),
    # Not documented by the vendor: jev-reranker 0.1.2 splits a request that comes back with this error_type.
    too_long=re.compile(r"max_tokens_exceeded"),
    request_id_header="x-typesafe-request-id",
    # Every question is answered alone, against the same state: https://docs.rs/crate/typesafe-jev/0.2.0 (read
    # 2026-11-23); so several requests give the same scores as one. The limits are not documented: users measured about
    # 33,000 tokens for the state and the longest question, and 64,000 for the state and all questions.
    rerank=RerankEndpoint(
        path="/v1/systemone",
        body=asking(QUERY_PROMPT, DOCUMENT_PROMPT),
        scores=_scores,
        max_tokens=64_000,
        scores_all=True,
        usage=("usage", "input_tokens"),
    ),
)
