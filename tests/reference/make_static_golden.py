"""Writes tests/data/static_golden.npz: the vectors of the models of tiny_static.py, and of potion-base-8M.

Made with model2vec 0.10.0, and with torch 2.13.0 (CPU) and sentence-transformers 6.2.0 for the two models that
Sentence Transformers publishes. To make it again, in an environment of its own:

    pip install torch==2.13.0
    pip install model2vec==0.10.0 sentence-transformers==6.2.0
    PYTHONPATH=tests python tests/reference/make_static_golden.py FOLDER_OF_POTION_BASE_8M
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer

from tiny_static import MODEL2VEC, SENTENCE_TRANSFORMERS, TEXTS, write_model
from varied_texts import TEXTS as VARIED

DATA = Path(__file__).parents[1] / "data"

golden = {"potion": StaticModel.from_pretrained(sys.argv[1]).encode(VARIED)}
with tempfile.TemporaryDirectory() as folder:
    for name in MODEL2VEC:
        golden[name] = StaticModel.from_pretrained(write_model(Path(folder), name)).encode(list(TEXTS))
    for name in SENTENCE_TRANSFORMERS:
        golden[name] = SentenceTransformer(str(write_model(Path(folder), name)), device="cpu").encode(list(TEXTS))
for name, vectors in golden.items():
    print(name, vectors.dtype, vectors.shape, np.linalg.norm(vectors.astype(np.float32), axis=1).round(3)[:12])
np.savez_compressed(DATA / "static_golden.npz", **golden)
