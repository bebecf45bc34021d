"""The default reranker with its real weights, which are fetched once into the user's cache."""

from __future__ import annotations

import json
import math
import threading
import warnings
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, TruncationWarning, UnknownModelError
from milvine.model.reranker import CrossEncoderRerankFunction, RerankResult
from milvine.model.reranker.cross_encoder import sigmoid

QUERY = "How many people live in Berlin?"
POPULATION = "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
MUSEUMS = "Berlin is well known for its museums."
OTHERS = ["", " ", "Paris", "人口", "The population of Berlin is growing. " * 9, "word " * 1000, "😀"]


@pytest.fixture(scope="module")
def rf() -> CrossEncoderRerankFunction:
    return CrossEncoderRerankFunction(threads=2)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


def score_of(results: list[RerankResult], text: str) -> float:
    return next(result.score for result in results if result.text == text)


def test_scores_are_near_the_float32_models_and_the_best_comes_first(rf: CrossEncoderRerankFunction) -> None:
    # sentence-transformers' CrossEncoder in float32 gives 9.2189 and -4.0780; an int8 file comes within 0.4 of that,
    # and the processor decides where. Without type ids the first would be 7.26.
    best, other = rf(QUERY, [MUSEUMS, POPULATION])
    assert (best.text, best.index, other.text, other.index) == (POPULATION, 1, MUSEUMS, 0)
    assert best.score == pytest.approx(9.2189, abs=0.5)
    assert other.score == pytest.approx(-4.0780, abs=0.5)


def test_a_score_depends_on_no_other_document(rf: CrossEncoderRerankFunction) -> None:
    documents = [MUSEUMS, *OTHERS, POPULATION]
    together = rf(QUERY, documents, top_k=99)
    assert len(together) == len(documents)
    for document in documents:
        assert score_of(rf(QUERY, [document]), document) == score_of(together, document)
    assert [r.score for r in rf(QUERY, documents[::-1], top_k=99)] == [r.score for r in together]


def test_results_are_sorted_ties_broken_by_index_and_the_best_kept(rf: CrossEncoderRerankFunction) -> None:
    documents = [MUSEUMS, POPULATION, MUSEUMS, "Paris", POPULATION]
    results = rf(QUERY, documents, top_k=99)
    assert [result.index for result in results][:4] == [1, 4, 0, 2]
    assert [result.text for result in results] == [documents[result.index] for result in results]
    assert results[0].score == results[1].score
    assert [result.score for result in results] == sorted((result.score for result in results), reverse=True)
    for top_k in (1, 3, 5):
        assert rf(QUERY, documents, top_k=top_k) == results[:top_k]
    assert len(rf(QUERY, ["a", "b", "c", "d", "e", "f", "g"])) == 5  # PyMilvus' default


