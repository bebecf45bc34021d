"""The schema and the indexes of a collection on a server, and what the keyword arguments mean for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milvine._records import MAX_ID_BYTES, MAX_TEXT_BYTES, RESERVED_KEYS
from milvine.errors import CollectionMismatchError, InputError, InputTypeError
from milvine.store._rows import Columns
from milvine.store._server_bm25 import SAMPLE_COLUMN
from milvine.store._server_connection import ServerConnection
from milvine.store._vector_types import DATA_TYPES, SINCE, check_lite, check_single
from milvine.store.base import DenseField, Field, LexicalField, Row, VectorType

CONSISTENCY_LEVELS = ("Strong", "Session", "Bounded", "Eventually")
DENSE_INDEX = {"index_type": "AUTOINDEX"}
# Milvus knows no other index of int8 vectors, and AUTOINDEX means it only since some 2.6: its pull request 44554.
INT8_INDEX = {"index_type": "HNSW", "M": 16, "efConstruction": 200}
BINARY_INDEX = {"index_type": "BIN_FLAT"}
SPARSE_INDEX = {"index_type": "SPARSE_INVERTED_INDEX"}
_INDEXES: dict[VectorType, dict[str, Any]] = {"int8": INT8_INDEX, "binary": BINARY_INDEX}
WRITE_BYTES = 16 << 20


def check_capable(connection: ServerConnection, fields: Sequence[Field], options: Mapping[str, Any]) -> None:
    """Refuse what the server's version lacks.

    Raises:
        InputError: It lacks something; the message says what, and what to do.
    """
    if connection.is_lite:
        check_lite(fields)
        return
    check_single(fields, "Milvus")
    for field in fields:
        since = SINCE.get(field.type, (0, 0)) if isinstance(field, DenseField) else (0, 0)
        if isinstance(field, DenseField) and not connection.at_least(*since):
            raise InputError(
                f"the Milvus server {connection.shown} has version {connection.version}, which lacks {field.type}"
                f" vectors (the field {field.name!r}); they came with Milvus {'.'.join(map(str, since))}: upgrade the"
                " server, or choose another vector_type"
            )
    if connection.at_least(2, 4):
        return
    if options.get("partition_key") is not None:
        # https://github.com/milvus-io/milvus/issues/30607; seen with 2.3.5.
        raise InputError(
            f"the Milvus server {connection.shown} has version {connection.version}, which puts what is written again"
            " into wrong partitions; upgrade it to 2.4, or leave partition_key out"
        )
    sparse = [field.name for field in fields if not isinstance(field, DenseField)]
    if not sparse and len(fields) == 1:
        return
    lacking = f"sparse vectors (the field {', '.join(map(repr, sparse))})" if sparse else "several vector fields"
    raise InputError(
        f"the Milvus server {connection.shown} has version {connection.version}, which lacks {lacking}; they came with"
        " Milvus 2.4: upgrade the server, or make the collection with lexical=False and one dense embedding function"
    )


def make_schema(fields: Sequence[Field], options: Mapping[str, Any]) -> Any:
    """The `CollectionSchema` of a new collection.

    Raises:
        InputError: The partition key cannot be one.
    """
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
    schema.add_field("text", DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    schema.add_field("content_hash", DataType.VARCHAR, max_length=64)
    key = _partition_key_of(options, fields)
    if key is not None:
        schema.add_field(key, DataType.VARCHAR, max_length=MAX_ID_BYTES, is_partition_key=True)
    for field in fields:
        if isinstance(field, DenseField):
            schema.add_field(field.name, getattr(DataType, DATA_TYPES[field.type]), dim=field.dim)
        else:
            schema.add_field(field.name, DataType.SPARSE_FLOAT_VECTOR)
        if isinstance(field, LexicalField):
            schema.add_field(f"{field.name}_length", DataType.INT64)
    if any(isinstance(field, LexicalField) for field in fields):
        schema.add_field(SAMPLE_COLUMN, DataType.INT16)
    return schema


def make_indexes(
    client: Any,
    name: str,
    fields: Sequence[Field],
    columns: Columns,
    metrics: Mapping[str, str],
    options: Mapping[str, Any],
) -> None:
    """Make the indexes that a collection lacks.

    Raises:
        CollectionMismatchError: One that it has is of another type than the caller chose.
    """
    missing = client.prepare_index_params()
    timeout = options["timeout"]
    for field in fields:
        index, chosen = index_of(field, fields, options)
        column = columns.vector(field.name)
        there = client.list_indexes(name, column, timeout=timeout)
        if not there:
            params = {key: value for key, value in index.items() if key != "index_type"}
            missing.add_index(column, index_type=index["index_type"], metric_type=metrics[field.name], params=params)
        elif chosen:
            has = client.describe_index(name, there[0], timeout=timeout)["index_type"]
            if index["index_type"] not in (has, "AUTOINDEX"):
                raise CollectionMismatchError(
                    f"the field {field.name!r} of {name!r} has the index {has}, and {index['index_type']} was given; an"
                    " index is chosen when a collection is made: leave it out"
                )
    if missing:
        client.create_index(name, missing, sync=False, timeout=timeout)


def remake_indexes(client: Any, name: str, timeout: float) -> None:
    """Drop the indexes of a collection of Milvus Lite that is not loaded, and make them as they were.

    A field whose index was dropped when this was cut off gets one from `make_indexes`, when the collection is opened.
    """
    for index_name in client.list_indexes(name, timeout=timeout):
        index = client.describe_index(name, index_name, timeout=timeout)
        made = client.prepare_index_params()
        made.add_index(
            index["field_name"],
            index_type=index["index_type"],
            index_name=index_name,
            metric_type=index["metric_type"],
            params=index.get("params", {}),
        )
        # By any other name Milvus Lite would drop the indexes of all fields.
        client.drop_index(name, f"{index['field_name']}_idx", timeout=timeout)
        client.create_index(name, made, sync=False, timeout=timeout)


def consistency_level(options: Mapping[str, Any]) -> str:
    """The level that reads ask for; "Session", by which a process sees what it wrote itself, unless another is given.

    Raises:
        InputError: It is none.
    """
    level = options.get("consistency_level") or "Session"
    if level not in CONSISTENCY_LEVELS:
        raise InputError(f"consistency_level must be one of {', '.join(CONSISTENCY_LEVELS)}, not {level!r}")
    return str(level)


def count_of(options: Mapping[str, Any], key: str) -> int | None:
    """A number of replicas or shards, if it is given.

    Raises:
        InputError: It is below 1.
        InputTypeError: It is no integer.
    """
    value = options.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{key} must be an integer, not {type(value).__name__} ({value!r})")
    if value < 1:
        raise InputError(f"{key} must be at least 1, not {value}")
    return value


def index_of(field: Field, fields: Sequence[Field], options: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The index of a field, as `index_type` and its parameters, and whether the caller chose it.

    Raises:
        InputError: The option names a field that is not there, or no type.
        InputTypeError: The option is neither a string nor a mapping.
    """
    default = _INDEXES.get(field.type, DENSE_INDEX) if isinstance(field, DenseField) else SPARSE_INDEX
    given = options.get("index")
    if isinstance(given, Mapping) and "index_type" not in given:
        names = [one.name for one in fields]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise InputError(
                f"index names {', '.join(map(repr, unknown))}, and the vector fields are {', '.join(names)};"
                ' an index for all dense fields needs an "index_type"'
            )
        given = given.get(field.name)
    elif not isinstance(field, DenseField):
        given = None
    if given is None:
        return default, False
    if isinstance(given, str):
        given = {"index_type": given}
    if not isinstance(given, Mapping):
        raise InputTypeError(f"index must be a type such as 'HNSW', or a mapping, not {type(given).__name__}")
    if not isinstance(given.get("index_type"), str):
        raise InputError(f"the index of {field.name!r} has no 'index_type', such as 'HNSW' or 'SPARSE_INVERTED_INDEX'")
    is_binary = isinstance(field, DenseField) and field.type == "binary"
    if given["index_type"].startswith("BIN_") != is_binary and given["index_type"] != "AUTOINDEX":
        fitting = "BIN_FLAT or BIN_IVF_FLAT" if is_binary else "HNSW or IVF_FLAT, for example"
        raise InputError(
            f"the index {given['index_type']} is not for {field.name!r}; take {fitting}, and give a mapping of fields"
            " to indexes where they need several"
        )
    return dict(given), True


