"""Who is measured by `benchmarks search`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.search_peers import ChromaStore, LanceStore, QdrantEdgeStore, SqliteVecStore
from benchmarks.search_stores import TENANT, Found, Query, SearchStore, metadata_of


class MilvineStore(SearchStore):
    """`milvine.Collection` with its defaults, and an embedding function that has every vector ready."""

    path = "kb.milvine"

    def __init__(self, folder: Path, dim: int) -> None:
        import numpy as np

        from milvine.model.base import BaseEmbeddingFunction

        super().__init__(folder, dim)
        ready: dict[str, Any] = {}

        class ReadyVectors(BaseEmbeddingFunction[Any]):
            dim = property(lambda _: dim)

            def _encode_documents(self, texts: list[str]) -> Any:
                return [ready[text] for text in texts]

            _encode_queries = _encode_documents

        self._ready = ready
        self._function = ReadyVectors()
        with tempfile.TemporaryDirectory() as scratch:  # what is imported is not measured
            ready["text"] = np.eye(1, dim, dtype=np.float32)[0]
            with self._opened(Path(scratch)) as collection:
                collection.add(["text"])
                collection.search("text", filter="page == 1")

    def _opened(self, folder: Path) -> Any:
        from milvine import Collection

        return Collection(folder / self.path, embedding_function=self._function, show_progress=False)

    def fill(self, texts: Sequence[str], vectors: Any) -> None:
        self._ready.update(zip(texts, vectors, strict=True))
        numbers = range(len(texts))
        collection = self._opened(self.folder)
        collection.add(texts, ids=map(str, numbers), metadata=map(metadata_of, numbers))
        collection.close()

    def open(self) -> None:
        self._collection = self._opened(self.folder)

    def _search(self, query: Query, **options: Any) -> list[Found]:
        self._ready[query.text] = query.vector
        return [Found(int(hit.id), hit.text, hit.metadata) for hit in self._collection.search(query.text, **options)]

    def dense(self, query: Query) -> list[Found]:
        return self._search(query, mode="dense")

    def lexical(self, query: Query) -> list[Found]:
        return self._search(query, mode="lexical")

    def hybrid(self, query: Query) -> list[Found]:
        return self._search(query)

    def filtered(self, query: Query) -> list[Found]:
        return self._search(query, filter=f'tenant == "{TENANT}"')

    def upsert(self, number: int, text: str, vector: Any) -> None:
        self._ready[text] = vector
        self._collection.upsert([{"id": str(number), "text": text, "metadata": metadata_of(number)}])

    def close(self) -> None:
        self._collection.close()


class MilvusLiteStore(MilvineStore):
    """The same on Milvus Lite; `Collection` writes batches of 100, flushes, and computes BM25 weights itself."""

    path = "kb.db"


STORES: dict[str, type[SearchStore]] = {
    "milvine": MilvineStore,
    "milvus-lite": MilvusLiteStore,
    "qdrant-edge": QdrantEdgeStore,
    "lancedb": LanceStore,
    "chromadb": ChromaStore,
    "sqlite-vec": SqliteVecStore,
}
NOTES = {
    "milvine": "Collection with its defaults, 100 candidates a field; every write synced",
    "milvus-lite": "the same Collection on Milvus Lite 3.2; a one-row upsert is flushed",
    "qdrant-edge": "HNSW, its own BM25 and RRF over 20 points each, keyword index; writes are not synced one by one",
    "lancedb": "exact, as its documentation advises for so few rows; full-text, bitmap, B-tree index; RRF; not synced",
    "chromadb": "HNSW; local chromadb has no BM25, so filtered is dense alone; synced",
    "sqlite-vec": "exact; FTS5 with Porter's stemmer, the question's words but stop words joined by OR; RRF; synced",
}
"""What is to be known about each."""
