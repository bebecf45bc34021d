"""How well each language's default analyzer answers real test collections, by exact search over BM25 vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from milvine.analysis import TermStatistics, document_vectors, get_analyzer, query_vectors, term_ids
from milvine.evaluate import load_beir, ndcg
from milvine.types import SparseMatrix

pytestmark = pytest.mark.data

# Collection, language, the least nDCG@10 at k1 0.9 and b 0.4: what bm25s or character bigrams give, less a little.
FLOORS = [
    ("scifact", "en", 0.675),
    ("cacm", "en", 0.500),
    ("nq_utd", "en", 0.795),
    ("xquad_en", "en", 0.960),
    ("xquad_de", "de", 0.915),
    ("xquad_ru", "ru", 0.870),
    ("xquad_ar", "ar", 0.885),
    ("xquad_th", "th", 0.885),
    ("xquad_zh", "zh", 0.960),
    ("stard_zh", "zh", 0.500),
    ("jsquad_ja", "ja", 0.940),
]


def lexical_ndcg(folder: Path, language: str, k1: float, b: float) -> float:
    """nDCG@10 of all documents scored for every query."""
    collection = load_beir(folder)
    analyze = get_analyzer(language).terms
    documents = [term_ids(terms) for terms in analyze(record.text for record in collection.documents)]
    statistics = TermStatistics()
    for ids in documents:
        statistics.add(ids)
    queries = [term_ids(terms) for terms in analyze(collection.queries.values())]
    columns, rows = _without_empty_columns(
        query_vectors(queries, statistics), document_vectors(documents, statistics.avgdl, k1, b)
    )
    scores = (columns @ rows.T.tocsr()).toarray()
    names = np.array([record.id for record in collection.documents])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    runs = {
        query: [str(names[place]) for place in places if score[place] > 0]
        for query, places, score in zip(collection.queries, best, scores, strict=True)
    }
    return ndcg(collection.qrels, runs)


def _without_empty_columns(queries: SparseMatrix, documents: SparseMatrix) -> tuple[SparseMatrix, SparseMatrix]:
    """The two with their 2**32 columns renumbered to those that a query has, for a product that fits in memory."""
    used = np.unique(queries.indices)
    places = np.searchsorted(used, documents.indices).clip(max=len(used) - 1)
    data = np.where(used[places] == documents.indices, documents.data, 0)
    shape = (documents.shape[0], len(used))
    return (
        csr_array(
            (queries.data, np.searchsorted(used, queries.indices), queries.indptr), shape=(queries.shape[0], len(used))
        ),
        csr_array((data, places, documents.indptr), shape=shape),
    )


@pytest.mark.parametrize(("name", "language", "floor"), FLOORS)
def test_default_analyzers(name: str, language: str, floor: float, test_data: Path) -> None:
    assert lexical_ndcg(test_data / name, language, 0.9, 0.4) >= floor


@pytest.mark.parametrize(
    ("name", "floor"),
    [("xquad_en", 0.960), ("xquad_ru", 0.870), ("xquad_ar", 0.885), ("xquad_th", 0.885), ("xquad_zh", 0.960)],
)
def test_multilingual_is_as_good_where_the_script_tells(name: str, floor: float, test_data: Path) -> None:
    assert lexical_ndcg(test_data / name, "multilingual", 0.9, 0.4) >= floor


def test_other_settings_do_not_change_the_picture(test_data: Path) -> None:
    for k1, b in ((1.2, 0.75), (1.5, 0.75)):
        assert lexical_ndcg(test_data / "xquad_de", "de", k1, b) >= 0.915
        assert lexical_ndcg(test_data / "stard_zh", "zh", k1, b) >= 0.500
