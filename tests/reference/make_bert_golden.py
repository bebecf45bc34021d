"""Writes tests/data/bert_golden.npz: the last hidden states of the tiny BERT, as transformers gives them.

Made with torch 2.13.0 (CPU) and transformers 5.23.0. To make it again, in an environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0
    PYTHONPATH=tests python tests/reference/make_bert_golden.py

For each activation, texts run one by one; the padded batch must agree with that to 1e-5, or nothing is written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers

from tiny_bert import CONFIG, token_ids, weights

DATA = Path(__file__).parents[1] / "data"


def hidden_states(activation: str) -> np.ndarray:
    model = transformers.BertModel(
        transformers.BertConfig(**CONFIG | {"hidden_act": activation}), add_pooling_layer=False
    ).eval()
    tensors = {name: torch.from_numpy(tensor) for name, tensor in weights().items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected, unexpected
    assert all("position_ids" in name for name in missing), missing
    texts = token_ids()
    longest = max(map(len, texts))
    padded = torch.zeros((len(texts), longest), dtype=torch.long)
    mask = torch.zeros_like(padded)
    alone = np.zeros((len(texts), longest, CONFIG["hidden_size"]), dtype=np.float32)
    with torch.no_grad():
        for row, ids in enumerate(texts):
            padded[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
            alone[row, : len(ids)] = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        together = model(padded, attention_mask=mask).last_hidden_state.numpy()
    assert np.abs(np.where(mask[..., None], together - alone, 0)).max() < 1e-5
    return alone


states = {activation: hidden_states(activation) for activation in ("gelu", "gelu_new", "relu")}
for one, other in (("gelu", "gelu_new"), ("gelu", "relu")):
    print(one, other, "differ by", np.abs(states[one] - states[other]).max())
np.savez_compressed(DATA / "bert_golden.npz", **states)
print("torch", torch.__version__, "transformers", transformers.__version__)
