"""Test collections in the layout of BEIR (https://github.com/beir-cellar/beir)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from milvine.errors import ReadError
from milvine.types import Record

Item = TypeVar("Item")
QRELS_HEADER = "query-id\tcorpus-id\tscore"


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
        ReadError: A file is missing or not of this layout; the message names the file and the line.
    """
    folder = Path(folder)
    documents = _read(folder, "corpus.jsonl", _document)
    queries = dict(_read(folder, "queries.jsonl", _query))
    qrels: dict[str, dict[str, int]] = {}
    for query, document, relevance in _read(folder, f"qrels/{split}.tsv", _judgment, header=QRELS_HEADER):
        qrels.setdefault(query, {})[document] = relevance
    return TestCollection(documents, {id_: queries[id_] for id_ in qrels if id_ in queries}, qrels)


def _document(line: str) -> Record:
    row = json.loads(line)
    return Record(str(row["_id"]), f"{row.get('title') or ''} {row['text']}".strip())


def _query(line: str) -> tuple[str, str]:
    row = json.loads(line)
    return str(row["_id"]), str(row["text"])


def _judgment(line: str) -> tuple[str, str, int]:
    query, document, relevance = line.rstrip("\r\n").split("\t")
    return query, document, int(relevance)


def _read(folder: Path, name: str, read: Callable[[str], Item], *, header: str = "") -> list[Item]:
    """What `read` makes of each line that is not blank, after the header."""
    path = folder / name
    number, items = 1, []
    try:
        with path.open(encoding="utf-8") as file:
            if header and file.readline().rstrip("\r\n") != header:
                raise ReadError(f"{path}: the first line must be {header!r}")
            for number, line in enumerate(file, start=2 if header else 1):  # noqa: B007 - for the message
                if line.strip():
                    items.append(read(line))
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(f"{folder} is not a BEIR folder: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{path}, line {number}: {type(error).__name__} {error}") from error
    return items
