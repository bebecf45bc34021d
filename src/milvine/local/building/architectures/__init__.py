"""Architectures: each builds its graph from a checkpoint's configuration and weights, one file each."""

from milvine.local.building.architectures.base import Architecture, Attention
from milvine.local.building.architectures.bert import BERT, BertConfig, bert
from milvine.local.building.architectures.registry import ARCHITECTURES, find_architecture

__all__ = ["ARCHITECTURES", "BERT", "Architecture", "Attention", "BertConfig", "bert", "find_architecture"]
