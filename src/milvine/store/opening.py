"""Which store a URI means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milvine._texts import as_text
from milvine.errors import InputError
from milvine.store.base import MakeFields, Store


def open_store(
    uri: str | Path,
    name: str,
    *,
    fields: MakeFields,
    config: dict[str, Any] | None = None,
    must_be_new: bool = False,
) -> Store:
    """Open a collection's store, or make it.

    Args:
        uri: A path that ends in `.db`: Milvus Lite, in this process.
        name: The collection.
        fields: Given the collection's configuration, the fields that it has; called with the stored configuration when
            the collection exists, so that a mismatch can be refused before anything is touched.
        config: What to store with a new collection; `None` if the collection, and its database, must exist.
        must_be_new: Refuse a collection that exists.

    Raises:
        InputError: The URI means no store that milvine has, or the name is not allowed.
        StoreNotFoundError: There is no database, and `config` is `None`; or no folder to hold one.
        StoreLockedError: Another process has the database open.
        CollectionNotFoundError: There is no such collection, and `config` is `None`.
        CollectionExistsError: There is one, and it must be new.
        CollectionMismatchError: It is not milvine's, or `fields` refuses it.
    """
    text = str(uri) if isinstance(uri, Path) else as_text(uri, "uri")
    scheme, separator, _ = text.partition("://")
    if separator:  # the rest is not shown: it may hold a password
        raise InputError(
            f"the URI {scheme}://… names a Milvus server; this version of milvine keeps collections in Milvus Lite"
            ' alone: give a path that ends in .db, such as "kb.db"'
        )
    if not text.endswith(".db"):
        raise InputError(f'{text!r} must be a path that ends in .db (a Milvus Lite database), such as "kb.db"')
    from milvine.store.milvus_lite import MilvusLiteStore

    return MilvusLiteStore(Path(text), name, fields=fields, config=config, must_be_new=must_be_new)
