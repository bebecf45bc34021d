"""What a folder says of its model: the layouts of Hugging Face transformers and of Sentence Transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from milvine.errors import ModelFileError
from milvine.local.building.architectures import find_architecture
from milvine.local.building.architectures.base import TORCH, Config, check, check_switches
from milvine.local.building.heads import width_of
from milvine.local.building.task_heads import classifier_head, labels_of, language_head
from milvine.local.reading.json_files import read_json, read_optional_json
from milvine.local.reading.modules import Found, Module, dense_head, read_modules
from milvine.local.reading.onnx_file import find_onnx_file, read_onnx_file, ready_config, ready_head
from milvine.local.reading.prompts import read_prompts
from milvine.local.reading.special_tokens import read_special_tokens
from milvine.local.reading.token_folder import hybrid_heads, late_interaction, multivector_heads
from milvine.local.reading.weights import find_weights, weights_file
from milvine.local.running.static import is_static, read_static_folder
from milvine.local.spec import OUTPUTS, ModelFiles, ModelSpec

UNSTATED_MAX_LENGTH = 512
"""Tokens of a text that are read where neither the folder nor the positions set an end."""

_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


def read_folder(folder: Path, task: str, ready: Path | None = None) -> ModelSpec:
    """The model of a folder; its small files are read, its weights are not.

    A folder with a `modules.json` is read as Sentence Transformers reads it: a transformer, a pooling, and whatever of
    dense layers, layer norms and normalisation follows. One without gets the mean of the tokens' states, as there.
    One without a checkpoint runs its ONNX file, whose header is read; one with static embeddings, those.

    Args:
        folder: The folder.
        task: What the model is wanted for: `"dense"`; `"sparse"`, with the head of a masked language model;
            `"reranker"`, with that of a classifier; `"hybrid"` or `"multivector"`, as `token_folder.py` says.
        ready: An ONNX file to run in the place of the folder's own checkpoint; it may lie elsewhere.

    Raises:
        ModelFileError: A file is missing, contradicts another, or says what cannot be run here.
    """
    if ready is None and is_static(folder):
        check(str(folder), (task == "dense", f"static embeddings are of no {task} model"))
        return read_static_folder(folder)
    modules = read_modules(folder)
    root = modules[0].path
    settings = _settings(root, task)
    path = root / "config.json"
    if ready is None and find_weights(root) is None:
        ready = find_onnx_file(folder)
    file = read_onnx_file(ready) if ready else None
    raw = read_optional_json(path) if file else read_json(path, dict)
    config: Config
    if file:
        runs = task not in ("hybrid", "multivector")
        check(str(ready), (runs, f"a ready ONNX file is not run as a {task} model; the checkpoint is needed"))
        config = ready_config(file, task, raw)
        head = ready_head(file, task)
        stated = folder / "1_Pooling" / "config.json"
        if modules[0].is_alone and stated.is_file():  # as published beside ONNX files that lost their modules.json
            pooling = Module("Pooling", "1_Pooling", stated.parent, read_json(stated, dict))
            modules = [replace(modules[0], is_alone=False), pooling]
        heads, extra = ({OUTPUTS[task]: head}, []) if head is not None else _HEADS[task](modules, raw, config)
    else:
        config = find_architecture(raw, str(path)).read(raw, str(path))
        heads, extra = _HEADS[task](modules, raw, config)
    tokenizer = read_optional_json(root / "tokenizer_config.json")
    prompts = folder / "config_sentence_transformers.json"
    query, document = read_prompts(prompts)
    takes_prompts = task != "reranker" or not (query or document)
    check(str(prompts), (takes_prompts, f"a reranker's prompts are not known here; {TORCH}"))
    dims = {name: width_of(head, config.hidden_size) for name, head in heads.items()}
    length = _max_length(tokenizer, settings, raw, config.max_tokens)
    late = late_interaction(folder, modules, raw, settings, length) if task == "multivector" else None
    labels = labels_of(raw, str(path), dims["logits"]) if task == "reranker" else ()
    return ModelSpec(
        name=folder.resolve().name,
        folder=folder.resolve(),
        task=task,
        dims=dims,
        max_length=late.document_length if late else length,
        limit=config.max_tokens,
        heads=heads,
        pools_prompt=all(module.config.get("include_prompt", not module.is_instructor) for module in modules),
        query_prompt=query,
        document_prompt=document,
        lowercase=bool(settings.get("do_lower_case")),
        typed="token_type_ids" in (tokenizer.get("model_input_names") or ["token_type_ids"]),
        activation=_activation(folder, raw, len(labels)) if task == "reranker" else "Identity",
        labels=labels,
        special_tokens=read_special_tokens(tokenizer),
        late=late,
        quantization=file.quantization if file else None,
        files=ModelFiles(_tokenizer(root), path if raw else None, (("", ready or weights_file(root)), *extra)),
    )


def _sparse_head(modules: list[Module], raw: Mapping[str, Any], config: Config) -> Found:
    source = str(modules[0].path / "config.json")
    if modules[0].is_alone:
        return {"sparse": language_head(raw, config, source)}, []
    chain = ", ".join(module.kind for module in modules)
    is_splade = [module.kind for module in modules[1:]] == ["SpladePooling"]
    check(str(modules[0].path), (is_splade, f"a chain of {chain} is of no sparse model; one has a SpladePooling"))
    pooling = modules[1]
    check_switches(pooling.source, pooling.config, pooling_strategy="max")
    activation = pooling.config.get("activation_function", "relu")
    known = ("relu", "log1p_relu")
    check(pooling.source, (activation in known, f"activation_function is {activation!r}; known are {', '.join(known)}"))
    return {"sparse": language_head(raw, config, source, twice=activation == "log1p_relu")}, []


def _reranker_head(modules: list[Module], raw: Mapping[str, Any], config: Config) -> Found:
    chain = ", ".join(module.kind for module in modules)
    check(
        str(modules[0].path), (len(modules) == 1, f"a chain of {chain} is of no reranker; one has a Transformer alone")
    )
    return {"logits": classifier_head(raw, config, str(modules[0].path / "config.json"))}, []


_HEADS: dict[str, Callable[[list[Module], Mapping[str, Any], Config], Found]] = {
    "dense": dense_head,
    "sparse": _sparse_head,
    "reranker": _reranker_head,
    "hybrid": hybrid_heads,
    "multivector": multivector_heads,
}


def _settings(root: Path, task: str) -> dict[str, Any]:
    """The settings that Sentence Transformers keeps beside the transformer, under a name of its time."""
    path = next((root / name for name in _SETTINGS if (root / name).is_file()), None)
    if path is None:
        return {}
    settings = read_json(path, dict)
    late = () if task == "multivector" else ("query_length", "document_length", "query_expansion")
    check_switches(str(path), settings, **dict.fromkeys(late))
    for name in ("config_args", "config_kwargs", "tokenizer_args", "processor_kwargs", "processing_kwargs"):
        check(str(path), (not settings.get(name), f"{name} is {settings.get(name)!r}; only an empty one is known here"))
    length = settings.get("max_seq_length")
    is_length = length is None or (isinstance(length, int) and length > 2)
    check(str(path), (is_length, f"max_seq_length is {length!r}; it must be a whole number above 2"))
    return settings


def _max_length(
    tokenizer: Mapping[str, Any], settings: Mapping[str, Any], raw: Mapping[str, Any], max_tokens: int | None
) -> int:
    """Sentence Transformers' rule: its own setting, else the tokenizer's, and never more than there are positions."""
    stated = settings.get("max_seq_length")
    if stated is None:
        ends = [tokenizer.get("model_max_length"), raw.get("max_position_embeddings"), max_tokens]
    else:
        ends = [stated, max_tokens]
    # A tokenizer that knows no end has a length of 1e30.
    return min((int(end) for end in ends if isinstance(end, int) and 2 < end < 1 << 24), default=UNSTATED_MAX_LENGTH)


def _tokenizer(root: Path) -> Path:
    path = root / "tokenizer.json"
    if not path.is_file():
        raise ModelFileError(
            f"{root} holds no tokenizer.json, which is how texts become tokens here;"
            " AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers writes one"
        )
    return path


def _activation(folder: Path, raw: Mapping[str, Any], labels: int) -> str | None:
    """What Sentence Transformers makes of a cross-encoder's logit; `None` where it is not known here.

    It stands in the library's own settings, or in `config.json` under the names of its versions 4 and 3.
    """
    if labels > 1:
        return "Sigmoid" if raw.get("problem_type") == "multi_label_classification" else "Softmax"
    settings = read_optional_json(folder / "config_sentence_transformers.json")
    of_version_4 = raw.get("sentence_transformers")
    for given in (
        settings.get("activation_fn"),
        of_version_4.get("activation_fn") if isinstance(of_version_4, dict) else None,
        raw.get("sbert_ce_default_activation_function"),
    ):
        if given is not None:
            package, _, name = str(given).rpartition(".")
            return name if package.startswith("torch.") and name in ("Identity", "Sigmoid") else None
    return "Sigmoid"
