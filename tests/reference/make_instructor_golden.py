"""Writes tests/data/instructor_golden.npz: the vectors of the model of tiny_instructor.py, by transformers' T5.

Made with torch 2.13.0 (CPU) and transformers 5.23.0. To make it again, in an environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0
    PYTHONPATH=tests python tests/reference/make_instructor_golden.py

The package InstructorEmbedding runs with no release of transformers that runs here, so its rules are written out again
(https://github.com/xlang-ai/instructor-embedding, InstructorEmbedding/instructor.py): instruction and text lose the
white space around them and are joined; as many tokens as the instruction has alone, but for the one that ends it, are
left out of the mean; a dense layer and normalisation follow.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import T5EncoderModel

from tiny_instructor import INSTRUCTIONS, MAX_LENGTH, TEXTS, dense_weight, tokenizer_json, write_model

tokenizer = Tokenizer.from_str(tokenizer_json())
tokenizer.enable_truncation(MAX_LENGTH)
dense = torch.from_numpy(dense_weight())


def vector(model: T5EncoderModel, instruction: str, text: str) -> np.ndarray:
    ids = tokenizer.encode(instruction.strip() + text.strip()).ids
    left_out = len(tokenizer.encode(instruction.strip()).ids) - 1
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    kept = torch.ones(len(ids))
    kept[:left_out] = 0
    mean = (states * kept[:, None]).sum(0) / kept.sum().clamp(min=1e-9)
    return torch.nn.functional.normalize(dense @ mean, dim=0).numpy()


with tempfile.TemporaryDirectory() as folder:
    model = T5EncoderModel.from_pretrained(write_model(Path(folder))).eval()
golden = np.stack([[vector(model, instruction, text) for text in TEXTS] for instruction in INSTRUCTIONS])
print(golden.shape, golden[0, :3, :4], np.abs(golden[:, :1] - golden).max(axis=(1, 2)))
np.savez_compressed(Path(__file__).parents[1] / "data" / "instructor_golden.npz", vectors=golden)
