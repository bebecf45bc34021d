"""Writes tests/data/{roberta,distilbert,mpnet,albert,relative}_golden.npz, from the models of tiny_encoders.py.

Made with torch 2.13.0 (CPU) and transformers 5.23.0. To make them again, in an environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0
    PYTHONPATH=tests python tests/reference/make_encoders_golden.py

For each model, texts run one by one; the padded batch must agree with that to 1e-5, or nothing is written.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.t5.modeling_t5 import T5Attention

from tiny_encoders import BUCKETS, MODELS, token_ids, weights

DATA = Path(__file__).parents[1] / "data"


def hidden_states(config: dict[str, Any]) -> np.ndarray:
    """The states of all texts, one after the other: `(tokens, hidden)`."""
    settings = transformers.AutoConfig.for_model(**config)
    model = transformers.AutoModel.from_config(settings).eval()
    tensors = {name: torch.from_numpy(tensor) for name, tensor in weights(config).items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected, unexpected
    assert all(name.startswith("pooler.") for name in missing), missing
    texts = token_ids(config)
    padded = torch.full((len(texts), max(map(len, texts))), config.get("pad_token_id", 1), dtype=torch.long)
    mask = torch.zeros_like(padded)
    with torch.no_grad():
        alone = [model(torch.tensor([ids])).last_hidden_state[0].numpy() for ids in texts]
        for row, ids in enumerate(texts):
            padded[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        together = model(padded, attention_mask=mask).last_hidden_state.numpy()
    for row, states in enumerate(alone):
        assert np.abs(together[row, : len(states)] - states).max() < 1e-5
    return np.concatenate(alone)


def buckets(number: int, farthest: int) -> np.ndarray:
    """The buckets of the distances from `-2 * farthest` to `2 * farthest`."""
    distances = torch.arange(-2 * farthest, 2 * farthest + 1)
    found = T5Attention._relative_position_bucket(distances, True, number, farthest)
    return found.numpy().astype(np.uint8)


for architecture, models in MODELS.items():
    golden = {name: hidden_states(config) for name, config in models.items()}
    for one, other in combinations(golden, 2):
        if golden[one].shape == golden[other].shape:
            print(architecture, one, other, "differ by", np.abs(golden[one] - golden[other]).max())
    np.savez_compressed(DATA / f"{architecture}_golden.npz", **golden)
np.savez_compressed(DATA / "relative_golden.npz", **{f"{a}_{b}": buckets(a, b) for a, b in BUCKETS})
print("torch", torch.__version__, "transformers", transformers.__version__)
