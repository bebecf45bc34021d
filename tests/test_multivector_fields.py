"""Collections with a vector a token: MaxSim over what the other fields found. Expected scores are numpy's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine import Collection
from milvine.errors import CollectionMismatchError, InputError
from milvine.model.hybrid import BGEM3EmbeddingFunction
from small_functions import HashedTerms, HashedTokens, HashedWords
from tiny_token_models import write_bge_m3

Collect = Callable[..., Collection]
TEXTS = {f"i{n:02}": f"word{n % 7} word{n % 5} word{n} of the text" for n in range(40)} | {"blank": ""}
QUERY = "word3 word12 text"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The path of a database of the built-in store; the others have no such fields."""
    return str(tmp_path / "kb.milvine")


def functions() -> dict[str, Any]:
    return {"words": HashedWords(), "tokens": HashedTokens()}


def filled(collect: Collect, **options: Any) -> Collection:
    docs = collect(**{"embedding_function": functions(), **options})
    docs.add(TEXTS.values(), ids=list(TEXTS), metadata=[{"part": n % 4} for n in range(len(TEXTS))])
    return docs


def maxsim(query: str, text: str) -> float:
    """Khattab and Zaharia 2020: for each token of the query the best inner product with one of the text, summed."""
    (asked,), (stored,) = HashedTokens().encode_queries([query]), HashedTokens().encode_documents([text])
    return float(sum(max(float(one @ other) for other in stored) for one in asked)) if len(stored) else 0.0


def test_candidates_of_other_fields_are_scored(collect: Collect) -> None:
    docs = filled(collect, vector_type={"tokens": "float32"})
    hits = docs.search(QUERY, limit=41)
    assert {hit.id for hit in hits} == set(TEXTS)
    for hit in hits:
        place = hit.fields.get("tokens")
        score = place.score if place else 0.0
        assert score == pytest.approx(maxsim(QUERY, TEXTS[hit.id]), abs=1e-5), hit.id
    ranked = sorted(TEXTS, key=lambda id_: -maxsim(QUERY, TEXTS[id_]))
    assert {hit.id: hit.fields["tokens"].rank for hit in hits if hit.id in ranked[:2]} == {ranked[0]: 1, ranked[1]: 2}
    # The fused score is the mean of the three scores, each divided by its query's highest.
    best = {name: max(hit.fields[name].score for hit in hits if name in hit.fields) for name in hits[0].fields}
    assert best.keys() == {"words", "tokens", "lexical"}
    for hit in hits:
        parts = [max(place.score, 0) / best[name] for name, place in hit.fields.items()]
        assert hit.score == pytest.approx(sum(parts) / 3, abs=1e-6)


def test_stored_as_float16_unless_told_otherwise(collect: Collect) -> None:
    docs = filled(collect)
    (row,) = docs._store.rows('id == "i03"', vectors=True)
    (exact,) = HashedTokens().encode_documents([TEXTS["i03"]])
    np.testing.assert_array_equal(row.vectors["tokens"], exact.astype(np.float16).astype(np.float32), strict=True)
    for hit in docs.search(QUERY, limit=3):
        assert hit.fields["tokens"].score == pytest.approx(maxsim(QUERY, TEXTS[hit.id]), abs=5e-3)


def test_only_what_other_fields_found(collect: Collect) -> None:
    docs = filled(collect)
    found = {hit.id for hit in docs.search("word12", fields=["lexical"])}
    assert found
    hits = docs.search("word12", fields=["lexical", "tokens"], limit=41)
    assert {hit.id for hit in hits} == found
    assert all(hit.fields.keys() == {"lexical", "tokens"} for hit in hits)
    # Three candidates of each of the two, so six at most.
    hits = docs.search(QUERY, candidates=3, limit=3)
    union = {hit.id for name in ("words", "lexical") for hit in docs.search(QUERY, fields=[name], limit=3)}
    assert {hit.id for hit in hits} <= union
    assert docs.search("zebra", fields=["lexical", "tokens"]) == []
    for options in ({"mode": "dense"}, {"mode": "lexical"}, {"fields": ["words"]}):
        assert all("tokens" not in hit.fields for hit in docs.search(QUERY, **options))


def test_alone_it_finds_nothing(collect: Collect) -> None:
    docs = filled(collect)
    with pytest.raises(
        InputError, match="a multi-vector field scores what others find, and finds nothing itself; name"
    ):
        docs.search(QUERY, fields=["tokens"])
    with pytest.raises(InputError, match="mode must be one of dense, sparse, lexical, hybrid, not 'multivector'"):
        docs.search(QUERY, mode="multivector")  # type: ignore[call-overload]


def test_ranks_and_weights(collect: Collect) -> None:
    docs = filled(collect, vector_type={"tokens": "float32"})
    hits = docs.search(QUERY, fields=["words", "tokens"], fusion="rrf", weights={"words": 0, "tokens": 1}, limit=41)
    ranks = [hit.fields["tokens"].rank for hit in hits]
    assert ranks == list(range(1, 42))
    assert [hit.score for hit in hits] == pytest.approx([1 / (60 + rank) for rank in ranks])
    scores = [maxsim(QUERY, TEXTS[hit.id]) for hit in hits]
    assert scores == pytest.approx(sorted(scores, reverse=True))
    weighed = docs.search(QUERY, fields=["words", "tokens"], weights={"words": 0, "tokens": 1}, limit=5)
    assert [hit.score for hit in weighed] == pytest.approx([score / scores[0] for score in scores[:5]])


