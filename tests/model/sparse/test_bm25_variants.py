from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from milvine.errors import EmptyRowWarning, InputError, InputTypeError, NegativeWeightWarning
from milvine.model.sparse import BM25EmbeddingFunction

# Made by tests/reference/make_bm25_variants_golden.py with rank-bm25 0.2.2 and bm25s 0.3.16.
GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "bm25_variants_golden.json").read_text(encoding="utf-8"))
CORPUS, QUERIES = GOLDEN["corpus"], GOLDEN["queries"]
# What they call it -> what it is here, and the factor between the two.
HERE: dict[str, tuple[dict[str, Any], Callable[[float], float]]] = {
    "rank_bm25.BM25Okapi": ({"idf": "okapi"}, lambda k1: 1.0),
    "rank_bm25.BM25Plus": ({"variant": "bm25+"}, lambda k1: 1.0),
    "bm25s.lucene": ({}, lambda k1: 1 + k1),  # Lucene's without the constant factor
    "bm25s.bm25l": ({"variant": "bm25l"}, lambda k1: 1.0),
    "bm25s.bm25+": ({"variant": "bm25+"}, lambda k1: 1.0),
}


def plain(text: str) -> list[str]:
    return text.lower().split()


def scores(function: BM25EmbeddingFunction, queries: list[str], documents: list[str]) -> npt.NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (function.encode_queries(queries) @ function.encode_documents(documents).T).toarray()


def for_absent_terms(function: BM25EmbeddingFunction, delta: float) -> npt.NDArray[Any]:
    """What rank-bm25 and bm25s add for the query's terms that a document lacks: the formula with a tf of 0."""
    nothing = delta if function.variant == "bm25+" else (function.k1 + 1) * delta / (function.k1 + delta)
    return np.array(
        [
            [
                nothing * sum(function.idf[term][0] for term in plain(query) if term not in plain(text))
                for text in CORPUS
            ]
            for query in QUERIES
        ]
    )


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['by']}-{case['k1']}-{case.get('delta')}")
@pytest.mark.filterwarnings("ignore:.*negative idf:UserWarning")
def test_scores_of_rank_bm25_and_bm25s(case: dict[str, Any]) -> None:
    options, factor = HERE[case["by"]]
    if "variant" in options:
        options = {**options, "delta": case["delta"]}
    function = BM25EmbeddingFunction(plain, CORPUS, k1=case["k1"], b=case["b"], **options)
    expected = np.array(case["scores"]) * factor(case["k1"])
    if "variant" in options:
        expected -= for_absent_terms(function, case["delta"])
    np.testing.assert_allclose(scores(function, QUERIES, CORPUS), expected, rtol=2e-6, atol=2e-6)


def test_bm25_plus_by_hand() -> None:
    function = BM25EmbeddingFunction(plain, ["a b b", "a c"], variant="bm25+")
    # As plain BM25 with 1 added, times ln(3 / 1).
    weight = 5 / (2 + 1.5 * (0.25 + 0.9)) + 1
    assert scores(function, ["b"], ["a b b", "a c"]).tolist() == [[pytest.approx(weight * math.log(3)), 0.0]]
    assert (function.delta, function.idf_formula) == (1.0, "bm25+")
    chosen = BM25EmbeddingFunction(plain, ["a b b", "a c"], variant="bm25+", idf="lucene", delta=0.5)
    assert scores(chosen, ["b"], ["a b b"]).item() == pytest.approx((weight - 0.5) * math.log(2))


def test_long_documents_keep_their_distance_from_those_without_the_term() -> None:
    corpus = ["needle " + "hay " * 5000, *["hay straw grass"] * 9]
    plain_bm25 = BM25EmbeddingFunction(plain, corpus)
    for variant in ("bm25l", "bm25+"):
        function = BM25EmbeddingFunction(plain, corpus, variant=variant)
        assert scores(function, ["needle"], corpus[:1]).item() > 3 * scores(plain_bm25, ["needle"], corpus[:1]).item()


