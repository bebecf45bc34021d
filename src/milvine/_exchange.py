"""Collections in Parquet files: a row a record, its metadata as JSON, its vectors bit by bit.

The columns are `id`, `text`, `$meta` (what Milvus calls the metadata that no schema names) and one a vector field: for
dense ones a list of float32, halffloat, uint16 (of bfloat16, the upper halves of float32), int8 or uint8 (eight bits of
binary ones), for multi-vector ones a list of such lists, and for sparse ones `indices` and `values`. Terms for lexical
search are made of the text again. Under the key `milvine` the file's own metadata say which models the vectors are of.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from milvine._field_types import TYPES, metric_of, type_of
from milvine._identity import Given, field_set, new_config, read_config
from milvine._progress import progress
from milvine._records import checked, in_batches
from milvine._vectors import checked_dense, checked_multi, checked_sparse
from milvine._writing import BATCH, write_batches, write_records
from milvine.errors import (
    CollectionMismatchError,
    InputError,
    MilvineError,
    MissingExtraError,
    ReadError,
    StoreWriteError,
)
from milvine.local.options import check_place
from milvine.store._vector_types import from_stored, to_stored
from milvine.types import AddReport, Record

if TYPE_CHECKING:
    from milvine._fields import FieldSet
    from milvine._opening import CollectionOptions
    from milvine.store import Store

FORMAT = 1
KEY = b"milvine"
ID, TEXT, METADATA = "id", "text", "$meta"
_NUMBERS = {"float32": "float32", "float16": "float16", "bfloat16": "uint16", "int8": "int8", "binary": "uint8"}
"""Arrow's types of a stored vector's numbers."""


def export_rows(store: Store, path: str | Path, filter: str | None, *, vectors: bool, show: bool | None) -> int:
    """Write a store's rows into a Parquet file, and return how many there were. See `Collection.export`."""
    arrow, parquet = _pyarrow()
    check_place("path", path)
    config = read_config(store.config)
    fields = {name: field for name, field in config["fields"].items() if vectors and field["kind"] != "lexical"}
    columns = [(name, arrow.string()) for name in (ID, TEXT, METADATA)]
    columns += [(name, _column_type(arrow, field)) for name, field in fields.items()]
    described = {"format": FORMAT, "config": config, "vectors": list(fields)}
    schema = arrow.schema(
        [arrow.field(name, kind, nullable=False) for name, kind in columns], {KEY: json.dumps(described)}
    )
    rows = store.rows(filter, vectors=vectors)
    written = 0
    with (
        _replacing(Path(path), arrow) as file,
        parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer,
        progress("Exporting", store.count(filter), show=show) as advance,
    ):
        for batch in in_batches(rows, BATCH):
            arrays = [
                [row.record.id for row in batch],
                [row.record.text for row in batch],
                [json.dumps(row.record.metadata, ensure_ascii=False) for row in batch],
            ]
            arrays += [_column(arrow, field, [row.vectors[name] for row in batch]) for name, field in fields.items()]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))
            written += len(batch)
            advance(len(batch))
    return written


class Batch(NamedTuple):
    """Some of a file's rows: the records, and for each field that was asked for a vector a record."""

    records: list[Record]
    vectors: dict[str, Sequence[Any]]

    def vectors_of(self, records: list[Record]) -> dict[str, Sequence[Any]]:
        """The vectors of some of the records."""
        places = {record.id: at for at, record in enumerate(self.records)}
        return {field: [vectors[places[record.id]] for record in records] for field, vectors in self.vectors.items()}


