"""Models of the Hugging Face hub by their id: in the Hugging Face cache, or downloaded into it by huggingface_hub.

Only what milvine reads is downloaded, and every file is compared with the hash that the hub states for it: the sha256
of a large file, the git hash of a small one. The cache keeps that hash as the name of the file that a snapshot links
to, so that a cached file is compared with it too.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine._progress import progress, wants_progress
from milvine.errors import MilvineError, ModelFileError, ModelUnavailableError, UnknownModelError
from milvine.local.finding.hub_files import (
    EXTRAS,
    MODULES,
    absence_note,
    checkpoint,
    model_files,
    module_places,
    needed_files,
    ready_graph,
    what_lacks,
)
from milvine.local.finding.sources import (
    CHUNK,
    HUB_TOTAL_SECONDS,
    SourceError,
    authorization,
    hub_endpoint,
    is_file,
    probe,
    reason_of,
    require_room,
    sha256_of,
    why_offline,
)

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

__all__ = ["is_hub_id", "resolve_hub", "snapshot_folder"]

MAIN = "main"
EXAMPLE = "intfloat/e5-small-v2"
SETTLING_SECONDS = 0.2
"""How often the growth of a download is looked at."""


def is_hub_id(name: str) -> bool:
    """Whether a name can be that of a repository on the hub: owner/name, each of at most 96 characters."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", name) is not None


