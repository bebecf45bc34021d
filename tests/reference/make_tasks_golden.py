"""Writes tests/data/tasks_golden.npz: terms and scores of the models of tiny_tasks.py, by sentence-transformers.

Made with torch 2.13.0 (CPU), transformers 5.23.0 and sentence-transformers 6.2.0. To make it again, in an environment
of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0 sentence-transformers==6.2.0
    PYTHONPATH=tests python tests/reference/make_tasks_golden.py

Each model is read from the very folder that the tests read; its texts run one by one, and the padded batch must agree
with that to 1e-5, or nothing is written.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import sentence_transformers
import torch
import transformers
from sentence_transformers import CrossEncoder, SparseEncoder

from tiny_heads import TEXTS
from tiny_tasks import CLASSIFIERS, DOCUMENTS, QUERY, RERANKERS, SPARSE, write_model

DATA = Path(__file__).parents[1] / "data"


def both_ways(run, texts: list, name: str) -> np.ndarray:
    alone = np.stack([run([text])[0] for text in texts])
    difference = np.abs(alone - run(texts)).max()
    assert difference < 1e-5, (name, difference)
    return alone


def vectors(model: SparseEncoder, side: str, name: str) -> np.ndarray:
    def run(texts: list[str]) -> np.ndarray:
        return getattr(model, f"encode_{side}")(texts, convert_to_sparse_tensor=False).numpy()

    return both_ways(run, list(TEXTS), name)


golden = {}
with tempfile.TemporaryDirectory() as folder:
    for name, row in SPARSE.items():
        path = Path(folder) / "sparse" / name
        model = SparseEncoder(str(write_model(path, row)), device="cpu")
        for side in ("query", "document"):
            golden[f"{name}_{side}"] = vectors(model, side, name)
        print(name, model[1], "reads", model.max_seq_length, "share of zeros", (golden[f"{name}_query"] == 0).mean())
    for name, row in RERANKERS.items():
        path = Path(folder) / "rerankers" / name
        model = CrossEncoder(str(write_model(path, row)), device="cpu")
        pairs = [(QUERY, document) for document in DOCUMENTS]
        golden[f"{name}_scores"] = both_ways(model.predict, pairs, name)
        golden[f"{name}_logits"] = both_ways(
            lambda part, model=model: model.predict(part, activation_fn=torch.nn.Identity()), pairs, name
        )
        print(name, model.activation_fn, "reads", model.max_seq_length, golden[f"{name}_logits"])
    for name, row in CLASSIFIERS.items():
        path = Path(folder) / "classifiers" / name
        model = CrossEncoder(str(write_model(path, row)), device="cpu")
        pairs = [(QUERY, document) for document in DOCUMENTS]
        golden[f"{name}_by_label"] = both_ways(model.predict, pairs, name)
        golden[f"{name}_shares"] = both_ways(
            lambda part, model=model: model.predict(part, apply_softmax=True), pairs, name
        )
        print(name, model.activation_fn, golden[f"{name}_by_label"])
np.savez_compressed(DATA / "tasks_golden.npz", **golden)
print("torch", torch.__version__, "transformers", transformers.__version__)
print("sentence-transformers", sentence_transformers.__version__)
