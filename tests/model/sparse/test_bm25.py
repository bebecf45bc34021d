from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, MilvineError, ReadError
from milvine.model.sparse import BM25EmbeddingFunction
from milvine.model.sparse.bm25.tokenizers import build_default_analyzer

TURING = [
    "Artificial intelligence was founded as an academic discipline in 1956.",
    "Alan Turing was the first person to conduct substantial research in AI.",
    "Born in Maida Vale, London, Turing was raised in southern England.",
]
# Made by tests/reference/make_bm25_golden.py with pymilvus.model 0.3.4.
GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "bm25_golden.json").read_text(encoding="utf-8"))
# What these tests do on purpose; the warnings have tests of their own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rows are empty:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*negative idf:UserWarning"),
]
CASES = pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"k1={case['file']['k1']}")


def plain(text: str) -> list[str]:
    return text.lower().split()


def fitted(case: dict[str, Any]) -> BM25EmbeddingFunction:
    numbers = {name: case["file"][name] for name in ("k1", "b", "epsilon")}
    return BM25EmbeddingFunction(plain, GOLDEN["corpus"], **numbers, idf="okapi")


def assert_encodes_as(function: BM25EmbeddingFunction, case: dict[str, Any]) -> None:
    for got, expected in (
        (function.encode_documents(GOLDEN["texts"]), case["documents"]),
        (function.encode_queries(GOLDEN["queries"]), case["queries"]),
    ):
        assert got.dtype == np.float32
        assert list(got.shape) == expected["shape"]
        dense = np.zeros(expected["shape"], dtype=np.float32)
        for row, (start, end) in enumerate(zip(expected["indptr"], expected["indptr"][1:], strict=False)):
            dense[row, expected["indices"][start:end]] = expected["data"][start:end]
        np.testing.assert_array_equal(got.toarray(), dense)
        assert got.has_sorted_indices
        assert (got.data != 0).all()


def test_the_example_of_the_pymilvus_guide(tmp_path: Path) -> None:
    analyzer = build_default_analyzer(language="en")
    bm25_ef = BM25EmbeddingFunction(analyzer)
    bm25_ef.fit(TURING)
    bm25_ef.save(str(tmp_path / "bm25_params.json"))
    new_bm25_ef = BM25EmbeddingFunction(analyzer)
    new_bm25_ef.load(str(tmp_path / "bm25_params.json"))
    docs_embeddings = new_bm25_ef.encode_documents(TURING)
    # Milvus' BM25 page prints Dim: 21.
    assert (new_bm25_ef.dim, next(iter(docs_embeddings)).shape) == (21, (21,))
    query_embeddings = new_bm25_ef.encode_queries(
        ["When was artificial intelligence founded", "Where was Turing born?"]
    )
    assert query_embeddings.shape == (2, 21)
    assert (query_embeddings @ docs_embeddings.T).toarray().argmax(axis=1).tolist() == [0, 2]


@CASES
def test_pymilvus_numbers(case: dict[str, Any]) -> None:
    assert_encodes_as(fitted(case), case)


