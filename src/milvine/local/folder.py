"""What a folder says of its model: the layouts of Hugging Face transformers and of Sentence Transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from milvine.errors import ModelFileError
from milvine.local.architectures import find_architecture
from milvine.local.architectures.base import TORCH, Config, check, check_switches
from milvine.local.heads import ACTIVATIONS, POOLINGS, LayerNorm, Linear, Normalize, Pooling, Step, width_of
from milvine.local.onnx_file import find_onnx_file, read_onnx_file, ready_config, ready_head
from milvine.local.spec import OUTPUTS, Heads, ModelFiles, ModelSpec
from milvine.local.special_tokens import read_special_tokens
from milvine.local.task_heads import classifier_head, labels_of, language_head
from milvine.local.token_folder import hybrid_heads, late_interaction, multivector_heads
from milvine.local.weights import WEIGHTS_FILES

UNSTATED_MAX_LENGTH = 512
"""Tokens of a text that are read where neither the folder nor the positions set an end."""

_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_KNOWN = (
    "Transformer",
    "MLMTransformer",
    "Pooling",
    "Dense",
    "LayerNorm",
    "Normalize",
    "Dropout",
    "SpladePooling",
    "MultiVectorMask",
)
_PACKAGES = ("sentence_transformers", "pylate", "InstructorEmbedding")
_INSTRUCTOR = {
    "INSTRUCTOR_Transformer": "Transformer",
    "INSTRUCTORTransformer": "Transformer",
    "INSTRUCTOR_Pooling": "Pooling",
    "INSTRUCTORPooling": "Pooling",
}
"""What InstructorEmbedding calls its own modules, which leave the prompt out of the mean."""
_LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")

Json = TypeVar("Json", dict[str, Any], list[Any])


def read_json(path: Path, kind: type[Json]) -> Json:
    """A JSON file that holds an object (`dict`) or a list.

    Raises:
        ModelFileError: It is missing, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFileError(f"{path} is not JSON: {error}") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(value, kind):
        what = "object" if kind is dict else "list"
        raise ModelFileError(f"{path} must hold a JSON {what}, not {type(value).__name__}")
    return value


def _optional(path: Path) -> dict[str, Any]:
    """The object of a JSON file; an empty one, if there is no such file."""
    return read_json(path, dict) if path.is_file() else {}


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
    from milvine.local.static import is_static, read_static_folder  # it imports this module

    if ready is None and is_static(folder):
        check(str(folder), (task == "dense", f"static embeddings are of no {task} model"))
        return read_static_folder(folder)
    modules = _modules(folder)
    root = modules[0].path
    settings = _settings(root, task)
    path = root / "config.json"
    if ready is None and find_weights(root) is None:
        ready = find_onnx_file(folder)
    file = read_onnx_file(ready) if ready else None
    raw = _optional(path) if file else read_json(path, dict)
    config: Config
    if file:
        runs = task not in ("hybrid", "multivector")
        check(str(ready), (runs, f"a ready ONNX file is not run as a {task} model; the checkpoint is needed"))
        config = ready_config(file, task, raw)
        head = ready_head(file, task)
        stated = folder / "1_Pooling" / "config.json"
        if modules[0].is_alone and stated.is_file():  # as published beside ONNX files that lost their modules.json
            pooling = _Module("Pooling", "1_Pooling", stated.parent, read_json(stated, dict))
            modules = [replace(modules[0], is_alone=False), pooling]
        heads, extra = ({OUTPUTS[task]: head}, []) if head is not None else _HEADS[task](modules, raw, config)
    else:
        config = find_architecture(raw, str(path)).read(raw, str(path))
        heads, extra = _HEADS[task](modules, raw, config)
    tokenizer = _optional(root / "tokenizer_config.json")
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


def find_weights(folder: Path) -> Path | None:
    """The checkpoint of a folder, or its index, if it has one."""
    return next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)


