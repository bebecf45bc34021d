"""Writes tests/data/late_interaction_golden.npz: token vectors of Stanford's and PyLate's models, by PyLate.

Made with torch 2.13.0 (CPU), transformers 5.3.0, sentence-transformers 5.3.0 and PyLate 1.6.0. To make it again, in an
environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.3.0 sentence-transformers==5.3.0 datasets accelerate pandas ujson
    pip install --no-deps pylate==1.6.0
    PYTHONPATH=tests python tests/reference/make_late_interaction_golden.py

Each model is read from the very folder that the tests read; its texts run one by one, and the padded batch must agree
with that to 1e-5, or nothing is written.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from pylate import __version__, models, scores

from tiny_token_models import LATE, PYLATE, QUERIES, STANFORD, TEXTS

DATA = Path(__file__).parents[1] / "data"

golden = {}
with tempfile.TemporaryDirectory() as folder:
    for name in (*STANFORD, *PYLATE):
        path = LATE[name](Path(folder) / name, name)
        model = models.ColBERT(str(path), device="cpu")
        found = {}
        for side, texts in (("query", list(QUERIES)), ("document", list(TEXTS))):
            is_query = side == "query"
            alone = [model.encode([text], is_query=is_query)[0] for text in texts]
            together = model.encode(texts, is_query=is_query)
            for one, other in zip(alone, together, strict=True):
                assert one.shape == other.shape, (name, one.shape, other.shape)
                assert np.abs(one - other).max(initial=0) < 1e-5, (name, side, np.abs(one - other).max())
            found[side] = alone
            golden[f"{name}_{side}"] = np.concatenate(alone)
            golden[f"{name}_{side}_lengths"] = [len(vectors) for vectors in alone]
            print(name, side, golden[f"{name}_{side}_lengths"])
        golden[f"{name}_scores"] = np.array(
            [
                [
                    float(scores.colbert_scores(torch.from_numpy(query)[None], torch.from_numpy(document)[None]))
                    for document in found["document"]
                ]
                for query in found["query"]
            ],
            dtype=np.float32,
        )
np.savez_compressed(DATA / "late_interaction_golden.npz", **golden)
print("torch", torch.__version__, "transformers", transformers.__version__, "pylate", __version__)
