"""Models behind an HTTP API: the table of providers and the one client that talks to all of them."""

from __future__ import annotations

from milvine.hosted.client import HostedClient
from milvine.hosted.options import HostedOptions
from milvine.hosted.providers import PROVIDERS
from milvine.hosted.spec import Provider

__all__ = ["PROVIDERS", "HostedClient", "HostedOptions", "Provider"]
