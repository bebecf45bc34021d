"""The whole path on one page: texts to vectors to a store, a question to ranked and reranked hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from milvine._documents import Passages, passages_of
from milvine._opening import CollectionOptions as CollectionOptions
from milvine._opening import opened
from milvine._records import read_records
from milvine._searching import CANDIDATES, SearchOptions, aanswer, answer, checked_reranker, prepare
from milvine._searching import Mode as Mode
from milvine._texts import as_text, as_texts, shown_uri
from milvine._writing import write_records
from milvine.errors import InputError
from milvine.store.filters import fill
from milvine.types import AddReport, Hit, Record

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.analysis import Analyzer, DictionaryAnalyzer
    from milvine.model.base import BaseEmbeddingFunction, BaseRerankFunction
    from milvine.store import Metric, StoreOptions, VectorType


class Collection:
    """Texts, searched by meaning and by words at once.

    Opens the collection, or makes it (and the database) if it is not there. A collection remembers its models and its
    language; a query with others would give nonsense, so opening it with others is refused. It may be used by several
    threads, and opened several times in one process.

    Each embedding function fills a vector field. One that is given alone fills `dense`, or `sparse`; a hybrid one, such
    as BGE-M3, fills both from one pass. Of a mapping each fills the field of its name, a hybrid one `NAME_dense` and
    `NAME_sparse`. Lexical search (BM25) is the field `lexical`. A vector a token, as ColBERT's function gives it, fills
    `multivector` (BGE-M3's, if asked for, `colbert_vecs`): a hybrid search scores by it what other fields found. The
    built-in store alone can hold such fields.

    Args:
        uri: A path, such as "kb.milvine": milvine's built-in store, one file on this machine, which several processes
            may have open. A path that ends in `.db`: Milvus Lite, which one process at a time may have open. Or the
            address of a Milvus server or cluster: `http://host:19530`, or `https://` for TLS.
        name: The collection; letters, digits and underscores.
        embedding_function: Makes the vectors: one function, or a mapping of names (letters, digits and underscores) to
            several. By default what the collection was made with; for a new one all-MiniLM-L6-v2. An empty mapping
            makes a collection for lexical search alone.
        language: The analyzer's, for lexical search; by default the one that the collection was made with, or "en".
        lexical: Whether there is lexical search; by default as the collection was made, and in a new one there is.
        vector_type: What dense vectors are stored as, or a mapping of fields to that; by default what the function
            gives. "float32"; "float16" and "bfloat16", rounded to half the room; "int8", each vector scaled so that its
            largest component is 127 or -127, and rounded; "binary", a bit a dimension, 1 where it is above 0. Milvus
            Lite has "float32" alone; a server all of them, "float16" and "bfloat16" from 2.4 on and "int8" from 2.6.
            Multi-vectors are "float16" or, named in a mapping, "float32".
        metric: How dense vectors are compared, or a mapping of fields to that: "COSINE" (the default), "IP" or "L2",
            whose score is 1 minus half the squared distance. int8 and binary vectors have "COSINE". Where scores can be
            below 0 throughout, as by "L2" of vectors longer than 1, search with `fusion="minmax"`.
        reranker: Reorders the best hits of every search, unless the search brings its own.
        show_progress: Show bars of long work; by default on a terminal only.
        must_exist: `True`: it must be there; `False`: it must not; by default it is made if it is not there.
        server: For a server alone: `token`, `index` and others, which `milvine.store.StoreOptions` explains; `timeout`
            for the built-in store, too.

    Attributes:
        embedding_functions: The embedding functions by name; one that was given alone is called "dense", "sparse" or
            "hybrid".

    Raises:
        StoreNotFoundError: There is no such database, and it must be there; or no folder to make it in.
        StoreLockedError: Another process has the database open.
        CollectionNotFoundError: The database has no such collection, and it must be there.
        CollectionExistsError: It has one, and it must not be there.
        CollectionMismatchError: The collection was made with other models, vector types or metrics, another language,
            by a newer milvine or by another program.
        InputError: The URI, a name or a function is not usable, or the store cannot hold what it gives.
        StoreConnectionError: The server cannot be reached; `StoreError` if it refuses the token.
    """

    def __init__(
        self,
        uri: str | Path,
        name: str = "default",
        *,
        embedding_function: BaseEmbeddingFunction[Any] | Mapping[str, BaseEmbeddingFunction[Any]] | None = None,
        language: str | None = None,
        lexical: bool | None = None,
        vector_type: VectorType | Mapping[str, VectorType] | None = None,
        metric: Metric | Mapping[str, Metric] | None = None,
        reranker: BaseRerankFunction | None = None,
        show_progress: bool | None = None,
        must_exist: bool | None = None,
        _columns: Mapping[str, str] | None = None,
        **server: Unpack[StoreOptions],
    ) -> None:
        self.uri, self.name = shown_uri(uri), as_text(name, "name")
        self.reranker = checked_reranker(reranker)
        self.show_progress = show_progress
        chosen = (embedding_function, language, lexical, vector_type, metric)
        self._store, self._fields = opened(
            uri, self.name, *chosen, must_exist=must_exist, columns=_columns, options=server
        )
        self.embedding_functions = dict(self._fields.functions)

    @property
    def embedding_function(self) -> BaseEmbeddingFunction[Any]:
        """The embedding function of a collection that has one alone; else it raises `InputError`."""
        if len(self.embedding_functions) != 1:
            names = ", ".join(self.embedding_functions) or "none"
            raise InputError(f"there is not one embedding function but: {names}; take embedding_functions[name]")
        return next(iter(self.embedding_functions.values()))

    @property
    def analyzer(self) -> Analyzer | DictionaryAnalyzer | None:
        """What makes terms of texts for lexical search; `None` where there is none."""
        return self._fields.analyzer

    @classmethod
    def open(cls, uri: str | Path, name: str = "default", **options: Unpack[CollectionOptions]) -> Collection:
        """Open a collection that is there; nothing is made. The options are those of `Collection`."""
        return cls(uri, name, must_exist=True, **options)

    @classmethod
    def create(cls, uri: str | Path, name: str = "default", **options: Unpack[CollectionOptions]) -> Collection:
        """Make a collection that is not there yet. The options are those of `Collection`."""
        return cls(uri, name, must_exist=False, **options)

    @classmethod
    def attach(
        cls, uri: str | Path, name: str, fields: Mapping[str, str] | None = None, **options: Unpack[CollectionOptions]
    ) -> Collection:
        """Open a collection that another tool made, to search it and, if its schema permits, to write.

        Nothing is stored in it that the other tool would not know, so nothing tells which model made its vectors: that
        is for the caller to know, and only dimensions are checked. There is no lexical search. Its other fields are
        metadata. Ids that are integers are strings of digits here.

        Args:
            uri: A server's address, or a path that ends in `.db`.
            name: The collection.
            fields: What the other tool calls what milvine calls "text" and, after the embedding functions, "dense" and
                so on: `{"text": "body", "dense": "embedding"}`. What is left out has the same name there.
            options: As for `Collection`, without `language`, `lexical` and `metric`, which is that of a field's index.
                `vector_type` is that of the columns, where it is not what the functions give.

        Raises:
            CollectionMismatchError: A field is not there, or is of another type or dimension; or milvine made the
                collection.
        """
        options["lexical"] = False
        return cls(uri, name, _columns={} if fields is None else fields, **options)

    def add(
        self,
        records: Iterable[str | Record | Mapping[str, Any]],
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any]] | None = None,
        split: bool | int = False,
        overlap: int = 0,
    ) -> AddReport:
        """Embed and store records; those that are there already, unchanged, cost nothing.

        Safe to repeat: stopped anywhere, the same call goes on where it was. A record replaces the one that has its id,
        whole; so `upsert` is the same. Texts longer than the model reads are found by their beginnings alone (a
        `TruncationWarning` says so), unless they are split.

        With `split` each record is a document of any length, and its passages are what is stored: ids are the
        document's, `#` and a number from 0; metadata are the document's, with its id under `document` and the passage's
        place in its text, in characters, under `start` and `end`. Added again, a document of the same id loses the
        passages that it has no more.

        Args:
            records: Texts, `Record`s, or mappings with "text" and, if wanted, "id" and "metadata". A generator is
                read as it is needed.
            ids: The texts' ids; by default a hash of the text, so that equal texts are stored once.
            metadata: The texts' metadata: JSON, searchable by filters.
            split: `True` cuts texts into passages that the model reads whole, of 512 tokens at most; a number says how
                many tokens, special ones included. Cuts fall between paragraphs, sentences or words, or at headings
                where the metadata has `"format": "markdown"`.
            overlap: Tokens that neighbouring passages share at most.

        Raises:
            InputTypeError: Something is no text, no record, or no JSON.
            InputError: An id, a text or its metadata is too long, or a metadata key is reserved; texts cannot be split
                so; or the embedding function gave something else than one finite vector a text.
            StoreWriteError: The disk is full, for example. What was written is kept; call again to go on.
        """
        stream: Iterable[Record] = read_records(records, ids, metadata, long_texts=split is not False)
        total = len(records) if isinstance(records, Sequence) and split is False else None
        passages = None
        if split is not False:
            stream = passages = Passages(stream, self.embedding_functions.values(), split, overlap)
        return write_records(self._store, self._fields, stream, passages, total=total, show=self.show_progress)

    upsert = add

    @overload
    def search(self, query: str, **options: Unpack[SearchOptions]) -> list[Hit]: ...

    @overload
    def search(self, query: list[str], **options: Unpack[SearchOptions]) -> list[list[Hit]]: ...

    def search(
        self,
        query: str | list[str],
        *,
        limit: int = 10,
        offset: int = 0,
        mode: Mode = "hybrid",
        fields: Iterable[str] | None = None,
        filter: str | None = None,
        filter_params: Mapping[str, Any] | None = None,
        fusion: str = "weighted",
        weights: Mapping[str, float] | None = None,
        candidates: int = CANDIDATES,
        output_fields: Iterable[str] | None = None,
        group_by: str | None = None,
        threshold: float | None = None,
        reranker: BaseRerankFunction | Literal[False] | None = None,
        rerank_weight: float | None = None,
        rerank_limit: int | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """The records that answer a question, best first; for a list of questions a list of such lists.

        Args:
            query: The question, or several.
            limit: Hits wanted; with `offset` at most 16,384.
            offset: Hits to leave out before the first.
            mode: "hybrid" searches all fields and fuses what they find, "dense" those that go by meaning, "sparse"
                those of learned weights, "lexical" the one that goes by words (BM25). Multi-vector fields have no mode
                of their own: "hybrid" and `fields` have them score what the other fields found.
            fields: The names of the fields to search, instead of a mode.
            filter: A Milvus expression over the metadata, for example `year >= 2020 and source == {source}`.
            filter_params: The values of the filter's placeholders, `{"source": "a.md"}`: strings, numbers, booleans
                and lists of these. Whatever a value is, it is never read as part of the expression.
            fusion: "weighted", the mean of the scores divided by their query's maximum, which measured best; "minmax",
                of their places between the candidates' lowest and highest; "distribution", between three standard
                deviations below and above the mean; or "rrf", reciprocal ranks.
            weights: The fields' weights in the fusion, for example `{"dense": 1, "lexical": 2}`; by default equal.
            candidates: Hits taken from each field, at least as many as are wanted. What one field found is scored in
                the others, too, except by "rrf".
            output_fields: The metadata keys that come back; by default all.
            group_by: Of the hits whose metadata have the same under this key the best alone; "document" for passages.
            threshold: The least score of a hit that comes back, after reranking if there is any.
            reranker: Reorders the first 30 hits, or as many as are wanted if that is more; by default the collection's
                own, and `False` for none.
            rerank_weight: The reranker's share of the score, 0 to 1; by default 0.3.
            rerank_limit: Hits that the reranker is shown, if not that many; those beyond come after them.

        Raises:
            InputError: The query is blank, or an option has a value that is not allowed.
            FilterError: The filter is no Milvus expression, or its placeholders and the values do not agree.
        """
        given = locals()
        options = cast(SearchOptions, {name: given[name] for name in SearchOptions.__annotations__})
        search = prepare(self._fields, self.reranker, query, options)
        vectors = self._fields.encode_queries(search.queries, search.fields) if search.queries else {}
        answers = answer(self._store, self._fields, search, vectors)
        return answers[0] if isinstance(query, str) else answers

    @overload
    async def asearch(self, query: str, **options: Unpack[SearchOptions]) -> list[Hit]: ...

    @overload
    async def asearch(self, query: list[str], **options: Unpack[SearchOptions]) -> list[list[Hit]]: ...

    async def asearch(self, query: str | list[str], **options: Unpack[SearchOptions]) -> list[Hit] | list[list[Hit]]:
        """As `search`, without blocking the event loop.

        Hosted models and Milvus servers are awaited, a server's fields at once; what runs on this machine, such as
        local models, other stores and rerankers, does so in a thread.
        """
        search = prepare(self._fields, self.reranker, query, options)
        vectors = await self._fields.aencode_queries(search.queries, search.fields) if search.queries else {}
        answers = await aanswer(self._store, self._fields, search, vectors)
        return answers[0] if isinstance(query, str) else answers

    def get(self, ids: Iterable[str]) -> list[Record | None]:
        """The records of these ids, in their order; `None` for an id that is not there."""
        wanted = as_texts(ids, "ids")
        stored = self._store.get(list(dict.fromkeys(wanted)))
        return [stored.get(id_) for id_ in wanted]

    def delete(
        self,
        ids: Iterable[str] | None = None,
        *,
        filter: str | None = None,
        filter_params: Mapping[str, Any] | None = None,
        documents: Iterable[str] | None = None,
    ) -> int:
        """Delete the records of these ids, those that pass the filter, or the passages of documents, and say how many.

        Raises:
            InputError: None of the three is given, or several are.
            FilterError: The filter is no Milvus expression.
        """
        filter = fill(filter, filter_params)
        if sum(given is not None for given in (ids, filter, documents)) != 1:
            raise InputError("give either ids, a filter or documents")
        if documents is not None:
            ids = passages_of(self._store, as_texts(documents, "documents"))
        elif filter is not None:
            if not filter.strip():
                raise InputError("the filter is blank; drop() deletes the whole collection")
            ids = self._store.ids(filter)
        return self._store.delete(list(dict.fromkeys(as_texts(ids or (), "ids"))))

    def records(self, filter: str | None = None, filter_params: Mapping[str, Any] | None = None) -> Iterator[Record]:
        """All records, or those that pass the filter, in no particular order, read some at a time.

        Those that are written or deleted meanwhile may be among them or not.
        """
        return (row.record for row in self._store.rows(fill(filter, filter_params)))

    def ids(self, filter: str | None = None, filter_params: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The ids of all records, or of those that pass the filter, in no particular order."""
        return self._store.ids(fill(filter, filter_params))

    def count(self, filter: str | None = None, filter_params: Mapping[str, Any] | None = None) -> int:
        """How many records there are, or pass the filter."""
        return self._store.count(fill(filter, filter_params))

    def export(
        self,
        path: str | Path,
        *,
        filter: str | None = None,
        filter_params: Mapping[str, Any] | None = None,
        vectors: bool = True,
    ) -> int:
        """Write the records, or those that pass the filter, into a Parquet file that `import_` and `from_export` read.

        The file has its name once it is complete, and replaces one that was there. Its columns are `id`, `text`,
        `$meta` (the metadata as JSON) and, with `vectors`, one for each vector field. Returns how many records it has.

        Raises:
            FilterError: The filter is no Milvus expression.
            InputError: There is no such folder.
            MissingExtraError: pyarrow is not installed.
            StoreWriteError: The file cannot be written; nothing of it is left.
        """
        from milvine._exchange import export_rows

        chosen = fill(filter, filter_params)
        return export_rows(self._store, path, chosen, vectors=vectors, show=self.show_progress)

    def import_(self, path: str | Path, *, embed: bool = False) -> AddReport:
        """Add the records of a file that `export` wrote, as `add` does, but with the file's vectors.

        The texts of a file without vectors are embedded; so are all with `embed`.

        Raises:
            CollectionMismatchError: The file's vectors are of other models than this collection's; see `embed`.
            MissingExtraError: pyarrow is not installed.
            ReadError: The file cannot be read, or was not exported by milvine.
            StoreWriteError: As for `add`.
        """
        from milvine._exchange import import_rows

        return import_rows(self._store, self._fields, path, embed=embed, show=self.show_progress)

    @classmethod
    def from_export(
        cls, path: str | Path, uri: str | Path, name: str = "default", **options: Unpack[CollectionOptions]
    ) -> Collection:
        """Import a file into a collection like the one that it was exported from, which is made if it is not there.

        The options are those of `Collection`; the models and the language are the file's, and need not be given if they
        can be rebuilt.

        Raises:
            CollectionMismatchError: Functions that are given, or the collection that is there, are not like the file's.
            MissingExtraError, ReadError, StoreWriteError: As for `import_`.
        """
        from milvine._exchange import options_for

        collection = cls(uri, name, **options_for(path, options))
        try:
            collection.import_(path)
        except BaseException:
            collection.close()
            raise
        return collection

    def copy_to(self, uri: str | Path, name: str | None = None, **store: Unpack[StoreOptions]) -> AddReport:
        """Copy everything, vectors included, into another store; nothing is embedded again.

        The collection there is made if it is not there; else it must be of the same models and fields. Safe to repeat:
        stopped anywhere, the same call goes on where it was, as what is there already, unchanged, is not written again.
        In the end both sides are read again and compared, texts, metadata and vectors; records that others change here
        meanwhile may be copied or not, and if not, the comparison says so. Nothing is deleted, here or there.

        Args:
            uri: Where to: a path, or a server's address, as for `Collection`.
            name: The collection there; by default it is called as here.
            store: For a server alone, as for `Collection`.

        Returns:
            How many records were new there, how many were replaced, and how many were there already.

        Raises:
            CollectionMismatchError: The collection there has other models or fields, or records that this one has not;
                nothing was copied.
            InputError: The store cannot hold such fields, or it is this collection itself; nothing was copied.
            StoreWriteError: The disk is full, or the comparison found a difference. What was copied is kept.
        """
        from milvine._copying import Place, copy_store

        target = Place(uri, self.name if name is None else as_text(name, "name"))
        return copy_store(self._store, Place(self.uri, self.name), target, store, show=self.show_progress)

    def drop(self) -> None:
        """Delete the collection, and close it."""
        self._store.drop()

    def close(self) -> None:
        """Release the database, so that another process can open it; closing twice is harmless."""
        self._store.close()

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def __len__(self) -> int:
        return self.count()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Collection({self.uri!r}, {self.name!r})"
