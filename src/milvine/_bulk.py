"""Parquet files that a Milvus server imports by itself, for collections too large to be sent row by row.

Milvus reads such files out of its own object storage; see "Prepare Source Data" and "Import Data" in its documentation.
The files hold exactly the columns of the collection that milvine makes on the server, those that lexical search needs
included, in the types that `pymilvus.bulk_writer` writes, too: JSON for the metadata (`$meta`) and for sparse vectors,
lists of float32 or int8 for dense ones, and lists of bytes for float16, bfloat16 and binary ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milvine._copying import Place, batches, open_like, stored_fields
from milvine._exchange import _pyarrow, _replacing
from milvine._progress import progress
from milvine.errors import InputError

if TYPE_CHECKING:
    from milvine.store import Store

FILE_BYTES = 512 << 20  # as Milvus' own writer makes them by default; it takes 16 GB at most
METADATA = "$meta"
_NUMBERS = {  # Milvus' data types of dense vectors, to the items of the lists that hold them
    "FLOAT_VECTOR": "float32",
    "FLOAT16_VECTOR": "uint8",
    "BFLOAT16_VECTOR": "uint8",
    "BINARY_VECTOR": "uint8",
    "INT8_VECTOR": "int8",
}
_SCALARS = {"VARCHAR": "string", "INT16": "int16", "INT64": "int64", "SPARSE_FLOAT_VECTOR": "string"}


class Written(NamedTuple):
    """What `write_bulk` wrote.

    Attributes:
        files: The files, in the order in which they were written.
        rows: How many records they hold.
    """

    files: list[Path]
    rows: int


def write_bulk(source: Place, target: Place, folder: Path, *, file_bytes: int = FILE_BYTES) -> Written:
    """Make a collection on a server, and write files into a folder that the server can import into it.

    The collection's models are not loaded.

    Args:
        source: The collection to copy.
        target: The collection on a server; it must be empty, for an import replaces nothing.
        folder: Where the files go; it is made, or must be empty.
        file_bytes: How large a file gets, roughly.

    Raises:
        InputError: The target is no server, or holds rows; or the folder is not empty.
        MissingExtraError: pyarrow is not installed.
        StoreWriteError: The disk is full, for example.
    """
    from milvine.store import open_store

    if "://" not in str(target.uri):
        raise InputError(f"{target}: only Milvus servers import such files; copy to a path without --bulk")
    _pyarrow()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; give a new folder for the files")
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(*source, fields=stored_fields)))
        made, _ = open_like(store, target)
        stack.enter_context(closing(made))
        if there := made.count():
            raise InputError(
                f"{target} holds {there:,} records, and an import would add the same ones again; take a collection that"
                " is not there yet, or copy what is missing without --bulk"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return _write(store, made, folder, file_bytes)


def _write(source: Store, target: Any, folder: Path, file_bytes: int) -> Written:
    from milvine.store._server_bulk import column_types

    arrow, parquet = _pyarrow()
    types = column_types(target)
    schema = arrow.schema([(name, _arrow_type(arrow, kind)) for name, kind in {**types, METADATA: "VARCHAR"}.items()])
    files: list[Path] = []
    written = 0
    rows = batches(source.rows(vectors=True))
    batch = next(rows, None)
    with progress("Writing", source.count(), unit="records") as advance:
        while batch is not None:
            files.append(folder / f"part-{len(files) + 1:05}.parquet")
            with (
                _replacing(files[-1], arrow) as file,
                parquet.ParquetWriter(file, schema, compression="snappy", use_dictionary=False) as writer,
            ):
                while batch is not None and file.tell() < file_bytes:
                    entities = target.entities(batch)
                    columns = [_column(arrow, name, kind, entities) for name, kind in types.items()]
                    columns.append(arrow.array(_metadata(types, entities), arrow.string()))
                    writer.write_batch(arrow.record_batch(columns, schema=schema))
                    written += len(batch)
                    advance(len(batch))
                    batch = next(rows, None)
    return Written(files, written)


def _arrow_type(arrow: Any, kind: str) -> Any:
    if kind in _NUMBERS:
        return arrow.list_(getattr(arrow, _NUMBERS[kind])())
    return getattr(arrow, _SCALARS[kind])()


def _column(arrow: Any, name: str, kind: str, entities: list[dict[str, Any]]) -> Any:
    values = [entity[name] for entity in entities]
    if kind == "SPARSE_FLOAT_VECTOR":
        values = [json.dumps(_weights(value)) for value in values]
    if kind not in _NUMBERS:
        return arrow.array(values, _arrow_type(arrow, kind))
    matrix = np.stack([_numbers(value, _NUMBERS[kind]) for value in values])
    ends = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return arrow.ListArray.from_arrays(arrow.array(ends), arrow.array(matrix.reshape(-1)))


def _numbers(value: Any, dtype: str) -> Any:
    return np.frombuffer(value, dtype) if isinstance(value, bytes) else np.asarray(value, dtype)


def _weights(vector: Any) -> dict[str, float]:
    # Not indices beside values, nor a struct: Milvus reads these from 2.4.3 on, the others later.
    known = vector if isinstance(vector, Mapping) else dict(zip(vector.indices, vector.data, strict=True))
    return {str(int(index)): float(weight) for index, weight in known.items()}


def _metadata(types: Mapping[str, str], entities: Iterable[dict[str, Any]]) -> list[str]:
    rest = ({key: value for key, value in entity.items() if key not in types} for entity in entities)
    return [json.dumps(metadata, ensure_ascii=False) for metadata in rest]
