"""Test collections in the layout of BEIR (https://github.com/beir-cellar/beir)."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milvine.errors import ReadError
from milvine.types import Record


@dataclass(frozen=True)
class TestCollection:
    """Documents, queries, and which documents answer which query.

    Attributes:
        documents: The documents; a title stands before the text, with a space between.
        queries: Query id to query; only those that the judgments name.
        qrels: Query id to document id to relevance.
    """

    __test__ = False  # it is no pytest class

    documents: list[Record]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def load_beir(folder: str | Path, split: str = "test") -> TestCollection:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.

    Raises:
        ReadError: A file is missing or not of this layout.
    """
    folder = Path(folder)
    qrels: dict[str, dict[str, int]] = {}
    try:
        documents = [
            Record(str(row["_id"]), f"{row.get('title') or ''} {row['text']}".strip())
            for row in _json_lines(folder / "corpus.jsonl")
        ]
        with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
        queries = {str(row["_id"]): str(row["text"]) for row in _json_lines(folder / "queries.jsonl")}
    except OSError as error:
        raise ReadError(f"{folder} is not a BEIR folder: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{folder} is not of the BEIR layout: {type(error).__name__} {error}") from error
    return TestCollection(documents, {id_: queries[id_] for id_ in qrels if id_ in queries}, qrels)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]
