"""Writes tests/data/minilm_golden.npy: sentence-transformers' vectors of `varied_texts.TEXTS` by all-MiniLM-L6-v2.

Made with sentence-transformers 6.2.0, transformers 5.23.0, tokenizers 0.23.3 and torch 2.13.0 (CPU). To make it again,
in an environment of its own, with the model's whole repository at revision 1110a243fdf4706b3f48f1d95db1a4f5529b4d41
(its weights have the sha256 53aa5117...) in a folder:

    pip install torch==2.13.0
    pip install sentence-transformers==6.2.0 transformers==5.23.0
    PYTHONPATH=tests python tests/reference/make_minilm_golden.py FOLDER

Each text runs alone, so that no padding enters.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import sentence_transformers

from varied_texts import TEXTS

model = sentence_transformers.SentenceTransformer(sys.argv[1], device="cpu")
assert model.max_seq_length == 256
vectors = np.stack([model.encode([text])[0] for text in TEXTS]).astype(np.float32)
print("batched differs by", np.abs(model.encode(TEXTS) - vectors).max())
np.save(Path(__file__).parents[1] / "data" / "minilm_golden.npy", vectors)
print(vectors.shape, "sentence-transformers", sentence_transformers.__version__)
