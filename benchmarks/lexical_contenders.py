"""Who is measured by `benchmarks lexical`: functions like those of `benchmarks.contenders`.

The first of each library makes its statistics and weights of a list of texts. The second ranks: it takes one text, the
JSON of `documents`, `queries`, `k1` and `b`, and gives the best ten documents of each query by exact search, as an
array of positions, -1 where fewer have a score.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

Work = Callable[[list[str]], Any]

BEST = 10
_TOKEN = re.compile(r"\b\w\w+\b")


def milvine_bm25() -> Work:
    from milvine.model.sparse import BM25EmbeddingFunction

    return lambda texts: _fit_and_encode(BM25EmbeddingFunction(), texts)


def milvine_bm25_ranking(analyzer: str) -> Work:
    """Ranking with the analyzer of a language, or of a dictionary."""
    from milvine.analysis.dictionaries import DICTIONARIES, get_dictionary_analyzer
    from milvine.model.sparse import BM25EmbeddingFunction

    chosen = get_dictionary_analyzer(analyzer) if analyzer in DICTIONARIES else analyzer
    return lambda texts: _rank_by_vectors(lambda **options: BM25EmbeddingFunction(chosen, **options), texts)


def pymilvus_bm25(nltk_data: str) -> Work:
    function = _pymilvus(nltk_data)
    return lambda texts: _fit_and_encode(function(), texts)


def pymilvus_bm25_ranking(nltk_data: str) -> Work:
    function = _pymilvus(nltk_data)
    return lambda texts: _rank_by_vectors(function, texts)


def bm25s_index() -> Work:
    """Its own tokenizer, its English stop words, and Snowball's English stemmer, as its documentation shows."""
    import bm25s

    def work(texts: list[str]) -> Any:
        retriever = bm25s.BM25()
        retriever.index(_bm25s_tokens(texts), show_progress=False)
        return retriever

    return work


def bm25s_ranking() -> Work:
    import bm25s

    def rank(texts: list[str]) -> Any:
        given = json.loads(texts[0])
        retriever = bm25s.BM25(k1=given["k1"], b=given["b"])
        retriever.index(_bm25s_tokens(given["documents"]), show_progress=False)
        queries = _bm25s_tokens(given["queries"], return_ids=False)
        return _best(retriever.get_scores(tokens) for tokens in queries)

    return rank


def rank_bm25_index() -> Work:
    """It has no tokenizer: bm25s' pattern and stop words and the same stemmer, written out in Python."""
    import rank_bm25

    return lambda texts: rank_bm25.BM25Okapi(_plain_tokens(texts))


def rank_bm25_ranking() -> Work:
    import rank_bm25

    def rank(texts: list[str]) -> Any:
        given = json.loads(texts[0])
        index = rank_bm25.BM25Okapi(_plain_tokens(given["documents"]), k1=given["k1"], b=given["b"])
        return _best(map(index.get_scores, _plain_tokens(given["queries"])))

    return rank


def _pymilvus(nltk_data: str) -> Callable[..., Any]:
    os.environ["NLTK_DATA"] = nltk_data  # where it would download to
    from pymilvus.model.sparse import BM25EmbeddingFunction

    return BM25EmbeddingFunction  # type: ignore[no-any-return]


def _fit_and_encode(function: Any, texts: list[str]) -> Any:
    function.fit(texts)
    return function.encode_documents(texts)


def _rank_by_vectors(make: Callable[..., Any], texts: list[str]) -> Any:
    given = json.loads(texts[0])
    function = make(k1=given["k1"], b=given["b"])
    documents = _fit_and_encode(function, given["documents"]).T.tocsc()
    queries = function.encode_queries(given["queries"])
    return _best((queries[at : at + 1] @ documents).toarray()[0] for at in range(queries.shape[0]))


def _best(scores: Iterable[Any]) -> Any:
    """The positions of the highest scores of each query, best first; equal ones in their order, 0 left out."""
    import numpy as np

    rows = []
    for each in scores:
        order = np.argsort(-each, kind="stable")[:BEST]
        order = order[each[order] != 0]
        rows.append(np.pad(order, (0, BEST - len(order)), constant_values=-1))
    return np.array(rows)


def _bm25s_tokens(texts: list[str], **options: Any) -> Any:
    import bm25s
    import Stemmer

    return bm25s.tokenize(
        texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False, leave=False, **options
    )


def _plain_tokens(texts: list[str]) -> list[list[str]]:
    import Stemmer
    from bm25s.stopwords import STOPWORDS_EN

    stem, stop_words = Stemmer.Stemmer("english").stemWords, frozenset(STOPWORDS_EN)
    return [stem([word for word in _TOKEN.findall(text.lower()) if word not in stop_words]) for text in texts]
