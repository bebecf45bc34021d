"""Makes tests/data/bm25_golden.json with pymilvus.model 0.3.4, and checks that it reads what milvine writes.

Made with Python 3.11, pymilvus.model 0.3.4, pymilvus 3.0.2, numpy 2.4, scipy 1.17, in an environment of its own:

    python -m venv reference
    reference/bin/pip install --no-deps pymilvus.model==0.3.4
    reference/bin/pip install pymilvus numpy scipy requests pyyaml
    reference/bin/python tests/reference/make_bm25_golden.py tests/data/bm25_golden.json

and, the other way round, with a file that milvine saved for the golden corpus (see `test_saves_what_pymilvus_saves`):

    reference/bin/python tests/reference/make_bm25_golden.py tests/data/bm25_golden.json --check saved.json

The analyzer is `str.lower().split()`, so that formulas and files alone are compared. BM25's modules are imported past
`pymilvus.model/__init__.py`, which wants every model's dependencies at once.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

CORPUS = [
    "the cat sat on the mat",
    "The dog and the cat",
    "a bird in the hand is worth two in the bush",
    "stock prices fell sharply on Monday",
    "",
    "cat cat cat CAT dog",
    "naïve Straße 東京 🙂 naïve",
    "the the the the",
]
DOCUMENTS = [*CORPUS, "the dog chased a tortoise that nobody had seen before", "unknown words alone", " ", "bird " * 40]
QUERIES = ["cat dog", "the cat the CAT", "tortoise", "", "東京 naïve naïve", "two birds on monday"]
SETTINGS = [(1.5, 0.75, 0.25), (0.9, 0.4, 0.25), (1.2, 0.0, 0.5), (0.0, 1.0, 0.25)]


def analyze(text: str) -> list[str]:
    return text.lower().split()


def bm25_class() -> Any:
    folder = Path(next(iter(importlib.util.find_spec("pymilvus").submodule_search_locations))) / "model"
    for name in ("pymilvus.model", "pymilvus.model.sparse"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.removeprefix("pymilvus.model").lstrip("."))]
        sys.modules[name] = package
    from pymilvus.model.sparse.bm25.bm25 import BM25EmbeddingFunction

    return BM25EmbeddingFunction


def as_lists(matrix: Any) -> dict[str, list[Any]]:
    matrix = matrix.tocsr()
    matrix.sort_indices()
    return {
        "shape": list(matrix.shape),
        "indptr": matrix.indptr.tolist(),
        "indices": matrix.indices.tolist(),
        "data": [float(value) for value in matrix.data],
    }


def encode(function: Any) -> dict[str, Any]:
    return {
        "documents": as_lists(function.encode_documents(DOCUMENTS)),
        "queries": as_lists(function.encode_queries(QUERIES)),
    }


def golden_case(k1: float, b: float, epsilon: float) -> dict[str, Any]:
    function = bm25_class()(analyze, CORPUS, k1=k1, b=b, epsilon=epsilon)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bm25.json"
        function.save(str(path))
        return {"file": json.loads(path.read_text()), **encode(function)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("golden", type=Path)
    parser.add_argument("--check", type=Path, metavar="SAVED", help="a file that milvine saved: load it, compare")
    arguments = parser.parse_args()
    if arguments.check:
        function = bm25_class()(analyze)
        function.load(str(arguments.check))
        cases = json.loads(arguments.golden.read_text(encoding="utf-8"))["cases"]
        (case,) = [case for case in cases if (case["file"]["k1"], case["file"]["b"]) == (function.k1, function.b)]
        same = encode(function) == {"documents": case["documents"], "queries": case["queries"]}
        print("the same numbers" if same else "other numbers")
        sys.exit(not same)
    golden = {
        "made_by": "tests/reference/make_bm25_golden.py, pymilvus.model 0.3.4",
        "corpus": CORPUS,
        "texts": DOCUMENTS,
        "queries": QUERIES,
        "cases": [golden_case(*setting) for setting in SETTINGS],
    }
    arguments.golden.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
