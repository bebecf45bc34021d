from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milvine import Record
from milvine.errors import ReadError
from milvine.evaluate import load_beir


def write(folder: Path, **files: Any) -> Path:
    corpus = files.get(
        "corpus", [{"_id": "d1", "title": "A title", "text": "and a text"}, {"_id": 2, "text": "no title"}]
    )
    queries = files.get("queries", [{"_id": "q1", "text": "a query"}, {"_id": "q2", "text": "one without judgments"}])
    qrels = files.get("qrels", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\nq9\td1\t1\n")
    (folder / "qrels").mkdir()
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = rows if isinstance(rows, str) else "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(lines + "\n\n", encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_reading(tmp_path: Path) -> None:
    loaded = load_beir(write(tmp_path))
    assert loaded.documents == [Record("d1", "A title and a text"), Record("2", "no title")]
    assert loaded.queries == {"q1": "a query"}
    assert loaded.qrels == {"q1": {"d1": 2, "2": 0}, "q9": {"d1": 1}}
    assert load_beir(str(tmp_path)) == loaded


def test_separators_within_a_text_end_no_line(tmp_path: Path) -> None:
    # JSON may hold these as they are; str.splitlines would cut there.
    text = "one\u2028two\u0085three"
    assert load_beir(write(tmp_path, corpus=[{"_id": "d", "text": text}])).documents == [Record("d", text)]


def test_quotes_in_ids_are_no_quoting(tmp_path: Path) -> None:
    qrels = 'query-id\tcorpus-id\tscore\n"q1\t"d1"\t1\n'
    loaded = load_beir(write(tmp_path, queries=[{"_id": '"q1', "text": "t"}], qrels=qrels))
    assert loaded.qrels == {'"q1': {'"d1"': 1}}


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"nowhere is not a BEIR folder: .*corpus\.jsonl"):
        load_beir(tmp_path / "nowhere")
    write(tmp_path)
    with pytest.raises(ReadError, match=r"not a BEIR folder: .*dev\.tsv"):
        load_beir(tmp_path, "dev")
    (tmp_path / "queries.jsonl").unlink()
    with pytest.raises(ReadError, match=r"not a BEIR folder: .*queries\.jsonl"):
        load_beir(tmp_path)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"corpus": [{"id": "d1", "text": "t"}]}, r"corpus\.jsonl, line 1: .*_id"),
        ({"corpus": [{"_id": "d1", "text": "t"}, {"_id": "d2"}]}, r"corpus\.jsonl, line 2: .*text"),
        ({"corpus": '{"_id": "d1", "text": "t"}\n{"_id": '}, r"corpus\.jsonl, line 2"),
        ({"corpus": '["d1", "t"]'}, r"corpus\.jsonl, line 1"),
        ({"queries": [{"_id": "q1"}]}, r"queries\.jsonl, line 1: .*text"),
        ({"qrels": "q1\td1\t1\n"}, r"test\.tsv, line 2|test\.tsv: .*query-id"),
        ({"qrels": "query-id\tcorpus-id\tscore\nq1\td1\thigh\n"}, r"test\.tsv, line 2: .*high"),
        ({"qrels": "query-id\tcorpus-id\tscore\nq1\td1\n"}, r"test\.tsv, line 2"),
        ({"qrels": ""}, r"test\.tsv"),
    ],
)
def test_what_is_not_of_the_layout(tmp_path: Path, files: dict[str, Any], match: str) -> None:
    with pytest.raises(ReadError, match=match):
        load_beir(write(tmp_path, **files))


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "corpus.jsonl").write_bytes(b'{"_id": "d1", "text": "caf\xe9"}\n')
    with pytest.raises(ReadError, match=r"corpus\.jsonl"):
        load_beir(tmp_path)
