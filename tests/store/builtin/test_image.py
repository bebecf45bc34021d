from __future__ import annotations

import math
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.store.builtin import image
from milvine.store.builtin.image import ImageError, litter, merge_from
from small_disks import fill_disk, small_disk

Arrays = dict[str, list[Any]]


def some_arrays(seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    return {
        "bytes": [np.frombuffer(b"some text", np.uint8)],
        "floats": [generator.normal(size=(size, 3)).astype(np.float32) for size in (5, 0, 40)],
        "halves": [generator.normal(size=(2, 3)).astype(np.float16)],
        "none": [np.empty((0, 7), np.int32)],
        "flags": [np.array([True, False, True])],
        "numbers": [np.arange(10), np.arange(100)[::7]],
        "cube": [generator.integers(-128, 127, (2, 3, 4)).astype(np.int8).transpose(0, 2, 1)],
    }


def written(folder: Path, arrays: Arrays | None = None) -> Path:
    return image.write(folder, some_arrays() if arrays is None else arrays)


def test_arrays_come_back_mapped_and_read_only(tmp_path: Path) -> None:
    path = written(tmp_path / "images")
    arrays = image.read(path)
    assert list(arrays) == list(some_arrays())
    for name, chunks in some_arrays().items():
        wanted = np.concatenate(chunks)
        assert arrays[name].dtype == wanted.dtype
        np.testing.assert_array_equal(arrays[name], wanted)
        assert arrays[name].ctypes.data % 64 == 0
        assert not arrays[name].flags.writeable
        assert not arrays[name].flags.owndata
    assert [one.name for one in (tmp_path / "images").iterdir()] == [path.name]


def test_no_arrays_and_many_pieces(tmp_path: Path) -> None:
    assert image.read(written(tmp_path, {})) == {}
    # More than is summed at a time, in pieces that fit no sector.
    numbers = np.random.default_rng(1).integers(0, 255, 700_001).astype(np.uint8)
    several = np.split(numbers, [1, 511, 512, 70_000, 262_143, 262_145])
    path = written(tmp_path, {"numbers": several})
    np.testing.assert_array_equal(image.read(path)["numbers"], numbers)
    assert written(tmp_path, {"numbers": [numbers]}) == path, "the same content has the same name"


def test_pieces_are_written_as_they_are_made(tmp_path: Path) -> None:
    sizes = []

    def pieces() -> Iterator[Any]:
        for _ in range(4):
            yield np.zeros(300_000, np.uint8)
            sizes.extend(one.stat().st_size for one in tmp_path.iterdir())

    image.write(tmp_path, {"pieces": pieces()})
    assert sizes == [300_000, 600_000, 900_000, 1_200_000]


def test_pieces_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    for chunks in ([np.zeros(2), np.zeros(2, np.float32)], [np.zeros((2, 3)), np.zeros((2, 4))], []):
        with pytest.raises(TypeError, match="piece"):
            written(tmp_path, {"a": chunks})
    assert list(tmp_path.iterdir()) == []


def refusal(path: Path, content: bytes | None = None) -> str:
    """What is said of a file, once it holds this."""
    if content is not None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    try:
        image.read(path)
    except ImageError as error:
        return str(error)
    return ""


def test_any_flipped_byte_shows(tmp_path: Path) -> None:
    path = written(tmp_path)
    chosen = random.Random(1)  # noqa: S311
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(path.read_bytes()):
            os.pwrite(file.fileno(), bytes([byte ^ chosen.randint(1, 255)]), at)
            assert refusal(path)
            os.pwrite(file.fileno(), bytes([byte]), at)
    assert list(image.read(path)) == list(some_arrays())


@pytest.mark.parametrize("filled", [0, 255])
def test_any_flipped_bit_of_a_sector_shows(tmp_path: Path, filled: int) -> None:
    path = written(tmp_path, {"a": [np.full(512, filled, np.uint8)]})
    with path.open("r+b", buffering=0) as file:
        for bit in range(0, 512 * 8, 3):
            os.pwrite(file.fileno(), bytes([filled ^ 1 << bit % 8]), bit // 8)
            assert "damaged: its arrays" in refusal(path)
            os.pwrite(file.fileno(), bytes([filled]), bit // 8)


def test_any_other_length_shows(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        os.truncate(path, len(whole) - 1 - length)
        assert refusal(path)
    for more in (b"\0", b"\0" * 512, whole, whole[-24:]):
        assert refusal(path, whole + more)
        assert refusal(path, more + whole)
    for at in (0, 512, len(whole) - 100):
        assert refusal(path, whole[:at] + whole[at + 512 :])
        assert refusal(path, whole[:at] + bytes(512) + whole[at:])


def test_sectors_that_are_swapped_zeroed_or_misplaced_show(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 255, 4096 * 4).astype(np.uint8)
    path = written(tmp_path, {"a": [numbers]})
    whole = path.read_bytes()
    for size in (512, 4096):
        one, other = whole[:size], whole[2 * size : 3 * size]
        assert refusal(path, other + whole[size : 2 * size] + one + whole[3 * size :])
        assert refusal(path, bytes(size) + whole[size:])
        assert refusal(path, one + one + whole[2 * size :])


def test_another_file_in_its_place_shows(tmp_path: Path) -> None:
    one, other = written(tmp_path), written(tmp_path, some_arrays(1))
    for path in (one, other):
        image.read(path)
    assert "another image" in refusal(one, other.read_bytes())


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "not there.image", tmp_path, tmp_path / "no" / "folder.image"):
        with pytest.raises(ImageError, match="cannot be read"):
            image.read(path)
    for content in (b"", b"x", b"x" * 5000, bytes(24), b"milvine image 2\n" + b"\xff" * 8):
        said = refusal(tmp_path / "some.image", content)
        assert said == f"{tmp_path / 'some.image'} is no image of the version that this milvine reads."


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path).read_bytes()
    length = struct.unpack("<Q", whole[-8:])[0]
    end = whole[-24 - length : -24] + b"milvine image 0\n" + whole[-8:]
    path = tmp_path / f"{blake2b(end, digest_size=20).hexdigest()}.image"
    assert "no image of the version" in refusal(path, whole[: -len(end)] + end)


def test_arrays_stay_when_the_file_goes(tmp_path: Path) -> None:
    path = written(tmp_path)
    arrays = image.read(path)
    path.unlink()
    tmp_path.rmdir()
    for name, chunks in some_arrays().items():
        np.testing.assert_array_equal(arrays[name], np.concatenate(chunks))


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    class OddError(Exception):
        pass

    def pieces() -> Iterator[Any]:
        yield np.zeros(100_000)
        raise OddError

    with pytest.raises(OddError):
        image.write(tmp_path, {"a": pieces()})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        written(tmp_path / "no" / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        written(tmp_path / "file")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "2m") as folder:
        before = written(folder)
        large = {"a": [np.arange(100_000)], "b": [np.ones(3)]}
        for leaving in (0, 4096, 400_000, 800_000):
            ballast = fill_disk(folder, leaving)
            with pytest.raises(OSError, match="No space left"):
                written(folder, large)
            assert sorted(folder.iterdir()) == sorted([ballast, before])
            assert image.read(before).keys() == some_arrays().keys()
            ballast.unlink()
        assert image.read(written(folder, large))["a"][-1] == 99_999


WRITER = """
import sys, numpy as np
from pathlib import Path
from milvine.store.builtin import image
def pieces():
    yield np.zeros(100_000)
    print("writing", flush=True)
    sys.stdin.read()
image.write(Path(sys.argv[1]), {"a": pieces()})
"""


def test_what_a_killed_writer_leaves_is_litter(tmp_path: Path) -> None:
    listed, unlisted = written(tmp_path), written(tmp_path, some_arrays(1))
    (tmp_path / "notes.txt").touch()
    assert litter(tmp_path, [listed.name, unlisted.name]) == []
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = set(tmp_path.iterdir()) - {listed, unlisted, tmp_path / "notes.txt"}
    assert len(left) == 1
    assert set(litter(tmp_path, [listed.name])) == left | {unlisted}
    assert litter(tmp_path / "not there", []) == []


def grown(sizes: Sequence[int]) -> tuple[list[int], int, int]:
    """Appends segments and merges as it is told: what they are in the end, the most at a time, and rows copied."""
    segments: list[int] = []
    most = copied = 0
    for size in sizes:
        segments.append(size)
        start = merge_from([(rows, rows) for rows in segments])
        if start < len(segments):
            copied += sum(segments[start:])
            segments[start:] = [sum(segments[start:])]
        most = max(most, len(segments))
    assert sum(segments) == sum(sizes)
    return segments, most, copied


@pytest.mark.parametrize("power", [1, 2, 3, 4, 5])
def test_equal_segments_are_copied_once_for_each_fourfold_growth(power: int) -> None:
    # By hand: before the last there are three of each size. It makes one of all, so a quarter of those rows are copied
    # once less than the others: a row once for the first growth and .75 times for each other, on the average.
    count = 4**power
    copied = int(count * 1000 * (1 + 0.75 * (power - 1)))
    assert grown([1000] * count) == ([1000 * count], 3 * power, copied)


def drawn(seed: int) -> list[int]:
    chosen = random.Random(seed)  # noqa: S311
    return [int(10 ** chosen.uniform(0, 5)) for _ in range(1000)]


@pytest.mark.parametrize(
    "sizes",
    [
        [1] * 3000,
        [1, 100_000] * 100,
        [600, 100_000] * 100,
        [100_000, 600] * 100,
        [int(600 * 1.2**step) for step in range(60)],
        [int(1_000_000 * 0.74**step) + 1 for step in range(60)],
        drawn(1),
        drawn(2),
    ],
    ids=["ones", "odd", "odd larger", "odd after", "rising", "falling", "drawn", "drawn otherwise"],
)
def test_segments_are_few_and_seldom_copied(sizes: list[int]) -> None:
    segments, most, copied = grown(sizes)
    total = sum(sizes)
    # As none holds a third of what follows, all from one on are at least 4/3 of all from the next on, down to 512 rows.
    assert most <= 1 + math.log(max(total / 512, 1), 4 / 3) + 1
    for at in range(len(segments) - 1):
        assert 3 * segments[at] > sum(segments[at + 1 :])
    # A row is copied within 512 rows each time, then once when its segment is the last, and then grows by 4/3 or more.
    assert copied <= total * (1 + math.log(max(total / 512, 1), 4 / 3)) + 512 * len(sizes)


def test_what_is_merged_soon() -> None:
    assert merge_from([(1000, 1000), (499, 499)], factor=1.5) == 2
    assert merge_from([(1000, 1000), (500, 500)], factor=1.5) == 0
    assert merge_from([(10_000, 10_000), (4000, 4000), (2000, 2000)], factor=1.5) == 0
    assert merge_from([(20_000, 20_000), (4000, 4000), (2000, 2000)], factor=1.5) == 1


def test_segments_of_deleted_rows_are_written_anew() -> None:
    assert merge_from([]) == 0
    assert merge_from([(1000, 1000)]) == 1
    assert merge_from([(1000, 750)]) == 1
    assert merge_from([(1000, 749)]) == 0
    assert merge_from([(1000, 0)]) == 0
    assert merge_from([(100_000, 100_000), (10_000, 7000), (2000, 2000)]) == 1
    assert merge_from([(100_000, 100_000), (10_000, 10_000), (2000, 1000)]) == 2
    assert merge_from([(100_000, 100_000), (10_000, 10_000), (2000, 2000)]) == 3
    assert merge_from([(0, 0), (10, 10)]) == 0


def test_small_segments_are_one() -> None:
    assert merge_from([(500, 500), (12, 12)]) == 0
    assert merge_from([(500, 500), (13, 13)]) == 2
    assert merge_from([(100_000, 100_000), (500, 500), (11, 11), (1, 1)]) == 1
