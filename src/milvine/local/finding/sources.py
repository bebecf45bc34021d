"""Where a model's files can be had: the Hugging Face cache, the hub at a pinned revision; for wheels see `wheels.py`.

Each source takes a `Fetch` and adds what it can deliver to `Fetch.found`, or says why it cannot in `Fetch.tried`. No
path gets into `found` before the sha256 of its bytes was compared with the catalogue's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from milvine._progress import progress
from milvine.errors import MilvineError, ModelFileError, ModelUnavailableError
from milvine.local.finding.catalogue import ModelFile, ModelRow

if TYPE_CHECKING:
    import httpx

PARTIAL = ".partial-"
"""How the names of unfinished files and scratch folders begin."""

OFFLINE_SWITCHES = ("MILVINE_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that keep milvine from asking other machines, if set to 1, true, yes or on."""

CHUNK = 1 << 20
HUB_ANSWER_SECONDS = 3.0
"""How long the hub may take to connect, and then to answer, before it counts as unreachable."""
HUB_TOTAL_SECONDS = 8.0
"""The same for both together with name resolution and every address of the host, which no client's timeout bounds."""
HUB_STALL_SECONDS = 30.0


class SourceError(Exception):
    """A source cannot deliver; the text is the reason, on one line."""


class UnreachableError(SourceError):
    """A source cannot be reached, so asking it for something else is of no use."""


@dataclass
class Fetch:
    """One attempt to get a model's files.

    Attributes:
        row: The model.
        folder: Its folder in milvine's cache.
        show_progress: As in `milvine._progress.progress`.
        found: Verified files, by their path in the row.
        tried: Each source that did not deliver, with its reason.
    """

    row: ModelRow
    folder: Path
    show_progress: bool | None = None
    found: dict[str, Path] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)

    @property
    def missing(self) -> list[ModelFile]:
        """The files that no source has delivered yet."""
        return [file for file in self.row.files if file.path not in self.found]


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def is_file(path: Path) -> bool:
    """Whether there is a file at this path; no where one may not look, unlike `Path.is_file`, which raises there."""
    return os.path.isfile(path)  # noqa: PTH113


def matches(path: Path, file: ModelFile) -> bool:
    """Whether the file at this path has the size and the sha256 of the catalogue.

    Raises:
        ModelFileError: It cannot be read.
    """
    try:
        return path.stat().st_size == file.size and sha256_of(path) == file.sha256
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror or error}. Mend its permissions.") from error


# The Hugging Face cache


def hub_cache_paths(row: ModelRow, file: ModelFile) -> list[Path]:
    """Where the Hugging Face cache has a file of this name: at the pinned revision, or at its newest `main`."""
    if row.revision is None:
        return []
    from huggingface_hub import try_to_load_from_cache

    hits = [try_to_load_from_cache(row.repo, file.path, revision=revision) for revision in (row.revision, "main")]
    paths = [Path(hit) for hit in hits if isinstance(hit, str)]
    return [path for path in dict.fromkeys(paths) if is_file(path)]


def from_hub_cache(fetch: Fetch) -> None:
    """Take what the Hugging Face cache has, without copying it."""
    if fetch.row.revision is None:
        return
    wrong: list[str] = []
    for file in fetch.missing:
        paths = hub_cache_paths(fetch.row, file)
        for path in paths:
            if matches(path, file):
                fetch.found[file.path] = path
                break
        else:
            wrong += [f"{path} has another sha256 than {file.sha256}" for path in paths]
    if fetch.missing:
        fetch.tried.append(f"Hugging Face cache: {'; '.join(wrong) or 'not there'}")


# The Hugging Face hub


