"""Filters over metadata in memory: Milvus' expressions, the columns that they look at, and the rows that pass."""

from milvine.store.filtering.columns import MetadataPart
from milvine.store.filtering.expression import Expression, parse
from milvine.store.filtering.masks import passing
from milvine.store.filtering.strings import Strings

__all__ = ["Expression", "MetadataPart", "Strings", "parse", "passing"]
