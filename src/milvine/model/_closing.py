"""What can be closed, as a context manager of both kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Closing(ABC):
    """Is closed at the end of `with` or `async with`."""

    @abstractmethod
    def close(self) -> None:
        """Closes the connections; it cannot be used again."""

    @abstractmethod
    async def aclose(self) -> None:
        """As `close`, and closes the connections of the running event loop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
