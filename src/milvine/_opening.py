"""A collection's store and fields, out of what the caller asks for and what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine import _identity
from milvine._field_types import ChosenMetrics, ChosenTypes
from milvine.errors import InputError, InputTypeError
from milvine.store.opening import StoreOptions

if TYPE_CHECKING:
    from milvine._fields import FieldSet
    from milvine.model.base import BaseEmbeddingFunction, BaseRerankFunction
    from milvine.store import Field, Metric, Store, VectorType


class CollectionOptions(StoreOptions, total=False):
    """The keyword arguments of `Collection`, which explains them; `open` and `create` take the same."""

    embedding_function: BaseEmbeddingFunction[Any] | Mapping[str, BaseEmbeddingFunction[Any]] | None
    language: str | None
    lexical: bool | None
    vector_type: VectorType | Mapping[str, VectorType] | None
    metric: Metric | Mapping[str, Metric] | None
    reranker: BaseRerankFunction | None
    show_progress: bool | None


def opened(
    uri: str | Path,
    name: str,
    given: _identity.Given,
    language: str | None,
    lexical: bool | None,
    vector_type: ChosenTypes,
    metric: ChosenMetrics,
    *,
    must_exist: bool | None,
    columns: Mapping[str, str] | None = None,
    options: StoreOptions | None = None,
) -> tuple[Store, FieldSet]:
    """Open a collection, or make it; the arguments are those of `Collection` and, for `columns`, of its `attach`."""
    from milvine.store import open_store

    if columns is not None and not (
        isinstance(columns, Mapping) and all(isinstance(part, str) for item in columns.items() for part in item)
    ):
        raise InputTypeError(f"fields must be a mapping of names to names, not {columns!r}")
    if columns is not None and metric is not None:
        raise InputError("metric is chosen when a collection is made; a collection that another tool made has its own")
    made: list[FieldSet] = []

    def fields(stored: dict[str, Any]) -> list[Field]:
        made.append(_identity.field_set(stored, given, language, lexical, vector_type, metric))
        return made[-1].store_fields()

    config = None if must_exist else _identity.new_config(given, language, lexical, vector_type, metric)
    store = open_store(
        uri,
        name,
        fields=fields,
        config=config,
        must_be_new=must_exist is False,
        columns=columns,
        options=options,
    )
    return store, made[-1]
