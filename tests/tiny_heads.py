"""Small models in the folders that Sentence Transformers and transformers read: for the tests and for the reference.

Their encoder is the tiny BERT of tiny_bert.py; the weights of their heads come from a seed too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tiny_bert import CONFIG, tokenizer_json, weights

HIDDEN = CONFIG["hidden_size"]
TEXTS = (
    "",
    "q a b b r",
    "c d e f g h i j k l m n o p q r s",
    "a",
    "t u v q",
    "S o m e a",
    "b a n a n a s a n d m o r e",
)
"""Some are longer than some of the models read, and one is as long as there are positions."""

SETTINGS: dict[str, Any] = {"max_seq_length": 19, "do_lower_case": False}
TOKENIZER: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
PROMPTS: dict[str, Any] = {"prompts": {"query": "q u e r y ", "document": "d o c "}, "default_prompt_name": None}


def legacy_pooling(mode: str) -> dict[str, Any]:
    """A pooling's configuration as versions of Sentence Transformers before 6 wrote it."""
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    switches = {f"pooling_mode_{name}": name == mode for name in modes}
    return {"word_embedding_dimension": HIDDEN, **switches, "include_prompt": True}


def pooling(*modes: str, include_prompt: bool = True) -> dict[str, Any]:
    """The same as version 6 writes it."""
    mode = modes[0] if len(modes) == 1 else list(modes)
    return {"embedding_dimension": HIDDEN, "pooling_mode": mode, "include_prompt": include_prompt}


def dense(inputs: int, outputs: int, activation: str, *, bias: bool = True) -> dict[str, Any]:
    """The configuration of a dense module."""
    name = f"torch.nn.modules.{activation}"
    return {"in_features": inputs, "out_features": outputs, "bias": bias, "activation_function": name}


Chain = tuple[tuple[str, dict[str, Any]], ...]
CHAIN: Chain = (
    ("models.Pooling", legacy_pooling("mean_tokens")),
    ("models.Dense", dense(HIDDEN, 8, "activation.Tanh")),
    ("models.LayerNorm", {"dimension": 8}),
    ("models.Dropout", {"dropout": 0.3}),
    ("base.modules.dense.Dense", dense(8, 5, "linear.Identity", bias=False)),
    ("models.Normalize", {}),
)

CHAINS: dict[str, Chain] = {
    **{
        mode: (("models.Pooling", legacy_pooling(mode)),)
        for mode in ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
    },
    "lasttoken": (("sentence_transformer.modules.pooling.Pooling", pooling("lasttoken")),),
    "several": (("sentence_transformer.modules.pooling.Pooling", pooling("lasttoken", "cls", "mean", "max")),),
    "chain": CHAIN,
    "prompted": CHAIN,
    "unpooled_prompt": (
        (
            "models.Pooling",
            pooling("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", include_prompt=False),
        ),
    ),
    "default_prompt": CHAIN[:1],
    "short": CHAIN[:1],
    "lowercase": CHAIN[:1],
    "tokenizers_length": CHAIN[:1],
}
"""What stands behind the transformer of each model."""

FILES: dict[str, dict[str, Any]] = {
    "prompted": {"config_sentence_transformers.json": PROMPTS},
    "unpooled_prompt": {"config_sentence_transformers.json": PROMPTS},
    "default_prompt": {
        "config_sentence_transformers.json": {"prompts": {"all": "a l l "}, "default_prompt_name": "all"}
    },
    "short": {"sentence_bert_config.json": {"max_seq_length": 7}},
    "lowercase": {"sentence_bert_config.json": {"max_seq_length": 19, "do_lower_case": True}},
    "tokenizers_length": {
        "sentence_bert_config.json": {},
        "tokenizer_config.json": {**TOKENIZER, "model_max_length": 9},
    },
    "plain": {"tokenizer_config.json": {**TOKENIZER, "model_max_length": 12}},
}
"""The files of each model that differ from those of the others; the plain one has no modules."""

MODELS = (*CHAINS, "plain")


def head_weights(number: int, config: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of the module at this place of a chain."""
    random = np.random.RandomState(100 + number)
    if "dimension" in config:
        names = {"norm.weight": (config["dimension"],), "norm.bias": (config["dimension"],)}
    else:
        names = {"linear.weight": (config["out_features"], config["in_features"])}
        names |= {"linear.bias": (config["out_features"],)} if config["bias"] else {}
    return {name: (0.5 * random.standard_normal(shape)).astype(np.float32) for name, shape in names.items()}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_transformer(folder: Path, model: str = "", **config: Any) -> None:
    """An encoder in the layout of transformers, with the settings of Sentence Transformers beside it."""
    write_json(folder / "config.json", CONFIG | config)
    save_file(weights(), folder / "model.safetensors")
    tokenizer = tokenizer_json()
    if model == "lowercase":
        tokenizer = tokenizer.replace('"lowercase":true', '"lowercase":false')
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    files: dict[str, Any] = {"sentence_bert_config.json": SETTINGS, "tokenizer_config.json": TOKENIZER}
    if model == "plain":
        del files["sentence_bert_config.json"]
    for name, value in {**files, **FILES.get(model, {})}.items():
        write_json(folder / name, value)


def write_model(folder: Path, model: str) -> Path:
    """One of `MODELS`, in a folder of its name; the path of that folder."""
    folder /= model
    write_transformer(folder, model)
    if model != "plain":
        write_chain(folder, CHAINS[model])
    return folder


def write_chain(folder: Path, chain: Chain) -> None:
    """The modules of a chain, in folders named as Sentence Transformers names them."""
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, (kind, config) in enumerate(chain, start=1):
        place = f"{number}_{kind.rpartition('.')[2]}"
        modules.append({"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.{kind}"})
        write_json(folder / place / "config.json", config)
        if "in_features" in config or "dimension" in config:
            save_file(head_weights(number, config), folder / place / "model.safetensors")
    write_json(folder / "modules.json", modules)
