"""Where vectors are kept: every store behind one narrow protocol."""

from milvine.store.base import DenseField, Field, LexicalField, Match, Row, SparseField, SparseRow, Store
from milvine.store.opening import StoreOptions, open_store

__all__ = [
    "DenseField",
    "Field",
    "LexicalField",
    "Match",
    "Row",
    "SparseField",
    "SparseRow",
    "Store",
    "StoreOptions",
    "open_store",
]
