"""Collections that another tool made: which of their columns is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from milvine.errors import CollectionMismatchError, InputError
from milvine.store._rows import Columns
from milvine.store._vector_types import DATA_TYPES, HAMMING, check_single, other_types
from milvine.store.base import DenseField, Field

ID, TEXT = "id", "text"
METRICS = ("COSINE", "IP", "L2")


def attached(
    client: Any, name: str, fields: Sequence[Field], roles: Mapping[str, str]
) -> tuple[Columns, dict[str, str]]:
    """The columns of a collection, and the metric of each vector field.

    Args:
        client: A `MilvusClient`.
        name: The collection.
        fields: The dense and sparse fields that are wanted.
        roles: "id", "text" or a field's name to the column that holds it; by default the primary key for "id", and
            else a column of the same name.

    Raises:
        InputError: A role is unknown.
        CollectionMismatchError: A column is not there, is of another type or dimension, or has no index.
    """
    from pymilvus import DataType

    check_single(fields, "Milvus")
    described = client.describe_collection(name)
    there: dict[str, dict[str, Any]] = {column["name"]: column for column in described["fields"]}
    known = [ID, TEXT, *(field.name for field in fields)]
    if unknown := [role for role in roles if role not in known]:
        raise InputError(f"fields names {unknown[0]!r}, and what can be named is {', '.join(known)}")
    primary = next(column for column in there.values() if column.get("is_primary"))
    if roles.get(ID, primary["name"]) != primary["name"]:
        raise CollectionMismatchError(f"ids are the primary key, which {name!r} calls {primary['name']!r}")
    dynamic = bool(described.get("enable_dynamic_field"))
    text = roles.get(TEXT, TEXT)
    if (text not in there and not dynamic) or there.get(text, {}).get("type", DataType.VARCHAR) != DataType.VARCHAR:
        raise _mismatch(name, TEXT, text, "text", there)
    vectors, metrics = {}, {}
    for field in fields:
        column = roles.get(field.name, field.name)
        kind = DATA_TYPES[field.type] if isinstance(field, DenseField) else "SPARSE_FLOAT_VECTOR"
        if there.get(column, {}).get("type") != DataType[kind]:
            raise _mismatch(name, field.name, column, kind, there)
        if isinstance(field, DenseField) and int(there[column]["params"]["dim"]) != field.dim:
            raise CollectionMismatchError(
                f"{column!r} of {name!r} has {there[column]['params']['dim']} dimensions, and the embedding function"
                f" of {field.name!r} gives {field.dim}"
            )
        vectors[field.name] = column
        is_binary = isinstance(field, DenseField) and field.type == "binary"
        metrics[field.name] = _metric(client, name, column, (HAMMING,) if is_binary else METRICS)
    taken = {primary["name"], text, *vectors.values()}
    filled = {output for function in described.get("functions") or [] for output in function["output_field_names"]}
    rest = {column: one for column, one in there.items() if column not in taken | filled}
    empty = [column for column, one in rest.items() if "VECTOR" in one["type"].name]
    read_only = ""
    if described.get("auto_id") or primary.get("auto_id"):
        read_only = "Milvus makes its ids, so nothing could be added twice without being there twice"
    elif empty:
        read_only = f"it has vectors that no embedding function given fills: {', '.join(empty)}"
    columns = Columns(
        id=primary["name"],
        text=text,
        content_hash=None,
        vectors=vectors,
        types=other_types(fields),
        scalars=tuple(column for column in rest if column not in empty),
        dynamic=dynamic,
        integers=primary["type"] == DataType.INT64,
        read_only=read_only,
    )
    return columns, metrics


def _metric(client: Any, name: str, column: str, known: Sequence[str]) -> str:
    for index in client.list_indexes(name, field_name=column):
        metric = str(client.describe_index(name, index).get("metric_type"))
        if metric in known:
            return metric
        raise CollectionMismatchError(
            f"{column!r} of {name!r} is compared by {metric}, and milvine knows {', '.join(known)}"
        )
    raise CollectionMismatchError(f"{column!r} of {name!r} has no index; make one with MilvusClient.create_index")


def _mismatch(
    name: str, role: str, column: str, kind: str, there: Mapping[str, Mapping[str, Any]]
) -> CollectionMismatchError:
    listed = ", ".join(f"{column} ({one['type'].name})" for column, one in there.items())
    there_is = there.get(column, {}).get("type")
    types = [type_ for type_, name in DATA_TYPES.items() if there_is is not None and name == there_is.name]
    mend = (
        f"open it with vector_type={{{role!r}: {types[0]!r}}}"
        if types and kind in DATA_TYPES.values()
        else (f"say which one it is with fields={{{role!r}: ...}}")
    )
    return CollectionMismatchError(
        f"{name!r} has no {kind} field {column!r} for {role!r}; {mend}; its fields: {listed}"
    )
