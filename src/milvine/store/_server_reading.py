"""Rows of a collection on a Milvus server, read by their ids or all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from milvine._records import in_batches
from milvine.errors import StoreError
from milvine.store._rows import Columns
from milvine.store._server_connection import NOT_LOADED, ServerConnection
from milvine.store.filters import literal

Answer = TypeVar("Answer")


class Ask(NamedTuple):
    """What a client is asked, and the caller's filter in it, for errors."""

    request: Callable[[Any], Any]
    filter_: str | None = None


Steps: TypeAlias = Generator["Ask | Callable[[], Any]", Any, Answer]
"""Something that is found by asking, whoever asks: yields what is to be asked, or else done, and is sent what came."""

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

    def run(self, steps: Steps[Answer]) -> Answer:
        """What comes of the steps."""
        came: Any = None
        while True:
            try:
                step = steps.send(came)
            except StopIteration as end:
                found: Answer = end.value
                return found
            came = self.ask(*step) if isinstance(step, Ask) else step()

    async def arun(self, steps: Steps[Answer]) -> Answer:
        """As `run`; within `ServerConnection.together`."""
        came: Any = None
        while True:
            try:
                step = steps.send(came)
            except StopIteration as end:
                found: Answer = end.value
                return found
            came = await (self._aask(*step) if isinstance(step, Ask) else asyncio.to_thread(step))

    async def _aask(self, request: Callable[[Any], Any], filter_: str | None) -> Any:
        try:
            return await self._connection.aread(request, filter_)
        except StoreError as error:
            if getattr(error.__cause__, "code", None) != NOT_LOADED:
                raise
        await asyncio.to_thread(self._connection.write, self._load)
        return await self._connection.aread(request, filter_)

    def check_filter(self, filter_: str | None) -> None:
        """Have the server read the filter, by itself: in parentheses, `a == 1) or (b == 2` would pass, too.

        Raises:
            FilterError: It is not valid.
        """
        self.run(self.checked(filter_))

    def checked(self, filter_: str | None) -> Steps[None]:
        """The steps of `check_filter`."""
        if filter_:
            yield Ask(self._query(filter_, [self.columns.id], self.level, limit=1), filter_)

    def count(self, filter_: str | None = None) -> int:
        """How many rows there are, or pass the filter."""
        return int(self.ask(self._query(filter_ or "", ["count(*)"], self.level), filter_)[0]["count(*)"])

    def keys(self, filter_: str | None) -> Iterator[Any]:
        """The ids of all rows, or of those that pass the filter, as the column has them; checked before."""
        # Not by pymilvus' iterator: it pastes the last id into its next filter, quotes and all.
        key = self.columns.id
        if self._connection.is_lite:  # gives any number of rows, but not in the order of their ids
            yield from (row[key] for row in self.ask(self._query(filter_ or "", [key], STRONG), filter_))
            return
        last = None
        while True:
            conditions = [f"({filter_})"] if filter_ else []
            if last is not None:
                conditions.append(f"{key} > {literal(last)}")
            # With these a server answers in the order of ids and leaves none out; it may give fewer than it could.
            # pymilvus then sends no consistency level, and the collection's own holds, which is "Strong".
            order: dict[str, Any] = {"iterator": "True", "reduce_stop_for_best": "True", "limit": ID_PAGE}
            page = self.ask(self._query(" and ".join(conditions), [key], STRONG, **order), filter_)
            if not page:
                return
            yield from (row[key] for row in page)
            last = max(row[key] for row in page)

    def fetch(self, keys: Sequence[Any], columns: list[str], *, for_write: bool = False) -> Iterator[dict[str, Any]]:
        """These columns of those of these rows that are there; what a write depends on is read with "Strong"."""
        level = STRONG if for_write else self.level
        for batch in in_batches(keys, READ_BATCH):
            yield from self.ask(self._query(self.columns.id_in(batch), columns, level), None, for_write=for_write)

    def fetched(self, keys: Sequence[Any], columns: list[str]) -> Steps[list[dict[str, Any]]]:
        """The steps of `fetch`."""
        rows: list[dict[str, Any]] = []
        for batch in in_batches(keys, READ_BATCH):
            rows += yield Ask(self._query(self.columns.id_in(batch), columns, self.level))
        return rows

    def fetch_all(self, columns: list[str], filter_: str | None) -> Iterator[dict[str, Any]]:
        """These columns of all rows, or of those that pass the filter, some at a time."""
        for batch in in_batches(self.keys(filter_), READ_BATCH):
            yield from self.fetch(batch, columns)

    def _query(self, filter_: str, columns: list[str], level: str, **more: Any) -> Callable[[Any], Any]:
        timeout = self._connection.timeout
        return lambda client: client.query(
            self._name, filter=filter_, output_fields=columns, consistency_level=level, timeout=timeout, **more
        )
