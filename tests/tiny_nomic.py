"""A small Nomic embedding model in the layout of nomic-ai's, made anew from a seed: for the tests and the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from tiny_bert import tokenizer_json
from tiny_heads import write_json
from tiny_modern_encoders import HIDDEN, NOMIC_BERT, nomic_bert_weights

TEXTS = ("", "a", "q a b b r", "c d e f g h i j k l m", "b a n a n a s")
TASKS = ("search_document", "search_query", "classification", "clustering")
DIMENSIONS = (HIDDEN, 16, 5)


def write_model(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """The model, with another `config.json` if that is wanted; the path of its folder."""
    write_json(folder / "config.json", NOMIC_BERT["own"] if config is None else config)
    save_file(nomic_bert_weights(NOMIC_BERT["own"]), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    write_json(
        folder / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}
    )
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    entries = [{"path": place, "type": f"sentence_transformers.models.{kind}"} for place, kind in kinds.items()]
    write_json(folder / "modules.json", entries)
    return folder
