"""Architectures: each builds its graph from a checkpoint's configuration and weights, one file each."""

from milvine.local.architectures.bert import BertConfig, bert

__all__ = ["BertConfig", "bert"]
