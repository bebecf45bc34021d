"""A small BERT of odd sizes, made anew from a seed wherever it is needed: for the tests and for the reference.

The numbers come from `RandomState`, whose streams NumPy has frozen, so nothing but the golden results is stored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 53,
    "hidden_size": 21,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
LENGTHS = (1, 7, 19, 2, 12)
"""Tokens of the first token lists that the reference was run on, the longest as long as there are positions."""

TEXTS = ("", "q a b b r", "c d e f g h i j k l m n o p q r s")
"""The texts whose tokens are the other lists."""

LETTERS = "abcdefghijklmnopqrstuv"


def weights() -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of `BertModel`, by its names, so large that every part of the model leaves its mark on the result."""
    random = np.random.RandomState(20240607)
    hidden, wide = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    tensors: dict[str, np.ndarray[Any, Any]] = {}

    def add(name: str, *shape: int, scale: float = 0.3, around: float = 0.0) -> None:
        tensors[name] = (around + scale * random.standard_normal(shape)).astype(np.float32)

    def add_norm(name: str) -> None:
        add(f"{name}.LayerNorm.weight", hidden, around=1.0)
        add(f"{name}.LayerNorm.bias", hidden)

    def add_linear(name: str, outputs: int, inputs: int) -> None:
        add(f"{name}.weight", outputs, inputs, scale=0.4)
        add(f"{name}.bias", outputs)

    add("embeddings.word_embeddings.weight", CONFIG["vocab_size"], hidden)
    add("embeddings.position_embeddings.weight", CONFIG["max_position_embeddings"], hidden)
    add("embeddings.token_type_embeddings.weight", CONFIG["type_vocab_size"], hidden)
    add_norm("embeddings")
    for number in range(CONFIG["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for name in ("query", "key", "value"):
            add_linear(f"{layer}.attention.self.{name}", hidden, hidden)
        add_linear(f"{layer}.attention.output.dense", hidden, hidden)
        add_norm(f"{layer}.attention.output")
        add_linear(f"{layer}.intermediate.dense", wide, hidden)
        add_linear(f"{layer}.output.dense", hidden, wide)
        add_norm(f"{layer}.output")
    return tensors


def token_ids() -> list[list[int]]:
    """What the reference was run on: lists of any tokens, then the texts as `tokenizer_json` has them."""
    random = np.random.RandomState(7)
    lists = [random.randint(0, CONFIG["vocab_size"], length).tolist() for length in LENGTHS]
    return lists + [[2, *(4 + LETTERS.index(letter) for letter in text.split()), 3] for text in TEXTS]


def tokenizer_json() -> str:
    """A WordPiece tokenizer in BERT's manner that knows single letters, as words and as parts of words.

    It carries fixed padding and truncation, as published tokenizers do.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(6)
    return str(tokenizer.to_str())


def files(folder: Path, **changes: Any) -> dict[str, bytes]:
    """A model's files by name, for a catalogue row: weights first. `changes` go to the configuration."""
    save_file(weights(), folder / "tiny.safetensors")
    return {
        "model.safetensors": (folder / "tiny.safetensors").read_bytes(),
        "config.json": json.dumps(CONFIG | changes).encode(),
        "tokenizer.json": tokenizer_json().encode(),
    }
