"""Which architectures there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milvine.errors import ModelFileError
from milvine.local.building.architectures.albert import ALBERT
from milvine.local.building.architectures.base import TORCH, Architecture
from milvine.local.building.architectures.bert import BERT
from milvine.local.building.architectures.distilbert import DISTILBERT
from milvine.local.building.architectures.gte_new import GTE_NEW
from milvine.local.building.architectures.modernbert import MODERNBERT
from milvine.local.building.architectures.mpnet import MPNET
from milvine.local.building.architectures.nomic_bert import NOMIC_BERT
from milvine.local.building.architectures.roberta import ROBERTA
from milvine.local.building.architectures.t5 import T5

ARCHITECTURES: dict[str, Architecture] = {
    model_type: architecture
    for architecture in (BERT, ROBERTA, DISTILBERT, MPNET, ALBERT, MODERNBERT, NOMIC_BERT, GTE_NEW, T5)
    for model_type in architecture.model_types
}
"""The `model_type` of a `config.json` to its architecture."""


def find_architecture(config: Mapping[str, Any], source: str) -> Architecture:
    """The architecture that a `config.json` means; `source` is its path.

    Raises:
        ModelFileError: It names none that is known.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelFileError(f"{source}: the architecture {model_type!r} is not known here; known are {known}. {TORCH}")
    return ARCHITECTURES[model_type]
