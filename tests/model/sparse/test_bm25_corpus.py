"""A corpus that grows, shrinks and is counted in parts: the result is that of one fit, to the bit."""

from __future__ import annotations

import copy
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError
from milvine.model.sparse import BM25EmbeddingFunction
from milvine.model.sparse.bm25.tokenizers import build_default_analyzer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rows are empty:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*negative idf:UserWarning"),
]
IDFS = ("lucene", "robertson", "okapi", "bm25l", "bm25+")
ENGLISH = build_default_analyzer("en")


def plain(text: str) -> list[str]:
    return text.lower().split()


def random_texts(seed: int, n: int = 40) -> list[str]:
    """Texts of a skewed vocabulary, with case, punctuation, blanks, other scripts and repetition."""
    chance = random.Random(seed)  # noqa: S311
    words = ["The", "cats,", "naïve", "東京", "running", "don't", "x" * 70, "v1.2", "🙂", "ελλάδα."]
    words += [f"word{number}" for number in range(60)]
    return [
        " ".join(chance.choice(words[: chance.randint(1, 70)]) for _ in range(chance.randrange(12))) for _ in range(n)
    ]


def cuts(texts: list[str], chance: random.Random) -> list[list[str]]:
    places = sorted(chance.choices(range(len(texts) + 1), k=chance.randrange(6)))
    return [texts[start:end] for start, end in zip([0, *places], [*places, len(texts)], strict=True)]


def learned(function: BM25EmbeddingFunction) -> tuple[Any, ...]:
    """All that was learned, to the bit, terms that no document has any more left out."""
    return function.corpus_size, function.avgdl, {term: value for term, value in function.idf.items() if value[0]}


def vectors(function: BM25EmbeddingFunction, texts: list[str]) -> list[tuple[Any, ...]]:
    """Rows as columns and bits; the number of columns, which forgotten terms still count in, is left out."""
    return [
        (matrix.indptr.tobytes(), matrix.indices.tobytes(), matrix.data.tobytes())
        for matrix in (function.encode_documents(texts), function.encode_queries(texts))
    ]


def assert_same(one: BM25EmbeddingFunction, other: BM25EmbeddingFunction, texts: list[str]) -> None:
    assert learned(one) == learned(other)
    if one.corpus_size:
        assert vectors(one, texts) == vectors(other, texts)


@pytest.mark.parametrize("analyzer", [plain, ENGLISH], ids=["any", "en"])
@pytest.mark.parametrize("idf", IDFS)
def test_partial_fits_of_any_split_equal_one_fit(analyzer: Any, idf: Any) -> None:
    for seed in range(12):
        chance, texts = random.Random(seed), random_texts(seed)  # noqa: S311
        whole = BM25EmbeddingFunction(analyzer, texts, idf=idf)
        parts = BM25EmbeddingFunction(analyzer, idf=idf)
        for part in cuts(texts, chance):
            parts.partial_fit(iter(part))
            if parts.corpus_size:
                # Looking unknown terms up in between must not leave a trace.
                parts.encode_queries(chance.sample(texts, 5))
        assert parts.idf == whole.idf
        assert parts.dim == whole.dim
        assert parts.identity() == whole.identity()
        assert_same(parts, whole, random_texts(seed + 100))


@pytest.mark.parametrize("idf", IDFS)
def test_forget_undoes_partial_fit(idf: Any) -> None:
    for seed in range(12):
        chance, texts = random.Random(seed), random_texts(seed)  # noqa: S311
        before = BM25EmbeddingFunction(ENGLISH, texts[:20], idf=idf)
        function = BM25EmbeddingFunction(ENGLISH, texts[:20], idf=idf)
        function.partial_fit(texts[20:])
        dim = function.dim
        for part in cuts(chance.sample(texts[20:], 20), chance):
            function.forget(part)
        assert_same(function, before, texts)
        assert function.dim == dim
        function.partial_fit(texts[20:])
        assert_same(function, BM25EmbeddingFunction(ENGLISH, texts, idf=idf), texts)


@pytest.mark.parametrize("analyzer", [plain, ENGLISH], ids=["any", "en"])
def test_any_coming_and_going_equals_a_fit_of_what_is_left(analyzer: Any) -> None:
    for seed in range(12):
        chance = random.Random(seed)  # noqa: S311
        function = BM25EmbeddingFunction(analyzer)
        there: list[str] = []
        numbers: dict[str, int] = {}
        for step in range(30):
            if there and chance.random() < 0.45:
                gone = chance.sample(there, chance.randint(1, len(there)))
                function.forget(gone)
                for text in gone:
                    there.remove(text)
            else:
                come = random_texts(seed * 1000 + step, chance.randrange(8))
                function.partial_fit(come)
                there += come
            # No term has ever changed its number.
            now = {term: number for term, (_, number) in function.idf.items()}
            assert now.items() >= numbers.items()
            numbers = now
        assert function.corpus_size == len(there)
        if not there:
            continue
        whole = BM25EmbeddingFunction(analyzer, there)
        assert {term: value[0] for term, value in learned(function)[2].items()} == {
            term: value[0] for term, value in whole.idf.items()
        }
        assert function.avgdl == whole.avgdl
        texts = random_texts(seed + 7)
        product = (function.encode_queries(texts) @ function.encode_documents(texts).T).toarray()
        np.testing.assert_allclose(
            product, (whole.encode_queries(texts) @ whole.encode_documents(texts).T).toarray(), 1e-5
        )


