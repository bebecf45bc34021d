"""The image of a collection in memory, and how it follows the database.

A state is never changed, another takes its place: so a search needs no lock, and sees one moment. Bringing it up to
date reads what has come and gone since, whoever wrote it. Rows come in as segments in memory; small ones are merged,
and beyond some thousand rows they become a file of the image folder, which is mapped. Of all that nothing need be kept:
if a file is missing or damaged, its rows are read from the database again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from sqlite3 import Connection

import numpy as np

from milvine.errors import StoreError, StoreLockedError, StoreWriteError
from milvine.store.builtin import image
from milvine.store.builtin.database import Database, image_folder
from milvine.store.builtin.segment import Segment
from milvine.store.builtin.table import Table
from milvine.store.filtering.expression import parse
from milvine.store.filtering.masks import passing
from milvine.store.filtering.strings import Array, Mask, joined

CHUNK = 16_384  # rows read at once
LEAST_IN_FILE = 4_096  # rows; fewer are read from the database as fast
MOST_IN_MEMORY = 65_536  # rows, before they become a file
MOST_DELETED = 4_096  # listed deletions, before those that no file needs are forgotten
MASKS = 16  # remembered for each segment

parsed = lru_cache(256)(parse)
"""A filter's expression."""


@dataclass(frozen=True, eq=False)
class View:
    """A segment, and which of its rows are still there.

    Attributes:
        segment: The segment.
        alive: A boolean a row; `None` if all are there.
        file: Its image file's name; empty if it is in memory alone.
        masks: The rows that pass filters, of all rows, by the filters' texts; remembered as long as the segment.
        lengths: What the texts' lengths come to, by lexical field.
    """

    segment: Segment
    alive: Mask | None = None
    file: str = ""
    masks: dict[str, Mask] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        """How many are there."""
        return len(self.segment) if self.alive is None else int(np.count_nonzero(self.alive))

    def without(self, numbers: Array) -> View:
        """The view once these rows are gone; numbers of others do not matter."""
        gone = self.segment.positions(numbers)
        gone = gone[gone >= 0]
        if not len(gone):
            return self
        alive = np.ones(len(self.segment), np.bool_) if self.alive is None else self.alive.copy()
        alive[gone] = False
        return replace(self, alive=alive, lengths={})


@dataclass(frozen=True)
class State:
    """All rows of a collection at one moment.

    Attributes:
        version: The collection's version.
        last: The highest row number that has been read.
        files: The image files that counted then, whether they could be read or not.
        views: The rows, ascending by their numbers; those in files first.
    """

    version: int = -1
    last: int = -1
    files: tuple[str, ...] = ()
    views: tuple[View, ...] = ()

    @property
    def in_memory(self) -> int:
        """Rows of segments that are in no file."""
        return sum(len(view.segment) for view in self.views if not view.file)


