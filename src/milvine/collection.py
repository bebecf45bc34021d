"""The whole path on one page: texts to vectors to a store, a question to ranked and reranked hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from milvine import _identity
from milvine._progress import progress
from milvine._records import content_hash, read_records
from milvine._texts import as_text, as_texts
from milvine.errors import CollectionExistsError, InputError, InputTypeError
from milvine.types import DenseVectors, Hit, Record

if TYPE_CHECKING:
    from milvine.analysis import Analyzer
    from milvine.model.base import BaseEmbeddingFunction, BaseRerankFunction
    from milvine.store import Match, Row, Store

Mode = Literal["dense", "lexical", "hybrid"]
DENSE, LEXICAL = "dense", "lexical"
FIELDS: dict[str, tuple[str, ...]] = {"dense": (DENSE,), "lexical": (LEXICAL,), "hybrid": (DENSE, LEXICAL)}
BATCH = 1024  # records embedded, then written, together
CANDIDATES = 100  # from each field, before fusion
RERANKED = 30  # of the fused list
MAX_LIMIT = 16_384  # Milvus' own

Item = TypeVar("Item")


@dataclass(frozen=True)
class AddReport:
    """What `Collection.add` did.

    Attributes:
        added: Records whose ids were new.
        updated: Records whose text or metadata had changed.
        unchanged: Records that were there already, and cost nothing.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0

    @property
    def total(self) -> int:
        """All records."""
        return self.added + self.updated + self.unchanged

    def __add__(self, other: AddReport) -> AddReport:
        return AddReport(self.added + other.added, self.updated + other.updated, self.unchanged + other.unchanged)