@pytest.mark.parametrize("idf", ["lucene", "robertson", "bm25l", "bm25+"])
def test_merges_in_any_order_equal_one_fit(idf: Any) -> None:
    for seed in range(12):
        chance, texts = random.Random(seed), random_texts(seed)  # noqa: S311
        parts = [BM25EmbeddingFunction(ENGLISH, idf=idf) for _ in range(5)]
        for function, start in zip(parts, range(0, 40, 8), strict=True):
            function.partial_fit(texts[start : start + 8])
        whole = BM25EmbeddingFunction(ENGLISH, texts, idf=idf)
        in_order = BM25EmbeddingFunction(ENGLISH, idf=idf)
        for part in parts:
            in_order.merge(part)
        assert in_order.idf == whole.idf
        assert_same(in_order, whole, texts)
        pool = copy.deepcopy(parts)
        while len(pool) > 1:
            one, other = (pool.pop(chance.randrange(len(pool))) for _ in range(2))
            kept = {term: number for term, (_, number) in one.idf.items()}
            one.merge(other)
            assert {term: number for term, (_, number) in one.idf.items()}.items() >= kept.items()
            pool.append(one)
        merged = pool[0]
        assert (merged.corpus_size, merged.avgdl) == (whole.corpus_size, whole.avgdl)
        assert {term: value for term, (value, _) in merged.idf.items()} == {
            term: value for term, (value, _) in whole.idf.items()
        }


def test_merge_leaves_the_other_alone_and_forgets_with_it() -> None:
    texts = random_texts(5)
    one, other = BM25EmbeddingFunction(plain, texts[:20]), BM25EmbeddingFunction(plain, texts[20:])
    other.forget(texts[30:])
    before = learned(other), vectors(other, texts)
    one.merge(other)
    assert (learned(other), vectors(other, texts)) == before
    assert_same(one, BM25EmbeddingFunction(plain, texts[:30]), texts)
    one.merge(BM25EmbeddingFunction(plain))
    assert_same(one, BM25EmbeddingFunction(plain, texts[:30]), texts)


def test_merge_refuses_another_analyzer_and_names_both() -> None:
    function = BM25EmbeddingFunction("en", ["cats"])
    with pytest.raises(InputError, match=r"analyzer .*plain into those of .*'en'"):
        function.merge(BM25EmbeddingFunction(plain, ["dogs"]))
    with pytest.raises(InputTypeError, match="takes a BM25EmbeddingFunction, not list"):
        function.merge(["dogs"])  # type: ignore[arg-type]
    assert list(function.idf) == ["cat"]


def test_forgotten_terms_by_hand() -> None:
    function = BM25EmbeddingFunction(plain, ["a b", "a c"])
    function.forget(["a b"])
    assert (function.dim, function.corpus_size, function.avgdl) == (3, 1, 2.0)
    assert function.idf["b"] == [0.0, 1]
    # As if "b" had never been there: neither queries nor documents have it; the length counts it, as any unknown term.
    assert function.encode_queries(["b c"]).indices.tolist() == [2]
    assert function.encode_documents(["b c"]).toarray().tolist() == [[0, 0, pytest.approx(1.0)]]
    function.partial_fit(["d b"])
    assert {term: number for term, (_, number) in function.idf.items()} == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_forgetting_everything_is_as_before_the_first_fit() -> None:
    function = BM25EmbeddingFunction(plain, ["a b", "b"])
    function.forget(["b", "a b"])
    assert (function.corpus_size, function.avgdl, function.dim) == (0, 0.0, 2)
    with pytest.raises(InputError, match="call fit"):
        function.encode_documents(["a"])
    function.partial_fit(["b"])
    assert function.encode_queries(["a b"]).indices.tolist() == [1]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["zebra"], "have terms that were never fitted"),
        (["a", "a", "a", "a"], "Cannot forget 4 documents with 4 terms: they are not all among the 2"),
        (["c", "c"], "not all among"),
        (["a b a b a b"], "not all among the 2 documents with 4 terms"),
        (["", "", ""], "Cannot forget 3 documents"),
        ([""], "not all among"),  # both documents have "a", and one of them would be left
    ],
)
def test_forget_of_what_was_not_fitted_changes_nothing(gone: list[str], message: str) -> None:
    function = BM25EmbeddingFunction(plain, ["a b", "a c"])
    before = learned(function), function.dim
    with pytest.raises(InputError, match=message):
        function.forget(gone)
    assert (learned(function), function.dim) == before


class _BrokenError(Exception):
    pass


def _breaking(texts: list[str], error: BaseException) -> Iterator[str]:
    yield from texts
    raise error


