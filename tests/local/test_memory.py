"""That memory does not grow with the number of texts. Each run is a process of its own, so that its peak is its own."""

from __future__ import annotations

import json
import sys

import pytest

from child_process import child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")

PROGRAM = """
import json, sys, random
from milvine import model
count, way = int(sys.argv[1]), sys.argv[2]
rng = random.Random(3)
words = "time person year way day thing man world life hand part child eye woman place".split()
def texts():
    for number in range(count):
        yield f"{number} " + " ".join(rng.choices(words, k=rng.choice([3] * 29 + [200])))
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
ef = model.DefaultEmbeddingFunction(show_progress=False)
ef.encode_documents(["warm"])
started = peak()
size = 0
if way == "iterate":
    for vector in ef.iter_documents(texts()):
        size += vector.nbytes
    held = peak() - started
else:
    vectors = ef.encode_documents(texts())
    size = sum(vector.nbytes for vector in vectors)
    held = peak() - started - size
print(json.dumps([size, held]))
"""


def measured(count: int, way: str, timeout: float) -> int:
    """Bytes held at the peak beyond the loaded model and, where they are kept, the vectors."""
    process = child(PROGRAM, str(count), way)
    out, error = process.communicate(timeout=timeout)
    assert process.returncode == 0, error
    size, held = json.loads(out)
    assert size == count * 384 * 4
    return int(held)


@pytest.mark.parametrize("way", ["iterate", "encode"])
def test_memory_beyond_the_vectors_is_bounded(way: str) -> None:
    assert measured(3_000, way, 240) < 400e6


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", ["iterate", "encode"])
def test_two_hundred_thousand_texts_take_less_than_a_gigabyte(way: str) -> None:
    held = measured(200_000, way, 3600)
    assert held < 1e9
    print(f"{way}: {held / 1e6:.0f} MB beyond the vectors")
