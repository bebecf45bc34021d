from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, ReadError
from milvine.model.sparse import BM25EmbeddingFunction
from milvine.model.sparse.bm25.tokenizers import build_default_analyzer

TEXTS = ["The cats sat on naïve mats", "dogs chase cats", "東京 is a city", "", "cats, dogs; \ud800 and 🙂 v1.2"]
QUERIES = ["cats", "dogs and cities", "東京"]


def plain(text: str) -> list[str]:
    return text.lower().split()


def other(text: str) -> list[str]:
    return text.split()


def saved(function: BM25EmbeddingFunction, path: Path) -> Path:
    function.save(path, format="milvine")
    return path


def members(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


@pytest.mark.parametrize(
    "options",
    [
        {"k1": 0.9, "b": 0.4},
        {"idf": "okapi", "epsilon": 0.5},
        {"variant": "bm25l", "delta": 0.25},
        {"variant": "bm25+", "idf": "lucene"},
    ],
    ids=str,
)
def test_round_trip_and_going_on(options: dict[str, Any], tmp_path: Path) -> None:
    function = BM25EmbeddingFunction(plain, TEXTS, **options)
    function.forget(TEXTS[1:2])
    function.save(tmp_path / "bm25.npz", format="milvine")
    loaded = BM25EmbeddingFunction(plain, k1=7, b=0.1)
    loaded.load(tmp_path / "bm25.npz")
    for name in ("k1", "b", "epsilon", "variant", "delta", "idf_formula", "corpus_size", "avgdl", "dim", "idf"):
        assert getattr(loaded, name) == getattr(function, name), name
    assert loaded.identity() == function.identity()
    for one in (loaded, function):
        one.partial_fit(["dogs", "new cats"])
        one.forget(TEXTS[:1])
    assert loaded.identity() == function.identity()
    for encode in ("encode_documents", "encode_queries"):
        ours, theirs = getattr(loaded, encode)(QUERIES), getattr(function, encode)(QUERIES)
        assert ours.data.tobytes() == theirs.data.tobytes()
        assert ours.indices.tolist() == theirs.indices.tolist()


def test_equal_functions_make_equal_files(tmp_path: Path) -> None:
    files = [saved(BM25EmbeddingFunction("en", TEXTS), tmp_path / f"{at}.npz").read_bytes() for at in range(2)]
    assert files[0] == files[1]


def test_a_corpus_without_terms_and_terms_without_a_corpus(tmp_path: Path) -> None:
    blank = BM25EmbeddingFunction("en", ["", " "])
    loaded = BM25EmbeddingFunction("en")
    loaded.load(saved(blank, tmp_path / "blank.npz"))
    assert (loaded.dim, loaded.corpus_size) == (0, 2)
    emptied = BM25EmbeddingFunction("en", ["cats dogs"])
    emptied.forget(["cats dogs"])
    loaded.load(saved(emptied, tmp_path / "emptied.npz"))
    loaded.partial_fit(["dogs"])
    assert {term: index for term, (_, index) in loaded.idf.items()} == {"cat": 0, "dog": 1}
    with pytest.raises(InputError, match="call fit"):
        BM25EmbeddingFunction("en").save(tmp_path / "x.npz", format="milvine")
    with pytest.raises(InputError, match="call fit"):
        emptied.save(tmp_path / "x.json")


def test_a_fifth_of_the_size_of_v1(tmp_path: Path) -> None:
    chance = random.Random(0)  # noqa: S311
    corpus = [" ".join(f"{chance.randrange(1 << 40):x}" for _ in range(10)) + f" common{at % 99}" for at in range(2000)]
    function = BM25EmbeddingFunction(plain, corpus)
    function.save(tmp_path / "v1.json")
    saved(function, tmp_path / "bm25.npz")
    # These terms are random digits, which cannot be made smaller than half.
    assert (tmp_path / "bm25.npz").stat().st_size * 3 < (tmp_path / "v1.json").stat().st_size


def test_the_analyzer_must_be_the_one_of_the_file(tmp_path: Path) -> None:
    english, named = saved(BM25EmbeddingFunction("en", TEXTS), tmp_path / "en.npz"), tmp_path / "plain.npz"
    saved(BM25EmbeddingFunction(plain, TEXTS), named)
    function = BM25EmbeddingFunction(other, ["a"])
    with pytest.raises(InputError, match=r"fitted with analyzer .*\.plain, and this function has .*\.other"):
        function.load(named)
    with pytest.raises(InputError, match=r"fitted with analyzer .*'en'.*, and this function has .*\.other"):
        function.load(english)
    with pytest.raises(InputError, match=r"fitted with analyzer .*\.plain, and this function has .*'en'"):
        BM25EmbeddingFunction().load(named)
    assert (function.dim, function.analyzer) == (1, other)
    content = members(english)
    header = json.loads(content["header"].tobytes())
    header["analyzer"]["rules"] += 1
    content["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(tmp_path / "newer.npz", **content)
    for language in ("en", None):
        with pytest.raises(InputError, match=r"fitted with analyzer .*'rules'"):
            BM25EmbeddingFunction(language).load(tmp_path / "newer.npz")


def test_no_analyzer_named_takes_the_one_of_the_file(tmp_path: Path) -> None:
    german = saved(BM25EmbeddingFunction(build_default_analyzer("de"), ["Die Katzen schlafen"]), tmp_path / "de.npz")
    function = BM25EmbeddingFunction()
    function.load(german)
    assert function.encode_queries(["Katze"]).nnz == 1
    assert list(function.idf) == ["katz", "schlaf"]
    with pytest.raises(InputError, match=r"fitted with analyzer .*'de'.*this function has .*'en'"):
        BM25EmbeddingFunction("en").load(german)


def test_damaged_files_are_refused_and_change_nothing(tmp_path: Path) -> None:
    whole = saved(BM25EmbeddingFunction("en", TEXTS * 50), tmp_path / "bm25.npz").read_bytes()
    function = BM25EmbeddingFunction("en", ["cats"])
    before = function.identity()
    path = tmp_path / "damaged.npz"
    for length in (4, 5, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ReadError, match=r"damaged\.npz is damaged, or no file"):
            function.load(path)
    chance = random.Random(0)  # noqa: S311
    refused = 0
    for _ in range(300):
        place = chance.randrange(4, len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        twin = BM25EmbeddingFunction("en")
        try:
            twin.load(path)
        except ReadError:
            refused += 1
        else:  # what was hit says nothing of the content, such as a date
            assert twin.idf == BM25EmbeddingFunction("en", TEXTS * 50).idf
    assert refused > 150  # a small file is half headers, with dates and the like
    assert function.identity() == before


def changed(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        header = json.loads(content["header"].tobytes())
        header.update(changes)
        content["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)

    return change


def replaced(name: str, array: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: np.asarray(array)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("df"), "holds no BM25 statistics"),
        (changed(format="other"), 'does not name the format "milvine bm25"'),
        (changed(version=2), "its version is 2, and this milvine reads 1; a newer milvine may read it"),
        (changed(k1=-1), "k1 must be"),
        (changed(variant="bm99"), "variant must be"),
        (changed(variant=[]), "unhashable|variant"),
        (changed(idf=3), "idf must be"),
        (changed(delta=1.0), "delta is no part"),
        (changed(n_documents=1), "document frequencies are not those of 1 documents"),
        (changed(n_documents=-1), "no counts"),
        (changed(n_documents=2.0), "no counts"),
        (changed(total_length=1), "of 1 terms"),
        (changed(more=1), "unexpected keyword"),
        (replaced("header", np.frombuffer(b"{", np.uint8)), "holds no BM25 statistics that milvine can use"),
        (replaced("header", np.frombuffer(b"[]", np.uint8)), "does not name the format"),
        (replaced("header", np.zeros(3)), "cast"),
        (replaced("df", [1]), "do not go together"),
        (replaced("df", [-1, 1, 1]), "document frequencies are not those"),
        (replaced("df", [0.5, 1, 1]), "cast"),
        (replaced("sizes", [1, 1]), "do not go together"),
        (replaced("sizes", [1, 1, 9]), "do not go together"),
        (replaced("sizes", [-1, 2, 2]), "do not go together"),
        (replaced("terms", np.frombuffer(b"aab", np.uint8)), "a term twice"),
        (replaced("terms", np.frombuffer(b"a\xffb", np.uint8)), "decode"),
        (replaced("df", np.array([None, 1, 2], dtype=object)), "is damaged, or no file"),
    ],
)
def test_files_that_say_what_cannot_be(change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path) -> None:
    content = members(saved(BM25EmbeddingFunction(plain, ["a b", "c a"]), tmp_path / "good.npz"))
    change(content)
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(ReadError, match=message):
        BM25EmbeddingFunction(plain).load(tmp_path / "bad.npz")


def test_foreign_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
    with pytest.raises(ReadError, match="holds no BM25 statistics"):
        BM25EmbeddingFunction().load(tmp_path / "foreign.zip")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ReadError, match="not JSON"):
        BM25EmbeddingFunction().load(tmp_path / "one.npy")


def test_what_a_format_cannot_hold(tmp_path: Path) -> None:
    function = BM25EmbeddingFunction(plain, TEXTS, variant="bm25+")
    with pytest.raises(InputError, match=r"A v1 file cannot say that the variant is 'bm25\+': save with"):
        function.save(tmp_path / "x.json")
    with pytest.raises(InputError, match='format must be "v1" or "milvine", not \'v2\''):
        function.save(tmp_path / "x.json", format="v2")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*negative idf:UserWarning")
def test_forgotten_terms_in_a_v1_file_weigh_nothing(tmp_path: Path) -> None:
    function = BM25EmbeddingFunction(plain, ["a b", "a c"], idf="okapi")
    function.forget(["a b"])
    function.save(tmp_path / "v1.json")
    content = json.loads((tmp_path / "v1.json").read_text())
    assert content["idf_word"] == ["a", "b", "c"]
    assert content["idf_value"][1] == 0.0
    loaded = BM25EmbeddingFunction(plain)
    loaded.load(tmp_path / "v1.json")
    assert loaded.encode_queries(["a b c"]).toarray().tolist() == function.encode_queries(["a b c"]).toarray().tolist()


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    before = saved(BM25EmbeddingFunction("en", ["cats"]), tmp_path / "bm25.npz").read_bytes()
    # The kernel lets this process write 100 bytes a file: what a full disk does, without one.
    script = (
        "import resource, sys; from milvine.model.sparse import BM25EmbeddingFunction as B;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "B('en', ['cats and dogs'] * 9).save(sys.argv[1], format='milvine')"
    )
    path = str(tmp_path / "bm25.npz")
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert (done.returncode, "File too large" in done.stderr) == (1, True)
    assert os.listdir(tmp_path) == ["bm25.npz"]  # noqa: PTH208
    assert (tmp_path / "bm25.npz").read_bytes() == before
