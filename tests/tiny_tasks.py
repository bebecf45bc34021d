"""Small sparse models and rerankers in the folders that Sentence Transformers and transformers read.

Their encoders are those of tiny_bert.py, tiny_encoders.py and tiny_modern_encoders.py; their heads come from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import tiny_bert
import tiny_encoders
import tiny_modern_encoders
from tiny_bert import tokenizer_json
from tiny_heads import PROMPTS, TEXTS, TOKENIZER, write_json

VOCABULARY = 53
QUERY = "a b q"
DOCUMENTS = (*TEXTS, "a b q", "q u i c k")

Tensors = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Model:
    """A model to be written.

    Attributes:
        config: Its `config.json`.
        encoder: The encoder's tensors.
        prefix: What stands before their names.
        head: The shapes of the head's tensors.
        chain: The modules after the transformer; without any, there is no `modules.json`.
        files: Other JSON files.
        typed: Whether its tokenizer gives types of tokens.
    """

    config: dict[str, Any]
    encoder: Tensors
    prefix: str
    head: dict[str, tuple[int, ...]]
    chain: tuple[tuple[str, dict[str, Any]], ...] = ()
    files: dict[str, Any] = field(default_factory=dict)
    typed: bool = True


def _linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


_DISTILBERT = tiny_encoders.MODELS["distilbert"]["relu"]
_ROBERTA = tiny_encoders.MODELS["roberta"]["roberta"]
_ALBERT = tiny_encoders.MODELS["albert"]["one_group"]
_MPNET = tiny_encoders.MODELS["mpnet"]["gelu"]
_MODERNBERT = tiny_modern_encoders.MODERNBERT
_GTE = tiny_modern_encoders.GTE["transformers_5"] | {"type_vocab_size": 2}
_HIDDEN, _MODERN = 21, tiny_modern_encoders.HIDDEN

_BERT_TERMS = {
    **_linear("cls.predictions.transform.dense", _HIDDEN, _HIDDEN),
    **_norm("cls.predictions.transform.LayerNorm", _HIDDEN),
    "cls.predictions.bias": (VOCABULARY,),
}


def _splade(package: str, name: str, **config: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    return ((package, {}), (name, {"pooling_strategy": "max", **config}))


SPARSE = {
    "bert": Model(tiny_bert.CONFIG | {"architectures": ["BertForMaskedLM"]}, tiny_bert.weights(), "bert.", _BERT_TERMS),
    "bert_twice": Model(
        tiny_bert.CONFIG | {"architectures": ["BertForMaskedLM"], "tie_word_embeddings": False, "hidden_act": "relu"},
        tiny_bert.weights(),
        "bert.",
        {**_BERT_TERMS, **_linear("cls.predictions.decoder", VOCABULARY, _HIDDEN)},
        _splade(
            "base.modules.transformer.Transformer",
            "sparse_encoder.modules.splade_pooling.SpladePooling",
            activation_function="log1p_relu",
            embedding_dimension=None,
        ),
        {
            "config_sentence_transformers.json": {**PROMPTS, "model_type": "SparseEncoder"},
            "sentence_bert_config.json": {
                "transformer_task": "fill-mask",
                "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
                "module_output_name": "token_embeddings",
            },
        },
    ),
    "distilbert": Model(
        _DISTILBERT | {"architectures": ["DistilBertForMaskedLM"]},
        tiny_encoders.weights(_DISTILBERT),
        "distilbert.",
        {
            **_linear("vocab_transform", _HIDDEN, _HIDDEN),
            **_norm("vocab_layer_norm", _HIDDEN),
            "vocab_projector.bias": (VOCABULARY,),
        },
        _splade(
            "sparse_encoder.models.MLMTransformer",
            "sparse_encoder.models.SpladePooling",
            activation_function="relu",
            word_embedding_dimension=VOCABULARY,
        ),
        {
            "sentence_bert_config.json": {"max_seq_length": 11, "do_lower_case": False},
            "config_sentence_transformers.json": {"model_type": "SparseEncoder", "prompts": {}},
        },
    ),
    "roberta": Model(
        _ROBERTA | {"architectures": ["RobertaForMaskedLM"]},
        tiny_encoders.weights(_ROBERTA),
        "roberta.",
        {
            **_linear("lm_head.dense", _HIDDEN, _HIDDEN),
            **_norm("lm_head.layer_norm", _HIDDEN),
            "lm_head.bias": (VOCABULARY,),
        },
        typed=False,
    ),
    "mpnet": Model(
        _MPNET | {"architectures": ["MPNetForMaskedLM"]},
        tiny_encoders.weights(_MPNET),
        "mpnet.",
        {
            **_linear("lm_head.dense", _HIDDEN, _HIDDEN),
            **_norm("lm_head.layer_norm", _HIDDEN),
            "lm_head.bias": (VOCABULARY,),
        },
        typed=False,
    ),
    "modernbert": Model(
        _MODERNBERT["transformers_4"]
        | {"architectures": ["ModernBertForMaskedLM"], "classifier_activation": "gelu", "decoder_bias": True},
        tiny_modern_encoders.modernbert_weights(_MODERNBERT["transformers_4"]),
        "model.",
        {
            "head.dense.weight": (_MODERN, _MODERN),
            "head.norm.weight": (_MODERN,),
            "decoder.bias": (VOCABULARY,),
        },
        typed=False,
    ),
    "modernbert_other_way": Model(
        _MODERNBERT["transformers_5"]
        | {
            "architectures": ["ModernBertForMaskedLM"],
            "classifier_activation": "relu",
            "classifier_bias": True,
            "decoder_bias": False,
            "tie_word_embeddings": False,
        },
        tiny_modern_encoders.modernbert_weights(_MODERNBERT["transformers_5"]),
        "model.",
        {
            **_linear("head.dense", _MODERN, _MODERN),
            **_norm("head.norm", _MODERN),
            "decoder.weight": (VOCABULARY, _MODERN),
        },
        typed=False,
    ),
}
"""Sparse models by name."""


def _classifier(config: dict[str, Any], architecture: str, **changes: Any) -> dict[str, Any]:
    one = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return config | {"architectures": [f"{architecture}ForSequenceClassification"]} | one | changes


def _modernbert(name: str, pooling: str, *, bias: bool) -> Model:
    config = _classifier(
        _MODERNBERT[name], "ModernBert", classifier_pooling=pooling, classifier_bias=bias, classifier_activation="gelu"
    )
    head = _linear("head.dense", _MODERN, _MODERN) | _norm("head.norm", _MODERN)
    if not bias:
        del head["head.dense.bias"]
    if not config["norm_bias"]:
        del head["head.norm.bias"]
    encoder = tiny_modern_encoders.modernbert_weights(config)
    return Model(config, encoder, "model.", {**head, **_linear("classifier", 1, _MODERN)}, typed=False)


RERANKERS = {
    "bert": Model(
        _classifier(tiny_bert.CONFIG, "Bert", sbert_ce_default_activation_function="torch.nn.modules.linear.Identity"),
        tiny_bert.weights(),
        "bert.",
        {**_linear("bert.pooler.dense", _HIDDEN, _HIDDEN), **_linear("classifier", 1, _HIDDEN)},
    ),
    "bert_saved_by_6": Model(
        _classifier(tiny_bert.CONFIG, "Bert"),
        tiny_bert.weights(),
        "bert.",
        {**_linear("bert.pooler.dense", _HIDDEN, _HIDDEN), **_linear("classifier", 1, _HIDDEN)},
        (("base.modules.transformer.Transformer", {}),),
        {
            "config_sentence_transformers.json": {
                "activation_fn": "torch.nn.modules.linear.Identity",
                "model_type": "CrossEncoder",
                "prompts": {},
            },
            "sentence_bert_config.json": {
                "transformer_task": "sequence-classification",
                "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
                "module_output_name": "scores",
            },
        },
        typed=False,  # so that both texts of a pair are of the first type
    ),
    "roberta": Model(
        _classifier(_ROBERTA, "Roberta"),
        tiny_encoders.weights(_ROBERTA),
        "roberta.",
        {**_linear("classifier.dense", _HIDDEN, _HIDDEN), **_linear("classifier.out_proj", 1, _HIDDEN)},
        typed=False,
    ),
    "distilbert": Model(
        _classifier(
            _DISTILBERT, "DistilBert", sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid"}
        ),
        tiny_encoders.weights(_DISTILBERT),
        "distilbert.",
        {**_linear("pre_classifier", _HIDDEN, _HIDDEN), **_linear("classifier", 1, _HIDDEN)},
        typed=False,
    ),
    "albert": Model(
        _classifier(_ALBERT, "Albert", sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"}),
        tiny_encoders.weights(_ALBERT),
        "albert.",
        {**_linear("albert.pooler", _HIDDEN, _HIDDEN), **_linear("classifier", 1, _HIDDEN)},
    ),
    "mpnet": Model(
        _classifier(_MPNET, "MPNet"),
        tiny_encoders.weights(_MPNET),
        "mpnet.",
        {**_linear("classifier.dense", _HIDDEN, _HIDDEN), **_linear("classifier.out_proj", 1, _HIDDEN)},
        typed=False,
    ),
    "modernbert_mean": _modernbert("transformers_4", "mean", bias=False),
    "modernbert_cls": _modernbert("transformers_5", "cls", bias=True),
    "gte": Model(
        _classifier(_GTE, "Gte"),
        tiny_modern_encoders.gte_weights(_GTE),
        "gte.",
        {**_linear("gte.pooler.dense", _MODERN, _MODERN), **_linear("classifier", 1, _MODERN)},
    ),
}
"""Rerankers by name."""

_NLI = {"0": "contradiction", "1": "entailment", "2": "neutral"}
_THREE: dict[str, Any] = {"id2label": _NLI, "label2id": {name: int(number) for number, name in _NLI.items()}}
CLASSIFIERS = {
    "roberta": Model(
        _classifier(_ROBERTA, "Roberta", **_THREE),
        tiny_encoders.weights(_ROBERTA),
        "roberta.",
        {**_linear("classifier.dense", _HIDDEN, _HIDDEN), **_linear("classifier.out_proj", 3, _HIDDEN)},
        typed=False,
    ),
    "several_at_once": Model(
        _classifier(tiny_bert.CONFIG, "Bert", **_THREE, problem_type="multi_label_classification"),
        tiny_bert.weights(),
        "bert.",
        {**_linear("bert.pooler.dense", _HIDDEN, _HIDDEN), **_linear("classifier", 3, _HIDDEN)},
    ),
}
"""Classifiers with several labels by name."""


def head_weights(model: Model) -> Tensors:
    """The head's tensors; a bias of terms is so low that many terms have no weight."""
    random = np.random.RandomState(31)
    tensors = {}
    for name, shape in model.head.items():
        around = -2.0 if shape == (VOCABULARY,) else float("norm.weight" in name.lower())
        tensors[name] = (around + 0.5 * random.standard_normal(shape)).astype(np.float32)
    return tensors


def write_model(folder: Path, model: Model) -> Path:
    """Write the model; the path of its folder."""
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if model.typed else [])]
    write_json(folder / "config.json", model.config)
    write_json(folder / "tokenizer_config.json", {**TOKENIZER, "model_max_length": 19, "model_input_names": names})
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    encoder = {model.prefix + name: tensor for name, tensor in model.encoder.items()}
    save_file({**encoder, **head_weights(model)}, folder / "model.safetensors")
    for name, content in model.files.items():
        write_json(folder / name, content)
    modules = []
    for number, (kind, config) in enumerate(model.chain):
        place = f"{number}_{kind.rpartition('.')[2]}" if number else ""
        modules.append({"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.{kind}"})
        if number:
            write_json(folder / place / "config.json", config)
    if modules:
        write_json(folder / "modules.json", modules)
    return folder
