"""Writes tests/data/pymilvus_onnx_golden.npy: the vectors of tests/data/onnx/states.onnx by pymilvus.model itself.

Made with pymilvus.model 0.3.4, transformers 5.23.0 and onnxruntime 1.32.0. To make it again, in an environment of its
own:

    pip install torch==2.13.0
    pip install pymilvus-model==0.3.4 transformers==5.23.0 onnxruntime==1.32.0 onnx
    PYTHONPATH=tests python tests/reference/make_pymilvus_onnx_golden.py

Its OnnxEmbeddingFunction takes ids of the hub alone, so the download is replaced by the path of the file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import huggingface_hub
import numpy as np
from pymilvus.model.dense.onnx import OnnxEmbeddingFunction

from tiny_heads import TOKENIZER
from tiny_onnx import TEXTS, write_model

with tempfile.TemporaryDirectory() as folder:
    path = write_model(Path(folder), "states", tokenizer_config={**TOKENIZER, "model_max_length": 40})
    huggingface_hub.hf_hub_download = lambda repo_id, filename: str(Path(repo_id) / filename)
    function = OnnxEmbeddingFunction(str(path), str(path))
    vectors = np.stack(function.encode_documents(list(TEXTS))).astype(np.float32)
    print(function.dim, vectors.shape, vectors[:3, :4])
np.save(Path(__file__).parents[1] / "data" / "pymilvus_onnx_golden.npy", vectors)
