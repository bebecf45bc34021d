"""Which files of a hub's repository, or of a folder in the Hugging Face cache, milvine needs to run the model in it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from milvine.local.finding.sources import is_file
from milvine.local.reading.weights import WEIGHTS_FILES

MODULES = "modules.json"
HEADS = ("sparse_linear.pt", "colbert_linear.pt")
"""BGE-M3's heads for terms and for tokens."""
SETTINGS = "artifact.metadata"
"""What a ColBERT of colbert-ai was trained with."""
EXTRAS = (*HEADS, SETTINGS)


def model_files(folder: Path) -> list[str]:
    """The files of a model's folder that milvine reads, by their paths in it; the checkpoint comes first."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if is_file(path)}
    return needed_files(names, module_places(folder))


def needed_files(names: Collection[str], places: list[str]) -> list[str]:
    """Of a repository's files, those that milvine reads, the checkpoints first.

    Args:
        names: Every file there is.
        places: The folders of the modules, the transformer's first; `""` is the repository's own.
    """
    weights = [name for place in places for name in checkpoint(names, place)]
    if not any(PurePosixPath(name).parent == PurePosixPath(places[0]) for name in weights):
        weights += ready_graph(names, places[0])
    settings = sorted(
        name
        for name in names
        if str(PurePosixPath(name).parent) in {place or "." for place in ("", *places)}
        and (name.endswith((".json", ".txt")) or name in EXTRAS)
        and not name.endswith(".index.json")
    )
    return [*dict.fromkeys([*weights, *settings])]


def checkpoint(names: Collection[str], place: str) -> list[str]:
    """The checkpoint in a folder of a repository, in one file or with its index in several: the first kind there is."""
    prefix = f"{place}/" if place else ""
    for kind in WEIGHTS_FILES:
        if prefix + kind in names:
            stem, _, rest = kind.partition(".")
            part = re.compile(re.escape(prefix + stem) + r"-\d+-of-\d+\." + rest.partition(".")[0])
            parts = sorted(name for name in names if part.fullmatch(name)) if kind.endswith(".index.json") else []
            return [*parts, prefix + kind]
    return []


def ready_graph(names: Collection[str], place: str) -> list[str]:
    """The ready ONNX graph of a folder of a repository, and the file beside it that holds a large one's weights."""
    from milvine.local.reading.onnx_file import ONNX_FILES

    prefix = f"{place}/" if place else ""
    for graph in (prefix + inner + name for name in ONNX_FILES for inner in ("", "onnx/")):
        if graph in names:
            return [graph, *(f"{graph}{end}" for end in ("_data", ".data") if f"{graph}{end}" in names)]
    return []


def module_places(folder: Path) -> list[str]:
    """The folders of a model's modules, the transformer's first; `""` is the model's own."""
    return [*dict.fromkeys(place for _, place in named_modules(folder))]


def named_modules(folder: Path) -> list[tuple[str, str]]:
    """The classes of a model's modules and their folders, as far as `modules.json` can be read."""
    try:
        entries = json.loads((folder / MODULES).read_bytes())
        said = [(str(each.get("type")).rpartition(".")[2], PurePosixPath(each.get("path") or ".")) for each in entries]
    except (OSError, ValueError, AttributeError, TypeError):
        said = []  # what is wrong with it is for the reader of the folder to say
    inside = [(kind, str(path)) for kind, path in said if not path.is_absolute() and ".." not in path.parts]
    return [(kind, "" if place == "." else place) for kind, place in inside] or [("Transformer", "")]


def what_lacks(folder: Path, task: str | None = None) -> list[str]:
    """What a snapshot in the Hugging Face cache lacks for a task, if one is named; other programs may have left it so.

    A file that a model may have or not counts as lacking unless the cache notes that the hub has none.
    """
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if is_file(path)}
    (first, root), *others = named_modules(folder)
    at = f"{root}/" if root else ""
    weights = checkpoint(names, root)
    needed = [f"{name}, or the hub's word that there is none" for name in _doubtful(folder, names, task)]
    if weights:
        needed += [f"{at}tokenizer.json"] + [f"{at}config.json"] * (first != "StaticEmbedding")
        needed += [f"{at}{part}" for part in _parts(folder / weights[-1])]
    elif not ready_graph(names, root):  # whose tokenizer may be another repository's
        needed.append("weights")
    for kind, place in others:
        needed += [f"{place}/config.json"] * (kind != "Normalize")
        if kind in ("Dense", "LayerNorm") and not checkpoint(names, place):
            needed.append(f"the weights of {place}")
    return [name for name in needed if name not in names]


def _parts(index: Path) -> list[str]:
    """The files of a checkpoint in several, if this is the index of one."""
    if not index.name.endswith(".index.json"):
        return []
    try:
        return sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


def _doubtful(folder: Path, names: Collection[str], task: str | None) -> list[str]:
    """Files that may exist on the hub and would change what the model is."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        kind, architectures = config.get("model_type"), config.get("architectures") or [""]
        is_classifier = all(str(name).endswith("ForSequenceClassification") for name in architectures)
    except (OSError, ValueError, AttributeError, TypeError):
        kind, is_classifier = None, False
    # Without modules.json the mean of the states would be taken, which is wrong for a model that has one.
    wanted = [] if is_classifier else [MODULES]
    if task == "hybrid" and kind == "xlm-roberta":
        wanted += HEADS
    if task == "multivector" and MODULES not in names:
        wanted.append(SETTINGS)
    return [name for name in wanted if name not in names and not is_file(absence_note(folder, name))]


def absence_note(folder: Path, name: str) -> Path:
    """The empty file by which the Hugging Face cache notes that a snapshot's repository has no file of this name."""
    return folder.parent.parent / ".no_exist" / folder.name / name
