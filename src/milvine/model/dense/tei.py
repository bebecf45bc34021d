"""Embedding models behind Hugging Face's Text Embeddings Inference (TEI)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from milvine._texts import as_text
from milvine.errors import InputTypeError
from milvine.hosted.providers.tei import TEI
from milvine.hosted.spec import Provider, Role
from milvine.model._hosted import HostedEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import RequestOptions

__all__ = ["TEIEmbeddingFunction"]


class TEIEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from a server that runs Text Embeddings Inference: a list of float32 arrays of shape `(dim,)`.

    A server has one model, and the request does not name it. What that model wants before queries and documents is told
    either by the names of its prompts, if it came with some, or by the instructions themselves.

    Args:
        api_url: Where the server is, such as `"http://localhost:8080"`; paths below it are `/embed` and its like.
        dimensions: How many dimensions to ask for, of a model that can shorten its vectors (server 1.8 or later).
        api_key: The key, of a server that was started with one; without it `TEI_API_KEY` is read.
        query_instruction: What is put before each query.
        doc_instruction: What is put before each document.
        query_prompt_name: The name of the model's prompt for queries, such as `"query"`; the server puts it there.
        doc_prompt_name: The name of the model's prompt for documents.
        truncate: Whether the end of a text that is too long is left unread; `None`: what the server was started with.
        **options: See `milvine.hosted.options.RequestOptions`. `batch_size` is 32 unless the server was started with
            another `--max-client-batch-size`; what is too much for it is sent again in halves.

    Raises:
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    _served: dict[str, Any] | None = None

    def __init__(
        self,
        api_url: str,
        dimensions: int | None = None,
        *,
        api_key: str | None = None,
        query_instruction: str = "",
        doc_instruction: str = "",
        query_prompt_name: str | None = None,
        doc_prompt_name: str | None = None,
        truncate: bool | None = None,
        **options: Unpack[RequestOptions],
    ) -> None:
        if not (truncate is None or isinstance(truncate, bool)):
            raise InputTypeError(f"truncate must be True, False or None, not {type(truncate).__name__} ({truncate!r})")
        prefixes: dict[Role, str] = {
            "query": as_text(query_instruction, "query_instruction"),
            "document": as_text(doc_instruction, "doc_instruction"),
        }
        named: dict[Role, str | None] = {"query": query_prompt_name, "document": doc_prompt_name}
        roles: dict[Role, dict[str, Any]] = {
            role: {"prompt_name": as_text(name, "a prompt's name")} for role, name in named.items() if name is not None
        }
        super().__init__(
            _with_batches_of(options.get("batch_size")),
            "the server's model",
            api_key,
            dimensions=dimensions,
            roles=roles or None,
            prefixes=prefixes if any(prefixes.values()) else None,
            fields={} if truncate is None else {"truncate": truncate},
            base_url=api_url,
            **options,
        )

    def identity(self) -> dict[str, Any]:
        """What must be equal for two functions' vectors to be comparable, as JSON; it never holds the key.

        The server is asked once which model it has, so that another one at the same URL does not pass for it.

        Raises:
            ProviderError: The server does not answer `GET /info`.
        """
        if self._served is None:
            answer = self._client.get("/info")
            info = answer.data if isinstance(answer.data, dict) else {}
            if not isinstance(info.get("model_id"), str):
                raise answer.malformed("it has no string named 'model_id'")
            self._served = {"model": info["model_id"], "revision": info.get("model_sha")}
        return {**super().identity(), **self._served}


def _with_batches_of(size: Any) -> Provider:
    """The row, with another number of texts in a request."""
    if TEI.embeddings is None or not isinstance(size, int):
        return TEI
    return replace(TEI, embeddings=replace(TEI.embeddings, max_texts=size))
