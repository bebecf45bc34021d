"""What a name means: a model of the catalogue, of a folder, or of the hub."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from milvine.errors import InputError, UnknownModelError
from milvine.local.finding.catalogue import ModelRow, find
from milvine.local.finding.files import fetch_folder
from milvine.local.finding.hub import is_commit, is_hub_id, resolve_hub
from milvine.local.finding.hub_files import MODULES
from milvine.local.finding.sources import is_file
from milvine.local.reading.folder import read_folder
from milvine.local.spec import ModelSpec, spec_of_row


def find_spec(
    name: str | Path,
    task: str,
    folder: str | Path | None = None,
    revision: str | None = None,
    show_progress: bool | None = None,
) -> ModelSpec:
    """The model of this name: the catalogue's, or else that of the folder at this path, or else the hub's.

    A row of the catalogue that names its files says all there is to know, and nothing is fetched yet. Of any other
    model the files are fetched and the small ones read; a row then adds what is put before texts.

    Args:
        name: The name, a hub id, or the path of a folder.
        task: What the model is wanted for.
        folder: Where the files of a model of the catalogue or of the hub lie; nothing else is looked at then.
        revision: The commit, branch or tag of a model of the hub; by default the row's, else `"main"`.
        show_progress: Whether to show downloads; by default on a terminal only.

    Raises:
        UnknownModelError: There is no such model.
        InputError: The model is for another task, or `folder` or `revision` is given beside the path of a folder.
        ModelFileError: Its files are corrupt, or cannot be run here.
        ModelUnavailableError: Its files cannot be had.
    """
    try:
        row = find(str(name) if isinstance(name, Path) else name)
    except UnknownModelError as error:
        path = Path(name).expanduser()
        if str(name).strip() and _is_folder(path):
            for option, value in (("folder", folder), ("revision", revision)):
                if value is not None:
                    raise InputError(
                        f"{path} is a folder with a model; {option}={str(value)!r} cannot be another one"
                    ) from None
            return read_folder(path, task)
        if is_file(path):
            as_onnx = " OnnxEmbeddingFunction takes the path of an ONNX file." if path.suffix == ".onnx" else ""
            raise UnknownModelError(
                f"{path} is a file; pass the folder that holds all of the model's files, {path.parent}.{as_onnx}"
            ) from None
        if isinstance(name, Path) or not is_hub_id(name):
            raise UnknownModelError(f"{error} There is no folder {str(path)!r} either.") from None
        if folder is not None:
            return replace(read_folder(Path(folder).expanduser(), task), name=name)
        return _of_hub(resolve_hub(name, revision, show_progress=show_progress, task=task), name, task)
    if task not in row.tasks:
        raise InputError(f"{row.name} is a {row.task} model; a {task} model is needed here")
    if revision is None or revision == row.revision:
        says_all = task not in ("hybrid", "multivector") and MODULES not in {file.path for file in row.files}
        if row.verified and says_all:
            return spec_of_row(row)
        at = fetch_folder(row, folder, show_progress=show_progress, task=task)
    elif folder is not None:
        raise InputError(f"folder={str(folder)!r} holds one revision; revision={revision!r} cannot be another one")
    else:
        at = resolve_hub(row.repo, revision, show_progress=show_progress, task=task)
    found = read_folder(at, task) if folder is not None and not row.verified else _of_hub(at, row.name, task)
    return _as_row_says(found, row)


def _is_folder(path: Path) -> bool:
    """Unlike `Path.is_dir`, not raising where a path is too long or may not be looked at."""
    return os.path.isdir(path)  # noqa: PTH112


def _of_hub(folder: Path, name: str, task: str) -> ModelSpec:
    commit = folder.name if is_commit(folder.name) else None
    return replace(read_folder(folder, task), name=name, folder=None, revision=commit)


def _as_row_says(found: ModelSpec, row: ModelRow) -> ModelSpec:
    """A model whose own files often do not say what is put before its texts."""
    return replace(
        found,
        name=row.name,
        revision=found.revision or (row.revision if row.verified else None),
        query_prompt=row.query_prefix or found.query_prompt,
        document_prompt=row.document_prefix or found.document_prompt,
    )
