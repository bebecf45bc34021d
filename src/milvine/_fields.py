"""The fields of a collection, and the functions that fill them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from milvine._field_types import given_type, metric_of, type_of
from milvine._vectors import checked_dense, checked_multi, checked_sparse

if TYPE_CHECKING:
    from milvine.analysis import Analyzer, DictionaryAnalyzer
    from milvine.model.base import BaseEmbeddingFunction
    from milvine.store import Field

Kind = Literal["dense", "sparse", "lexical", "multivector"]
Vectors = dict[str, list[Any]]
"""For each field that a function fills what it gets of each text: a dense one an array, a sparse one a row of a
`csr_array`, a multi-vector one an array of shape `(tokens, dim)`."""


class FieldSet:
    """A collection's fields, made of its configuration and the functions that it names.

    Attributes:
        functions: The embedding functions, by the names that the collection knows them by.
        analyzer: Makes the terms of the lexical field, where there is one.
        kinds: Each field's kind, in the order in which the fields were made.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        functions: Mapping[str, BaseEmbeddingFunction[Any]],
        analyzer: Analyzer | DictionaryAnalyzer | None,
    ) -> None:
        self.functions = dict(functions)
        self.analyzer = analyzer
        self._config: dict[str, dict[str, Any]] = config["fields"]
        self.kinds: dict[str, Kind] = {name: field["kind"] for name, field in self._config.items()}

    def store_fields(self) -> list[Field]:
        """The fields as a store makes them."""
        from milvine.store import DenseField, LexicalField, MultiVectorField, SparseField

        made: list[Field] = []
        for name, field in self._config.items():
            if field["kind"] == "dense":
                made.append(DenseField(name, field["dim"], type_of(field), metric_of(field)))
            elif field["kind"] == "multivector":
                made.append(MultiVectorField(name, field["dim"], type_of(field)))
            elif field["kind"] == "sparse":
                made.append(SparseField(name))
            elif self.analyzer is not None:
                made.append(LexicalField(name, self.analyzer.terms, field["k1"], field["b"]))
        return made

    def encode_documents(self, texts: list[str]) -> Vectors:
        """The vectors of texts that are to be found; each function runs once.

        Raises:
            InputError: A function gave something else than what its fields hold, finite, of each text.
        """
        encoded = {name: function.encode_documents(texts) for name, function in self.functions.items()}
        return self._vectors(encoded, len(texts), self._filled())

    def encode_queries(self, queries: list[str], fields: Collection[str]) -> Vectors:
        """The queries' vectors for some of the fields; each function that fills one of them runs once.

        A lexical field takes the queries themselves, and is left out.

        Raises:
            InputError: As `encode_documents`.
        """
        wanted = self._filled(fields)
        encoded = {name: self.functions[name].encode_queries(queries) for name in self._needed(wanted)}
        return self._vectors(encoded, len(queries), wanted)

    async def aencode_queries(self, queries: list[str], fields: Collection[str]) -> Vectors:
        """As `encode_queries`, without blocking the event loop: by a function's own coroutine, or in a thread."""
        import asyncio

        async def encode(function: Any) -> Any:
            own: Callable[[list[str]], Any] | None = getattr(function, "aencode_queries", None)
            return await (own(queries) if own else asyncio.to_thread(function.encode_queries, queries))

        wanted = self._filled(fields)
        needed = self._needed(wanted)
        encoded = await asyncio.gather(*(encode(self.functions[name]) for name in needed))
        return self._vectors(dict(zip(needed, encoded, strict=True)), len(queries), wanted)

    def _filled(self, fields: Collection[str] | None = None) -> list[str]:
        """Those of the fields that functions fill."""
        return [name for name, kind in self.kinds.items() if kind != "lexical" and (fields is None or name in fields)]

    def _needed(self, fields: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self._config[name]["function"] for name in fields))

    def _vectors(self, encoded: Mapping[str, Any], count: int, fields: Sequence[str]) -> Vectors:
        vectors: Vectors = {}
        for name in fields:
            field = self._config[name]
            result, output = encoded[field["function"]], field.get("output")
            maker = self.functions[field["function"]]
            function = type(maker).__name__
            if output is not None:
                result = result.get(output) if isinstance(result, Mapping) else None
                function += f"'s {output!r}"
            if field["kind"] == "dense":
                vectors[name] = checked_dense(result, count, field["dim"], function, type_of(field), given_type(maker))
            elif field["kind"] == "multivector":
                vectors[name] = checked_multi(result, count, field["dim"], function, type_of(field))
            else:
                vectors[name] = checked_sparse(result, count, function)
        return vectors
