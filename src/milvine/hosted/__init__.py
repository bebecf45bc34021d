"""Models behind an HTTP API: the table of providers and the one client that talks to all of them."""

from __future__ import annotations

from milvine.hosted.client import HostedClient
from milvine.hosted.providers import JINA, OPENAI, PROVIDERS, Provider

__all__ = ["JINA", "OPENAI", "PROVIDERS", "HostedClient", "Provider"]