class Export:
    """A file that was exported, to be read.

    Attributes:
        config: The configuration of the collection that it was exported from, in the present format.
        vectors: Its vector columns, which have the names of that collection's fields.
        rows: How many records it has.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ReadError: The file cannot be read, or was not exported by milvine.
    """

    def __init__(self, path: str | Path) -> None:
        self._arrow, parquet = _pyarrow()
        check_place("path", path)
        self.path = Path(path).expanduser()
        with self._reading():
            self._file = parquet.ParquetFile(self.path)
        try:
            with self._reading():
                self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        described = json.loads((self._file.schema_arrow.metadata or {}).get(KEY, b"null"))
        if described is None:
            raise ReadError(
                f"{self.path} was not exported by milvine; read it with pyarrow or pandas, and add its texts with"
                " Collection.add"
            )
        if described["format"] != FORMAT:
            raise ReadError(
                f"{self.path} has format {described['format']}, and this milvine reads {FORMAT}: upgrade milvine"
            )
        self.config: dict[str, Any] = read_config(described["config"])
        self.vectors: list[str] = described["vectors"]
        self.rows = int(self._file.metadata.num_rows)

    def __enter__(self) -> Export:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def columns_for(self, config: dict[str, Any]) -> dict[str, str]:
        """For each vector field of a collection the file's column with that model's vectors.

        Raises:
            CollectionMismatchError: There is none for a field; the message names both sides.
        """
        wanted = _models(config)
        there = {name: model for name, model in _models(self.config).items() if name in self.vectors}
        columns = {}
        for field, model in wanted.items():
            # Of float32 vectors those of any type are made as they would be of the texts.
            alike = (model, {**model, _TYPE: "float32"})
            same = [name for name, other in there.items() if other in alike]
            if not same:
                raise CollectionMismatchError(
                    f"{self.path} has no vectors for the field {field!r}: {_difference(field, model, there)}; open the"
                    " collection with the file's model, or have the texts embedded anew with embed=True"
                )
            columns[field] = field if field in same else same[0]
        return columns

    def records(self) -> Iterator[Record]:
        """The records, read some at a time."""
        for batch in self.batches({}, self.config):
            yield from batch.records

    def batches(self, columns: Mapping[str, str], config: Mapping[str, Any]) -> Iterator[Batch]:
        """The records with vectors, 1,024 at a time.

        Args:
            columns: For each field that is wanted the file's column.
            config: The configuration of the collection that has these fields.

        Raises:
            ReadError: The file is damaged.
        """
        before = 0
        read = self._file.iter_batches(BATCH, columns=[ID, TEXT, METADATA, *dict.fromkeys(columns.values())])
        while True:
            with self._reading():
                batch = next(read, None)
                if batch is None:
                    return
                values = [batch.column(name).to_pylist() for name in (ID, TEXT, METADATA)]
                records = [
                    checked(Record(id_, text, json.loads(metadata)), f"{self.path}, row {at}")
                    for at, (id_, text, metadata) in enumerate(zip(*values, strict=True), before)
                ]
                vectors = {
                    field: self._vectors(batch.column(column), self.config["fields"][column], config["fields"][field])
                    for field, column in columns.items()
                }
            before += len(records)
            yield Batch(records, vectors)

    def _vectors(self, column: Any, field: Mapping[str, Any], wanted: Mapping[str, Any]) -> Sequence[Any]:
        count, path = len(column), str(self.path)
        if field["kind"] == "dense":
            there = type_of(field)
            matrix = from_stored(column.flatten().to_numpy().reshape(count, -1), there)
            return checked_dense(matrix, count, field["dim"], path, type_of(wanted), there)
        if field["kind"] == "multivector":
            tokens = column.flatten().flatten().to_numpy().reshape(-1, field["dim"])
            ends = column.offsets.to_numpy()
            texts = np.split(from_stored(tokens, type_of(field)), ends[1:-1] - ends[0])
            return checked_multi(texts, count, field["dim"], path, type_of(wanted))
        from scipy.sparse import csr_array

        from milvine.analysis.statistics import DIMENSION

        indices, values = (column.field(name) for name in ("indices", "values"))
        ends = indices.offsets.to_numpy()
        parts = (values.flatten().to_numpy(), indices.flatten().to_numpy(), ends - ends[0])
        matrix = csr_array(parts, shape=(count, DIMENSION))
        matrix.check_format(full_check=True)
        return checked_sparse(matrix, count, path)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except MilvineError:
            raise
        except FileNotFoundError as error:
            raise ReadError(f"{self.path} cannot be read as an export: there is no such file") from error
        except (OSError, ValueError, TypeError, KeyError, self._arrow.ArrowException) as error:
            raise ReadError(f"{self.path} cannot be read as an export: {error}") from error


def import_rows(store: Store, fields: FieldSet, path: str | Path, *, embed: bool, show: bool | None) -> AddReport:
    """Write the records of a file, with its vectors if they are of the same models. See `Collection.import_`."""
    with Export(path) as export:
        try:
            columns = export.columns_for(store.config) if export.vectors else None
        except CollectionMismatchError:
            if not embed:
                raise
            columns = None
        if columns is None:
            return write_records(store, fields, export.records(), None, total=export.rows, show=show)

        def batches() -> Iterator[tuple[list[Record], Callable[[list[Record]], Mapping[str, Sequence[Any]]]]]:
            for batch in export.batches(columns, read_config(store.config)):
                yield batch.records, batch.vectors_of

        return write_batches(store, fields, batches(), total=export.rows, show=show)