@pytest.mark.parametrize("error", [_BrokenError(), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "forget"])
def test_what_ends_halfway_changes_nothing(method: str, error: BaseException) -> None:
    texts = random_texts(1)
    function = BM25EmbeddingFunction(ENGLISH, texts)
    fresh = [f"unseen{number}" for number in range(10_000)] if method != "forget" else texts
    with pytest.raises(type(error)):
        getattr(function, method)(_breaking(fresh, error))
    with pytest.raises(InputTypeError, match=r"\[10000\] must be a string, not int" if method != "forget" else "int"):
        getattr(function, method)([*fresh, 7])
    whole = BM25EmbeddingFunction(ENGLISH, texts)
    assert function.idf == whole.idf
    function.partial_fit(["unseen5 unseen3"])
    whole.partial_fit(["unseen5 unseen3"])
    assert function.idf == whole.idf
    assert_same(function, whole, texts)


def test_partial_fit_of_nothing() -> None:
    function = BM25EmbeddingFunction(plain)
    function.partial_fit([])
    assert (function.corpus_size, function.dim) == (0, 0)
    function.partial_fit(["", " "])
    assert (function.corpus_size, function.dim, function.avgdl) == (2, 0, 0.0)
    with pytest.raises(InputTypeError, match="not one string"):
        function.partial_fit("a b")


def test_what_cannot_go_on_after_a_v1_file_says_why(tmp_path: Any) -> None:
    BM25EmbeddingFunction(plain, ["a b"]).save(tmp_path / "v1.json")
    function = BM25EmbeddingFunction(plain)
    function.load(tmp_path / "v1.json")
    counted = BM25EmbeddingFunction(plain, ["c"])
    for use in (
        lambda: function.partial_fit(["c"]),
        lambda: function.forget(["a b"]),
        lambda: function.merge(counted),
        lambda: counted.merge(function),
        lambda: function.save(tmp_path / "x", format="milvine"),
    ):
        with pytest.raises(InputError, match="a v1 file was loaded, which has each term's idf but not in how many"):
            use()
    function.fit(["c d"])
    function.partial_fit(["d"])
    assert function.corpus_size == 2


def test_numbers_do_not_depend_on_hash_seed() -> None:
    script = (
        "from milvine.model.sparse import BM25EmbeddingFunction as B; f = B('en', ['zebra apple']);"
        "f.partial_fit(['kiwi, apple Mango']); f.merge(B('en', ['fig zebra date'])); f.forget(['zebra apple']);"
        "print(f.idf)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert list(eval(outputs.pop())) == ["zebra", "appl", "kiwi", "mango", "fig", "date"]  # noqa: S307


def test_threads_encode_as_one_does() -> None:
    texts = [text for seed in range(30) for text in random_texts(seed)]
    function = BM25EmbeddingFunction(ENGLISH, texts[:600])
    expected = vectors(BM25EmbeddingFunction(ENGLISH, texts[:600]), texts)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(lambda _: vectors(function, texts), range(16)))


def test_pickled_and_copied_functions_are_the_same() -> None:
    texts = random_texts(2)
    function = BM25EmbeddingFunction(ENGLISH, texts)
    for twin in (pickle.loads(pickle.dumps(function)), copy.deepcopy(function)):  # noqa: S301
        assert_same(twin, function, texts)
        twin.partial_fit(["something new"])
        assert function.corpus_size == len(texts)


_STREAM = """
import random, sys
from milvine.model.sparse import BM25EmbeddingFunction
n = int(sys.argv[1])
def texts():
    chance = random.Random(0)
    common = [f"word{number}" for number in range(20_000)]
    for number in range(n):
        # Skewed as language is, with a word that never comes again in every second text.
        at = (int(20_000 ** chance.random()) - 1 for _ in range(40))
        rare = f" rare{number}" if number % 2 else ""
        yield " ".join(map(common.__getitem__, at)) + rare
function = BM25EmbeddingFunction("en", show_progress=True)
function.fit(texts())
rows = nonzero = 0
def upsert(batch):
    global rows, nonzero
    matrix = function.encode_documents(batch)
    rows, nonzero = rows + matrix.shape[0], nonzero + matrix.nnz
batch = []
for text in texts():
    batch.append(text)
    if len(batch) == 4096:
        upsert(batch)
        batch = []
if batch:
    upsert(batch)
# Not getrusage: its peak is at least what the process had that started this one.
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(rows, function.corpus_size, function.dim, peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("n", "limit"),
    [
        pytest.param(20_000, 400e6, id="20,000"),
        pytest.param(1_000_000, 1.5e9, id="1,000,000", marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
    ],
)
def test_a_stream_takes_bounded_memory(n: int, limit: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STREAM, str(n)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"},  # so that the bar is written
    )
    rows, size, dim, memory = map(int, done.stdout.split())
    assert (rows, size) == (n, n)
    assert n / 2 < dim < n / 2 + 20_001
    assert memory < limit
    assert "Counting terms" in done.stderr
    assert " texts" in done.stderr
