"""The sockets of a client's connections, so that a request can be broken off from another thread."""

from __future__ import annotations

import socket
import weakref
from contextlib import suppress
from typing import Any

__all__ = ["Sockets"]


class Sockets:
    """Learns of every connection from the `trace` extension of httpx's requests; it keeps none of them alive.

    https://www.python-httpx.org/advanced/extensions/#trace (read 2026-11-23).
    """

    def __init__(self) -> None:
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """The extension's callback."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            connection = info["return_value"].get_extra_info("socket")
            if connection is not None:
                self._open.add(connection)

    def shut(self) -> None:
        """Breaks off every request that is under way: who waits for its answer gets an error at once."""
        for connection in list(self._open):
            with suppress(OSError):
                # Not the method of an SSLSocket, which would say good-bye first and confuse the thread that reads.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