def options_for(path: str | Path, given: CollectionOptions) -> CollectionOptions:
    """The options by which `Collection` makes one like that of a file: those given, or rebuilt from the file.

    Types and metrics of vectors may be other ones than the file's.

    Raises:
        CollectionMismatchError: Those given differ, or cannot be rebuilt.
    """
    with Export(path) as export:
        config = export.config
    fields = field_set(config, given.get("embedding_function"), given.get("language"), given.get("lexical"))
    described = config["fields"].get("lexical")
    language = described["analyzer"]["language"] if described else None
    typed = {name: field for name, field in config["fields"].items() if field["kind"] in TYPES}
    options: CollectionOptions = {
        "vector_type": {name: type_of(field) for name, field in typed.items()},
        "metric": {name: metric_of(field) for name, field in typed.items() if field["kind"] == "dense"},
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[typeddict-item]
        "language": language,
        "lexical": described is not None,
    }
    # Whether a function was given alone shows in the names of its fields.
    ways: list[Given] = [fields.functions, *list(fields.functions.values())[:1]]
    for functions in ways:
        if _untyped(new_config(functions, language, described is not None)) == _untyped(config):
            return {**options, "embedding_function": functions}
    raise CollectionMismatchError(
        "the file's collection has other fields than this milvine makes of its models; make a collection for it"
        " yourself, and import the file with embed=True"
    )


def _untyped(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = config["fields"]
    return {
        name: {key: value for key, value in field.items() if key not in ("type", "metric")}
        for name, field in fields.items()
    }


_TYPE = "field's type"


def _models(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """For each vector field, all that its vectors depend on."""
    config = read_config(config)
    models = {}
    for name, field in config["fields"].items():
        if field["kind"] != "lexical":
            function = {key: value for key, value in config["functions"][field["function"]].items() if key != "folder"}
            models[name] = function | {
                f"field's {key}": field[key] for key in ("kind", "dim", "output") if key in field
            }
            if field["kind"] in TYPES:
                models[name][_TYPE] = type_of(field)
    return models


def _difference(field: str, model: dict[str, Any], there: dict[str, dict[str, Any]]) -> str:
    if not there:
        return "it has no vectors at all"
    name, other = (field, there[field]) if field in there else next(iter(there.items()))
    keys = [key for key in {**other, **model} if other.get(key) != model.get(key)]
    sides = "; ".join(f"{key}: {other.get(key)!r} in the file, {model.get(key)!r} here" for key in keys)
    return f"its field {name!r} is of another model ({sides})"


def _column_type(arrow: Any, field: Mapping[str, Any]) -> Any:
    if field["kind"] in TYPES:
        type_ = type_of(field)
        width = field["dim"] // 8 if type_ == "binary" else field["dim"]
        vector = arrow.list_(getattr(arrow, _NUMBERS[type_])(), width)
        return vector if field["kind"] == "dense" else arrow.list_(vector)
    parts = [("indices", arrow.uint32()), ("values", arrow.float32())]
    return arrow.struct([arrow.field(name, arrow.list_(kind), nullable=False) for name, kind in parts])


def _column(arrow: Any, field: Mapping[str, Any], vectors: Sequence[Any]) -> Any:
    kind = _column_type(arrow, field)
    if field["kind"] == "dense":
        flat = to_stored(np.stack(vectors), type_of(field)).reshape(-1)
        return arrow.FixedSizeListArray.from_arrays(arrow.array(flat), type=kind)
    if field["kind"] == "multivector":
        flat = to_stored(np.concatenate(vectors), type_of(field)).reshape(-1)
        tokens = arrow.FixedSizeListArray.from_arrays(arrow.array(flat), type=kind.value_type)
        ends = np.cumsum([0, *map(len, vectors)], dtype=np.int32)
        return arrow.ListArray.from_arrays(arrow.array(ends), tokens, type=kind)
    ends = np.cumsum([0, *(vector.nnz for vector in vectors)], dtype=np.int32)
    lists = [
        arrow.ListArray.from_arrays(arrow.array(ends), arrow.array(np.concatenate(parts).astype(dtype)))
        for parts, dtype in (
            ([vector.indices for vector in vectors], np.uint32),
            ([vector.data for vector in vectors], np.float32),
        )
    ]
    return arrow.StructArray.from_arrays(lists, fields=list(kind))


@contextmanager
def _replacing(path: Path, arrow: Any) -> Iterator[BinaryIO]:
    """A file that gets this path when it is complete, and is removed otherwise."""
    target = Path(os.path.realpath(path.expanduser()))
    if not target.parent.is_dir() or target.is_dir():
        problem = "is a folder" if target.is_dir() else f"cannot be written: there is no folder {target.parent}"
        raise InputError(f"{path} {problem}; give the path of a file, such as export.parquet")
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except MilvineError:
        raise
    except (OSError, arrow.ArrowException) as error:
        raise StoreWriteError(f"writing {path} failed: {error}; nothing of it was left there") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError(
            "Parquet files need pyarrow, which is not installed: pip install 'milvine[parquet]'"
        ) from error
