"""The checks that records pass before they are embedded or written."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice, repeat
from typing import Any, TypeVar

from milvine.errors import InputError, InputTypeError
from milvine.types import Record

MAX_ID_BYTES = 4_096  # the path of a file may be an id
MAX_TEXT_BYTES = 65_535  # Milvus' limit for VARCHAR, and so that of every store that hands over to it
MAX_DEPTH = 100  # of metadata; all that reads JSON has a limit of its own, and some recursion
MAX_METADATA_BYTES = 65_536  # Milvus' limit for JSON
RESERVED_KEYS = frozenset({"id", "text", "content_hash", "dense", "lexical", "lexical_length", "_seq", "_sample"})
"""Metadata may not have these keys, nor any that begins with `$`: a store's own fields have these names."""
DOCUMENT, START, END = "document", "start", "end"
"""Under these keys a passage's metadata say where it is from: its document's id, and its place there in characters."""
_END = object()
_INT64 = range(-(2**63), 2**63)
_as_content = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
_as_metadata = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode

Item = TypeVar("Item")


def read_records(
    records: Iterable[str | Record | Mapping[str, Any]],
    ids: Iterable[str] | None,
    metadata: Iterable[Mapping[str, Any]] | None,
    *,
    long_texts: bool = False,
) -> Iterator[Record]:
    """Records out of whatever `Collection.add` takes, one by one.

    Args:
        records: See `Collection.add`.
        ids: Likewise.
        metadata: Likewise.
        long_texts: Let texts pass that are too long for a store, because they will be split.

    Raises:
        InputTypeError: Something has a type that is not allowed; the message names its position.
        InputError: Something has a value that is not allowed; likewise.
    """
    for name, value in (("records", records), ("ids", ids), ("metadata", metadata)):
        if isinstance(value, (str, bytes, Mapping, Record)):
            raise InputTypeError(f"{name} must be a list, not one {type(value).__name__}; wrap it: [...]")
        if not isinstance(value, Iterable) and (value is not None or name == "records"):
            raise InputTypeError(f"{name} must be a list, not {type(value).__name__}")
    return _read(iter(records), ids, metadata, None if long_texts else MAX_TEXT_BYTES)


def _read(
    records: Iterator[str | Record | Mapping[str, Any]],
    ids: Iterable[str] | None,
    metadata: Iterable[Mapping[str, Any]] | None,
    most_bytes: int | None,
) -> Iterator[Record]:
    more_ids: Iterator[Any] = repeat(None) if ids is None else iter(ids)
    more_metadata: Iterator[Any] = repeat(None) if metadata is None else iter(metadata)
    position = -1
    for position, item in enumerate(records):
        id_, own = next(more_ids, _END), next(more_metadata, _END)
        for name, value in (("ids", id_), ("metadata", own)):
            if value is _END:
                raise InputError(f"{name} ends at position {position}, and records do not; give one a record")
        yield _record(item, id_, own, position, most_bytes)
    for name, values, given in (("ids", more_ids, ids), ("metadata", more_metadata, metadata)):
        if given is not None and next(values, _END) is not _END:
            raise InputError(f"{name} has more items than the {position + 1} records; give one a record")


def _record(item: Any, id_: Any, metadata: Any, position: int, most_bytes: int | None) -> Record:
    where = f"records[{position}]"
    if isinstance(item, str):
        text, own_id, own_metadata = item, None, None
    elif isinstance(item, Record):
        text, own_id, own_metadata = item.text, item.id, item.metadata
    elif isinstance(item, Mapping):
        unknown = sorted(map(str, item.keys() - {"id", "text", "metadata"}))
        if "text" not in item or unknown:
            problem = f"has the unknown key {unknown[0]!r}" if unknown else 'has no "text"'
            raise InputError(f'{where} {problem}; its keys are "text", "id" and "metadata"')
        text, own_id, own_metadata = item["text"], item.get("id"), item.get("metadata")
    else:
        raise InputTypeError(f"{where} must be a string, a Record or a mapping, not {type(item).__name__}")
    for name, given, own in (("id", id_, own_id), ("metadata", metadata, own_metadata)):
        if given is not None and own is not None:
            raise InputError(f"{where} has its own {name}, and the argument gives it another; give one of them")
    record = Record(*_values(text, _or(id_, own_id), _or(metadata, own_metadata), where))
    return checked(record, where, most_bytes)


