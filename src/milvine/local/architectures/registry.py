"""Which architectures there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milvine.errors import ModelFileError
from milvine.local.architectures.base import Architecture
from milvine.local.architectures.bert import BERT

ARCHITECTURES: dict[str, Architecture] = {
    model_type: architecture for architecture in (BERT,) for model_type in architecture.model_types
}
"""The `model_type` of a `config.json` to its architecture."""


def find_architecture(config: Mapping[str, Any], source: str) -> Architecture:
    """The architecture that a `config.json` means; `source` is its path.

    Raises:
        ModelFileError: It names none that is known.
    """
    model_type = config.get("model_type")
    if model_type not in ARCHITECTURES:
        raise ModelFileError(
            f"{source}: the architecture {model_type!r} is not known here; known are {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[str(model_type)]
