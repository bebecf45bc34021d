"""Image files: a segment's arrays in a file that is mapped into memory, and which segments to merge into one.

A file holds the arrays, then a footer, JSON, that says where each lies and what their checksum is, then the version and
the footer's length. Its name is the checksum of all that follows the arrays: so the database, which keeps the name,
vouches for every byte, and no other file can stand in for it.

The checksum of the arrays is BLAKE2b over the sums of the 64-bit words of each sector of 512 bytes, which takes about
as long as to read them. A change within one word changes its sector's sum, so any flipped byte shows; of larger damage
one in 2^64 goes unseen; and sectors that were zeroed, torn, swapped or misplaced change the order of the sums.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import struct
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np

from milvine.store.filtering.strings import Array, Chunks

SECTOR = 512  # bytes: what each array begins and the last one ends at a multiple of
PIECE = 1 << 18  # bytes: what is summed at a time stays in the second-level cache
END = struct.Struct("<16sQ")
VERSION = b"milvine image 2\n"  # another when a part of a segment is made of other arrays
SUFFIX, UNFINISHED = ".image", ".image-unfinished"

SELDOM = 4.0  # how many times larger a merged segment is than the first of those that it was made of
SOON = 1.5  # the same where nothing more is coming, so that searches have few segments to look at
SMALL = 512  # rows: merging so few takes less than searching one segment more
DEAD = 0.25  # the share of deleted rows above which a segment is written anew


class ImageError(Exception):
    """A file is not there, is no image, or not the one that its name says."""


def write(folder: Path, arrays: Mapping[str, Chunks]) -> Path:
    """Write an image file and return its path; what fails leaves no file behind.

    It is not synced: where power fails too soon, its checksum shows that it is not whole. It is written with `write()`,
    for on a full disk a mapping would bring a signal that ends the process. The folder is made if need be, and the
    arrays' pieces are read in order, once.

    Raises:
        OSError: The disk is full, or something else is wrong with it.
    """
    folder.mkdir(exist_ok=True)
    unfinished = folder / (secrets.token_hex(8) + UNFINISHED)
    try:
        with unfinished.open("x+b") as file:
            places = {name: _write_array(file, chunks) for name, chunks in arrays.items()}
            size = _pad(file)
            footer = {"arrays": places, "size": size, "checksum": _checksum(file, size)}
            text = json.dumps(footer).encode()
            end = text + END.pack(VERSION, len(text))
            file.write(end)
        return unfinished.replace(folder / _name(end))
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _write_array(file: IO[bytes], chunks: Chunks) -> dict[str, Any]:
    """Write an array and say where it lies."""
    offset, length, forms = _pad(file), 0, set()
    for chunk in chunks:
        file.write(np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data)
        length += len(chunk)
        forms.add((chunk.dtype.newbyteorder("<").str, chunk.shape[1:]))
    if len(forms) != 1:
        raise TypeError(f"the pieces of an array must be of one dtype and shape, not {forms}")
    dtype, shape = forms.pop()
    return {"dtype": dtype, "shape": [length, *shape], "offset": offset}


def _pad(file: IO[bytes]) -> int:
    file.write(bytes(-file.tell() % SECTOR))
    return file.tell()


def _checksum(file: Any, size: int) -> str:
    file.seek(0)
    sums, piece = blake2b(digest_size=20), np.empty(PIECE, np.uint8)
    for left in range(size, 0, -PIECE):
        words = piece[: file.readinto(piece[:left].data)].view(np.uint64).reshape(-1, SECTOR // 8)
        sums.update(np.add.reduce(words, axis=1).data)
    return sums.hexdigest()


def read(path: Path) -> dict[str, Array]:
    """An image's arrays: verified, mapped, read-only, and valid even when the file is deleted.

    Raises:
        ImageError: The file is not there, cannot be read, or is not exactly what was written under this name.
    """
    try:
        with path.open("rb") as file:
            footer = _footer(path, file)
            # By reading: through the mapping a bad disk would end the process, and all would count as its memory.
            if _checksum(file, footer["size"]) != footer["checksum"]:
                raise ImageError(f"{path} is damaged: its arrays have another checksum.")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}") from error
    return {name: np.ndarray(buffer=mapped, **place) for name, place in footer["arrays"].items()}


def _footer(path: Path, file: IO[bytes]) -> dict[str, Any]:
    size = os.fstat(file.fileno()).st_size
    file.seek(max(size - END.size, 0))
    end = file.read()
    version, length = END.unpack(end) if len(end) == END.size else (b"", 0)
    if version != VERSION or length > size - END.size:
        raise ImageError(f"{path} is no image of the version that this milvine reads.")
    file.seek(size - END.size - length)
    end = file.read()
    if path.name != _name(end):
        raise ImageError(f"{path} is damaged, or another image: its checksum is not its name.")
    footer: dict[str, Any] = json.loads(end[:length])
    if footer["size"] != size - len(end):
        raise ImageError(f"{path} is damaged: it has {size - len(end):,} bytes of arrays, not {footer['size']:,}.")
    return footer


def _name(end: bytes) -> str:
    return blake2b(end, digest_size=20).hexdigest() + SUFFIX


def litter(folder: Path, listed: Collection[str]) -> list[Path]:
    """The files that nobody needs, if all that count are listed and no other process may write images now."""
    ours = (path for path in folder.glob("*") if path.suffix in (SUFFIX, UNFINISHED))
    return [path for path in ours if path.name not in listed]


def merge_from(extents: Sequence[tuple[int, int]], factor: float = SELDOM) -> int:
    """Which segments to merge into one: those from this position to the last; `len(extents)` for none.

    They are merged when that makes a segment `factor` times as large as the first of them, or if all are small, or if
    more than a quarter of the first's rows are deleted. So n rows lie in O(log n) segments, and each is copied O(log n)
    times, about once a growth by the factor (Bentley and Saxe's logarithmic method, 1980).
    An extent is how many rows a segment has, and how many of them are not deleted.
    """
    first, after = len(extents), 0
    for at in reversed(range(len(extents))):
        rows, alive = extents[at]
        grown = after > 0 and (alive * (factor - 1) <= after or alive + after <= SMALL)
        if grown or rows - alive > rows * DEAD:
            first = at
        after += alive
    return first
