"""How well a collection with its defaults answers the questions of a real test collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from milvine import Collection
from milvine.collection import Mode
from milvine.errors import TruncationWarning
from milvine.evaluate import TestCollection, load_beir, ndcg
from milvine.model.reranker import CrossEncoderRerankFunction

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


def ndcg_at_10(docs: Collection, tested: TestCollection, mode: Mode) -> float:
    found = docs.search(list(tested.queries.values()), mode=mode, limit=10)
    runs = {id_: [hit.id for hit in hits] for id_, hits in zip(tested.queries, found, strict=True)}
    return ndcg(tested.qrels, runs)


def test_dense(docs: Collection, scifact: TestCollection) -> None:
    # The value of all-MiniLM-L6-v2 on the leaderboard of MTEB, and of sentence-transformers: 0.645.
    assert ndcg_at_10(docs, scifact, "dense") == pytest.approx(0.645, abs=0.002)


def test_lexical(docs: Collection, scifact: TestCollection) -> None:
    # bm25s with k1 0.9 and b 0.4: 0.676.
    assert ndcg_at_10(docs, scifact, "lexical") >= 0.67


def test_hybrid(docs: Collection, scifact: TestCollection) -> None:
    hybrid = ndcg_at_10(docs, scifact, "hybrid")
    # The mean of the two scores, each divided by its query's maximum, over all documents and not candidates: 0.734.
    assert hybrid == pytest.approx(0.734, abs=0.002)
    assert hybrid > max(ndcg_at_10(docs, scifact, mode) for mode in ("dense", "lexical"))


@pytest.mark.parametrize(("name", "least"), [("cacm", 0.575), ("nq_utd", 0.825)])
def test_other_collections(test_data: Path, tmp_path: Path, name: str, least: float) -> None:
    tested = load_beir(test_data / name)
    with Collection(tmp_path / "kb.db") as docs:
        with pytest.warns(TruncationWarning):
            docs.add(tested.documents)
        hybrid = ndcg_at_10(docs, tested, "hybrid")
        assert hybrid >= least
        assert hybrid > max(ndcg_at_10(docs, tested, mode) for mode in ("dense", "lexical"))
        if name == "nq_utd":  # two thousand four hundred pairs; the others take minutes
            docs.reranker = CrossEncoderRerankFunction(show_progress=False)
            assert ndcg_at_10(docs, tested, "hybrid") >= hybrid


def test_adding_it_again_embeds_nothing(docs: Collection, scifact: TestCollection) -> None:
    report = docs.add(scifact.documents)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 5183)
