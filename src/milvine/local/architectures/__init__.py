"""Architectures: each builds its graph from a checkpoint's configuration and weights, one file each."""

from milvine.local.architectures.base import Architecture, Attention
from milvine.local.architectures.bert import BERT, BertConfig, bert
from milvine.local.architectures.registry import ARCHITECTURES, find_architecture

__all__ = ["ARCHITECTURES", "BERT", "Architecture", "Attention", "BertConfig", "bert", "find_architecture"]
