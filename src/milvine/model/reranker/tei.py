"""Rerankers behind Hugging Face's Text Embeddings Inference (TEI)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from milvine.errors import InputTypeError
from milvine.hosted.providers.tei import TEI
from milvine.hosted.spec import Provider
from milvine.model._hosted import HostedRerankFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import RequestOptions

__all__ = ["TEIRerankFunction"]


class TEIRerankFunction(HostedRerankFunction):
    """Orders documents by the scores of a server that runs Text Embeddings Inference with a reranker.

    Called as `rf(query, documents, top_k=5)`. Each document is scored alone, from 0 to 1, so any number of them is
    sent, 32 in a request.

    Args:
        api_url: Where the server is, such as `"http://localhost:8080"`.
        api_key: The key, of a server that was started with one; without it `TEI_API_KEY` is read.
        truncate: Whether the end of a document that is too long is left unread; `None`: what the server was started
            with.
        **options: See `milvine.hosted.options.RequestOptions`. `batch_size` is 32 unless the server was started with
            another `--max-client-batch-size`; what is too much for it is sent again in halves.

    Raises:
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        api_url: str,
        *,
        api_key: str | None = None,
        truncate: bool | None = None,
        **options: Unpack[RequestOptions],
    ) -> None:
        if not (truncate is None or isinstance(truncate, bool)):
            raise InputTypeError(f"truncate must be True, False or None, not {type(truncate).__name__} ({truncate!r})")
        super().__init__(
            _with_batches_of(options.get("batch_size")),
            "the server's model",
            api_key,
            fields={} if truncate is None else {"truncate": truncate},
            base_url=api_url,
            **options,
        )


def _with_batches_of(size: Any) -> Provider:
    """The row, with another number of documents in a request."""
    if TEI.rerank is None or not isinstance(size, int):
        return TEI
    return replace(TEI, rerank=replace(TEI.rerank, max_documents=size))
