"""Every provider's row, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from milvine.hosted.providers.azure import AZURE
from milvine.hosted.providers.cohere import COHERE
from milvine.hosted.providers.gemini import GEMINI
from milvine.hosted.providers.jina import JINA
from milvine.hosted.providers.mistral import MISTRAL
from milvine.hosted.providers.nomic import NOMIC
from milvine.hosted.providers.ollama import OLLAMA
from milvine.hosted.providers.openai import OPENAI
from milvine.hosted.providers.tei import TEI
from milvine.hosted.providers.typesafe import TYPESAFE
from milvine.hosted.providers.voyage import VOYAGE
from milvine.hosted.spec import Provider

__all__ = ["PROVIDERS"]

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(
    {row.name: row for row in (OPENAI, AZURE, COHERE, GEMINI, JINA, MISTRAL, NOMIC, OLLAMA, TEI, TYPESAFE, VOYAGE)}
)
"""Every provider by its name."""
