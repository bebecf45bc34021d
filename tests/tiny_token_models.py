"""Small hybrid, late-interaction and BGE reranker models, in the folders that their own libraries read.

Their encoders are those of tiny_bert.py, tiny_encoders.py and tiny_modern_encoders.py; their heads come from a seed.
"""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import tiny_bert
import tiny_encoders
import tiny_modern_encoders
from tiny_heads import write_json

DATA = Path(__file__).parent / "data"
LETTERS = "abcdefghijklmnopqrstuv"
TEXTS = (
    "a b, q.",
    "",
    "c d e f g h i j k l m n o p q r s t u v a b c d",
    "t u v q",
    "so mean, a. z b",
    " ",
    "b a a b a . , a",
    "q a b b r x s a b, ef gh ij k. l",
)
"""Some are longer than the models read; z and x are unknown."""

QUERIES = ("a b q", "c d e f g h i j k l m n o p q r", "", "e . e")
COLBERT_DIM = 8
XLM_R = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

Tensors = dict[str, "np.ndarray[Any, Any]"]


def _tokenizer(special: tuple[str, ...], more: tuple[str, ...], added: tuple[str, ...] = ()) -> str:
    """A WordPiece tokenizer that knows single letters, as words and as parts of words, in at most 53 tokens."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    is_bert = special is BERT
    unknown, first, last = ("[UNK]", "[CLS]", "[SEP]") if is_bert else ("<unk>", "<s>", "</s>")
    parts = [f"##{letter}" for letter in LETTERS[:20]]
    vocabulary = {token: number for number, token in enumerate([*special, *more, *LETTERS, *parts])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    between = f"{last}:0" if is_bert else f"{last}:0 {last}:0"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {between} $B:{int(is_bert)} {last}:{int(is_bert)}",
        special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])],
    )
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    return str(tokenizer.to_str())


def _tokenizer_config(special: tuple[str, ...]) -> dict[str, Any]:
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 19}
    if special is XLM_R:
        names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
        config |= dict(zip(names, XLM_R, strict=True)) | {"cls_token": "<s>", "sep_token": "</s>"}
    else:
        names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        config |= dict(zip(names, BERT, strict=True))
    return config | {"model_input_names": ["input_ids", "attention_mask"]}


def seeded(shapes: dict[str, tuple[int, ...]], seed: int = 57) -> Tensors:
    """Tensors of these shapes."""
    random = np.random.RandomState(seed)
    return {name: (0.4 * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def _write(folder: Path, config: dict[str, Any], tensors: Tensors, tokenizer: str, special: tuple[str, ...]) -> Path:
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", _tokenizer_config(special))
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


XLM_R_CONFIG = tiny_encoders.MODELS["roberta"]["xlm_roberta"] | {"architectures": ["XLMRobertaModel"]}
XLM_R_HIDDEN = XLM_R_CONFIG["hidden_size"]
M3_LAYERS = {
    "sparse_linear": {"weight": (1, XLM_R_HIDDEN), "bias": (1,)},
    "colbert_linear": {"weight": (XLM_R_HIDDEN, XLM_R_HIDDEN), "bias": (XLM_R_HIDDEN,)},
}
"""What `torch.save` wrote in float16, as BGE-M3 is published, into tests/data; see make_token_models_golden.py."""


def write_bge_m3(folder: Path, *, layers: tuple[str, ...] = tuple(M3_LAYERS)) -> Path:
    """A model like BGE-M3; the path of its folder."""
    tensors = tiny_encoders.weights(XLM_R_CONFIG)
    _write(folder, XLM_R_CONFIG, tensors, _tokenizer(XLM_R, (".", ",")), XLM_R)
    for name in layers:
        shutil.copy(DATA / f"bge_m3_{name}.pt", folder / f"{name}.pt")
    return folder


RERANKER_LENGTHS = {"short": (4, 13), "long": (9, 19)}
"""Tokens of a query and of a pair that the reference reads."""


def write_bge_reranker(folder: Path) -> Path:
    """A model like bge-reranker-v2-m3; the path of its folder."""
    config = XLM_R_CONFIG | {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    encoder = {f"roberta.{name}": tensor for name, tensor in tiny_encoders.weights(XLM_R_CONFIG).items()}
    head = seeded({
        "classifier.dense.weight": (XLM_R_HIDDEN, XLM_R_HIDDEN),
        "classifier.dense.bias": (XLM_R_HIDDEN,),
        "classifier.out_proj.weight": (1, XLM_R_HIDDEN),
        "classifier.out_proj.bias": (1,),
    })  # fmt: skip
    return _write(folder, config, {**encoder, **head}, _tokenizer(XLM_R, (".", ",")), XLM_R)


MGTE_CONFIG = tiny_modern_encoders.GTE["ntk"] | {
    "architectures": ["NewForTokenClassification"],
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
}


def mgte_weights() -> Tensors:
    """The tensors of `NewForTokenClassification`, by its names."""
    encoder = {f"new.{name}": tensor for name, tensor in tiny_modern_encoders.gte_weights(MGTE_CONFIG).items()}
    return {**encoder, **seeded({"classifier.weight": (1, tiny_modern_encoders.HIDDEN), "classifier.bias": (1,)})}


def write_mgte(folder: Path) -> Path:
    """A model like gte-multilingual-base; the path of its folder."""
    return _write(folder, MGTE_CONFIG, mgte_weights(), _tokenizer(XLM_R, (".", ",")), XLM_R)


_BERT_CONFIG = tiny_bert.CONFIG | {"hidden_act": "gelu"}
_MODERN = tiny_modern_encoders.MODERNBERT["transformers_4"]
STANFORD: dict[str, dict[str, Any]] = {
    "stanford": {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_token": "[Q]",
        "doc_token": "[D]",
        "dim": COLBERT_DIM,
        "doc_maxlen": 14,
        "mask_punctuation": True,
        "query_maxlen": 9,
        "attend_to_mask_tokens": False,
        "interaction": "colbert",
        "similarity": "cosine",
    },
}
STANFORD["stanford_attends"] = STANFORD["stanford"] | {"attend_to_mask_tokens": True}
"""Contents of `artifact.metadata`."""


def write_stanford(folder: Path, name: str) -> Path:
    """A model like colbertv2.0; the path of its folder."""
    config = _BERT_CONFIG | {"architectures": ["HF_ColBERT"]}
    encoder = {f"bert.{name}": tensor for name, tensor in tiny_bert.weights().items()}
    linear = seeded({"linear.weight": (COLBERT_DIM, config["hidden_size"])})
    more = ("[unused0]", "[unused1]", ".", ",")
    _write(folder, config, {**encoder, **linear}, _tokenizer(BERT, more), BERT)
    write_json(folder / "artifact.metadata", STANFORD[name])
    return folder


_DENSE = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity", "use_residual": False}
_PYLATE = {
    "prompts": {},
    "default_prompt_name": None,
    "similarity_fn_name": "MaxSim",
    "model_type": "ColBERT",
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 12,
    "document_length": 15,
    "attend_to_expansion_tokens": False,
    "skiplist_words": list(string.punctuation),
    "do_query_expansion": True,
}
PYLATE: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "pylate": (_PYLATE, [{"in_features": 24, "out_features": COLBERT_DIM, **_DENSE}]),
    "pylate_attends": (
        _PYLATE | {"attend_to_expansion_tokens": True, "skiplist_words": ["a", ","], "query_length": 10},
        [
            {"in_features": 24, "out_features": 11, **_DENSE, "use_residual": True},
            {
                "in_features": 11,
                "out_features": 11,
                "bias": True,
                "activation_function": "torch.nn.modules.activation.Tanh",
                "use_residual": True,
            },
            {"in_features": 11, "out_features": COLBERT_DIM, **_DENSE},
        ],
    ),
    "pylate_unexpanded": (
        _PYLATE | {"do_query_expansion": False, "query_prefix": "", "document_prefix": "", "skiplist_words": []},
        [{"in_features": 24, "out_features": COLBERT_DIM, **_DENSE}],
    ),
}
"""Contents of `config_sentence_transformers.json`, and those of the `config.json`s of Dense modules."""


def _write_chain(folder: Path, modules: list[tuple[str, dict[str, Any], Tensors]]) -> None:
    entries = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, (kind, config, tensors) in enumerate(modules, 1):
        place = f"{number}_{kind.rpartition('.')[2]}"
        write_json(folder / place / "config.json", config)
        if tensors:
            save_file(tensors, folder / place / "model.safetensors", metadata={"format": "pt"})
        entries.append({"idx": number, "name": str(number), "path": place, "type": kind})
    write_json(folder / "modules.json", entries)


def _dense(config: dict[str, Any], seed: int) -> Tensors:
    inputs, outputs = config["in_features"], config["out_features"]
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (outputs, inputs)}
    if config["bias"]:
        shapes["linear.bias"] = (outputs,)
    if config.get("use_residual") and inputs != outputs:
        shapes["residual.weight"] = (outputs, inputs)
    return seeded(shapes, seed)


def _write_modern(folder: Path) -> None:
    encoder = tiny_modern_encoders.modernbert_weights(_MODERN)
    tokenizer = _tokenizer(BERT, (".", ","), ("[Q] ", "[D] "))
    _write(folder, _MODERN | {"architectures": ["ModernBertModel"]}, encoder, tokenizer, BERT)


def write_pylate(folder: Path, name: str) -> Path:
    """A model like GTE-ModernColBERT-v1; the path of its folder."""
    settings, projections = PYLATE[name]
    _write_modern(folder)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 14, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", settings)
    chain = [
        ("pylate.models.Dense.Dense", config, _dense(config, 60 + number)) for number, config in enumerate(projections)
    ]
    _write_chain(folder, chain)
    return folder


NATIVE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "native": (
        {"document_length": 15, "query_expansion": {"strategy": "fixed", "attend": False, "token": None, "length": 12}},
        {"skiplist_words": [",", "!"], "skiplist_tasks": ["document"], "keep_only_token_ids": None},
    ),
    "native_unexpanded": (
        {"query_length": 7, "document_length": 13, "query_expansion": None},
        {"skiplist_words": [], "skiplist_tasks": ["document"], "keep_only_token_ids": None},
    ),
}
"""Settings of the transformer and of the mask, as sentence-transformers 6 writes them."""


def write_native(folder: Path, name: str) -> Path:
    """A late-interaction model as sentence-transformers 6 saves it; the path of its folder."""
    settings, mask = NATIVE[name]
    _write_modern(folder)
    package = "sentence_transformers"
    names = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    dense = {"in_features": 24, "out_features": COLBERT_DIM, "bias": False, **names}
    dense["activation_function"] = "torch.nn.modules.linear.Identity"
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
            **settings,
        },
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "MultiVectorEncoder",
            "prompts": {"query": "[Q] ", "document": "[D] "},
            "default_prompt_name": None,
            "similarity_fn_name": "maxsim",
        },
    )
    _write_chain(
        folder,
        [
            (f"{package}.base.modules.dense.Dense", dense, _dense(dense, 70)),
            (f"{package}.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask", mask, {}),
            (f"{package}.base.modules.normalize.Normalize", names, {}),
        ],
    )
    return folder


LATE: dict[str, Callable[[Path, str], Path]] = {
    **dict.fromkeys(STANFORD, write_stanford),
    **dict.fromkeys(PYLATE, write_pylate),
    **dict.fromkeys(NATIVE, write_native),
}
"""What writes each late-interaction model, by its name."""


def ragged(golden: Any, name: str) -> list[np.ndarray[Any, Any]]:
    """Arrays of different lengths, which the golden file holds as one."""
    return np.split(golden[name], np.cumsum(golden[f"{name}_lengths"])[:-1])


def read_json(path: Path) -> Any:
    """What a file holds."""
    return json.loads(path.read_text(encoding="utf-8"))
