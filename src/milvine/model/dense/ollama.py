"""Embedding models behind Ollama."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from milvine._texts import as_text
from milvine.errors import InputTypeError
from milvine.hosted.providers.ollama import OLLAMA, PREFIXES
from milvine.hosted.spec import Role
from milvine.model._hosted import HostedEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from milvine.hosted.options import RequestOptions

__all__ = ["OllamaEmbeddingFunction"]


class OllamaEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from an Ollama server, of length 1: a list of float32 arrays of shape `(dim,)`.

    Ollama puts nothing before queries and documents, so what a model wants there is put there here; it is known of
    nomic-embed-text, embeddinggemma, mxbai-embed-large, snowflake-arctic-embed, snowflake-arctic-embed2 and
    qwen3-embedding. The model must have been pulled: `ollama pull nomic-embed-text`.

    Args:
        model_name: The model, as `ollama list` names it.
        base_url: Where the server is; without it `OLLAMA_HOST`, or `"http://localhost:11434"`.
        dimensions: How many dimensions to ask for; meant for models that were trained to be cut (Matryoshka).
        api_key: The key, where one is asked for, as on ollama.com; without it `OLLAMA_API_KEY` is read.
        query_instruction: What is put before each query, instead of what is known of the model; `""` for nothing.
        doc_instruction: What is put before each document, likewise.
        truncate: Whether the end of a text that is too long is left unread; `None`: the server's default, which is so.
        **options: See `milvine.hosted.options.RequestOptions`.

    Raises:
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "nomic-embed-text",
        base_url: str | None = None,
        dimensions: int | None = None,
        *,
        api_key: str | None = None,
        query_instruction: str | None = None,
        doc_instruction: str | None = None,
        truncate: bool | None = None,
        **options: Unpack[RequestOptions],
    ) -> None:
        if not (truncate is None or isinstance(truncate, bool)):
            raise InputTypeError(f"truncate must be True, False or None, not {type(truncate).__name__} ({truncate!r})")
        known = PREFIXES.get(model_name.partition(":")[0].rpartition("/")[2], {}) if isinstance(model_name, str) else {}
        given: dict[Role, str | None] = {"query": query_instruction, "document": doc_instruction}
        prefixes: dict[Role, str] = {
            role: known.get(role, "") if text is None else as_text(text, "an instruction")
            for role, text in given.items()
        }
        super().__init__(
            OLLAMA,
            model_name,
            api_key,
            dimensions=dimensions,
            prefixes=prefixes if any(prefixes.values()) else None,
            fields={} if truncate is None else {"truncate": truncate},
            base_url=base_url or _host(os.environ.get("OLLAMA_HOST", "")),
            **options,
        )

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity; where the server is, `OLLAMA_HOST` says.

        Raises:
            InputError: It is no identity, or another function's.
        """
        host = _host(os.environ.get("OLLAMA_HOST", ""))
        there = {"base_url": host} if host and isinstance(identity, dict) else {}
        return super().from_identity({**identity, **there} if there else identity)


def _host(host: str) -> str | None:
    """The URL that `OLLAMA_HOST` stands for, which may lack scheme and port.

    As ollama 0.6.3 reads it: without a scheme it is HTTP, and without a port 11434, or the scheme's own where one is
    named.
    """
    host = host.strip()
    if not host:
        return None
    scheme, _, rest = host.rpartition("://")
    url = urlsplit(f"{scheme or 'http'}://{rest}")
    try:
        port = url.port
    except ValueError:
        return host  # for the check of base_url to refuse
    name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or "127.0.0.1"
    port = port or {"http": 80, "https": 443}.get(scheme, 11434)
    return f"{url.scheme}://{name}:{port}{url.path}"