@CASES
def test_loads_what_pymilvus_saved(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "pymilvus.json"
    path.write_text(json.dumps(case["file"]))
    function = BM25EmbeddingFunction(plain, k1=7)
    function.load(path)
    assert_encodes_as(function, case)
    assert (function.k1, function.corpus_size) == (case["file"]["k1"], len(GOLDEN["corpus"]))


@CASES
def test_saves_what_pymilvus_saves(case: dict[str, Any], tmp_path: Path) -> None:
    # The reference script's --check has pymilvus.model load such a file and encode with it.
    fitted(case).save(tmp_path / "milvine.json")
    saved = json.loads((tmp_path / "milvine.json").read_text())
    assert list(saved) == list(case["file"])
    assert saved.pop("idf_value") == pytest.approx(case["file"]["idf_value"], rel=1e-15, abs=0)
    assert saved == {name: value for name, value in case["file"].items() if name != "idf_value"}


def test_scores_by_hand() -> None:
    function = BM25EmbeddingFunction(plain, ["a b b", "a c"], k1=1.5, b=0.75)
    # avgdl 2.5; for "b" df 1 of 2, tf 2, length 3: ln(1 + 1.5/1.5) * 2 * 2.5 / (2 + 1.5 (.25 + .75 * 3 / 2.5))
    expected = math.log(2) * 5 / (2 + 1.5 * (0.25 + 0.9))
    score = (function.encode_queries(["b"]) @ function.encode_documents(["a b b"]).T).toarray().item()
    assert score == pytest.approx(expected, rel=1e-6)
    assert function.idf == {
        "a": [pytest.approx(math.log(1.2)), 0],
        "b": [pytest.approx(math.log(2)), 1],
        "c": [pytest.approx(math.log(2)), 2],
    }
    assert function.avgdl == 2.5


def test_lucene_idf_is_never_negative_and_okapi_is_at_hand() -> None:
    corpus = ["a b", "a c", "a d", "a"]
    lucene, okapi = BM25EmbeddingFunction(plain, corpus), BM25EmbeddingFunction(plain, corpus, idf="okapi")
    assert all(value > 0 for value, _ in lucene.idf.values())
    # The floor of pymilvus.model: a quarter of the mean idf, for the term that all documents have.
    mean = (math.log(0.5 / 4.5) + 3 * math.log(3.5 / 1.5)) / 4
    assert okapi.idf["a"] == [pytest.approx(mean / 4), 0]
    assert okapi.encode_queries(["a"]).nnz == 1
    assert BM25EmbeddingFunction(plain, ["a", "a"], idf="okapi").idf["a"][0] < 0


def test_term_indices_do_not_depend_on_hash_seed_or_workers() -> None:
    script = (
        "from milvine.model.sparse import BM25EmbeddingFunction as B;"
        "print(*B('en', ['zebra apple', 'mango apple kiwi'], num_workers=3).idf, sep=' ')"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert outputs == {"zebra appl mango kiwi\n"}


def test_texts_without_known_terms_have_empty_rows() -> None:
    function = BM25EmbeddingFunction("en", TURING)
    for encode in (function.encode_documents, function.encode_queries):
        matrix = encode(["", "the of", "zebra", "Turing", "🙂"])
        assert np.diff(matrix.indptr).tolist() == [0, 0, 0, 1, 0]
        assert encode([]).shape == (0, 21)
        assert encode(iter(["Turing"])).shape == (1, 21)
        with pytest.raises(InputTypeError, match="wrap it"):
            encode("Turing")
        with pytest.raises(InputTypeError, match=r"\[1\] must be a string, not NoneType"):
            encode(["Turing", None])


@pytest.mark.parametrize("corpus", [[""], ["", " \n"], ["the of and"], ["🙂"]])
@pytest.mark.parametrize("idf", ["lucene", "okapi"])
def test_a_corpus_without_terms_is_legal(corpus: list[str], idf: Any, tmp_path: Path) -> None:
    function = BM25EmbeddingFunction("en", corpus, idf=idf)
    assert (function.dim, function.avgdl, function.corpus_size, function.idf) == (0, 0.0, len(corpus), {})
    assert function.encode_documents(["cats", ""]).shape == (2, 0)
    assert function.encode_queries(["cats"]).shape == (1, 0)
    function.save(tmp_path / "blank.json")
    function.load(tmp_path / "blank.json")
    assert function.encode_queries(["cats"]).nnz == 0


def test_an_empty_corpus_is_refused_and_nothing_is_lost() -> None:
    function = BM25EmbeddingFunction("en", TURING)
    with pytest.raises(InputError, match="corpus is empty"):
        function.fit([])
    with pytest.raises(InputTypeError, match="not one string"):
        function.fit("Turing")
    with pytest.raises(InputTypeError, match=r"corpus\[1\]"):
        function.fit(["a", 1])
    assert function.dim == 21
    with pytest.raises(InputError, match="corpus is empty"):
        BM25EmbeddingFunction(corpus=[])


def test_fit_replaces_what_was_learned() -> None:
    function = BM25EmbeddingFunction("en", TURING)
    function.fit(["cats", "dogs cats"])
    assert list(function.idf) == ["cat", "dog"]
    assert (function.corpus_size, function.avgdl) == (2, 1.5)


@pytest.mark.parametrize(
    "use",
    [
        lambda function, folder: function.encode_documents(["a"]),
        lambda function, folder: function.encode_queries(["a"]),
        lambda function, folder: function.save(folder / "x.json"),
    ],
)
def test_use_before_fit(use: Callable[..., Any], tmp_path: Path) -> None:
    function = BM25EmbeddingFunction()
    assert (function.dim, function.idf, function.corpus_size) == (0, {}, 0)
    with pytest.raises(InputError, match=r"call fit\(corpus\) or load\(path\) first"):
        use(function, tmp_path)
    assert not list(tmp_path.iterdir())


def test_call_is_refused() -> None:
    with pytest.raises(ValueError, match="encode_queries or encode_documents") as caught:
        BM25EmbeddingFunction("en", TURING)(["a"])
    assert isinstance(caught.value, MilvineError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k1": -0.1}, "k1 must be a number of at least 0, not -0.1"),
        ({"k1": math.nan}, "k1 must be"),
        ({"k1": "1.5"}, "k1 must be"),
        ({"b": 1.01}, "b must be a number from 0 to 1, not 1.01"),
        ({"b": -0.0001}, "b must be"),
        ({"b": math.nan}, "b must be"),
        ({"epsilon": math.inf}, "epsilon must be a finite number"),
        ({"num_workers": 0}, "num_workers must be an integer of at least 1, not 0"),
        ({"num_workers": 1.5}, "num_workers"),
        ({"idf": "tfidf"}, 'idf must be "lucene", "robertson", "okapi", "bm25l" or "bm25\\+", not \'tfidf\''),
        ({"variant": "bm26"}, 'variant must be "bm25", "bm25l" or "bm25\\+"'),
        ({"delta": 1.0}, "delta is no part of variant 'bm25'"),
        ({"variant": "bm25+", "delta": -1}, "delta must be a number of at least 0, not -1"),
        ({"variant": "bm25l", "delta": math.nan}, "delta must be"),
        ({"analyzer": "klingon"}, r"'klingon'.*en \(english\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BM25EmbeddingFunction(**arguments)


def test_bad_analyzers() -> None:
    with pytest.raises(InputTypeError, match=r"must be a callable.*not int"):
        BM25EmbeddingFunction(7)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="a list of terms, not str"):
        BM25EmbeddingFunction(str.lower, ["abc"])  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match=r"must give strings, not int \(1\)"):
        BM25EmbeddingFunction(lambda text: [1], ["abc"])  # type: ignore[list-item]


def test_load_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    good = GOLDEN["cases"][0]["file"]
    path = tmp_path / "params.json"
    function = BM25EmbeddingFunction("en", TURING)

    def refused(content: str, message: str) -> None:
        path.write_text(content)
        with pytest.raises(ReadError, match=message):
            function.load(path)
        assert (function.dim, function.k1) == (21, 1.5)

    def changed(**changes: Any) -> str:
        return json.dumps({**good, **changes})

    refused("", "is not JSON")
    refused("BM25\0", "is not JSON")
    refused("[" * 100_000, "is not JSON")
    refused("[1]", "holds a list where an object")
    refused("{}", "version is None")
    refused(changed(version="v2"), "version is 'v2'.*newer milvine")
    refused(json.dumps({name: value for name, value in good.items() if name != "avgdl"}), "lacks avgdl")
    refused(changed(idf_word=good["idf_word"][1:]), "must be as many")
    refused(changed(idf_word=[*good["idf_word"][1:], "the"][::-1], idf_value=[1, *good["idf_value"]]), "as many|twice")
    refused(changed(idf_word=["a", "a"], idf_value=[1, 2]), "twice")
    refused(changed(idf_word=["a", None], idf_value=[1, 2]), "list of strings")
    refused(changed(idf_word=["a"], idf_value=[math.nan]), "finite numbers")
    refused(changed(idf_word=["a"], idf_value=["1"]), "finite numbers")
    refused(changed(idf_word=["a"], idf_value=[10**400]), "holds no BM25 parameters")
    refused(changed(avgdl=0), "avgdl must be a number above 0")
    refused(changed(avgdl="long"), "avgdl must be")
    refused(changed(corpus_size=0), "corpus_size must be")
    refused(changed(k1=-1), "k1 must be")
    refused(changed(b=2), "b must be")


def test_load_of_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    function = BM25EmbeddingFunction()
    with pytest.raises(ReadError, match=r"missing\.json: No such file"):
        function.load("missing.json")
    with pytest.raises(ReadError, match="Is a directory"):
        function.load(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"version": "v\xe9"}')
    with pytest.raises(ReadError, match="is not JSON"):
        function.load("latin.json")
    with pytest.raises(InputError, match=r"load a copy of bm25_msmarco_v1\.json"):
        function.load()
    assert [path.name for path in tmp_path.iterdir()] == ["latin.json"]


def test_save_replaces_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "params.json"
    BM25EmbeddingFunction(plain, ["a"]).save(path)
    before = path.read_bytes()
    with path.open("rb") as reader:
        BM25EmbeddingFunction(plain, ["a", "b"]).save(path)
        assert reader.read() == before
    assert json.loads(path.read_text())["idf_word"] == ["a", "b"]
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="does not exist; create it"):
        BM25EmbeddingFunction(plain, ["a"]).save(tmp_path / "nowhere" / "x.json")
    with pytest.raises(InputError, match="is a folder"):
        BM25EmbeddingFunction(plain, ["a"]).save(tmp_path)


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "params.json"
    BM25EmbeddingFunction(plain, ["a"]).save(path)
    before = path.read_bytes()
    # The kernel lets this process write 100 bytes a file: what a full disk does, without one.
    script = (
        "import resource, sys; from milvine.model.sparse import BM25EmbeddingFunction as B;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); B('en', ['cats and dogs'] * 9).save(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    assert done.returncode == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_longer_than_a_batch_and_more_texts_than_one() -> None:
    corpus = [f"word{number % 50} cat" for number in range(10_000)]
    function = BM25EmbeddingFunction(plain, corpus)
    assert (function.dim, function.idf["cat"][1]) == (51, 1)
    matrix = function.encode_documents([*corpus, "cat " * 500_000])
    assert matrix.shape == (10_001, 51)
    np.testing.assert_array_equal(matrix[4321:4322].toarray(), function.encode_documents([corpus[4321]]).toarray())
    assert matrix[10_000:10_001].nnz == 1


def test_identity_tells_functions_with_other_vectors_apart() -> None:
    base = BM25EmbeddingFunction("en", TURING)
    assert base.identity() == BM25EmbeddingFunction("en", TURING).identity()
    assert json.loads(json.dumps(base.identity())) == base.identity()
    others = [
        BM25EmbeddingFunction("en", TURING[:2]),
        BM25EmbeddingFunction("en", TURING[::-1]),
        BM25EmbeddingFunction("en", TURING, k1=1.2),
        BM25EmbeddingFunction("en", TURING, idf="okapi"),
        BM25EmbeddingFunction(plain, TURING),
    ]
    identities = [json.dumps(function.identity()) for function in [base, *others]]
    assert len(set(identities)) == len(identities)