def test_explain_by_hand() -> None:
    function = BM25EmbeddingFunction(plain, ["a b b", "a c", "d"], k1=1.5, b=0.75)
    explanation = function.explain("b b a c zebra zebra", "a b b zebra")
    # avgdl 2, length 4: K = 1.5 (.25 + .75 * 2)
    saturation = 1.5 * 1.75
    idf_b, idf_a = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    b, a = explanation.matched
    assert (b.term, b.query_tf, b.tf, b.df) == ("b", 2, 2, 1)
    assert (a.term, a.query_tf, a.tf, a.df) == ("a", 1, 1, 2)
    assert (b.idf, a.idf) == (pytest.approx(idf_b), pytest.approx(idf_a))
    assert (b.weight, a.weight) == (pytest.approx(5 / (2 + saturation)), pytest.approx(2.5 / (1 + saturation)))
    assert b.share == pytest.approx(2 * idf_b * 5 / (2 + saturation))
    assert explanation.score == pytest.approx(b.share + a.share)
    assert (explanation.length, explanation.avgdl) == (4, 2.0)
    c, zebra = explanation.unmatched
    assert (c.term, c.tf, c.df, c.idf, c.weight, c.share) == ("c", 0, 1, pytest.approx(idf_b), 0.0, 0.0)
    assert (zebra.term, zebra.query_tf, zebra.tf, zebra.df, zebra.idf, zebra.share) == ("zebra", 2, 1, 0, 0.0, 0.0)


@pytest.mark.parametrize("options", [{}, {"idf": "okapi"}, {"variant": "bm25l"}, {"variant": "bm25+"}], ids=str)
@pytest.mark.filterwarnings("ignore:.*negative idf:UserWarning")
def test_explained_scores_are_inner_products(options: dict[str, Any]) -> None:
    function = BM25EmbeddingFunction(plain, CORPUS, **options)
    documents = [*CORPUS, "", "unknown words", "the bird " * 99]
    products = scores(function, [*QUERIES, ""], documents)
    for row, query in enumerate([*QUERIES, ""]):
        for column, document in enumerate(documents):
            explanation = function.explain(query, document)
            assert explanation.score == pytest.approx(products[row, column], rel=1e-6, abs=1e-6)
            assert len(explanation.matched) + len(explanation.unmatched) == len(set(plain(query)))


def test_explain_after_a_v1_file_does_not_know_df(tmp_path: Path) -> None:
    function = BM25EmbeddingFunction(plain, CORPUS)
    function.save(tmp_path / "v1.json")
    loaded = BM25EmbeddingFunction(plain)
    loaded.load(tmp_path / "v1.json")
    explanation = loaded.explain("cat zebra", CORPUS[0])
    assert explanation.score == function.explain("cat zebra", CORPUS[0]).score
    assert [share.df for share in (*explanation.matched, *explanation.unmatched)] == [None, None]


def test_explain_needs_a_corpus_and_strings() -> None:
    with pytest.raises(InputError, match=r"to explain with yet: call fit"):
        BM25EmbeddingFunction(plain).explain("a", "a")
    with pytest.raises(InputTypeError, match="query must be one string"):
        BM25EmbeddingFunction(plain, CORPUS).explain(["a"], "a")  # type: ignore[arg-type]


def test_empty_rows_are_announced_with_the_line_that_asked() -> None:
    function = BM25EmbeddingFunction("en", CORPUS)
    with pytest.warns(
        EmptyRowWarning, match=r"2 of 3 documents have no term.*first documents\[0\].*Milvus refuses"
    ) as seen:
        function.encode_documents(["the of", "cat", ""])
    assert seen[0].filename == __file__
    with pytest.warns(EmptyRowWarning, match=r"1 of 1 queries have no term of the vocabulary, first queries\[0\]"):
        function.encode_queries(["zebra"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function.encode_queries(["cat", "bird"])
        function.encode_documents([])


def test_negative_weights_are_announced_when_they_come_about(tmp_path: Path) -> None:
    # Both terms are in more than half of the documents; their mean, and so the floor, is negative.
    with pytest.warns(NegativeWeightWarning, match=r"2 of 2 terms have a negative idf, and Milvus refuses") as seen:
        okapi = BM25EmbeddingFunction(plain, ["a b", "a b"], idf="okapi")
    assert seen[0].filename == __file__
    okapi.save(tmp_path / "negative.json")
    with pytest.warns(NegativeWeightWarning, match="2 of 2 terms have a negative idf"):
        BM25EmbeddingFunction(plain).load(tmp_path / "negative.json")
    okapi.partial_fit(["a"])
    with pytest.warns(NegativeWeightWarning, match="2 of 2 terms have a negative idf"):
        okapi.encode_queries(["a"])
    with pytest.warns(NegativeWeightWarning, match="1 of 3 terms have a negative idf"):
        BM25EmbeddingFunction(plain, ["a b", "a c"], idf="robertson")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BM25EmbeddingFunction(plain, ["a b", "a b"])