def check_partition_key(asked: str | None, there: str | None, where: str) -> None:
    """Compare what is asked for with what the collection has.

    Raises:
        CollectionMismatchError: They differ.
    """
    if asked is not None and asked != there:
        has = f"partition key {there!r}" if there else "no partition key"
        raise CollectionMismatchError(
            f"{where} has {has}, and partition_key={asked!r} was given; it is chosen when a collection is made: leave"
            " it out, or make another collection"
        )


def write_batches(rows: Sequence[Row], most: int) -> Iterator[list[Row]]:
    """Rows in batches of at most `most`, of which none is near the 64 MB that a server takes at once."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        # In bytes: four a character at most, and a lexical field's term, with its weight, is no larger than its word.
        own = 8 * len(row.record.text) + len(str(row.record.metadata)) + sum(map(_size, row.vectors.values()))
        if batch and (len(batch) == most or size + own > WRITE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += own
    if batch:
        yield batch


def _size(vector: Any) -> int:
    return 2 * int(vector.data.nbytes)  # a sparse weight has an index


def check_partitions(rows: Sequence[Row], key: str) -> None:
    """Refuse rows that belong to no partition.

    Raises:
        InputError: A record lacks the key, or its value is no string of up to 4,096 bytes.
    """
    for row in rows:
        value = row.record.metadata.get(key)
        if not isinstance(value, str) or len(value.encode()) > MAX_ID_BYTES:
            raise InputError(
                f"the record {row.record.id!r} has {value!r} as {key!r}, by which the collection is partitioned; it"
                f" must be a string of up to {MAX_ID_BYTES:,} bytes"
            )


def _partition_key_of(options: Mapping[str, Any], fields: Sequence[Field]) -> str | None:
    key = options.get("partition_key")
    if key is None:
        return None
    taken = {*RESERVED_KEYS, *(field.name for field in fields)}
    if not isinstance(key, str) or not key.isidentifier() or not key.isascii() or key in taken or key.startswith("_"):
        raise InputError(
            "partition_key must be a metadata key of letters, digits and underscores that is no field's name, not"
            f" {key!r}"
        )
    return key
