"""Which store a URI means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from milvine._texts import as_text
from milvine.errors import InputError
from milvine.store.base import DenseField, LexicalField, Store

Fields = Sequence[DenseField | LexicalField]


def open_store(
    uri: str | Path,
    name: str,
    *,
    fields: Callable[[dict[str, Any]], Fields],
    config: dict[str, Any] | None,
    create: bool,
) -> Store:
    """Open a collection's store, or make it.

    Args:
        uri: A path that ends in `.db`: Milvus Lite, in this process.
        name: The collection.
        fields: Given the collection's configuration, the fields that it has; called with the stored configuration when
            the collection exists, so that a mismatch can be refused before anything is touched.
        config: What to store with a new collection; `None` if it must exist.
        create: Whether to make a database that is not there.

    Raises:
        InputError: The URI means no store that milvine has.
        StoreNotFoundError: There is no database, and `create` is false.
        StoreLockedError: Another process has the database open.
        CollectionNotFoundError: There is no such collection, and `config` is `None`.
    """
    text = str(uri) if isinstance(uri, Path) else as_text(uri, "uri")
    if "://" in text:
        raise InputError(
            f"{text!r} names a Milvus server; this version of milvine keeps collections in Milvus Lite alone:"
            ' give a path that ends in .db, such as "kb.db"'
        )
    if not text.endswith(".db"):
        raise InputError(f'{text!r} must be a path that ends in .db (a Milvus Lite database), such as "kb.db"')
    from milvine.store.milvus_lite import MilvusLiteStore

    return MilvusLiteStore(Path(text), name, fields=fields, config=config, create=create)
