"""Long texts in a collection: split into passages when they are added, found again by their document's id.

A passage's id is its document's, `#` and its number there, from 0. Its metadata are the document's, and under
`document`, `start` and `end` where it is from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from milvine._records import DOCUMENT, END, START, checked, in_batches
from milvine.errors import InputError, InputTypeError
from milvine.types import Record

if TYPE_CHECKING:
    from milvine.ingest import Document
    from milvine.model.base import BaseEmbeddingFunction
    from milvine.store import Store

PASSAGE_TOKENS = 512
"""Tokens of a passage, where the model would read more: a vector of many pages says little of any of them."""
FILTER_BATCH = 500  # documents asked for in one filter
FEW_DOCUMENTS = 2000  # of more, the passages are found sooner by going through all there are


class Passages:
    """The passages of documents, made as they are taken.

    Args:
        records: The documents.
        functions: The collection's embedding functions. The one that reads least says how long a passage may be.
        split: `True`, or how many tokens a passage has at most, special ones included.
        overlap: Tokens that neighbouring passages of a document share at most.

    Raises:
        InputError: No function tells its tokens, or the lengths do not suit it.
        InputTypeError: The lengths are no integers.
    """

    def __init__(
        self,
        records: Iterable[Record],
        functions: Iterable[BaseEmbeddingFunction[Any]],
        split: bool | int,
        overlap: int,
    ) -> None:
        from milvine.ingest import split_passages

        for name, value in (("split", split), ("overlap", overlap)):
            if not isinstance(value, int) or (isinstance(value, bool) and name == "overlap"):
                raise InputTypeError(f"{name} must be a number of tokens, not {type(value).__name__} ({value!r})")
        function, room = _shortest(functions)
        least = function.tokenizer.num_special_tokens_to_add(False) + 1
        tokens = min(room, PASSAGE_TOKENS) if split is True else split
        if not least <= tokens <= room:
            raise InputError(
                f"split must be from {least} to {room}, the tokens that {type(function).__name__} reads, not {tokens}"
            )
        self._records = records
        self._finished: dict[str, int] = {}
        self._current: str | None = None
        self._count = 0
        self._passages = split_passages(self._documents(), function.tokenizer, tokens, overlap=overlap)

    def __iter__(self) -> Iterator[Record]:
        for passage in self._passages:
            self._count += 1
            yield checked(passage, f"passage {self._count - 1} of document {self._current!r}")

    def take_finished(self, least: int = 1) -> dict[str, int]:
        """Documents whose passages have all been taken, and how many they are, once there are at least so many."""
        if len(self._finished) < least:
            return {}
        finished, self._finished = self._finished, {}
        if self._current is not None:
            finished.pop(self._current, None)  # it has come again, and is not finished yet
        return finished

    def _documents(self) -> Iterator[Document]:
        from milvine.ingest import Document

        for record in self._records:
            for key in (DOCUMENT, START, END):
                if key in record.metadata:
                    raise InputError(
                        f"the metadata of document {record.id!r} has the key {key!r}, under which each of its passages"
                        " says where it is from; rename it"
                    )
            self._current, self._count = record.id, 0
            yield Document(record.id, record.text, metadata=record.metadata)
            self._current, self._finished[record.id] = None, self._count  # the splitter has come back for the next


def remove_surplus(store: Store, finished: Mapping[str, int]) -> int:
    """Delete what documents have beyond these numbers of passages, and return how many that were.

    That is passages of when they were longer, and the record of when they were not split.
    """
    surplus: list[str] = []
    for batch in in_batches(finished, FILTER_BATCH):
        whole = store.get(list(store.content_hashes(batch)))
        surplus += [id_ for id_, record in whole.items() if DOCUMENT not in record.metadata]
    few = len(finished) <= FEW_DOCUMENTS
    there = passages_of(store, finished) if few else store.ids(f"exists {DOCUMENT}")
    for batch in in_batches((id_ for id_ in there if _is_surplus(id_, finished)), FILTER_BATCH):
        # What was not split here may look like it.
        records = store.get(batch).values()
        surplus += [one.id for one in records if one.metadata.get(DOCUMENT) == one.id.rpartition("#")[0]]
    return store.delete(surplus) if surplus else 0


def _is_surplus(id_: str, finished: Mapping[str, int]) -> bool:
    document, _, number = id_.rpartition("#")
    return document in finished and number.isdecimal() and int(number) >= finished[document]


def passages_of(store: Store, documents: Iterable[str]) -> Iterator[str]:
    """The ids of all passages of these documents."""
    from milvine.store.filters import literal

    for batch in in_batches(documents, FILTER_BATCH):
        yield from store.ids(f"{DOCUMENT} in {literal(batch)}")


def _shortest(functions: Iterable[BaseEmbeddingFunction[Any]]) -> tuple[Any, int]:
    """The function that reads least, and how many tokens of a text it reads, special ones included."""
    rooms: list[tuple[int, Any]] = []
    names = []
    for function in functions:
        names.append(type(function).__name__)
        tokenizer, most = getattr(function, "tokenizer", None), getattr(function, "max_length", None)
        if tokenizer is not None and isinstance(most, int):
            count = getattr(function, "count_tokens", None)
            special = tokenizer.num_special_tokens_to_add(False)
            instruction = count([""])[0] - special if count else 0
            rooms.append((most - instruction, function))
    if not rooms:
        raise InputError(
            f"texts cannot be split for {' and '.join(names) or 'no embedding function'}, whose tokens cannot be"
            " counted on this machine; split them yourself, and add the parts"
        )
    room, function = min(rooms, key=lambda pair: pair[0])
    return function, room