class Collection:
    """Texts, searched by meaning and by words at once.

    Opens the collection, or makes it (and the database) if it is not there. A collection remembers its model and its
    language; a query with others would give nonsense, so opening it with others is refused.

    Args:
        uri: A path that ends in `.db`: Milvus Lite, in this process. One process at a time can have it open.
        name: The collection; letters, digits and underscores.
        embedding_function: Makes dense vectors. By default the one that the collection was made with; for a new one
            all-MiniLM-L6-v2.
        language: The analyzer's, for lexical search; by default the one that the collection was made with, or "en".
        reranker: Reorders the best hits of every search, unless the search brings its own.
        show_progress: Show bars of long work; by default on a terminal only.

    Raises:
        StoreLockedError: Another process has the database open.
        CollectionMismatchError: The collection was made with another model, another language or by a newer milvine.
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
    ) -> None:
        self._set_up(uri, name, embedding_function, language, reranker, show_progress, must_exist=False)

    @classmethod
    def open(
        cls,
        uri: str | Path,
        name: str = "default",
        *,
        embedding_function: BaseEmbeddingFunction[DenseVectors] | None = None,
        language: str | None = None,
        reranker: BaseRerankFunction | None = None,
        show_progress: bool | None = None,
    ) -> Collection:
        """Open a collection that is there; nothing is made.

        Raises:
            StoreNotFoundError: There is no such database.
            CollectionNotFoundError: It has no such collection.
        """
        collection = cls.__new__(cls)
        collection._set_up(uri, name, embedding_function, language, reranker, show_progress, must_exist=True)
        return collection

    @classmethod
    def create(
        cls,
        uri: str | Path,
        name: str = "default",
        *,
        embedding_function: BaseEmbeddingFunction[DenseVectors] | None = None,
        language: str | None = None,
        reranker: BaseRerankFunction | None = None,
        show_progress: bool | None = None,
    ) -> Collection:
        """Make a collection that is not there yet.

        Raises:
            CollectionExistsError: There is one of this name.
        """
        collection = cls.__new__(cls)
        collection._set_up(uri, name, embedding_function, language, reranker, show_progress, must_exist=False)
        if not collection._made:
            collection.close()
            raise CollectionExistsError(f"{uri} already holds a collection {name!r}; open it, or choose another name")
        return collection

    def _set_up(
        self,
        uri: str | Path,
        name: str,
        embedding_function: BaseEmbeddingFunction[DenseVectors] | None,
        language: str | None,
        reranker: BaseRerankFunction | None,
        show_progress: bool | None,
        *,
        must_exist: bool,
    ) -> None:
        from milvine.store import DenseField, LexicalField, open_store

        self.uri, self.name = str(uri), as_text(name, "name")
        self.reranker = reranker
        self.show_progress = show_progress
        self.embedding_function: BaseEmbeddingFunction[DenseVectors]
        self.analyzer: Analyzer
        config = None if must_exist else _identity.new_config(embedding_function, language)
        self._made = False

        def fields(stored: dict[str, Any]) -> list[DenseField | LexicalField]:
            self._made = stored is config
            self.embedding_function, self.analyzer = _identity.functions(stored, embedding_function, language)
            k1, b = stored["fields"][LEXICAL]["k1"], stored["fields"][LEXICAL]["b"]
            return [
                DenseField(DENSE, self.embedding_function.dim),
                LexicalField(LEXICAL, self.analyzer.terms, k1, b),
            ]

        self._store: Store = open_store(uri, self.name, fields=fields, config=config, create=not must_exist)

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
            InputError: An id or a text is too long, or a metadata key is reserved.
            StoreWriteError: The disk is full, for example. What was written is kept; call again to go on.
        """
        stream = read_records(records, ids, metadata)
        report = AddReport()
        total = len(records) if isinstance(records, Sequence) and not isinstance(records, str) else None
        writer = ThreadPoolExecutor(1, thread_name_prefix="milvine-write")
        writing: Future[None] | None = None
        try:
            with progress("Indexing", total, show=self.show_progress) as advance:
                for batch in _batches(stream, BATCH):
                    done, rows = self._embed(batch)
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(self._store.write, rows) if rows else None
                    report += done
                    advance(len(batch))
                if writing is not None:
                    writing.result()
        finally:
            writer.shutdown(wait=True)
        if report.added + report.updated:
            self._store.flush()
        return report

    def _embed(self, batch: list[Record]) -> tuple[AddReport, list[Row]]:
        """The rows of a batch that must be written: the new and the changed."""
        from milvine.store import Row

        latest = {record.id: (record, content_hash(record)) for record in batch}
        stored = self._store.content_hashes(list(latest))
        fresh = [(record, hashed) for id_, (record, hashed) in latest.items() if stored.get(id_) != hashed]
        vectors = self.embedding_function.encode_documents([record.text for record, _ in fresh])
        rows = [Row(record, hashed, {DENSE: vector}) for (record, hashed), vector in zip(fresh, vectors, strict=True)]
        added = sum(record.id not in stored for record, _ in fresh)
        return AddReport(added, len(fresh) - added, len(batch) - len(fresh)), rows

    @overload
    def search(
        self,
        query: str,
        *,
        limit: int = ...,
        mode: Mode = ...,
        filter: str | None = ...,
        fusion: str = ...,
        weights: Mapping[str, float] | None = ...,
        candidates: int = ...,
        reranker: BaseRerankFunction | None = ...,
        rerank_weight: float | None = ...,
    ) -> list[Hit]: ...

    @overload
    def search(
        self,
        query: list[str],
        *,
        limit: int = ...,
        mode: Mode = ...,
        filter: str | None = ...,
        fusion: str = ...,
        weights: Mapping[str, float] | None = ...,
        candidates: int = ...,
        reranker: BaseRerankFunction | None = ...,
        rerank_weight: float | None = ...,
    ) -> list[list[Hit]]: ...

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
        reranker: BaseRerankFunction | None = None,
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
            candidates: Hits taken from each field, at least `limit`.
            reranker: Reorders the first 30 hits, or `limit` if that is more; by default the collection's own.
            rerank_weight: The reranker's share of the score, 0 to 1; by default 0.3.

        Raises:
            InputError: The query is blank, or an option has a value that is not allowed.
            FilterError: The filter is no Milvus expression.
        """
        from milvine.rank import fuse
        from milvine.rank.blending import RERANK_WEIGHT

        queries = [query] if isinstance(query, str) else as_texts(query, "query")
        for text in queries:
            if not text.strip():
                raise InputError("the query is blank; ask something")
        if mode not in FIELDS:
            raise InputError(f"mode must be one of {', '.join(FIELDS)}, not {mode!r}")
        _check_count("limit", limit, MAX_LIMIT)
        _check_count("candidates", candidates, MAX_LIMIT)
        if filter is not None:
            as_text(filter, "filter")
        reranker = reranker or self.reranker
        weight = RERANK_WEIGHT if rerank_weight is None else rerank_weight
        wanted = max(limit, RERANKED) if reranker else limit
        lists = {field: self._ranked(field, queries, max(candidates, wanted), filter) for field in FIELDS[mode]}
        fuse_fields = partial(fuse, method=fusion, weights=weights)
        found = [fuse_fields({field: ranked[at] for field, ranked in lists.items()}) for at in range(len(queries))]
        stored = self._store.get(list({place.id: None for fused in found for place in fused[:wanted]}))
        answers = []
        for text, fused in zip(queries, found, strict=True):
            hits = [
                Hit(place.id, stored[place.id].text, place.score, stored[place.id].metadata, place.fields)
                for place in fused[:wanted]
                if place.id in stored
            ]
            if reranker:
                hits = _rerank(reranker, text, hits, weight)
            answers.append(hits[:limit])
        return answers[0] if isinstance(query, str) else answers

    def _ranked(self, field: str, queries: list[str], limit: int, filter_: str | None) -> list[list[Match]]:
        if field == LEXICAL:
            return self._store.search_lexical(field, queries, limit, filter_)
        return self._store.search_dense(field, self.embedding_function.encode_queries(queries), limit, filter_)

    def get(self, ids: Iterable[str]) -> list[Record | None]:
        """The records of these ids, in their order; `None` for an id that is not there."""
        wanted = as_texts(ids, "ids")
        stored = self._store.get(wanted)
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
            return self._store.delete(as_texts(ids, "ids"))
        if not as_text(filter or "", "filter").strip():
            raise InputError("the filter is blank; drop() deletes the whole collection")
        return self._store.delete(list(self._store.ids(filter)))

    def ids(self, filter: str | None = None) -> Iterator[str]:
        """The ids of all records, or of those that pass the filter, in no particular order."""
        return self._store.ids(filter)

    def count(self, filter: str | None = None) -> int:
        """How many records there are, or pass the filter."""
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


def _rerank(reranker: BaseRerankFunction, query: str, hits: list[Hit], weight: float) -> list[Hit]:
    from dataclasses import replace

    from milvine.rank import blend

    results = reranker(query, [hit.text for hit in hits], top_k=max(len(hits), 1))
    scores = {result.index: result.score for result in results}
    if len(scores) < len(hits):
        raise InputError(f"the reranker scored {len(scores)} of {len(hits)} documents; it must score all of them")
    second = [scores[at] for at in range(len(hits))]
    blended = blend([hit.score for hit in hits], second, weight)
    reranked = [
        replace(hit, score=score, rerank_score=own) for hit, score, own in zip(hits, blended, second, strict=True)
    ]
    return sorted(reranked, key=lambda hit: -hit.score)  # stable: equal scores keep the first stage's order


def _check_count(name: str, value: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{name} must be an integer, not {type(value).__name__} ({value!r})")
    if not 1 <= value <= most:
        raise InputError(f"{name} must be from 1 to {most:,}, not {value}")


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch
