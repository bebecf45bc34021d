"""Rows of a collection on a Milvus server, read by their ids or all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from milvine._records import in_batches
from milvine.errors import StoreError
from milvine.store._rows import Columns
from milvine.store._server_connection import NOT_LOADED, ServerConnection
from milvine.store.filters import literal

Answer = TypeVar("Answer")

STRONG, SESSION = "Strong", "Session"
SETTLING = 10.0  # seconds after which every replica has seen a deletion
READ_BATCH, ID_PAGE = 500, 5000  # Milvus gives at most 16,384 rows at once


class ServerReader:
    """Reads one collection.

    Attributes:
        columns: Where the collection keeps what.
    """

    def __init__(
        self,
        connection: ServerConnection,
        name: str,
        columns: Columns,
        level: str,
        load: Callable[[Any], None],
    ) -> None:
        self.columns = columns
        self._level = level
        self._strong_until = 0.0
        self._connection = connection
        self._name = name
        self._load = load

    @property
    def level(self) -> str:
        """The consistency level of what is shown to the caller."""
        return STRONG if self._level == SESSION and time.monotonic() < self._strong_until else self._level

    def deleted(self) -> None:
        """Note that this process has just deleted rows.

        Measured: Milvus 2.3 does not tell when it deleted, so that "Session" would still show them for a moment.
        """
        self._strong_until = time.monotonic() + SETTLING

    def ask(self, request: Callable[[Any], Answer], filter_: str | None, *, for_write: bool = False) -> Answer:
        """What `request` gets from the client; see `ServerConnection.read`."""
        try:
            return self._connection.read(request, filter_, for_write=for_write)
        except StoreError as error:
            if getattr(error.__cause__, "code", None) != NOT_LOADED:
                raise
        # Somebody released it, or the server restarted and does not load by itself.
        self._connection.write(self._load)
        return self._connection.read(request, filter_, for_write=for_write)

    def check_filter(self, filter_: str | None) -> None:
        """Have the server read the filter, by itself: in parentheses, `a == 1) or (b == 2` would pass, too.

        Raises:
            FilterError: It is not valid.
        """
        if filter_:
            self._query(filter_, [self.columns.id], self.level, filter_, limit=1)

    def count(self, filter_: str | None = None) -> int:
        """How many rows there are, or pass the filter."""
        return int(self._query(filter_ or "", ["count(*)"], self.level, filter_)[0]["count(*)"])

    def keys(self, filter_: str | None) -> Iterator[Any]:
        """The ids of all rows, or of those that pass the filter, as the column has them; checked before."""
        # Not by pymilvus' iterator: it pastes the last id into its next filter, quotes and all.
        key = self.columns.id
        if self._connection.is_lite:  # gives any number of rows, but not in the order of their ids
            yield from (row[key] for row in self._query(filter_ or "", [key], STRONG, filter_))
            return
        last = None
        while True:
            conditions = [f"({filter_})"] if filter_ else []
            if last is not None:
                conditions.append(f"{key} > {literal(last)}")
            # With these a server answers in the order of ids and leaves none out; it may give fewer than it could.
            # pymilvus then sends no consistency level, and the collection's own holds, which is "Strong".
            order: dict[str, Any] = {"iterator": "True", "reduce_stop_for_best": "True", "limit": ID_PAGE}
            page = self._query(" and ".join(conditions), [key], STRONG, filter_, **order)
            if not page:
                return
            yield from (row[key] for row in page)
            last = max(row[key] for row in page)

    def fetch(self, keys: Sequence[Any], columns: list[str], *, for_write: bool = False) -> Iterator[dict[str, Any]]:
        """These columns of those of these rows that are there; what a write depends on is read with "Strong"."""
        level = STRONG if for_write else self.level
        for batch in in_batches(keys, READ_BATCH):
            yield from self._query(self.columns.id_in(batch), columns, level, None, for_write=for_write)

    def fetch_all(self, columns: list[str], filter_: str | None) -> Iterator[dict[str, Any]]:
        """These columns of all rows, or of those that pass the filter, some at a time."""
        for batch in in_batches(self.keys(filter_), READ_BATCH):
            yield from self.fetch(batch, columns)

    def _query(
        self,
        filter_: str,
        columns: list[str],
        level: str,
        checked: str | None,
        *,
        for_write: bool = False,
        **more: Any,
    ) -> list[dict[str, Any]]:
        timeout = self._connection.timeout
        return self.ask(
            lambda client: list(
                client.query(
                    self._name,
                    filter=filter_,
                    output_fields=columns,
                    consistency_level=level,
                    timeout=timeout,
                    **more,
                )
            ),
            checked,
            for_write=for_write,
        )
