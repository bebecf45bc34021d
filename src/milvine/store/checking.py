"""What is wrong with the file of a built-in store, and what to do about it. Nothing is changed, nor repaired."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

from milvine._records import content_hash
from milvine.errors import StoreError, StoreNotFoundError
from milvine.types import Record

LARGE_LOG = 256 << 20  # bytes
LISTED = 5
LOST = "restore the file from a backup, or copy what can be read: milvine copy {path} NEW"


class Finding(NamedTuple):
    """Something that was seen. "note" is harmless, "wrong" is not."""

    kind: Literal["fine", "note", "wrong"]
    text: str


def check(path: Path) -> Iterator[Finding]:
    """Look at all that a file holds, and at its images.

    Raises:
        StoreNotFoundError: There is no such file.
        StoreError: It is no file of a built-in store; or it cannot be read at all.
    """
    from milvine.store.builtin.database import APPLICATION, MIGRATIONS

    path = path.expanduser().absolute()
    if not path.is_file():
        what = "is a folder; give the file beside it" if path.is_dir() else "is not there"
        raise StoreNotFoundError(f"the file {path} {what}")
    advice = LOST.format(path=shlex.quote(str(path)))
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as database:
            application, version = (
                database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            if application != APPLICATION:
                what = "was not made by milvine" if path.stat().st_size else "is empty"
                raise StoreError(f"{path} {what}, and so there is nothing to check")
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"{path} has schema {version}, and this milvine reads up to {len(MIGRATIONS)}: upgrade milvine"
                )
            if version < 1:
                yield Finding("wrong", f"the version of the schema is {version}, which there is none of; {advice}")
            database.execute("BEGIN")  # so that all is of one moment
            yield from _check_pages(database, advice)
            for number, name, config, fields in database.execute(
                "SELECT number, name, config, fields FROM collections"
            ):
                yield from _check_collection(database, number, name, json.loads(config), json.loads(fields), advice)
            yield from _check_images(database, path)
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise StoreError(f"{path} is no file of the built-in store, or its first bytes are damaged") from error
        yield Finding("wrong", f"reading stopped: {error}; {advice}")
    except (ValueError, TypeError, KeyError) as error:
        yield Finding("wrong", f"a collection's description is damaged ({error!r}); {advice}")
    log = Path(f"{path}-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > LARGE_LOG:
        yield Finding(
            "note",
            f"{log.name} has {size / 1e6:,.0f} MB: a program that has read for long holds it back; it is folded into"
            " the file once the last program closes it (do not delete it: it holds rows)",
        )


def _check_pages(database: sqlite3.Connection, advice: str) -> Iterator[Finding]:
    problems = [text for (text,) in database.execute(f"PRAGMA integrity_check({LISTED})") if text != "ok"]
    if problems:
        yield Finding("wrong", f"the file is damaged: {'; '.join(problems)}; {advice}")
    else:
        yield Finding("fine", "the file's pages and indexes are in order")


def _check_collection(
    database: sqlite3.Connection, number: int, name: str, config: dict[str, Any], fields: list[str], advice: str
) -> Iterator[Finding]:
    rows, vectors = f"rows_{number}", f"vectors_{number}"

    def select(what: str) -> Iterator[tuple[Any, ...]]:
        return iter(database.execute(f"SELECT {what}"))

    count, damaged = 0, []
    for id_, *content in select(f"id, content_hash, text, metadata FROM {rows}"):
        count += 1
        if not _is_as_written(id_, *content):
            damaged.append(id_)
    if damaged:
        yield Finding("wrong", f"{name}: text or metadata are damaged of {_listed(damaged)}; add them again")
    missing = f"id FROM {rows} WHERE row NOT IN (SELECT row FROM {vectors})"  # noqa: S608 - of numbers alone
    bare = [id_ for (id_,) in select(missing)]
    if bare:
        yield Finding("wrong", f"{name}: there are no vectors of {_listed(bare)}; delete and add them again")
    surplus = f"row FROM {vectors} WHERE row NOT IN (SELECT row FROM {rows})"  # noqa: S608
    left = len(list(select(surplus)))
    if left:
        yield Finding("wrong", f"{name}: vectors of {left:,} records that are not there; {advice}")
    uneven = False
    for at, field in enumerate(fields):
        if config["fields"].get(field, {}).get("kind", "dense") == "dense":
            lengths = sorted(size for (size,) in select(f"DISTINCT length(f{at}) FROM {vectors}"))
            if len(lengths) > 1:
                uneven = True
                yield Finding("wrong", f"{name}: the vectors of {field!r} have {lengths} bytes; {advice}")
    if not (damaged or bare or left or uneven):
        yield Finding("fine", f"{name}: {count:,} records, texts and metadata as written, and each with its vectors")


def _is_as_written(id_: str, hashed: str, text: str, metadata: str) -> bool:
    try:
        return content_hash(Record(id_, text, json.loads(metadata))) == hashed
    except (ValueError, TypeError):
        return False


def _check_images(database: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    from milvine.store.builtin.database import image_folder
    from milvine.store.builtin.image import litter

    folder = image_folder(path)
    listed = [file for (file,) in database.execute("SELECT DISTINCT file FROM images")]
    problems = [problem for problem in (_image_problem(folder / file) for file in listed) if problem]
    yield from problems
    if good := len(listed) - len(problems):
        yield Finding("fine", f"{good:,} image {'file' if good == 1 else 'files'} as written")
    if left := litter(folder, listed):
        size = sum(file.stat().st_size for file in left)
        yield Finding(
            "note",
            f"{len(left):,} files in {folder.name} are not in use ({size / 1e6:,.1f} MB); a later write removes them",
        )


def _image_problem(path: Path) -> Finding | None:
    from milvine.store.builtin.image import ImageError, read

    harmless = "nothing is lost: it is made of the rows again when it is needed"
    try:
        read(path)
    except ImageError as error:
        if path.exists():
            return Finding("wrong", f"{str(error).rstrip('.')}; {harmless}, but its disk may be failing")
        return Finding("note", f"the image file {path.name} is not there; {harmless}")
    return None


def _listed(ids: list[str]) -> str:
    shown = ", ".join(map(repr, ids[:LISTED]))
    return shown if len(ids) <= LISTED else f"{shown} and {len(ids) - LISTED:,} more"