def weights_file(folder: Path) -> Path:
    """The checkpoint of a folder, or its index.

    Raises:
        ModelFileError: There is none.
    """
    found = find_weights(folder)
    if found is None:
        raise ModelFileError(f"{folder} holds no weights; looked for {', '.join(WEIGHTS_FILES)}")
    return found


@dataclass(frozen=True)
class _Module:
    """An entry of `modules.json`: its class's name, its place in the folder, and what the `config.json` there says."""

    kind: str
    place: str
    path: Path
    config: dict[str, Any]
    is_alone: bool = False
    """Whether the folder has no `modules.json`."""
    is_instructor: bool = False
    """Whether it is InstructorEmbedding's."""

    @property
    def source(self) -> str:
        return str(self.path / "config.json")


def _modules(folder: Path) -> list[_Module]:
    """The chain of modules, the transformer first; dropout, which does nothing to a trained model, is left out."""
    path = folder / "modules.json"
    if not path.is_file():
        return [_Module("Transformer", "", folder, {}, is_alone=True)]
    modules = []
    for entry in read_json(path, list):
        check(str(path), (isinstance(entry, dict), f"an entry is {entry!r}; it must be an object"))
        kind, place = str(entry.get("type")), str(entry.get("path", ""))
        package, _, name = kind.rpartition(".")
        name = _INSTRUCTOR.get(name, name)
        inside = PurePosixPath(place)
        check(
            str(path),
            (
                package.partition(".")[0] in _PACKAGES and name in _KNOWN,
                f"the module {kind} is not known here; {TORCH}",
            ),
            (
                not inside.is_absolute() and ".." not in inside.parts and "\\" not in place,
                f"the path {place!r} leaves the model's folder",
            ),
        )
        at = folder / place
        config = _optional(at / "config.json") if name == "Normalize" else read_json(at / "config.json", dict)
        if name != "Dropout":
            known = "Transformer" if name == "MLMTransformer" else name
            is_instructor = package.startswith("InstructorEmbedding")
            modules.append(_Module(known, place, at, config, is_instructor=is_instructor))
    kinds = [module.kind for module in modules]
    is_chain = kinds[:1] == ["Transformer"] and "Transformer" not in kinds[1:]
    check(str(path), (is_chain, f"a chain of {', '.join(kinds) or 'no modules'} must begin with its one Transformer"))
    return modules


Found = tuple[Heads, list[tuple[str, Path]]]
"""Heads, and the checkpoints of those steps that have one, each with what stands before its names."""


def _dense_head(modules: list[_Module], raw: Mapping[str, Any], config: Config) -> Found:  # noqa: ARG001
    if modules[0].is_alone:
        return {"dense": (Pooling(("mean",)),)}, []
    head: list[Step] = []
    checkpoints: list[tuple[str, Path]] = []
    width = config.hidden_size
    for number, module in enumerate(modules[1:]):
        is_here = module.kind in _READERS and (module.kind == "Pooling") == (number == 0)
        check(str(module.path), (is_here, f"{module.kind} cannot stand here; a dense model has one pooling, and first"))
        step = _READERS[module.kind](module, width)
        width = step.width(width)
        head.append(step)
        if isinstance(step, (Linear, LayerNorm)):
            checkpoints.append((f"{module.place}/", weights_file(module.path)))
    check(str(modules[0].path), (bool(head), "modules.json has no pooling, so it is of no dense model"))
    return {"dense": tuple(head)}, checkpoints


def _sparse_head(modules: list[_Module], raw: Mapping[str, Any], config: Config) -> Found:
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


def _reranker_head(modules: list[_Module], raw: Mapping[str, Any], config: Config) -> Found:
    chain = ", ".join(module.kind for module in modules)
    check(
        str(modules[0].path), (len(modules) == 1, f"a chain of {chain} is of no reranker; one has a Transformer alone")
    )
    return {"logits": classifier_head(raw, config, str(modules[0].path / "config.json"))}, []