def from_hub(fetch: Fetch) -> None:
    """Download from the hub (`HF_ENDPOINT`, by default https://huggingface.co) at the pinned revision."""
    if not fetch.row.hub:
        return
    import httpx

    endpoint = hub_endpoint()
    base = f"{endpoint}/{fetch.row.repo}/resolve/{fetch.row.revision}"
    try:
        host = httpx.URL(endpoint).netloc.decode()
        headers = {"Accept-Encoding": "identity"} | authorization()
        probe(f"{base}/{fetch.missing[0].path}", headers)
        size = sum(file.size for file in fetch.missing)
        timeout = httpx.Timeout(HUB_STALL_SECONDS, connect=HUB_ANSWER_SECONDS)
        with (
            httpx.Client(headers=headers, follow_redirects=True, timeout=timeout) as client,
            progress(f"{fetch.row.name} from {host}", size, unit="bytes", show=fetch.show_progress) as advance,
        ):
            require_room(fetch.folder, size)
            for file in fetch.missing:
                with client.stream("GET", f"{base}/{file.path}") as response:
                    if response.status_code != httpx.codes.OK:
                        raise SourceError(f"HTTP {response.status_code} for {response.url.path}")
                    fetch.found[file.path] = store(file, _received(response, advance), fetch.folder)
    except SourceError as error:
        fetch.tried.append(f"Hugging Face hub ({host}): {error}")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
        fetch.tried.append(f"Hugging Face hub: {reason_of(error)}")


def hub_endpoint() -> str:
    """Where the hub is."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def why_offline(offline: bool | None) -> str | None:
    """Why no other machine may be asked, by the caller's word or by a switch; `None` if one may."""
    for name in OFFLINE_SWITCHES:
        if os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}:
            return f"{name} is set"
    return "offline=True" if offline else None


def probe(url: str, headers: dict[str, str]) -> None:
    """Find out within seconds whether the hub answers at all; what it answers is for the download to judge.

    Raises:
        UnreachableError: It does not.
    """
    import httpx

    reasons: list[str] = []

    def ask() -> None:
        try:
            httpx.head(url, headers=headers, follow_redirects=True, timeout=HUB_ANSWER_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError, OSError) as error:
            reasons.append(reason_of(error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_TOTAL_SECONDS)
    if asking.is_alive():
        raise UnreachableError(f"no answer within {HUB_TOTAL_SECONDS:g} s")
    if reasons:
        raise UnreachableError(reasons[0])


def authorization() -> dict[str, str]:
    """The header that names the user to the hub, if there is a token."""
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _received(response: httpx.Response, advance: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in response.iter_bytes(CHUNK):
        advance(len(chunk))
        yield chunk


def reason_of(error: Exception) -> str:
    """An error in a few words."""
    return f"{type(error).__name__} ({error})" if str(error) else type(error).__name__


# Writing to milvine's cache


def store(file: ModelFile, chunks: Iterable[bytes], folder: Path) -> Path:
    """Write a file to the cache, whole and verified, or not at all.

    Raises:
        SourceError: The bytes are not the file's.
        ModelUnavailableError: The disk is full or may not be written.
    """
    target = folder / file.path
    part = folder / f"{PARTIAL}{uuid4().hex}"
    digest, size = hashlib.sha256(), 0
    try:
        with writing(target, file.size):
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as handle:
                for chunk in chunks:
                    size += len(chunk)
                    if size > file.size:
                        raise SourceError(f"{file.path} is longer than its {file.size:,} bytes")
                    digest.update(chunk)
                    handle.write(chunk)
                handle.flush()
                os.fsync(handle.fileno())
            if size < file.size:
                raise SourceError(f"{file.path} ended after {size:,} of {file.size:,} bytes")
            if digest.hexdigest() != file.sha256:
                raise SourceError(f"{file.path} has the sha256 {digest.hexdigest()} instead of {file.sha256}")
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def remove_partial(folder: Path) -> None:
    """Remove what killed runs left behind. The caller holds the model's lock, so no living run owns any of it."""
    for leftover in folder.glob(f"{PARTIAL}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def require_room(folder: Path, size: int, variable: str = "MILVINE_CACHE") -> None:
    """Refuse a download that the disk cannot hold before it is begun; `variable` says where another disk is named.

    Raises:
        ModelUnavailableError: Fewer than `size` bytes are free.
    """
    with writing(folder, size, variable):
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def writing(path: Path, size: int, variable: str = "MILVINE_CACHE") -> Iterator[None]:
    """Turn the failure of a write into an error that names the path and what to do about it."""
    try:
        yield
    except MilvineError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = f"{size / 1e6:,.1f} MB are needed. Free some space, or set {variable} to a folder that has room."
        else:
            advice = f"Mend its permissions, or set {variable} to a folder that may be written."
        raise ModelUnavailableError(f"Cannot write {path}: {error.strerror or error}. {advice}") from error
