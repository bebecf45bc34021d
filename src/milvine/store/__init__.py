"""Where vectors are kept: every store behind one narrow protocol."""

from milvine.store.base import DenseField, LexicalField, Match, Row, Store
from milvine.store.opening import open_store

__all__ = ["DenseField", "LexicalField", "Match", "Row", "Store", "open_store"]
