"""Which collections a database holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milvine.store._rows import CONFIG


def collection_names(uri: str | Path) -> list[str]:
    """The collections in a database that milvine made, by name.

    Raises:
        StoreNotFoundError: There is no such database.
        StoreLockedError: Another process has it open.
        StoreConnectionError: The server cannot be reached.
    """
    if "://" in str(uri):
        from milvine.store._server_connection import ServerConnection

        connection = ServerConnection(str(uri), {})
        try:
            return connection.read(_made_by_milvine)
        finally:
            connection.close()
    if str(uri).endswith(".db"):
        from milvine.store._lite_database import LiteDatabase

        database = LiteDatabase.acquire(Path(uri), create=False)
        try:
            with database.reading() as client:
                return _made_by_milvine(client)
        finally:
            database.release()
    from milvine.store.builtin.database import collection_names as names

    return names(Path(uri))


def _made_by_milvine(client: Any) -> list[str]:
    names = sorted(client.list_collections())
    return [name for name in names if CONFIG in client.describe_collection(name).get("properties", {})]