def test_several_queries_filters_groups_and_the_event_loop(collect: Collect) -> None:
    docs = filled(collect, vector_type={"tokens": "float32"})
    queries = [QUERY, "word5 text", "zebra"]
    answers = docs.search(queries, filter="part == 1", limit=20)
    assert [docs.search(query, filter="part == 1", limit=20) for query in queries] == answers
    assert asyncio.run(docs.asearch(queries, filter="part == 1", limit=20)) == answers
    assert {hit.metadata["part"] for hits in answers for hit in hits} == {1}
    # Of each group the best of all its members, though three candidates do not reach all groups.
    everything = docs.search(QUERY, limit=41)
    best = {part: next(hit.id for hit in everything if hit.metadata["part"] == part) for part in range(4)}
    grouped = docs.search(QUERY, group_by="part", limit=4)
    assert {hit.metadata["part"]: hit.id for hit in grouped} == best
    few = docs.search(QUERY, group_by="part", limit=4, candidates=4)
    assert {hit.metadata["part"] for hit in few} == set(range(4))
    assert [hit.score for hit in few] == sorted((hit.score for hit in few), reverse=True)


def test_what_is_fetched_later_for_want_of_groups_may_score_higher(collect: Collect) -> None:
    docs = collect(embedding_function=functions())
    # The nearest two by words are of one group; the other's text has both words of the query, and so all of MaxSim.
    docs.add(
        ["tea", "tea tea", "tea pot a b c d e f g h"], ids=list("abc"), metadata=[{"part": part} for part in (1, 1, 2)]
    )
    options: dict[str, Any] = {"fields": ["words", "tokens"], "fusion": "rrf", "weights": {"words": 0, "tokens": 1}}
    hits = docs.search("tea pot", group_by="part", limit=2, candidates=2, **options)
    assert [(hit.id, hit.fields["tokens"].rank) for hit in hits] == [("c", 1), ("a", 2)]


def test_what_is_replaced_or_deleted_scores_no_more(collect: Collect) -> None:
    docs = filled(collect, vector_type={"tokens": "float32"})
    docs.add(["zebra crossing"], ids=["i03"])
    docs.delete(["i12"])
    hits = {hit.id: hit for hit in docs.search(QUERY, limit=41)}
    assert "i12" not in hits
    place = hits["i03"].fields["tokens"]
    assert place.score == pytest.approx(maxsim(QUERY, "zebra crossing"), abs=1e-5)
    assert docs._store.score("tokens", HashedTokens().encode_queries([QUERY]), [["i12", "nosuch", "blank"]]) == [
        {"blank": 0.0}
    ]


def test_opened_again(collect: Collect) -> None:
    docs = filled(collect)
    before = docs.search(QUERY)
    docs.close()
    with pytest.raises(
        CollectionMismatchError, match=r"another embedding function 'tokens' \(version: 1 there, 2 here\)"
    ):
        collect(embedding_function={**functions(), "tokens": HashedTokens(version=2)})
    again = collect(embedding_function=functions())
    assert again.search(QUERY) == before
    assert again.add(TEXTS.values(), ids=list(TEXTS), metadata=[{"part": n % 4} for n in range(41)]).unchanged == 41


def test_beside_lexical_search_alone(collect: Collect) -> None:
    docs = filled(collect, embedding_function=HashedTokens())
    hits = docs.search("word12 text")
    assert hits[0].id == "i12"
    assert hits[0].fields.keys() == {"multivector", "lexical"}


def test_the_three_outputs_of_bge_m3(database: str, tmp_path: Path) -> None:
    (tmp_path / "m3").mkdir()
    m3 = BGEM3EmbeddingFunction(write_bge_m3(tmp_path / "m3"), return_colbert_vecs=True)
    texts, query = ["c d e f g h i j k l m n o p", "b a a b a . , a", "q a b b r", ""], "a b q c d"
    with Collection.create(database, embedding_function=m3, vector_type={"colbert_vecs": "float32"}) as docs:
        docs.add(texts, ids=list("0123"))
        before = docs.search(query)
    asked, stored = m3.encode_queries([query])["colbert_vecs"][0], m3.encode_documents(texts)["colbert_vecs"]
    expected = {str(at): float((asked @ one.T).max(axis=1).sum()) for at, one in enumerate(stored) if len(one)}
    for hit in before:
        assert hit.fields["colbert_vecs"].score == pytest.approx(expected[hit.id], abs=1e-4)
    assert before[0].fields.keys() == {"dense", "sparse", "colbert_vecs", "lexical"}
    with Collection.open(database) as again:
        assert again.search(query) == before


def test_exported_and_imported(collect: Collect, tmp_path: Path) -> None:
    docs = filled(collect, embedding_function={**functions(), "terms": HashedTerms()})
    assert docs.export(tmp_path / "docs.parquet") == 41
    other = Collection.from_export(
        tmp_path / "docs.parquet", str(tmp_path / "other.milvine"), embedding_function=docs.embedding_functions
    )
    with other:
        assert other.search(QUERY, limit=41) == docs.search(QUERY, limit=41)
        rows = {row.record.id: row.vectors["tokens"] for row in docs._store.rows(vectors=True)}
        for row in other._store.rows(vectors=True):
            np.testing.assert_array_equal(row.vectors["tokens"], rows[row.record.id], strict=True)
