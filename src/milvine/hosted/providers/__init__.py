"""What milvine knows of each provider: one provider, one row, one file.

A row holds documented facts alone, with the page they were read on and the date. Where no documentation was found the
row says so, and the client leaves the decision to the server.
"""

from __future__ import annotations

from milvine.hosted.providers.azure import AZURE
from milvine.hosted.providers.cohere import COHERE
from milvine.hosted.providers.gemini import GEMINI
from milvine.hosted.providers.jina import JINA
from milvine.hosted.providers.mistral import MISTRAL
from milvine.hosted.providers.nomic import NOMIC
from milvine.hosted.providers.ollama import OLLAMA
from milvine.hosted.providers.openai import OPENAI
from milvine.hosted.providers.registry import PROVIDERS
from milvine.hosted.providers.tei import TEI
from milvine.hosted.providers.typesafe import TYPESAFE
from milvine.hosted.providers.voyage import VOYAGE

__all__ = [
    "AZURE",
    "COHERE",
    "GEMINI",
    "JINA",
    "MISTRAL",
    "NOMIC",
    "OLLAMA",
    "OPENAI",
    "PROVIDERS",
    "TEI",
    "TYPESAFE",
    "VOYAGE",
]
