"""Small ready ONNX files: tests/reference/make_onnx_golden.py exports them and records what their models give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tiny_bert import tokenizer_json

DATA = Path(__file__).parent / "data" / "onnx"

SIZES: dict[str, Any] = {
    "vocab_size": 53,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "states": SIZES | {"model_type": "bert"},
    "vectors": SIZES | {"model_type": "bert"},
    "logits": SIZES | {"model_type": "bert", "id2label": {"0": "LABEL_0"}},
    "terms": SIZES | {"model_type": "bert"},
    "positions": SIZES | {"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 42},
    "half": SIZES | {"model_type": "bert"},
}
"""Of each file, the `config.json` of the model that it was exported from."""

TEXTS = ("", "a", "q a b b r", "c d e f g h i j k l m n o p q r s", "b a n a n a s", "t u v q", "a b" * 8)
QUERY = "a b q"


def write_model(folder: Path, name: str, file: str = "model.onnx", **files: Any) -> Path:
    """One of the models, in a folder of its name as transformers lays it out; the path of that folder.

    Args:
        folder: Where that folder is made.
        name: A key of `CONFIGS`.
        file: What the ONNX file is called.
        **files: Other JSON files by their names without `.json`; `None` leaves one out.
    """
    folder /= name
    (folder / file).parent.mkdir(parents=True)
    shutil.copy(DATA / f"{name}.onnx", folder / file)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    for stem, content in {"config": CONFIGS[name], **files}.items():
        if content is not None:
            path = folder / f"{stem}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content), encoding="utf-8")
    return folder
