"""What Milvus' bulk import needs of a collection on a server: the columns of its files, and a fresh look afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milvine.store.base import Store

LOADING = 3600.0  # seconds that indexing and loading what was imported may take


def column_types(store: Any) -> dict[str, str]:
    """The columns that the server's schema has, with the names of their data types, in their order."""
    from pymilvus import DataType

    described = store._described() or {}
    return {field["name"]: DataType(field["type"]).name for field in described["fields"]}


def load_imported(store: Store) -> None:
    """Have a server load what was imported since it loaded the collection; it does not by itself."""
    from milvine.store.milvus_server import MilvusServerStore

    if isinstance(store, MilvusServerStore) and not store._connection.is_lite:
        store._connection.write(lambda client: client.refresh_load(store._name, timeout=LOADING))
