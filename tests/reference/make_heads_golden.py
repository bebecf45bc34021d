"""Writes tests/data/heads_golden.npz, torch_saved.bin and torch_saved.npz, and dense.bin: see tiny_heads.py.

Made with torch 2.13.0 (CPU), transformers 5.23.0 and sentence-transformers 6.2.0. To make them again, in an environment
of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0 sentence-transformers==6.2.0
    PYTHONPATH=tests python tests/reference/make_heads_golden.py

Each model is read by sentence-transformers from the very folder that the tests read; its texts run one by one, and the
padded batch must agree with that to 1e-5, or nothing is written.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer

from tiny_heads import CHAIN, MODELS, TEXTS, head_weights, write_model

DATA = Path(__file__).parents[1] / "data"


def by_one_and_together(encode, name: str) -> np.ndarray:
    alone = np.stack([encode([text])[0] for text in TEXTS])
    together = encode(list(TEXTS))
    assert np.abs(alone - together).max() < 1e-5, name
    return alone


def dense_golden() -> dict[str, np.ndarray]:
    golden = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            model = SentenceTransformer(str(write_model(Path(folder), name)), device="cpu")
            print(name, "reads", model.max_seq_length, "tokens; prompts", model.prompts)
            if name == "default_prompt":  # encode_query of version 6 knows no default; encode is what there was before
                golden[f"{name}_query"] = golden[f"{name}_document"] = by_one_and_together(model.encode, name)
                continue
            golden[f"{name}_query"] = by_one_and_together(model.encode_query, name)
            golden[f"{name}_document"] = by_one_and_together(model.encode_document, name)
    return golden


def torch_files() -> None:
    """What PyTorch saves: tensors of each type, views with strides, and two that share their numbers."""
    torch.manual_seed(0)
    shared = torch.randn(6, 5)
    state = {
        "single": torch.randn(3, 4),
        "half": torch.randn(4).half(),
        "bfloat16": torch.randn(2, 3).bfloat16(),
        "double": torch.randn(2).double(),
        "shared": shared,
        "transposed": shared.t(),
        "slice": shared[1:4, ::2],
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "position_ids": torch.arange(5).expand(1, -1),
        "flags": torch.tensor([True, False]),
    }
    torch.save(state, DATA / "torch_saved.bin")
    np.savez_compressed(
        DATA / "torch_saved.npz", **{name: tensor.detach().to(torch.float64).numpy() for name, tensor in state.items()}
    )
    linear = torch.nn.Linear(CHAIN[1][1]["in_features"], CHAIN[1][1]["out_features"])
    model = torch.nn.Sequential()
    model.add_module("linear", linear)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in head_weights(2, CHAIN[1][1]).items()})
    torch.save(model.state_dict(), DATA / "dense.bin")


golden = dense_golden()
np.savez_compressed(DATA / "heads_golden.npz", **golden)
torch_files()
print("torch", torch.__version__, "transformers", transformers.__version__)
print("sentence-transformers", sentence_transformers.__version__)
