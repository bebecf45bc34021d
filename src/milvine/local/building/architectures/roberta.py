"""RoBERTa and XLM-RoBERTa, as `RobertaModel` and `XLMRobertaModel` of Hugging Face transformers run them.

They are BERT, but for the positions (Liu et al. 2019, https://arxiv.org/abs/1907.11692; Conneau et al. 2019,
https://arxiv.org/abs/1911.02116).
"""

from __future__ import annotations

from dataclasses import dataclass

from milvine.local.building.architectures.base import Architecture
from milvine.local.building.architectures.bert import BertConfig, bert


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(BertConfig):
    """The numbers of a `config.json` that shape the graph, under its own names."""

    pad_token_id: int = 1

    @property
    def first_position(self) -> int:
        """Positions are counted on from the padding token's id, which is the position of padding."""
        return self.pad_token_id + 1


ROBERTA = Architecture(("roberta", "xlm-roberta", "camembert"), RobertaConfig.read, bert, prefixes=("roberta.",))
