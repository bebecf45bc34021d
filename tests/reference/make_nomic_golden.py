"""Writes tests/data/nomic_golden.npz: the vectors of the model of tiny_nomic.py, by the recipe of its model card.

Made with torch 2.13.0 (CPU) and transformers 5.23.0. To make it again, in an environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0
    PYTHONPATH=tests python tests/reference/make_nomic_golden.py

The recipe (https://huggingface.co/nomic-ai/nomic-embed-text-v1.5): the task and a colon before the text, the mean of
the tokens' states, layer normalisation without weights, the first dimensions, length 1.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import NomicBertModel

from tiny_bert import tokenizer_json
from tiny_modern_encoders import NOMIC_BERT
from tiny_nomic import DIMENSIONS, TASKS, TEXTS, write_model

tokenizer = Tokenizer.from_str(tokenizer_json())
tokenizer.no_padding()
tokenizer.no_truncation()
golden = {}
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    config = NOMIC_BERT["transformers_5"]
    model = NomicBertModel.from_pretrained(write_model(Path(folder), config), attn_implementation="eager").eval()
    for task in TASKS:
        ids = [tokenizer.encode(f"{task}: {text}").ids for text in TEXTS]
        means = torch.stack([model(torch.tensor([each])).last_hidden_state[0].mean(0) for each in ids])
        normed = torch.nn.functional.layer_norm(means, normalized_shape=(means.shape[1],))
        for dimensions in DIMENSIONS:
            kept = torch.nn.functional.normalize(normed[:, :dimensions], p=2, dim=1)
            golden[f"{task}_{dimensions}"] = kept.numpy()
        golden[f"{task}_whole"] = torch.nn.functional.normalize(means, p=2, dim=1).numpy()
print({name: vectors[1, :2] for name, vectors in golden.items()})
np.savez_compressed(Path(__file__).parents[1] / "data" / "nomic_golden.npz", **golden)