_HEADS: dict[str, Callable[[list[_Module], Mapping[str, Any], Config], Found]] = {
    "dense": _dense_head,
    "sparse": _sparse_head,
    "reranker": _reranker_head,
    "hybrid": hybrid_heads,
    "multivector": multivector_heads,
}


def _read_pooling(module: _Module, width: int) -> Pooling:
    config, source = module.config, module.source
    _check_width(module, width, config.get("embedding_dimension", config.get("word_embedding_dimension", width)))
    modes = config.get("pooling_mode")
    if modes is None:
        legacy = {name: value for name, value in config.items() if name.startswith("pooling_mode_") and value}
        unknown = ", ".join(sorted(set(legacy) - set(_LEGACY_POOLINGS)))
        check(source, (not unknown, f"{unknown} is not known here"))
        modes = [mode for name, mode in _LEGACY_POOLINGS.items() if name in legacy] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    for mode in modes if isinstance(modes, list) and modes else [modes]:
        known = ", ".join(POOLINGS)
        check(source, (isinstance(mode, str) and mode in POOLINGS, f"the pooling {mode!r} is not one of {known}"))
    return Pooling(tuple(modes))


def _read_dense(module: _Module, width: int) -> Linear:
    config, source = module.config, module.source
    _check_width(module, width, config.get("in_features"))
    check_switches(
        source,
        config,
        use_residual=False,
        module_input_name="sentence_embedding",
        module_output_name="sentence_embedding",
    )
    outputs, activation = config.get("out_features"), str(config.get("activation_function", "torch.nn.Tanh"))
    name = activation.rpartition(".")[2]
    check(
        source,
        (isinstance(outputs, int) and outputs > 0, f"out_features is {outputs!r}; it must be a whole number above 0"),
        (
            activation.startswith("torch.") and name in ACTIVATIONS,
            f"the activation {activation!r} is not known here; known are {', '.join(ACTIVATIONS)}",
        ),
    )
    return Linear(f"{module.place}/linear", width, int(outputs or 0), name, bias=bool(config.get("bias", True)))


def _read_layer_norm(module: _Module, width: int) -> LayerNorm:
    _check_width(module, width, module.config.get("dimension"))
    return LayerNorm(f"{module.place}/norm", width, 1e-5)  # PyTorch's epsilon


def _read_normalize(module: _Module, width: int) -> Normalize:  # noqa: ARG001
    check_switches(
        module.source, module.config, module_input_name="sentence_embedding", module_output_name="sentence_embedding"
    )
    return Normalize()


_READERS: dict[str, Callable[[_Module, int], Step]] = {
    "Pooling": _read_pooling,
    "Dense": _read_dense,
    "LayerNorm": _read_layer_norm,
    "Normalize": _read_normalize,
}


def _check_width(module: _Module, width: int, said: Any) -> None:
    check(module.source, (said == width, f"it is for vectors of {said!r} dimensions, and gets {width}"))


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
    settings = _optional(folder / "config_sentence_transformers.json")
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


def read_prompts(path: Path) -> tuple[str, str]:
    """What is put before queries and documents, by a `config_sentence_transformers.json`; see `choose_prompts`.

    Raises:
        ModelFileError: Its prompts are no strings.
    """
    return choose_prompts(_optional(path), str(path))


def choose_prompts(settings: Mapping[str, Any], source: str) -> tuple[str, str]:
    """What is put before queries and documents, by Sentence Transformers' settings, which come from `source`.

    A model that has no prompts under these names was trained with its default prompt, if it has one, for all texts.

    Raises:
        ModelFileError: The prompts are no strings.
    """
    prompts = settings.get("prompts") or {}
    is_texts = isinstance(prompts, dict) and all(isinstance(text, str | None) for text in prompts.values())
    check(source, (is_texts, f"prompts is {prompts!r}; it must be an object of strings"))
    default = prompts.get(settings.get("default_prompt_name")) or ""
    given = [prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts]
    document = next((text for text in given if text), "" if given else default)
    return prompts.get("query", default) or "", document