class Image:
    """The state of a collection in this process, which all its objects of the collection share."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database, self._table = database, table
        self._folder = image_folder(database.path)
        self._state = State()

    def current(self) -> State:
        """The state, with every commit that there was when this was called."""
        with self._database.reading() as connection:
            version, last, _ = self._table.head(connection)
        state = self._state
        if state.version < version or state.last < last:
            with self._database.changing(self._table.number):
                state = self._up_to(version, last, None)
        return state

    def flush(self, timeout: float) -> None:
        """Bring the state up to date, and write what is in memory to a file, if it is worth one and it can be done."""

        def write(connection: Connection) -> None:
            with self._database.changing(self._table.number):
                version, last, _ = self._table.head(connection)
                self._up_to(version, last, connection)
                self._write(connection, LEAST_IN_FILE, image.SOON)
            self._table.prune(connection, MOST_DELETED)

        self._try_writing(timeout, write)

    def remove_litter(self) -> None:
        """Remove the image files that do not count any more, if nobody is writing."""
        with suppress(StoreError, OSError), self._database.writing(0) as connection:
            listed = {file for (file,) in connection.execute("SELECT file FROM images")}
            for path in image.litter(self._folder, listed):
                path.unlink(missing_ok=True)
            if not listed:
                self._folder.rmdir()

    def _try_writing(self, timeout: float, write: Callable[[Connection], None]) -> None:
        """Write files, if the database can be written: they are a convenience, and on a full disk they are missing."""
        before = self._state.files
        try:
            with suppress(StoreLockedError, StoreWriteError), self._database.writing(timeout) as connection:
                write(connection)
        finally:
            if self._state.files != before:
                self.remove_litter()

    def allowed(self, view: View, filter_: str | None) -> Mask | None:
        """The rows of a view that are there and pass a filter; `None` if all of its segment do.

        Raises:
            FilterError: The filter is not valid.
        """
        if not filter_:
            return view.alive
        mask = view.masks.get(filter_)
        if mask is None:
            mask = passing(parsed(filter_), view.segment, lambda: self._texts(view.segment.numbers))
            if len(view.masks) >= MASKS:
                view.masks.clear()
            view.masks[filter_] = mask
        return mask if view.alive is None else mask & view.alive

    def _texts(self, numbers: Array) -> Iterator[str]:
        for start in range(0, len(numbers), CHUNK):
            with self._database.reading() as connection:
                texts = self._table.texts(connection, numbers[start : start + CHUNK])
            yield from texts

    # What follows is called with `_changing` held.

    def _up_to(self, version: int, last: int, writer: Connection | None) -> State:
        """The state at this version or later. Files are written on the way, by the writer, or if nobody is writing."""
        least = MOST_IN_MEMORY if self._state.views else LEAST_IN_FILE
        while self._state.version < version or self._state.last < last:
            try:
                self._advance(writer, strict=writer is None)
            except image.ImageError:  # it is damaged, unless another process has just replaced it
                self._advance(writer, strict=False)
            if writer is not None:
                self._write(writer, MOST_IN_MEMORY)
            elif self._state.in_memory >= least:
                factor = image.SELDOM if self._state.last < last else image.SOON
                self._try_writing(0, partial(self._write, least=least, factor=factor))
        return self._state

    def _advance(self, writer: Connection | None, *, strict: bool) -> None:
        """Take out what has been deleted since, and put in at most `MOST_IN_MEMORY` rows more."""
        # A writer's own connection knows the files that it has written and not committed yet.
        with nullcontext(writer) if writer else self._database.reading() as connection:
            state = self._state
            version, last, pruned = self._table.head(connection)
            files = self._table.files(connection)
            if state.version < pruned or state.files != tuple(files):
                state = self._from_files(files, strict=strict)
            gone = self._table.deleted(connection, state.version)
            views = [view.without(gone) for view in state.views]
            reached = state.last
            for _ in range(MOST_IN_MEMORY // CHUNK):
                rows = self._table.next_rows(connection, reached, CHUNK)
                if rows is None:
                    reached = last
                    break
                views.append(View(Segment.build(rows, self._table.fields)))
                reached = int(rows.numbers[-1])
        views = [view for view in views if view.count or view.file]
        if views and len(views[-1].segment) < CHUNK:  # what is longer will soon be in a file
            views = self._merged(views)
        self._state = State(version, reached, tuple(files), tuple(views))

    def _from_files(self, files: Mapping[str, int], *, strict: bool) -> State:
        """The state that the image files hold, before any deletion; what it holds already is not read again.

        Raises:
            ImageError: If `strict`, when a file cannot be read. Otherwise the state ends before it.
        """
        known = {view.file: view for view in self._state.views}
        views: list[View] = []
        last = 0
        for file, its_last in files.items():
            try:
                view = known[file] if file in known else self._read(file)
            except image.ImageError:
                if strict:
                    raise
                break
            views.append(replace(view, alive=None, lengths={}))
            last = its_last
        return State(-1, last, tuple(files), tuple(views))

    def _read(self, file: str) -> View:
        return View(Segment(image.read(self._folder / file), self._table.fields), file=file)

    def _merged(self, views: list[View]) -> list[View]:
        """The views, those in memory merged as far as it pays."""
        files = sum(bool(view.file) for view in views)
        start = files + image.merge_from([(len(view.segment), view.count) for view in views[files:]])
        if start == len(views):
            return views
        chunks = Segment.merged([view.segment for view in views[start:]], [view.alive for view in views[start:]])
        return [*views[:start], View(Segment(joined(chunks), self._table.fields))]

    def _write(self, connection: Connection, least: int, factor: float = image.SELDOM) -> None:
        """Within a writer's transaction write what is in memory to a file, if it is so many rows.

        Files that would grow too many, or have too many dead rows, are merged into it. If the disk is full, the state
        stays as it is.
        """
        state = self._state
        extents = [(len(view.segment), view.count) for view in state.views]
        start = min(image.merge_from(extents, factor), sum(bool(view.file) for view in state.views))
        if state.in_memory < least and start == len(state.files):
            return
        _, _, pruned = self._table.head(connection)
        if tuple(self._table.files(connection)) != state.files or state.version < pruned:
            return  # somebody else wrote files; they are read when there is something new
        kept, rest = list(state.views[:start]), [view for view in state.views[start:] if view.count]
        new = []
        if rest:
            chunks = Segment.merged([view.segment for view in rest], [view.alive for view in rest])
            try:
                view = self._read(image.write(self._folder, chunks).name)
            except (OSError, image.ImageError):
                return
            kept.append(view)
            new.append((view.file, int(view.segment.numbers[0]), state.last, state.version))
        names = tuple(view.file for view in kept)
        self._table.list_files(connection, names, new)
        self._table.prune(connection)
        self._state = State(state.version, state.last, names, tuple(kept))
