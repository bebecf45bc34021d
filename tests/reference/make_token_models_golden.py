"""Writes tests/data/token_models_golden.npz and tests/data/bge_m3_*.pt: hybrid models, and late interaction.

Made with torch 2.13.0 (CPU), transformers 5.23.0, sentence-transformers 6.2.0 and FlagEmbedding 1.4.2. To make them
again, in an environment of its own:

    pip install torch==2.13.0
    pip install transformers==5.23.0 sentence-transformers==6.2.0 FlagEmbedding==1.4.2
    PYTHONPATH=tests python tests/reference/make_token_models_golden.py

Each model is read from the very folder that the tests read; its texts run one by one, and the padded batch must agree
with that to 1e-5, or nothing is written. The references are FlagEmbedding's `M3Embedder`, sentence-transformers'
`MultiVectorEncoder` for the layout that it writes itself, and for mGTE, whose own code transformers 5 does not run,
`GteForTokenClassification` of transformers with the rest written here from a reading of `scripts/gte_embedding.py` of
the model's repository. Where sentence-transformers also reads the other layouts, it is compared with PyLate, and what
differs is printed: it does not take punctuation that a tokenizer lacks for its unknown token.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from FlagEmbedding import BGEM3FlagModel
from safetensors.numpy import load_file, save_file
from sentence_transformers import MultiVectorEncoder

import tiny_token_models as tiny
from tiny_token_models import DATA, LATE, M3_LAYERS, NATIVE, QUERIES, TEXTS

golden: dict[str, object] = {}


def keep(name: str, arrays: list[np.ndarray]) -> None:
    golden[name] = np.concatenate(arrays)
    golden[f"{name}_lengths"] = [len(array) for array in arrays]


def agree(alone: list, together: list, name: str) -> None:
    for one, other in zip(alone, together, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.shape == other.shape, (name, one.shape, other.shape)
        assert np.abs(one - other).max(initial=0) < 1e-5, (name, np.abs(one - other).max())


def as_row(weights: dict[str, float], width: int) -> np.ndarray:
    row = np.zeros(width, dtype=np.float32)
    for token, weight in weights.items():
        row[int(token)] = weight
    return row


def bge_m3(folder: Path) -> None:
    for number, (name, shapes) in enumerate(M3_LAYERS.items()):
        tensors = {part: torch.from_numpy(tensor).half() for part, tensor in tiny.seeded(shapes, 80 + number).items()}
        torch.save(tensors, DATA / f"bge_m3_{name}.pt")
    path = str(tiny.write_bge_m3(folder))
    for label, options in (("bge_m3", {}), ("bge_m3_raw", {"normalize_embeddings": False})):
        model = BGEM3FlagModel(path, devices="cpu", use_fp16=False, passage_max_length=19, **options)
        wanted = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True, "max_length": 19}
        alone = [model.encode([text], **wanted) for text in TEXTS]
        together = model.encode(list(TEXTS), **wanted)
        width = len(model.tokenizer)
        dense = [one["dense_vecs"][0] for one in alone]
        sparse = [as_row(one["lexical_weights"][0], width) for one in alone]
        vectors = [one["colbert_vecs"][0] for one in alone]
        agree(dense, list(together["dense_vecs"]), "dense")
        agree(sparse, [as_row(weights, width) for weights in together["lexical_weights"]], "sparse")
        agree(vectors, together["colbert_vecs"], "colbert_vecs")
        golden[f"{label}_dense"], golden[f"{label}_sparse"] = np.stack(dense), np.stack(sparse)
        keep(f"{label}_colbert_vecs", vectors)
        print(label, width, "tokens known;", [int((row > 0).sum()) for row in sparse], [len(each) for each in vectors])


def gte_config(config: dict) -> dict:
    """What transformers' GteModel needs to be told where new-impl is told `config`; see
    make_modern_encoders_golden.py, which checks that both turn by the same angles."""
    head, factor = config["hidden_size"] // config["num_attention_heads"], config["rope_scaling"]["factor"]
    linear = {"rope_type": "linear", "rope_theta": config["rope_theta"] * factor, "factor": factor ** (2 / head)}
    rest = {name: value for name, value in config.items() if name not in ("rope_scaling", "rope_theta")}
    return rest | {"model_type": "gte", "architectures": ["GteForTokenClassification"], "rope_parameters": linear}


def mgte(folder: Path) -> None:
    path = tiny.write_mgte(folder)
    theirs = folder.with_name("mgte_of_transformers")
    theirs.mkdir()
    (theirs / "config.json").write_text(json.dumps(gte_config(tiny.MGTE_CONFIG)))
    tensors = {name.replace("new.", "gte."): each for name, each in load_file(path / "model.safetensors").items()}
    save_file(tensors, theirs / "model.safetensors", metadata={"format": "pt"})
    kind = transformers.GteForTokenClassification
    model, report = kind.from_pretrained(theirs, output_loading_info=True, attn_implementation="eager")
    assert not {name: found for name, found in report.items() if found}, report
    model.eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    unused = {tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}

    def encode(texts: list[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        with torch.no_grad():
            given = tokenizer(texts, padding=True, truncation=True, max_length=19, return_tensors="pt")
            found = model(**given, output_hidden_states=True)
        weights = torch.relu(found.logits).squeeze(-1).numpy()
        rows = []
        for ids, of_text in zip(given["input_ids"].tolist(), weights, strict=True):
            row = np.zeros(len(tokenizer), dtype=np.float32)
            for number, weight in zip(ids, of_text, strict=True):
                if number not in unused:
                    row[number] = max(row[number], weight)
            rows.append(row)
        return list(found.hidden_states[-1][:, 0].numpy()), rows

    alone = [encode([text]) for text in TEXTS]
    together = encode(list(TEXTS))
    for at, name in enumerate(("dense", "sparse")):
        agree([one[at][0] for one in alone], together[at], name)
        golden[f"mgte_{name}"] = np.stack([one[at][0] for one in alone])
    print("mgte", [int((row > 0).sum()) for row in golden["mgte_sparse"]])


def late(folder: Path) -> None:
    pylate = np.load(DATA / "late_interaction_golden.npz")
    for name, write in LATE.items():
        model = MultiVectorEncoder(str(write(folder / name, name)), device="cpu")
        model.eval()
        for side, texts in (("query", list(QUERIES)), ("document", list(TEXTS))):
            run = getattr(model, f"encode_{side}")
            alone = [run([text], convert_to_numpy=True)[0] for text in texts]
            agree(alone, run(texts, convert_to_numpy=True), name)
            if name in NATIVE:
                keep(f"{name}_{side}", alone)
                print(name, side, golden[f"{name}_{side}_lengths"])
                continue
            theirs = tiny.ragged(pylate, f"{name}_{side}")
            pairs = zip(alone, theirs, strict=True)
            same = [one.shape == other.shape and np.abs(one - other).max() < 1e-5 for one, other in pairs]
            print(name, side, "as PyLate has it:", same)


with tempfile.TemporaryDirectory() as temporary:
    bge_m3(Path(temporary) / "bge_m3")
    mgte(Path(temporary) / "mgte")
    late(Path(temporary) / "late")
np.savez_compressed(DATA / "token_models_golden.npz", **golden)
print("torch", torch.__version__, "transformers", transformers.__version__)
