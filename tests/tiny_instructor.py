"""A small Instructor in the layout of hkunlp/instructor-base, made anew from a seed: for tests and the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tiny_bert import LETTERS
from tiny_heads import write_json
from tiny_modern_encoders import HIDDEN, T5, VOCABULARY, t5_weights

DIM = 10
MAX_LENGTH = 16
INSTRUCTIONS = ("a b c: ", "  q u e r y  ", "b", "", "a b c d e f g h i j k l m n o p q r s t")
"""The last one alone is longer than the model reads; "b" and a text's "a" are one token where they meet."""
TEXTS = ("", " ", "a", "an a b", "b a n a n a s", "  q r s  ", "c d e f g h i j k l m n o p q r s")


def tokenizer_json() -> str:
    """A Unigram tokenizer in T5's manner; "ba" is a token of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    pieces += [*((f"▁{letter}", -3.5) for letter in LETTERS), (":", -3.0), ("ba", -1.0), ("▁ba", -1.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return str(tokenizer.to_str())


def dense_weight() -> np.ndarray[Any, Any]:
    """The matrix of the dense module, `(DIM, HIDDEN)`."""
    return np.random.RandomState(45).standard_normal((DIM, HIDDEN)).astype(np.float32)


def write_model(folder: Path, package: str = "sentence_transformers.models", prefix: str = "") -> Path:
    """The model, whose first two modules are of a package, their names after a prefix; the path of the folder."""
    config = T5["gated"]
    assert config["vocab_size"] == VOCABULARY
    write_json(folder / "config.json", config)
    save_file(t5_weights(config), folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_LENGTH, "do_lower_case": False})
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    activation = "torch.nn.modules.linear.Identity"
    dense = {"in_features": HIDDEN, "out_features": DIM, "bias": False, "activation_function": activation}
    write_json(folder / "2_Dense" / "config.json", dense)
    save_file({"linear.weight": dense_weight()}, folder / "2_Dense" / "model.safetensors")
    kinds = {"": f"{package}.{prefix}Transformer", "1_Pooling": f"{package}.{prefix}Pooling"}
    kinds |= {f"{at}_{kind}": f"sentence_transformers.models.{kind}" for at, kind in ((2, "Dense"), (3, "Normalize"))}
    entries = [{"idx": at, "name": str(at), "path": place, "type": kinds[place]} for at, place in enumerate(kinds)]
    write_json(folder / "modules.json", entries)
    return folder
