"""pymilvus' `AsyncMilvusClient`, in an event loop of its own.

Its connections belong to the loop in which they were made, and a program may have many, one after another: each
`asyncio.run` is another. So there is one loop for a connection's lifetime, in a thread, that all others hand their
requests to.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from milvine.errors import StoreConnectionError

Answer = TypeVar("Answer")

LEAVING = 5.0  # seconds that requests under way have to end when the connection is closed


class AsyncClient:
    """A client and the event loop that it lives in.

    Args:
        make: Makes the client; called at the first request.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="milvine-async", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """What comes of a coroutine that uses the client; awaited in any event loop, it runs in the client's.

        Raises:
            StoreConnectionError: The connection has been closed.
        """
        running = work()
        try:
            future = asyncio.run_coroutine_threadsafe(running, self._loop)
        except RuntimeError as error:
            running.close()
            raise StoreConnectionError("the connection has been closed; open the collection again") from error
        return await asyncio.wrap_future(future)

    async def connected(self) -> Any:
        """The client, within what `run` was given. It raises what pymilvus does when there is no connection."""
        async with self._connecting:
            if self._client is None:
                client = self._make()
                await client.__aenter__()
                self._client = client
        return self._client

    def close(self) -> None:
        """Close the connection; what is under way then fails."""
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(2 * LEAVING)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LEAVING)
        if not self._thread.is_alive():
            self._loop.close()

    async def _leave(self) -> None:
        if self._client is not None:
            await self._client.close()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=LEAVING)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
