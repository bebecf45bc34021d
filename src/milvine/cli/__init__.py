"""The command line: thin doors over the library."""

from milvine.cli.main import main

__all__ = ["main"]
