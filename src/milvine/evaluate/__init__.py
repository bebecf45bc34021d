"""Measuring retrieval: test collections in the BEIR layout, and nDCG."""

from milvine.evaluate.beir import TestCollection, load_beir
from milvine.evaluate.metrics import ndcg

__all__ = ["TestCollection", "load_beir", "ndcg"]
