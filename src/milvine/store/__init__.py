"""Where vectors are kept: every store behind one narrow protocol."""

from milvine.store.base import (
    AsyncStore,
    Call,
    DenseField,
    Field,
    LexicalField,
    Match,
    Metric,
    MultiVectorField,
    Row,
    SparseField,
    SparseRow,
    Store,
    Vector,
    VectorType,
)
from milvine.store.opening import StoreOptions, open_store

__all__ = [
    "AsyncStore",
    "Call",
    "DenseField",
    "Field",
    "LexicalField",
    "Match",
    "Metric",
    "MultiVectorField",
    "Row",
    "SparseField",
    "SparseRow",
    "Store",
    "StoreOptions",
    "Vector",
    "VectorType",
    "open_store",
]
