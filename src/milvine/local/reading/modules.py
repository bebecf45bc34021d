"""The modules of Sentence Transformers that a folder's `modules.json` names, and the steps that they are here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from milvine.local.building.architectures.base import TORCH, Config, check, check_switches
from milvine.local.building.heads import ACTIVATIONS, POOLINGS, LayerNorm, Linear, Normalize, Pooling, Step
from milvine.local.reading.json_files import read_json, read_optional_json
from milvine.local.reading.weights import weights_file
from milvine.local.spec import Heads

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


@dataclass(frozen=True)
class Module:
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
        """Where its settings stand, as messages name it."""
        return str(self.path / "config.json")


def read_modules(folder: Path) -> list[Module]:
    """The chain of modules, the transformer first; dropout, which does nothing to a trained model, is left out."""
    path = folder / "modules.json"
    if not path.is_file():
        return [Module("Transformer", "", folder, {}, is_alone=True)]
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
        config = read_optional_json(at / "config.json") if name == "Normalize" else read_json(at / "config.json", dict)
        if name != "Dropout":
            known = "Transformer" if name == "MLMTransformer" else name
            is_instructor = package.startswith("InstructorEmbedding")
            modules.append(Module(known, place, at, config, is_instructor=is_instructor))
    kinds = [module.kind for module in modules]
    is_chain = kinds[:1] == ["Transformer"] and "Transformer" not in kinds[1:]
    check(str(path), (is_chain, f"a chain of {', '.join(kinds) or 'no modules'} must begin with its one Transformer"))
    return modules


Found = tuple[Heads, list[tuple[str, Path]]]
"""Heads, and the checkpoints of those steps that have one, each with what stands before its names."""


def dense_head(modules: list[Module], raw: Mapping[str, Any], config: Config) -> Found:  # noqa: ARG001
    """The output `dense`: a pooling, and whatever of dense layers, layer norms and normalisation follows it.

    Raises:
        ModelFileError: The chain is of no dense model, or a module's settings are not known here.
    """
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


def _read_pooling(module: Module, width: int) -> Pooling:
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


def _read_dense(module: Module, width: int) -> Linear:
    check_switches(
        module.source,
        module.config,
        use_residual=False,
        module_input_name="sentence_embedding",
        module_output_name="sentence_embedding",
    )
    return read_linear(module, width, "torch.nn.Tanh")


def read_linear(module: Module, width: int, activation: str) -> Linear:
    """The layer of a `Dense` module, for vectors of `width` dimensions; `activation` is that of one that names none.

    Raises:
        ModelFileError: It is for other vectors, or its activation is not known here.
    """
    config, source = module.config, module.source
    _check_width(module, width, config.get("in_features"))
    outputs, activation = config.get("out_features"), str(config.get("activation_function", activation))
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


def _read_layer_norm(module: Module, width: int) -> LayerNorm:
    _check_width(module, width, module.config.get("dimension"))
    return LayerNorm(f"{module.place}/norm", width, 1e-5)  # PyTorch's epsilon


def _read_normalize(module: Module, width: int) -> Normalize:  # noqa: ARG001
    check_switches(
        module.source, module.config, module_input_name="sentence_embedding", module_output_name="sentence_embedding"
    )
    return Normalize()


_READERS: dict[str, Callable[[Module, int], Step]] = {
    "Pooling": _read_pooling,
    "Dense": _read_dense,
    "LayerNorm": _read_layer_norm,
    "Normalize": _read_normalize,
}


def _check_width(module: Module, width: int, said: Any) -> None:
    check(module.source, (said == width, f"it is for vectors of {said!r} dimensions, and gets {width}"))
