"""The other libraries that `benchmarks search` measures, each as its documentation shows, in the peers' Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search_stores import BEST, KEYS, TENANT, Found, Query, SearchStore, metadata_of


class QdrantEdgeStore(SearchStore):
    """Its own BM25 embedder with IDF, a keyword index made before the points (as its filterable graph needs), HNSW by
    `optimize` with its defaults, fusion by RRF over 20 prefetched points each, as in its documentation."""

    PREFETCH = 20
    BATCH = 1_000

    def __init__(self, folder: Path, dim: int) -> None:
        import qdrant_edge

        super().__init__(folder, dim)
        self._edge: Any = qdrant_edge
        self._bm25 = qdrant_edge.Bm25(qdrant_edge.Bm25Config(language="english"))
        self._path = str(folder / "shard")

    def fill(self, texts: Sequence[str], vectors: Any) -> None:
        edge = self._edge
        Path(self._path).mkdir()
        config = edge.EdgeConfig(
            vectors={"dense": edge.EdgeVectorParams(size=self.dim, distance=edge.Distance.Cosine)},
            sparse_vectors={"bm25": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        )
        shard = edge.EdgeShard.create(self._path, config)
        shard.update(edge.UpdateOperation.create_field_index("tenant", edge.PayloadSchemaType.Keyword))
        for at in range(0, len(texts), self.BATCH):
            numbers = range(at, min(at + self.BATCH, len(texts)))
            shard.update(
                edge.UpdateOperation.upsert_points(
                    [self._point(number, texts[number], vectors[number]) for number in numbers]
                )
            )
        shard.optimize()
        shard.flush()
        shard.close()

    def _point(self, number: int, text: str, vector: Any) -> Any:
        named = {"dense": vector.tolist(), "bm25": self._bm25.embed_document(text)}
        return self._edge.Point(number, named, {"text": text, **metadata_of(number)})

    def open(self) -> None:
        self._shard = self._edge.EdgeShard.load(self._path)

    def _asked(self, **options: Any) -> list[Found]:
        points = self._shard.query(self._edge.QueryRequest(limit=BEST, with_payload=True, **options))
        payloads = [point.payload for point in points]
        return [Found(point.id, payload.pop("text"), payload) for point, payload in zip(points, payloads, strict=True)]

    def _dense(self, query: Query) -> Any:
        return self._edge.Query.Nearest(query.vector.tolist(), using="dense")

    def _lexical(self, query: Query) -> Any:
        return self._edge.Query.Nearest(self._bm25.embed_query(query.text), using="bm25")

    def dense(self, query: Query) -> list[Found]:
        return self._asked(query=self._dense(query))

    def lexical(self, query: Query) -> list[Found]:
        return self._asked(query=self._lexical(query))

    def hybrid(self, query: Query, passing: Any = None) -> list[Found]:
        edge = self._edge
        asked = (self._dense(query), self._lexical(query))
        prefetches = [edge.Prefetch(limit=self.PREFETCH, query=each, filter=passing) for each in asked]
        return self._asked(query=edge.Fusion.Rrf(k=2), prefetches=prefetches)

    def filtered(self, query: Query) -> list[Found]:
        edge = self._edge
        condition = edge.FieldCondition("tenant", match=edge.MatchValue(TENANT))
        return self.hybrid(query, edge.Filter(must=[condition]))

    def upsert(self, number: int, text: str, vector: Any) -> None:
        self._shard.update(self._edge.UpdateOperation.upsert_points([self._point(number, text, vector)]))

    def close(self) -> None:
        self._shard.close()


class LanceStore(SearchStore):
    """No vector index, which its documentation calls unnecessary up to about 100,000 rows; full-text index with its
    defaults, a bitmap index for the filter, a B-tree for upserts; hybrid search by its RRF reranker."""

    BATCH = 10_000
    COLUMNS = ("id", "text", *KEYS)

    def __init__(self, folder: Path, dim: int) -> None:
        import lancedb
        import pyarrow as pa
        from lancedb.rerankers import RRFReranker

        super().__init__(folder, dim)
        self._pa: Any = pa
        self._reranker = RRFReranker()
        self._database = lancedb.connect(str(folder / "lance"))
        text, number = pa.string(), pa.int64()
        fields = [("id", number), ("text", text), ("tenant", text), ("source", text), ("page", number)]
        self._schema = pa.schema([*fields, ("vector", pa.list_(pa.float32(), dim))])

    def fill(self, texts: Sequence[str], vectors: Any) -> None:
        from lancedb.index import FTS, Bitmap, BTree

        starts = range(0, len(texts), self.BATCH)
        batches = (self._batch(at, texts[at : at + self.BATCH], vectors[at : at + self.BATCH]) for at in starts)
        reader = self._pa.RecordBatchReader.from_batches(self._schema, batches)
        table = self._database.create_table("rows", data=reader)
        for column, index in (("text", FTS()), ("tenant", Bitmap()), ("id", BTree())):
            table.create_index(column, config=index)

    def _batch(self, start: int, texts: Sequence[str], vectors: Any) -> Any:
        numbers = range(start, start + len(texts))
        rows = [metadata_of(number) for number in numbers]
        columns = [list(numbers), list(texts), *([row[key] for row in rows] for key in KEYS)]
        flat = self._pa.FixedSizeListArray.from_arrays(self._pa.array(vectors.ravel()), self.dim)
        arrays = [self._pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=False)]
        return self._pa.record_batch([*arrays, flat], schema=self._schema)

    def open(self) -> None:
        self._table = self._database.open_table("rows")

    def _listed(self, asked: Any, *score: str) -> list[Found]:
        rows = asked.select([*self.COLUMNS, *score]).limit(BEST).to_list()
        return [Found(row["id"], row["text"], {key: row[key] for key in KEYS}) for row in rows]

    def dense(self, query: Query) -> list[Found]:
        return self._listed(self._table.search(query.vector), "_distance")

    def lexical(self, query: Query) -> list[Found]:
        return self._listed(self._table.search(query.text, query_type="fts"), "_score")

    def _hybrid(self, query: Query) -> Any:
        return self._table.search(query_type="hybrid").vector(query.vector).text(query.text).rerank(self._reranker)

    def hybrid(self, query: Query) -> list[Found]:
        return self._listed(self._hybrid(query))

    def filtered(self, query: Query) -> list[Found]:
        return self._listed(self._hybrid(query).where(f"tenant = '{TENANT}'"))

    def upsert(self, number: int, text: str, vector: Any) -> None:
        merging = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merging.execute(self._pa.Table.from_batches([self._batch(number, [text], vector)]))


class ChromaStore(SearchStore):
    """Dense search alone: BM25 and hybrid search are its cloud's. HNSW and batches as its client gives them."""

    ways = ("dense", "filtered")

    def __init__(self, folder: Path, dim: int) -> None:
        import chromadb
        from chromadb.config import Settings

        super().__init__(folder, dim)
        self._client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))

    def fill(self, texts: Sequence[str], vectors: Any) -> None:
        from chromadb.utils.batch_utils import create_batches

        configuration: Any = {"hnsw": {"space": "cosine"}}
        rows = self._client.create_collection("rows", configuration=configuration, embedding_function=None)
        numbers = range(len(texts))
        ids, metadata = [str(number) for number in numbers], [metadata_of(number) for number in numbers]
        for some, embeddings, metadatas, documents in create_batches(self._client, ids, vectors, metadata, list(texts)):
            rows.add(ids=some, embeddings=embeddings, metadatas=metadatas, documents=documents)

    def open(self) -> None:
        self._rows: Any = self._client.get_collection("rows", embedding_function=None)

    def dense(self, query: Query, **options: Any) -> list[Found]:
        asked = self._rows.query(
            query_embeddings=[query.vector], n_results=BEST, include=["documents", "metadatas"], **options
        )
        columns = (asked["ids"][0], asked["documents"][0], asked["metadatas"][0])
        return [Found(int(id_), text, metadata) for id_, text, metadata in zip(*columns, strict=True)]

    def filtered(self, query: Query) -> list[Found]:
        return self.dense(query, where={"tenant": TENANT})

    def upsert(self, number: int, text: str, vector: Any) -> None:
        self._rows.upsert(ids=[str(number)], embeddings=[vector], documents=[text], metadatas=[metadata_of(number)])