def test_a_document_that_comes_again_is_computed_once(
    rf: CrossEncoderRerankFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = rf._model._load()[1]
    session, shapes = engine.session(1), []

    class Counting:
        def run(self, outputs: list[str], feed: dict[str, Any]) -> Any:
            shapes.append(feed["input_ids"].shape)
            return session.run(outputs, feed)

    monkeypatch.setitem(engine._sessions, 1, Counting())
    rf(QUERY, [MUSEUMS, POPULATION, MUSEUMS, MUSEUMS])
    assert [count for count, _ in shapes] == [1, 1]  # and each pair alone, because the file is quantised


def test_results_are_plain_python_and_json(rf: CrossEncoderRerankFunction) -> None:
    (result,) = rf(QUERY, (POPULATION,))
    assert type(result.score) is float
    assert type(result.index) is int
    assert json.loads(json.dumps(result.to_dict())) == {"text": POPULATION, "score": result.score, "index": 0}


def test_the_activation_is_applied_and_must_give_numbers(rf: CrossEncoderRerankFunction) -> None:
    raw = rf(QUERY, [MUSEUMS, POPULATION])
    through = CrossEncoderRerankFunction(activation_fct=sigmoid)(QUERY, [MUSEUMS, POPULATION])
    assert [r.score for r in through] == pytest.approx([1 / (1 + math.exp(-r.score)) for r in raw])
    assert (sigmoid(-1000), sigmoid(0), sigmoid(1000)) == (0.0, 0.5, 1.0)
    of_numpy = CrossEncoderRerankFunction(activation_fct=np.tanh)(QUERY, [POPULATION])
    assert type(of_numpy[0].score) is float
    with pytest.raises(InputError, match="activation_fct gives NaN"):
        CrossEncoderRerankFunction(activation_fct=lambda _: math.nan)(QUERY, [POPULATION])
    for wrong in (None, "high", 1j, 10**400, np.ones(2)):
        with pytest.raises(InputTypeError, match=r"activation_fct gives .* for 9\.\d+; it must give one float"):
            CrossEncoderRerankFunction(activation_fct=lambda _, wrong=wrong: wrong)(QUERY, [POPULATION])  # type: ignore[misc]


def test_long_pairs_are_cut_and_said_to_be_once() -> None:
    rf = CrossEncoderRerankFunction()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = rf(QUERY, [POPULATION + " filler" * 3000, MUSEUMS])
        rf(QUERY + " filler" * 3000, [POPULATION])
    (warning,) = caught
    assert "1 of 2 pairs of query and document are longer than the 512 tokens" in str(warning.message)
    assert warning.filename == __file__
    assert first[0].text.startswith(POPULATION)


def test_several_threads_may_use_one_function(rf: CrossEncoderRerankFunction) -> None:
    expected, results = rf(QUERY, [MUSEUMS, *OTHERS]), {}

    def work(number: int) -> None:
        results[number] = rf(QUERY, [MUSEUMS, *OTHERS])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == dict.fromkeys(range(3), expected)


def test_no_documents_give_no_results(rf: CrossEncoderRerankFunction) -> None:
    assert rf(QUERY, []) == []
    assert rf("", [""])[0].index == 0


@pytest.mark.parametrize(
    ("query", "documents", "options", "error", "says"),
    [
        (None, ["a"], {}, InputTypeError, "query must be one string, not NoneType"),
        (["q"], [], {}, InputTypeError, "query must be one string, not list"),
        ("q", "bare", {}, InputTypeError, "documents must be a list of strings, not one string"),
        ("q", ["a", 3], {}, InputTypeError, r"documents\[1\] must be a string, not int"),
        ("q", None, {}, InputTypeError, "documents must be a list of strings, not NoneType"),
        ("q", ["a"], {"top_k": 0}, InputError, "top_k must be at least 1, not 0"),
        ("q", ["a"], {"top_k": 2.0}, InputTypeError, "top_k must be an integer, not float"),
        ("q\ud800", ["a"], {}, InputError, "half of a surrogate pair"),
        ("q", ["a", "\ud800"], {}, InputError, "half of a surrogate pair"),
    ],
)
def test_bad_input_is_refused(
    rf: CrossEncoderRerankFunction,
    query: Any,
    documents: Any,
    options: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    with pytest.raises(error, match=says):
        rf(query, documents, **options)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model_name": "no-such-model"}, UnknownModelError, "no model 'no-such-model'"),
        ({"model_name": "all-MiniLM-L6-v2"}, InputError, "is a dense model; a reranker model is needed here"),
        ({"device": "tpu"}, InputError, "device must be"),
        ({"batch_size": 0}, InputError, "batch_size must be at least 1"),
        ({"max_length": 513}, InputError, "max_length must be from 5 to 512, not 513"),
        ({"max_length": 4}, InputError, "max_length must be from 5 to 512, not 4"),
        ({"threads": 0}, InputError, "threads must be at least 1"),
        ({"activation_fct": "sigmoid"}, InputTypeError, "activation_fct must be a function of one float"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        CrossEncoderRerankFunction(**options)


def test_the_default_can_be_named_in_many_ways_and_the_identity_says_which_it_is(
    rf: CrossEncoderRerankFunction,
) -> None:
    for name in ("ms-marco-MiniLM-L-12-v2", "cross-encoder/ms-marco-MiniLM-L12-v2", ""):
        assert CrossEncoderRerankFunction(name).identity() == rf.identity()
    assert json.loads(json.dumps(rf.identity()))["model"] == "ms-marco-MiniLM-L-12-v2"
