"""What the tests of Milvus Lite share; those of other stores name their own places."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The path of a Milvus Lite database that is not there yet."""
    return str(tmp_path / "kb.db")
