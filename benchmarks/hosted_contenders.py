"""Who is measured by `benchmarks hosted`: functions like those of `benchmarks.contenders`.

Each sends texts to a server that speaks OpenAI's API, and tells the server how many vectors it got: a contender that
gives up halfway is not to look fast.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

Work = Callable[[list[str]], Any]

KEY = "sk-not-a-key"
MODEL = "text-embedding-3-small"


def milvine_openai(base_url: str, batch: int, concurrency: int) -> Work:
    from milvine.model.dense import OpenAIEmbeddingFunction

    function = OpenAIEmbeddingFunction(
        MODEL, KEY, base_url, batch_size=batch, concurrency=concurrency, show_progress=False
    )

    def work(texts: list[str]) -> Any:
        vectors = function.encode_documents(texts)
        _tell(base_url, len(vectors))
        return vectors

    return work


def pymilvus_openai(base_url: str, batch: int) -> Work:
    """pymilvus.model's function, called with one batch after the other: it sends what it gets in one request."""
    import openai
    from pymilvus.model.dense import OpenAIEmbeddingFunction

    function = OpenAIEmbeddingFunction(MODEL, KEY, base_url)

    def work(texts: list[str]) -> Any:
        vectors: list[Any] = []
        try:
            for part in _batches(texts, batch):
                vectors += function.encode_documents(part)
        except openai.OpenAIError:
            pass  # its client has tried three times; what it got is counted
        _tell(base_url, len(vectors))
        return vectors

    return work


def openai_client(base_url: str, batch: int) -> Work:
    """The official client in a loop, as its documentation shows."""
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=base_url)

    def work(texts: list[str]) -> Any:
        vectors: list[Any] = []
        try:
            for part in _batches(texts, batch):
                vectors += [item.embedding for item in client.embeddings.create(model=MODEL, input=part).data]
        except openai.OpenAIError:
            pass
        _tell(base_url, len(vectors))
        return vectors

    return work


def _batches(texts: list[str], size: int) -> Iterator[list[str]]:
    return (texts[at : at + size] for at in range(0, len(texts), size))


def _tell(base_url: str, received: int) -> None:
    urllib.request.urlopen(f"{base_url.removesuffix('/v1')}/received/{received}").close()
