"""One call of a cached function: what the cache has, what must be computed, and the vectors in the texts' order.

Nothing here calls a function or waits for one, so that the same code serves callers and their async twins.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from milvine.errors import InputError, MilvineError, ProviderError
from milvine.model._cache.file import Space
from milvine.model._cache.packing import Packed, pack, unpack
from milvine.model._cache.store import VectorCache
from milvine.model.base import one_by_one

__all__ = ["Call", "Part"]

FIRST, MOST = 64, 4096
"""Texts of the first part, and at most of any."""
SECONDS = 4.0
"""What a part should take: no more than that is lost if the process is killed."""
TOGETHER, TOGETHER_SECONDS = 256, 1.0
"""Vectors that come one by one and are stored together, and for how long they may wait for each other."""
MANY = 16_384
"""Texts of a part for a function that has many requests under way, which would stop and go with small ones."""

_POSITION = re.compile(r"\b(texts|documents|queries)\[(\d+)\]")


class Call:
    """The vectors of a list of texts.

    Args:
        cache: Where they are looked up and stored.
        space: Whose they are.
        texts: The texts, at least one.

    Attributes:
        missing: How many different texts must be computed.
    """

    def __init__(self, cache: VectorCache, space: Space, texts: Sequence[str]) -> None:
        self._cache, self._space = cache, space
        self._keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        self._texts = dict(zip(self._keys, texts, strict=True))
        self._packed = cache.look_up(space, list(self._texts))
        self._missing = [key for key in self._texts if key not in self._packed]
        self.missing = len(self._missing)
        cache.count(space, len(texts) - self.missing, 0)

    def parts(self, *, remote: bool) -> Iterator[Part]:
        """What must be computed, part after part; each must be used as a context manager, and its vectors kept.

        Args:
            remote: Whether the function has many requests under way at once.
        """
        size, start = MANY if remote else FIRST, 0
        while start < self.missing:
            part = Part(self, self._missing[start : start + size])
            began = time.monotonic()
            yield part
            start += size
            if not remote:
                fitting = size * SECONDS / max(time.monotonic() - began, 1e-3)
                size = int(min(max(fitting, 1), 8 * size, MOST))

    def result(self) -> Any:
        """The vectors of all texts, as the function gives them.

        Raises:
            InputError: The cache holds some of another kind than the function gives.
        """
        return unpack([self._packed[key] for key in self._keys])

    def keep(self, keys: Sequence[bytes], packed: Sequence[Packed]) -> None:
        """Store what was computed."""
        some = dict(zip(keys, packed, strict=True))
        self._packed.update(some)
        self._cache.count(self._space, 0, len(some))
        self._cache.keep(self._space, some)

    def tell(self, error: BaseException, part: Sequence[bytes]) -> None:
        """Make an error that arose from a part of the texts one that speaks of those of the call."""
        if isinstance(error, ProviderError):
            there = {at: self._packed[key] for at, key in enumerate(self._keys) if key in self._packed}
            vectors = one_by_one(unpack(list(there.values()))) if there else ()
            error.completed = dict(zip(there, vectors, strict=True))
        if isinstance(error, MilvineError) and error.args and isinstance(error.args[0], str):
            first = {key: at for at, key in reversed(list(enumerate(self._keys)))}

            def place(found: re.Match[str]) -> str:
                at = int(found[2])
                return f"{found[1]}[{first[part[at]]}]" if at < len(part) else found[0]

            error.args = (_POSITION.sub(place, error.args[0]), *error.args[1:])

    def texts_of(self, keys: Sequence[bytes]) -> list[str]:
        """The texts of these keys."""
        return [self._texts[key] for key in keys]


class Part:
    """Some of a call's texts, that are computed together; what is done when an error ends it is stored.

    Attributes:
        texts: The texts.
    """

    def __init__(self, call: Call, keys: Sequence[bytes]) -> None:
        self._call, self._keys = call, keys
        self._waiting: list[Packed] = []
        self._done = 0
        self._stored = time.monotonic()
        self.texts = call.texts_of(keys)

    def keep(self, vectors: Any) -> int:
        """Take the vectors of the next texts, to be stored with those that follow, and say how many it were.

        Raises:
            InputError: There are more than texts.
            InputTypeError: They are nothing that can be stored.
        """
        packed = pack(vectors)
        given = self._done + len(self._waiting) + len(packed)
        if given > len(self._keys):
            raise InputError(f"the embedding function gave {given} vectors or more for {len(self._keys)} texts")
        self._waiting += packed
        if len(self._waiting) >= TOGETHER or time.monotonic() - self._stored > TOGETHER_SECONDS:
            self._store()
        return len(packed)

    def _store(self) -> None:
        packed, self._waiting = self._waiting, []
        if packed:
            start, self._done = self._done, self._done + len(packed)
            self._call.keep(self._keys[start : self._done], packed)
        self._stored = time.monotonic()

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._store()
        if error is None:
            if self._done < len(self._keys):
                raise InputError(f"the embedding function gave {self._done} vectors for {len(self._keys)} texts")
            return
        if isinstance(error, ProviderError):
            completed = error.completed
            late = sorted(at for at in completed if self._done <= at < len(self._keys))
            self._call.keep([self._keys[at] for at in late], pack([completed[at] for at in late]))
        self._call.tell(error, self._keys)