def match_expression(words: Iterable[str]) -> str:
    """An FTS5 query that any of the words satisfies; with FTS5's own AND most questions find nothing."""
    return " OR ".join(f'"{word}"' for word in words)


class SqliteVecStore(SearchStore):
    """vec0 (exact, L2 over unit vectors) with a metadata column for the filter, FTS5 with Porter's stemmer over the
    same rows as external content, and one SQL statement that fuses both by RRF, as sqlite-vec's author shows."""

    BATCH = 10_000
    TABLES = """
        CREATE TABLE rows(number INTEGER PRIMARY KEY, text TEXT, tenant TEXT, source TEXT, page INTEGER);
        CREATE INDEX tenants ON rows(tenant);
        CREATE VIRTUAL TABLE words USING fts5(text, content='rows', content_rowid='number', tokenize='porter');
    """
    LEXICAL = "SELECT rowid AS number, row_number() OVER (ORDER BY rank) AS place FROM words WHERE words MATCH :words"
    DENSE = (
        "SELECT rowid AS number, row_number() OVER (ORDER BY distance) AS place FROM vectors"
        f" WHERE vector MATCH :vector AND k = {BEST}"
    )
    OF_TENANT = (" AND tenant = :tenant", " AND rowid IN (SELECT number FROM rows WHERE tenant = :tenant)")
    SHOWN = "SELECT rows.number, text, tenant, source, page FROM best JOIN rows USING (number) ORDER BY "

    def __init__(self, folder: Path, dim: int) -> None:
        import apsw  # Python's own sqlite3 cannot load extensions everywhere
        import sqlite_vec

        super().__init__(folder, dim)
        self._connect: Any = lambda: apsw.Connection(str(folder / "rows.sqlite"))
        self._extension = sqlite_vec.loadable_path()

    def open(self) -> None:
        self._db = self._connect()
        self._db.enable_load_extension(True)
        self._db.load_extension(self._extension)
        self._db.execute("PRAGMA journal_mode = WAL")  # synchronous stays FULL, SQLite's default

    def fill(self, texts: Sequence[str], vectors: Any) -> None:
        self.open()
        self._db.execute(self.TABLES)
        self._db.execute(f"CREATE VIRTUAL TABLE vectors USING vec0(vector float[{self.dim}], tenant TEXT)")
        for at in range(0, len(texts), self.BATCH):
            numbers = range(at, min(at + self.BATCH, len(texts)))
            with self._db:
                self._insert((number, texts[number], vectors[number]) for number in numbers)
        self._db.execute("INSERT INTO words(words) VALUES ('optimize')")
        self.close()

    def _insert(self, given: Iterable[tuple[int, str, Any]]) -> None:
        rows = list(given)
        self._db.executemany(
            "INSERT INTO rows VALUES (:number, :text, :tenant, :source, :page)",
            ({"number": number, "text": text, **metadata_of(number)} for number, text, _ in rows),
        )
        self._db.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", ((row[0], row[1]) for row in rows))
        self._db.executemany(
            "INSERT INTO vectors(rowid, vector, tenant) VALUES (?, ?, ?)",
            ((number, vector.tobytes(), metadata_of(number)["tenant"]) for number, _, vector in rows),
        )

    def _listed(self, statement: str, query: Query) -> list[Found]:
        given = {"words": match_expression(query.words), "vector": query.vector.tobytes(), "tenant": TENANT}
        return [
            Found(number, text, dict(zip(KEYS, metadata, strict=True)))
            for number, text, *metadata in self._db.execute(statement, given)
        ]

    def dense(self, query: Query) -> list[Found]:
        return self._listed(f"WITH best AS ({self.DENSE}) {self.SHOWN} place", query)

    def lexical(self, query: Query) -> list[Found]:
        return self._listed(f"WITH best AS ({self.LEXICAL} ORDER BY rank LIMIT {BEST}) {self.SHOWN} place", query)

    def hybrid(self, query: Query) -> list[Found]:
        return self._listed(self.fused(), query)

    def filtered(self, query: Query) -> list[Found]:
        return self._listed(self.fused(*self.OF_TENANT), query)

    @classmethod
    def fused(cls, near_passing: str = "", worded_passing: str = "") -> str:
        """The statement for hybrid search."""
        return (
            f"WITH near AS ({cls.DENSE}{near_passing}),"
            f" worded AS ({cls.LEXICAL}{worded_passing} ORDER BY rank LIMIT {BEST}),"
            " best AS (SELECT coalesce(near.number, worded.number) AS number,"
            " coalesce(1.0 / (60 + near.place), 0) + coalesce(1.0 / (60 + worded.place), 0) AS score"
            " FROM near FULL OUTER JOIN worded ON near.number = worded.number"
            f" ORDER BY score DESC LIMIT {BEST}) {cls.SHOWN} score DESC"
        )

    def upsert(self, number: int, text: str, vector: Any) -> None:
        with self._db:
            self._db.execute(
                "INSERT INTO words(words, rowid, text) SELECT 'delete', number, text FROM rows WHERE number = ?",
                (number,),
            )
            for table, key in (("rows", "number"), ("vectors", "rowid")):
                self._db.execute(f"DELETE FROM {table} WHERE {key} = ?", (number,))
            self._insert([(number, text, vector)])

    def close(self) -> None:
        self._db.close()
