"""The whole path on one page: texts to vectors to a store, a question to ranked and reranked hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

from milvine import _identity
from milvine._progress import progress
from milvine._records import content_hash, in_batches, read_records
from milvine._texts import as_text, as_texts
from milvine.errors import InputError, InputTypeError
from milvine.types import AddReport, DenseVectors, Hit, Record

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.analysis import Analyzer, DictionaryAnalyzer
    from milvine.model.base import BaseEmbeddingFunction, BaseRerankFunction
    from milvine.store import Match, Row, Store

Mode = Literal["dense", "lexical", "hybrid"]
DENSE, LEXICAL = "dense", "lexical"
FIELDS: dict[str, tuple[str, ...]] = {"dense": (DENSE,), "lexical": (LEXICAL,), "hybrid": (DENSE, LEXICAL)}
BATCH = 1024  # records embedded, then written, together
CANDIDATES = 100  # from each field, before fusion
RERANKED = 30  # of the fused list
MAX_LIMIT = 16_384  # Milvus' own


class CollectionOptions(TypedDict, total=False):
    """The keyword arguments of `Collection`, which explains them; `open` and `create` take the same."""

    embedding_function: BaseEmbeddingFunction[DenseVectors] | None
    language: str | None
    reranker: BaseRerankFunction | None
    show_progress: bool | None


class SearchOptions(TypedDict, total=False):
    """The keyword arguments of `Collection.search`, which explains them."""

    limit: int
    mode: Mode
    filter: str | None
    fusion: str
    weights: Mapping[str, float] | None
    candidates: int
    reranker: BaseRerankFunction | Literal[False] | None
    rerank_weight: float | None


class Collection:
    """Texts, searched by meaning and by words at once.

    Opens the collection, or makes it (and the database) if it is not there. A collection remembers its model and its
    language; a query with others would give nonsense, so opening it with others is refused. It may be used by several
    threads, and opened several times in one process.

    Args:
        uri: A path that ends in `.db`: Milvus Lite, in this process. One process at a time can have it open.
        name: The collection; letters, digits and underscores.
        embedding_function: Makes dense vectors. By default the one that the collection was made with; for a new one
            all-MiniLM-L6-v2.
        language: The analyzer's, for lexical search; by default the one that the collection was made with, or "en".
        reranker: Reorders the best hits of every search, unless the search brings its own.
        show_progress: Show bars of long work; by default on a terminal only.
        must_exist: `True`: it must be there; `False`: it must not; by default it is made if it is not there.

    Raises:
        StoreNotFoundError: There is no such database, and it must be there; or no folder to make it in.
        StoreLockedError: Another process has the database open.
        CollectionNotFoundError: The database has no such collection, and it must be there.
        CollectionExistsError: It has one, and it must not be there.
        CollectionMismatchError: The collection was made with another model, another language, by a newer milvine or
            by another program.
        InputError: The URI or the name is not usable.
    """

    def __init__(
        self,
        uri: str | Path,
        name: str = "default",
        *,
        embedding_function: BaseEmbeddingFunction[DenseVectors] | None = None,
        language: str | None = None,
        reranker: BaseRerankFunction | None = None,
        show_progress: bool | None = None,
        must_exist: bool | None = None,
    ) -> None:
        from milvine.store import DenseField, LexicalField, open_store

        self.uri, self.name = str(uri), as_text(name, "name")
        self.reranker = _checked_reranker(reranker)
        self.show_progress = show_progress
        self.embedding_function: BaseEmbeddingFunction[DenseVectors]
        self.analyzer: Analyzer | DictionaryAnalyzer

        def fields(stored: dict[str, Any]) -> list[DenseField | LexicalField]:
            self.embedding_function, self.analyzer = _identity.functions(stored, embedding_function, language)
            lexical = stored["fields"][LEXICAL]
            return [
                DenseField(DENSE, self.embedding_function.dim),
                LexicalField(LEXICAL, self.analyzer.terms, lexical["k1"], lexical["b"]),
            ]

        config = None if must_exist else _identity.new_config(embedding_function, language)
        must_be_new = must_exist is False
        self._store: Store = open_store(uri, self.name, fields=fields, config=config, must_be_new=must_be_new)

    @classmethod
    def open(cls, uri: str | Path, name: str = "default", **options: Unpack[CollectionOptions]) -> Collection:
        """Open a collection that is there; nothing is made. The options are those of `Collection`."""
        return cls(uri, name, must_exist=True, **options)

    @classmethod
    def create(cls, uri: str | Path, name: str = "default", **options: Unpack[CollectionOptions]) -> Collection:
        """Make a collection that is not there yet. The options are those of `Collection`."""
        return cls(uri, name, must_exist=False, **options)

    def add(
        self,
        records: Iterable[str | Record | Mapping[str, Any]],
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any]] | None = None,
    ) -> AddReport:
        """Embed and store records; those that are there already, unchanged, cost nothing.

        Safe to repeat: stopped anywhere, the same call goes on where it was. A record replaces the one that has its id.
        Texts longer than the model reads are found by their beginnings alone (a `TruncationWarning` says so): split
        them into passages, as `milvine index` does.

        Args:
            records: Texts, `Record`s, or mappings with "text" and, if wanted, "id" and "metadata". A generator is
                read as it is needed.
            ids: The texts' ids; by default a hash of the text, so that equal texts are stored once.
            metadata: The texts' metadata: JSON, searchable by filters.

        Raises:
            InputTypeError: Something is no text, no record, or no JSON.
            InputError: An id, a text or its metadata is too long, or a metadata key is reserved; or the embedding
                function gave something else than one finite vector a text.
            StoreWriteError: The disk is full, for example. What was written is kept; call again to go on.
        """
        stream = read_records(records, ids, metadata)
        report = AddReport()
        total = len(records) if isinstance(records, Sequence) else None
        on_its_way: dict[str, str] = {}
        writing: Future[None] | None = None
        # The last batch is written while the next is embedded. A thread of its own also means that an interrupt stops
        # neither a write nor a flush half done.
        with ThreadPoolExecutor(1, thread_name_prefix="milvine-write") as writer:
            with progress("Indexing", total, show=self.show_progress) as advance:
                for batch in in_batches(stream, BATCH):
                    done, rows = self._embed(batch, on_its_way)
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(self._store.write, rows) if rows else None
                    on_its_way = {row.record.id: row.content_hash for row in rows}
                    report += done
                    advance(len(batch))
            if writing is not None:
                writing.result()
            if report.added + report.updated:
                writer.submit(self._store.flush).result()
        return report

    def _embed(self, batch: list[Record], on_its_way: Mapping[str, str]) -> tuple[AddReport, list[Row]]:
        """The rows of a batch that must be written, the new and the changed; some may be there any moment."""
        from milvine._vectors import checked_vectors
        from milvine.store import Row

        latest = {record.id: (record, content_hash(record)) for record in batch}
        there = {**self._store.content_hashes(list(latest)), **on_its_way}
        fresh = [(record, hashed) for id_, (record, hashed) in latest.items() if there.get(id_) != hashed]
        if not fresh:
            return AddReport(unchanged=len(batch)), []
        encoded = self.embedding_function.encode_documents([record.text for record, _ in fresh])
        vectors = checked_vectors(encoded, len(fresh), self.embedding_function)
        rows = [Row(record, hashed, {DENSE: vector}) for (record, hashed), vector in zip(fresh, vectors, strict=True)]
        added = sum(record.id not in there for record, _ in fresh)
        return AddReport(added, len(fresh) - added, len(batch) - len(fresh)), rows

    @overload
    def search(self, query: str, **options: Unpack[SearchOptions]) -> list[Hit]: ...

    @overload
    def search(self, query: list[str], **options: Unpack[SearchOptions]) -> list[list[Hit]]: ...

    def search(
        self,
        query: str | list[str],
        *,
        limit: int = 10,
        mode: Mode = "hybrid",
        filter: str | None = None,
        fusion: str = "weighted",
        weights: Mapping[str, float] | None = None,
        candidates: int = CANDIDATES,
        reranker: BaseRerankFunction | Literal[False] | None = None,
        rerank_weight: float | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """The records that answer a question, best first; for a list of questions a list of such lists.

        Args:
            query: The question, or several.
            limit: Hits wanted, 1 to 16,384.
            mode: "dense" searches by meaning, "lexical" by words (BM25), "hybrid" by both, fused.
            filter: A Milvus expression over the metadata, for example `year >= 2020 and source like "docs/%"`.
            fusion: "weighted", the mean of the scores divided by their query's maximum, which measured best; or "rrf".
            weights: The fields' weights in the fusion, for example `{"dense": 1, "lexical": 2}`; by default equal.
            candidates: Hits taken from each field; at least as many as are wanted.
            reranker: Reorders the first 30 hits, or `limit` if that is more; by default the collection's own, and
                `False` for none.
            rerank_weight: The reranker's share of the score, 0 to 1; by default 0.3.

        Raises:
            InputError: The query is blank, or an option has a value that is not allowed.
            FilterError: The filter is no Milvus expression.
        """
        from milvine.rank import RERANK_WEIGHT, fuse, rerank

        queries = [_checked_query(text) for text in ([query] if isinstance(query, str) else as_texts(query, "query"))]
        if mode not in FIELDS:
            raise InputError(f"mode must be one of {', '.join(FIELDS)}, not {mode!r}")
        _check_count("limit", limit)
        _check_count("candidates", candidates)
        _check_filter(filter)
        chosen = self.reranker if reranker is None else _checked_reranker(reranker or None)
        if not queries:
            return []
        wanted = max(limit, RERANKED) if chosen else limit
        ranked = {field: self._ranked(field, queries, max(candidates, wanted), filter) for field in FIELDS[mode]}
        fused = [
            fuse({field: lists[at] for field, lists in ranked.items()}, fusion, weights)[:wanted]
            for at in range(len(queries))
        ]
        stored = self._store.get(list({place.id: None for places in fused for place in places}))
        answers = []
        for text, places in zip(queries, fused, strict=True):
            hits = []
            for place in places:
                with suppress(KeyError):  # deleted since it was found
                    record = stored[place.id]
                    hits.append(Hit(record.id, record.text, place.score, record.metadata, place.fields))
            if chosen:
                hits = rerank(chosen, text, hits, RERANK_WEIGHT if rerank_weight is None else rerank_weight)
            answers.append(hits[:limit])
        return answers[0] if isinstance(query, str) else answers

    def _ranked(self, field: str, queries: list[str], limit: int, filter_: str | None) -> list[list[Match]]:
        from milvine._vectors import checked_vectors

        if field == LEXICAL:
            return self._store.search_lexical(field, queries, limit, filter_)
        encoded = self.embedding_function.encode_queries(queries)
        vectors = checked_vectors(encoded, len(queries), self.embedding_function)
        return self._store.search_dense(field, vectors, limit, filter_)

    def get(self, ids: Iterable[str]) -> list[Record | None]:
        """The records of these ids, in their order; `None` for an id that is not there."""
        wanted = as_texts(ids, "ids")
        stored = self._store.get(list(dict.fromkeys(wanted)))
        return [stored.get(id_) for id_ in wanted]

    def delete(self, ids: Iterable[str] | None = None, *, filter: str | None = None) -> int:
        """Delete the records of these ids, or those that pass the filter, and return how many there were.

        Raises:
            InputError: Neither or both are given.
            FilterError: The filter is no Milvus expression.
        """
        if (ids is None) == (filter is None):
            raise InputError("give either ids or a filter")
        if ids is not None:
            return self._store.delete(list(dict.fromkeys(as_texts(ids, "ids"))))
        if not as_text(filter or "", "filter").strip():
            raise InputError("the filter is blank; drop() deletes the whole collection")
        return self._store.delete(list(self._store.ids(filter)))

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """The ids of all records, or of those that pass the filter, in no particular order."""
        _check_filter(filter)
        return self._store.ids(filter)

    def count(self, filter: str | None = None) -> int:
        """How many records there are, or pass the filter."""
        _check_filter(filter)
        return self._store.count(filter)

    def drop(self) -> None:
        """Delete the collection, and close it."""
        self._store.drop()

    def close(self) -> None:
        """Release the database, so that another process can open it; closing twice is harmless."""
        self._store.close()

    def __len__(self) -> int:
        return self.count()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Collection({self.uri!r}, {self.name!r})"


def _checked_query(query: str) -> str:
    if not query.strip():
        raise InputError("the query is blank; ask something")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the query {query!r} is no valid Unicode: {error}") from error
    return query


def _checked_reranker(reranker: BaseRerankFunction | None) -> BaseRerankFunction | None:
    from milvine.model.base import BaseRerankFunction

    if reranker is not None and not isinstance(reranker, BaseRerankFunction):
        raise InputTypeError(f"reranker must be a rerank function of milvine.model, not {type(reranker).__name__}")
    return reranker


def _check_filter(filter_: str | None) -> None:
    if filter_ is not None:
        as_text(filter_, "filter")


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{name} must be an integer, not {type(value).__name__} ({value!r})")
    if not 1 <= value <= MAX_LIMIT:
        raise InputError(f"{name} must be from 1 to {MAX_LIMIT:,}, not {value}")
