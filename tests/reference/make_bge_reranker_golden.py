"""Writes tests/data/bge_reranker_golden.npz: scores of a small reranker of BGE's layout, by FlagEmbedding.

Made with torch 2.13.0 (CPU), transformers 4.57.3 and FlagEmbedding 1.4.2. To make it again, in an environment of its
own:

    pip install torch==2.13.0
    pip install transformers==4.57.3 FlagEmbedding==1.4.2
    PYTHONPATH=tests python tests/reference/make_bge_reranker_golden.py

With transformers 5, FlagEmbedding makes texts of tokens and tokens of these texts, which does not always give them
back; with 4 it joins the tokens themselves, as the class named below, which BGE's rerankers name too, tells it to.
Pairs run one by one, and the padded batch must agree with that to 1e-5, or nothing is written.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from FlagEmbedding.inference.reranker.encoder_only.base import BaseReranker

from tiny_token_models import DATA, QUERIES, RERANKER_LENGTHS, TEXTS, read_json, write_bge_reranker, write_json

golden = {}
with tempfile.TemporaryDirectory() as temporary:
    folder = write_bge_reranker(Path(temporary) / "reranker")
    path, settings = str(folder), folder / "tokenizer_config.json"
    write_json(settings, read_json(settings) | {"tokenizer_class": "XLMRobertaTokenizerFast"})
    for label, (query_length, length) in RERANKER_LENGTHS.items():
        model = BaseReranker(path, devices="cpu", query_max_length=query_length, max_length=length)
        for kind, normalize in (("scores", True), ("logits", False)):
            for number, query in enumerate(QUERIES):
                pairs = [(query, text) for text in TEXTS]
                alone = [model.compute_score_single_gpu([pair], normalize=normalize)[0] for pair in pairs]
                together = model.compute_score_single_gpu(pairs, normalize=normalize)
                assert np.abs(np.subtract(alone, together)).max() < 1e-5
                golden[f"{label}_{kind}_{number}"] = np.array(alone, dtype=np.float32)
        print(label, golden[f"{label}_logits_0"])
np.savez_compressed(DATA / "bge_reranker_golden.npz", **golden)
print("torch", torch.__version__, "transformers", transformers.__version__)