def is_commit(revision: str) -> bool:
    """Whether a revision can never change: a commit's whole name."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def resolve_hub(
    repo: str,
    revision: str | None = None,
    *,
    offline: bool | None = None,
    show_progress: bool | None = None,
    refresh: bool = False,
    task: str | None = None,
) -> Path:
    """The folder that holds a model of the hub, fetched first if the Hugging Face cache does not have it.

    Args:
        repo: Its repository, such as `"intfloat/e5-small-v2"`.
        revision: A commit, branch or tag; by default `"main"`. What the cache has under that name is used, however old.
        offline: As in `milvine.local.finding.files.fetch_model`.
        show_progress: Whether to show the download; by default on a terminal only.
        refresh: Whether to ask the hub, unless that is not allowed, for what the branch holds now and the cache lacks,
            and to replace corrupt files rather than refuse them.
        task: What the model is wanted for, so that what the cache has can be judged by that.

    Raises:
        UnknownModelError: `repo` is no id, or the hub has no such model or revision.
        ModelFileError: A file in the cache has another hash than the hub stated.
        ModelUnavailableError: It is not in the cache and the hub cannot be asked, refuses, or sends other bytes.
    """
    wanted = _Wanted(repo, revision or MAIN)
    if not is_hub_id(repo):
        raise UnknownModelError(f"{repo!r} is no id of a model on the Hugging Face hub; one is like {EXAMPLE!r}.")
    folder = snapshot_folder(repo, revision)
    if folder and refresh:
        _remove_corrupt(folder)
    lacking = what_lacks(folder, task) if folder else []
    why = why_offline(offline)
    if folder and not lacking and (why or not refresh):
        for name in model_files(folder):
            _check_cached(folder / name, wanted)
        return folder
    there = f"{folder} lacks {', '.join(lacking)}" if lacking else "not there" if folder is None else str(folder)
    wanted.tried.append(f"Hugging Face cache: {there}")
    if why:
        raise wanted.unavailable(f"Hugging Face hub: not asked, because {why}")
    return _download(wanted, show_progress)


@dataclass
class _Wanted:
    """A model that is looked for, and where it was looked for in vain."""

    repo: str
    revision: str
    tried: list[str] = field(default_factory=list)

    @property
    def pull(self) -> str:
        """The command that fetches it."""
        return f"milvine models pull {self.repo}" + (f" --revision {self.revision}" if self.revision != MAIN else "")

    def unavailable(self, reason: str, advice: str = "") -> ModelUnavailableError:
        tried = "".join(f"\n  - {each}" for each in [*self.tried, reason])
        at = "" if self.revision == MAIN else f" at {self.revision}"
        advice = advice or f"With a network, run `{self.pull}`; or pass the path of a folder that holds its files."
        return ModelUnavailableError(f"No source could deliver {self.repo}{at}:{tried}\n{advice}")


# The Hugging Face cache


def snapshot_folder(repo: str, revision: str | None = None) -> Path | None:
    """Where the Hugging Face cache has a model at a revision, whole or in part; `None` if it does not have it."""
    from huggingface_hub import constants

    store = Path(constants.HF_HUB_CACHE).expanduser() / f"models--{repo.replace('/', '--')}"
    commit = revision or MAIN
    if not is_commit(commit):
        if ".." in commit or commit.startswith("/"):
            return None
        ref = store / "refs" / commit
        if not is_file(ref):
            return None
        commit = ref.read_text(encoding="utf-8").strip()
    folder = store / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def _stated(path: Path) -> str | None:
    """The hash that the hub stated for a file of a snapshot; `None` where the cache does not say."""
    blob = path.resolve()
    is_hash = re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name)
    return blob.name if is_hash and blob.parent.name == "blobs" else None


def _hash(path: Path, like: str) -> str:
    """The hash of a file of the kind that `like` is: its sha256, or the name that git gives its contents."""
    if len(like) == 64:
        return sha256_of(path)
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as handle:
        while block := handle.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _check_cached(path: Path, wanted: _Wanted) -> None:
    stated = _stated(path)
    try:
        if stated is None or (found := _hash(path, stated)) == stated:
            return
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror or error}. Mend its permissions.") from error
    raise ModelFileError(
        f"{path} is corrupt: its hash is {found} and should be {stated}. Run `{wanted.pull}` to replace it."
    )


def _remove_corrupt(folder: Path) -> None:
    for path in (folder / name for name in model_files(folder)):
        stated = _stated(path)
        if stated is not None and _hash(path, stated) != stated:
            path.resolve().unlink()
            path.unlink(missing_ok=True)


# The hub


def _download(wanted: _Wanted, show_progress: bool | None) -> Path:
    import httpx
    from huggingface_hub import errors

    endpoint, repo = hub_endpoint(), wanted.repo
    where = "Hugging Face hub"
    try:
        where = f"Hugging Face hub ({httpx.URL(endpoint).netloc.decode()})"
        probe(f"{endpoint}/api/models/{repo}", authorization())
        return _fetch(wanted, endpoint, show_progress)
    except MilvineError:
        raise
    except SourceError as error:
        raise wanted.unavailable(f"{where}: {error}") from error
    except errors.GatedRepoError as error:
        advice = f"Accept its terms at {endpoint}/{repo}, set HF_TOKEN to your token, and run `{wanted.pull}`."
        raise wanted.unavailable(f"{where}: {repo} is gated", advice) from error
    except errors.RevisionNotFoundError as error:
        raise UnknownModelError(f"{repo} has no revision {wanted.revision!r} on the {where}.") from error
    except errors.RepositoryNotFoundError as error:
        raise UnknownModelError(
            f"The {where} knows no model {repo!r}, or does not show it to you. Mend its name; or, if it is private, set"
            " HF_TOKEN to your token."
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        advice = (
            f"Set HF_TOKEN to a token that may read {repo}, and run `{wanted.pull}`." if status in (401, 403) else ""
        )
        raise wanted.unavailable(f"{where}: HTTP {status}", advice) from error
    except Exception as error:  # huggingface_hub's transport, and so its errors, differ by its version
        raise wanted.unavailable(f"{where}: {reason_of(error).splitlines()[0]}") from error


def _fetch(wanted: _Wanted, endpoint: str, show_progress: bool | None) -> Path:
    """Download what is needed of a model into the Hugging Face cache, and compare it with what the hub states."""
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

    api = HfApi(endpoint=endpoint)
    info = api.model_info(wanted.repo, revision=wanted.revision, files_metadata=True, timeout=HUB_TOTAL_SECONDS)
    stated = _statements(info)
    at: dict[str, Any] = {"revision": wanted.revision, "endpoint": endpoint, "etag_timeout": HUB_TOTAL_SECONDS}
    cache = Path(constants.HF_HUB_CACHE).expanduser()
    with _quiet():
        places = [""]
        if MODULES in stated:
            places = module_places(Path(hf_hub_download(wanted.repo, MODULES, **at)).parent)
        needed = needed_files(stated, places)
        if not checkpoint(stated, places[0]) and not ready_graph(stated, places[0]):
            raise SourceError(f"{wanted.repo} holds no weights that milvine reads (safetensors, PyTorch's .bin, ONNX)")
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        size = sum(sizes[name] for name in needed)
        room = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
        require_room(room, size, "HF_HUB_CACHE")
        store = cache / f"models--{wanted.repo.replace('/', '--')}" / "blobs"
        with _watched(store, f"{wanted.repo} from the hub", size, show_progress):
            folder = Path(snapshot_download(wanted.repo, allow_patterns=[_literally(name) for name in needed], **at))
    if folder.name != info.sha:
        raise SourceError(f"{wanted.revision} of {wanted.repo} changed while it was fetched; try again")
    for name in needed:
        _check_received(folder / name, name, stated[name])
    for note in (absence_note(folder, name) for name in (MODULES, *EXTRAS) if name not in stated):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    return folder


def _statements(info: ModelInfo) -> dict[str, str]:
    """The hash that the hub states for each file of a repository: a sha256, or git's for a small file."""
    stated = {}
    for file in info.siblings or ():
        lfs = file.lfs
        sha256 = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
        stated[file.rfilename] = str(sha256 or file.blob_id)
    return stated


def _literally(name: str) -> str:
    """A pattern that this name alone matches."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _check_received(path: Path, name: str, stated: str) -> None:
    if not is_file(path):
        raise SourceError(f"{name} did not arrive")
    if (found := _hash(path, stated)) != stated:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        kind = "sha256" if len(stated) == 64 else "git hash"
        raise SourceError(f"{name} arrived with the {kind} {found} instead of {stated}; it was removed")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep huggingface_hub from drawing bars of its own, which it does where there is no terminal, too."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _watched(store: Path, title: str, size: int, show: bool | None) -> Iterator[None]:
    """Show how a folder grows."""
    if not wants_progress(show):
        yield
        return
    over = threading.Event()
    before = _size_of(store)

    def watch(advance: Callable[[int], None]) -> None:
        shown = 0
        while not over.wait(SETTLING_SECONDS):
            arrived = min(max(shown, _size_of(store) - before), size)
            advance(arrived - shown)
            shown = arrived

    with progress(title, size, unit="bytes", show=show) as advance:
        watcher = threading.Thread(target=watch, args=(advance,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def _size_of(folder: Path) -> int:
    with suppress(OSError):  # huggingface_hub renames its files
        return sum(path.stat().st_size for path in folder.glob("*"))
    return 0
