"""Small static embeddings in the folders that Model2Vec and Sentence Transformers read: for tests and the reference.

The numbers come from `RandomState`, whose streams NumPy has frozen, so nothing but the golden results is stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tiny_bert import LETTERS, tokenizer_json
from tiny_heads import write_json

TEXTS = ("", " ", "a", "z", "q a b b r", "a z b z z c", "abc de", "c d e f g h i j k l m", "[CLS] a [PAD]", "a é b" * 9)
"""The tokenizers know the letters a to v; the last text is longer than the models that have an end read."""

WORDS = 4 + 2 * len(LETTERS)

MODEL2VEC: dict[str, dict[str, Any]] = {
    "normalized": {"config": {"model_type": "model2vec", "normalize": True, "max_length": 6}},
    "plain": {"config": {"normalize": False, "seq_length": 1000000}, "dtype": np.float16},
    "endless": {"config": {"normalize": True, "max_length": None}},
    "quantized": {"config": {"normalize": True}, "dtype": np.int8, "rows": 9, "weights": True},
    "weighted": {"config": {"normalize": False}, "weights": True},
    "unigram": {"config": {"normalize": True, "max_length": 8}, "unigram": True},
}
SENTENCE_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "module": {"place": "0_StaticEmbedding", "modules": ("StaticEmbedding", "Normalize")},
    "module_alone": {"place": "", "modules": ("StaticEmbedding",), "truncated": True},
}


def _unigram() -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = [("<s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS), ("ab", -1.5)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return str(tokenizer.to_str())


def _tokenizer(model: dict[str, Any]) -> str:
    from tokenizers import Tokenizer

    if model.get("unigram"):
        return _unigram()
    tokenizer = Tokenizer.from_str(tokenizer_json())
    if not model.get("truncated"):
        tokenizer.no_truncation()
    return str(tokenizer.to_str())


def tensors(name: str) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of a model, under the names that its library gives them."""
    model = (MODEL2VEC | SENTENCE_TRANSFORMERS)[name]
    random = np.random.RandomState(len(name))
    words = 3 + len(LETTERS) + 1 if model.get("unigram") else WORDS
    table = random.standard_normal((model.get("rows", words), 7))
    dtype = model.get("dtype", np.float32)
    found = {
        "embeddings" if name in MODEL2VEC else "embedding.weight": (table * (50 if dtype == np.int8 else 1)).astype(
            dtype
        )
    }
    if "rows" in model:
        found["mapping"] = random.randint(0, model["rows"], words).astype(np.int64)
    if "weights" in model:
        found["weights"] = random.uniform(0.1, 2, words).astype(np.float32)
    return found


def write_model(folder: Path, name: str) -> Path:
    """One of the models, in a folder of its name; the path of that folder."""
    folder /= name
    model = (MODEL2VEC | SENTENCE_TRANSFORMERS)[name]
    at = folder / model.get("place", "")
    at.mkdir(parents=True)
    save_file(tensors(name), at / "model.safetensors")
    (at / "tokenizer.json").write_text(_tokenizer(model), encoding="utf-8")
    if name in MODEL2VEC:
        write_json(folder / "config.json", model["config"])
        return folder
    write_json(folder / "config_sentence_transformers.json", {"model_type": "SentenceTransformer", "prompts": {}})
    write_json(
        folder / "modules.json",
        [
            {
                "idx": number,
                "name": str(number),
                "path": model["place"] if kind == "StaticEmbedding" else f"{number}_{kind}",
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, kind in enumerate(model["modules"])
        ],
    )
    return folder
