"""How well a collection with its defaults answers the questions of a real test collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from milvine import Collection
from milvine.collection import Mode
from milvine.errors import TruncationWarning
from milvine.evaluate import TestCollection, load_beir, ndcg

pytestmark = [pytest.mark.data, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def scifact(test_data: Path) -> TestCollection:
    return load_beir(test_data / "scifact")


@pytest.fixture(scope="module")
def docs(scifact: TestCollection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection(tmp_path_factory.mktemp("scifact") / "kb.db") as docs:
        with pytest.warns(TruncationWarning):  # some abstracts are longer than the 256 tokens that are read
            report = docs.add(scifact.documents)
        assert report.added == len(scifact.documents) == 5183
        yield docs


def ndcg_at_10(docs: Collection, scifact: TestCollection, mode: Mode) -> float:
    found = docs.search(list(scifact.queries.values()), mode=mode, limit=10)
    runs = {id_: [hit.id for hit in hits] for id_, hits in zip(scifact.queries, found, strict=True)}
    return ndcg(scifact.qrels, runs)


def test_dense(docs: Collection, scifact: TestCollection) -> None:
    # The value of all-MiniLM-L6-v2 on the leaderboard of MTEB, and of sentence-transformers: 0.645.
    assert ndcg_at_10(docs, scifact, "dense") == pytest.approx(0.645, abs=0.002)


def test_lexical(docs: Collection, scifact: TestCollection) -> None:
    # bm25s with k1 0.9 and b 0.4: 0.676.
    assert ndcg_at_10(docs, scifact, "lexical") >= 0.67


def test_hybrid(docs: Collection, scifact: TestCollection) -> None:
    hybrid = ndcg_at_10(docs, scifact, "hybrid")
    assert hybrid >= 0.72
    assert hybrid > max(ndcg_at_10(docs, scifact, mode) for mode in ("dense", "lexical"))


def test_adding_it_again_embeds_nothing(docs: Collection, scifact: TestCollection) -> None:
    report = docs.add(scifact.documents)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 5183)