def _or(given: Any, own: Any) -> Any:
    return own if given is None else given


def _values(text: Any, id_: Any, metadata: Any, where: str) -> tuple[str, str, dict[str, Any]]:
    if not isinstance(text, str):
        raise InputTypeError(f"{where}: the text must be a string, not {type(text).__name__}")
    if id_ is None:
        id_ = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if not isinstance(id_, str):
        raise InputTypeError(f"{where}: the id must be a string, not {type(id_).__name__} ({id_!r}); use str({id_!r})")
    if not isinstance(metadata, (Mapping, type(None))):
        raise InputTypeError(f"{where}: the metadata must be a mapping, not {type(metadata).__name__}")
    return id_, text, dict(metadata or {})


def checked(record: Record, where: str, most_bytes: int | None = MAX_TEXT_BYTES) -> Record:
    """The record, if a store can hold it; its metadata are what JSON makes of them: a tuple becomes a list."""
    for name, value, most in (("id", record.id, MAX_ID_BYTES), ("text", record.text, most_bytes)):
        size = len(value) if value.isascii() else _size(value, f"{where}: the {name}")
        if most is not None and size > most:
            advice = "pass split=True, which makes passages of it" if name == "text" else "choose a shorter one"
            raise InputError(f"{where}: the {name} has {size:,} bytes in UTF-8, and {most:,} are allowed; {advice}")
    if not record.id:
        raise InputError(f"{where}: the id is empty")
    for key in record.metadata:
        if not isinstance(key, str) or not key:
            raise InputTypeError(f"{where}: metadata keys must be strings that are not empty, not {key!r}")
        if key in RESERVED_KEYS or key[0] == "$":
            raise InputError(
                f"{where}: the metadata key {key!r} is reserved; rename it (reserved are"
                f" {', '.join(sorted(RESERVED_KEYS))} and what begins with $)"
            )
    if _is_plain(record.metadata):
        return record
    try:
        encoded = _as_metadata(record.metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputTypeError(f"{where}: the metadata is not JSON: {error}") from error
    if encoded.count("[") + encoded.count("{") > MAX_DEPTH and _depth(record.metadata) > MAX_DEPTH:
        raise InputError(f"{where}: the metadata are nested deeper than {MAX_DEPTH} levels; store them as a string")
    size = _size(encoded, f"{where}: the metadata")
    if size > MAX_METADATA_BYTES:
        raise InputError(f"{where}: the metadata has {size:,} bytes as JSON, and {MAX_METADATA_BYTES:,} are allowed")
    return Record(record.id, record.text, json.loads(encoded, parse_int=partial(_int64, where)))


def _depth(value: Any) -> int:
    """How many objects and arrays lie within each other, at most."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, (Mapping, list, tuple))]:
        depth += 1
        level = [item for one in level for item in (one.values() if isinstance(one, Mapping) else one)]
    return depth


def _is_plain(metadata: Mapping[str, Any]) -> bool:
    """Whether they are such as most are: short, and as JSON gives them back; so it need not be asked."""
    most = 0
    for key, value in metadata.items():
        kind = type(value)
        if kind is str:
            most += len(value)
            good = value.isascii()
        elif kind is int:
            good = value in _INT64
        elif kind is float:
            good = math.isfinite(value)
        else:
            good = value is None or kind is bool
        if not good or type(key) is not str or not key.isascii():
            return False
        most += len(key) + 10
    return most <= MAX_METADATA_BYTES // 6  # so many bytes a control character takes, as \u001f


def _size(value: str, what: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"{what} is no valid Unicode: {error}") from error


def _int64(where: str, digits: str) -> int:
    value = int(digits)
    if value not in _INT64:
        raise InputError(
            f"{where}: the metadata holds {digits}, and integers must fit 64 bits (below 2**63); store it as a string"
        )
    return value


def content_hash(record: Record) -> str:
    """A hash of the text and the metadata: equal hashes mean that nothing has changed. 32 hexadecimal digits."""
    content = _as_content([record.text, record.metadata])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last of which may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
