"""How well collections with their defaults answer the questions of real test collections, in both embedded stores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from milvine import Collection, model
from milvine.collection import Mode
from milvine.errors import TruncationWarning
from milvine.evaluate import TestCollection, load_beir, ndcg
from milvine.model.cached import CachedEmbeddingFunction
from milvine.model.reranker import CrossEncoderRerankFunction

pytestmark = [pytest.mark.data, pytest.mark.timeout(900)]

STORES = {"lite": "kb.db", "builtin": "kb.milvine"}
MODES: list[Mode] = ["dense", "lexical", "hybrid"]


@dataclass
class Judged:
    """A test collection in each store.

    Attributes:
        tested: Its documents, queries and judgments.
        docs: The collection in each store.
        values: For each store nDCG@10 by mode.
        function: What embedded them.
    """

    tested: TestCollection
    docs: dict[str, Collection]
    values: dict[str, dict[Mode, float]]
    function: CachedEmbeddingFunction


def ndcg_at_10(docs: Collection, tested: TestCollection, mode: Mode) -> float:
    found = docs.search(list(tested.queries.values()), mode=mode, limit=10)
    runs = {id_: [hit.id for hit in hits] for id_, hits in zip(tested.queries, found, strict=True)}
    return ndcg(tested.qrels, runs)


@pytest.fixture(scope="module", params=["scifact", "cacm", "nq_utd"])
def judged(
    request: pytest.FixtureRequest, test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Judged]:
    folder, tested = tmp_path_factory.mktemp(request.param), load_beir(test_data / request.param)
    with ExitStack() as stack:
        # No text is embedded twice, however many stores hold it.
        function = CachedEmbeddingFunction(model.DefaultEmbeddingFunction(), folder / "vectors.sqlite3")
        stack.enter_context(function)
        judged = Judged(tested, {}, {}, function)
        for store, path in STORES.items():
            docs = judged.docs[store] = stack.enter_context(Collection(folder / path, embedding_function=function))
            with warnings.catch_warnings():  # some texts are longer than the 256 tokens that are read
                warnings.simplefilter("ignore", TruncationWarning)
                assert docs.add(tested.documents).added == len(tested.documents)
            judged.values[store] = {mode: ndcg_at_10(docs, tested, mode) for mode in MODES}
        yield judged


@pytest.mark.parametrize("judged", ["scifact"], indirect=True)
@pytest.mark.parametrize("store", STORES)
def test_scifact(judged: Judged, store: str) -> None:
    assert len(judged.tested.documents) == 5183
    values = judged.values[store]
    # The value of all-MiniLM-L6-v2 on the leaderboard of MTEB, and of sentence-transformers: 0.645.
    assert values["dense"] == pytest.approx(0.645, abs=0.002)
    # bm25s with k1 0.9 and b 0.4: 0.676.
    assert values["lexical"] >= 0.67
    # The mean of the two scores, each divided by its query's maximum, over all documents and not candidates: 0.734.
    assert values["hybrid"] == pytest.approx(0.734, abs=0.002)


@pytest.mark.parametrize("store", STORES)
def test_hybrid_is_better_than_its_parts(judged: Judged, store: str, request: pytest.FixtureRequest) -> None:
    values = judged.values[store]
    assert values["hybrid"] > max(values["dense"], values["lexical"])
    least = {"scifact": 0.73, "cacm": 0.575, "nq_utd": 0.825}
    assert values["hybrid"] >= least[request.node.callspec.params["judged"]]


def test_the_built_in_store_is_as_good_as_milvus_lite(judged: Judged) -> None:
    lite, builtin = judged.values["lite"], judged.values["builtin"]
    assert builtin["dense"] == pytest.approx(lite["dense"], abs=0.002)
    for mode in ("lexical", "hybrid"):
        assert builtin[mode] >= lite[mode] - 1e-3  # equal scores may stand in another order


@pytest.mark.parametrize("judged", ["nq_utd"], indirect=True)  # 2,400 pairs; the others take minutes
def test_the_reranker_does_not_harm(judged: Judged) -> None:
    docs = judged.docs["builtin"]
    docs.reranker = CrossEncoderRerankFunction(show_progress=False)
    assert ndcg_at_10(docs, judged.tested, "hybrid") >= judged.values["builtin"]["hybrid"]


@pytest.mark.parametrize("judged", ["scifact"], indirect=True)
@pytest.mark.parametrize("store", STORES)
def test_adding_it_again_embeds_nothing(judged: Judged, store: str) -> None:
    asked = judged.function.hits + judged.function.misses
    report = judged.docs[store].add(judged.tested.documents)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 5183)
    assert judged.function.hits + judged.function.misses == asked
