"""What a row of the catalogue says of a model, compared with what the model's own files say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from milvine.errors import ModelError
from milvine.local.building.heads import Pooling
from milvine.local.finding.catalogue import ModelFile, ModelRow
from milvine.local.finding.hub import is_commit
from milvine.local.finding.hub_files import model_files
from milvine.local.finding.sources import sha256_of
from milvine.local.reading.folder import read_folder
from milvine.local.reading.json_files import read_json
from milvine.local.spec import ModelSpec


def contradictions(row: ModelRow, folder: Path) -> list[str]:
    """Where a row and the files of its model's folder disagree, each in a few words; best none."""
    found = []
    for task in row.tasks:
        try:
            spec = read_folder(folder, task)
        except ModelError as error:
            found.append(f"as a {task} model it cannot be run: {error}")
            continue
        found += [f"{what} is {said!r} in the catalogue, {is_!r} in its files" for what, said, is_ in _pairs(row, spec)]
    return list(dict.fromkeys(found))


def with_files(row: ModelRow, folder: Path) -> ModelRow:
    """The row with the files of its model's folder, as the catalogue can take it; they must not contradict it."""
    names = model_files(folder)
    files = tuple(ModelFile(name, sha256_of(folder / name), (folder / name).stat().st_size) for name in names)
    normalize = row.normalize
    if normalize is None and row.pooling:
        normalize = read_folder(folder, row.task).normalizes
    revision = folder.name if is_commit(folder.name) else row.revision
    return replace(row, revision=revision, normalize=normalize, weights=names[0], files=files)


def _pairs(row: ModelRow, spec: ModelSpec) -> Iterator[tuple[str, object, object]]:
    """What differs: a field, what the row says, and what the files say."""
    heads = spec.heads or {}
    head = heads.get("dense", next(iter(heads.values()), ()))
    poolings = [str(step) for step in head if isinstance(step, Pooling)]
    said = [("architecture", row.architecture, _architecture(spec)), ("max_length", row.max_length, spec.max_length)]
    if spec.task != "reranker":
        said.append(("dim", row.dim, spec.dims.get("dense", spec.dim)))
    if spec.task in ("dense", "hybrid"):
        said.append(("pooling", row.pooling, poolings[0] if poolings else None))
    if spec.task == "dense" and row.normalize is not None:
        said.append(("normalize", row.normalize, spec.normalizes))
    for name, prefix, prompt in (
        ("query_prefix", row.query_prefix, spec.query_prompt),
        ("document_prefix", row.document_prefix, spec.document_prompt),
    ):
        if prompt:  # most files say nothing of them
            said.append((name, prefix, prompt))
    return (each for each in said if each[1] != each[2])


def _architecture(spec: ModelSpec) -> object:
    if spec.files is None or spec.files.weights[0][1].suffix == ".onnx" or spec.files.config is None:
        return "onnx"
    return read_json(spec.files.config, dict).get("model_type")
