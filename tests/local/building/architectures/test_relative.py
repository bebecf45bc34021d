from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from milvine.local.building.architectures.relative import buckets_by_distance
from tiny_encoders import BUCKETS

GOLDEN = Path(__file__).parents[3] / "data" / "relative_golden.npz"
"""The buckets by transformers' T5; see tests/reference/make_encoders_golden.py."""


@pytest.mark.parametrize(("buckets", "farthest"), BUCKETS)
def test_buckets_are_the_references_up_to_the_farthest_and_beyond(buckets: int, farthest: int) -> None:
    found = buckets_by_distance(buckets, farthest)
    distances = np.arange(-2 * farthest, 2 * farthest + 1).clip(-farthest, farthest)
    np.testing.assert_array_equal(found[distances + farthest], np.load(GOLDEN)[f"{buckets}_{farthest}"])
