"""The built-in store: one SQLite file that keeps what it was given, and an image of it in memory that is searched."""

from milvine.store.builtin.store import BuiltinStore

__all__ = ["BuiltinStore"]
