"""Makes tests/data/bm25_variants_golden.json: scores by rank-bm25 0.2.2 and bm25s 0.3.16.

In an environment of their own:

    python -m venv reference
    reference/bin/pip install rank-bm25==0.2.2 bm25s==0.3.16
    reference/bin/python tests/reference/make_bm25_variants_golden.py tests/data/bm25_variants_golden.json

The analyzer is `str.lower().split()`, so that formulas alone are compared. rank-bm25's BM25L is left out: version 0.2.2
multiplies its score by the term's frequency, which the paper does not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bm25s
import rank_bm25

CORPUS = [
    "the cat sat on the mat",
    "The dog and the cat",
    "a bird in the hand is worth two in the bush",
    "stock prices fell sharply on Monday",
    "cat cat cat CAT dog",
    "naïve Straße 東京 🙂 naïve",
    "bird " * 40 + "cat",
    "the the the the",
]
QUERIES = ["cat dog", "the cat the CAT", "bird hand 東京", "monday"]
SETTINGS = [(1.5, 0.75), (0.9, 0.4), (1.2, 0.0), (2.0, 1.0)]


def analyze(text: str) -> list[str]:
    return text.lower().split()


def by_rank_bm25(kind: str, **numbers: float) -> list[list[float]]:
    scorer = getattr(rank_bm25, kind)([analyze(text) for text in CORPUS], **numbers)
    return [scorer.get_scores(analyze(query)).tolist() for query in QUERIES]


def by_bm25s(method: str, **numbers: float) -> list[list[float]]:
    scorer = bm25s.BM25(method=method, dtype="float64", backend="numpy", **numbers)
    scorer.index([analyze(text) for text in CORPUS], show_progress=False)
    return [scorer.get_scores(analyze(query)).tolist() for query in QUERIES]


def main() -> None:
    cases: list[dict[str, Any]] = []
    for k1, b in SETTINGS:
        for kind, more in (
            ("BM25Okapi", {"epsilon": 0.25}),
            ("BM25Plus", {"delta": 1.0}),
            ("BM25Plus", {"delta": 0.3}),
        ):
            numbers = {"k1": k1, "b": b, **more}
            cases.append({"by": f"rank_bm25.{kind}", **numbers, "scores": by_rank_bm25(kind, **numbers)})
        for method, delta in (("lucene", 0.5), ("bm25l", 0.5), ("bm25l", 0.2), ("bm25+", 1.0)):
            numbers = {"k1": k1, "b": b, "delta": delta}
            cases.append({"by": f"bm25s.{method}", **numbers, "scores": by_bm25s(method, **numbers)})
    golden = {
        "made_by": "tests/reference/make_bm25_variants_golden.py, rank-bm25 0.2.2, bm25s 0.3.16",
        "corpus": CORPUS,
        "queries": QUERIES,
        "cases": cases,
    }
    Path(sys.argv[1]).write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
