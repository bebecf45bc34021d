from __future__ import annotations

import os
from pathlib import Path

import pytest

from milvine.errors import InputError, InputTypeError, ReadError
from milvine.ingest import Document, Problem, ReadCounts, read_documents


def read(*paths: Path | str) -> tuple[list[Document], list[Problem], ReadCounts]:
    problems: list[Problem] = []
    counts = ReadCounts()
    return list(read_documents(paths, on_problem=problems.append, counts=counts)), problems, counts


def write(path: Path, text: str = "Some text.") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_is_read_in_the_order_of_names_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "c.HTML", "a/.hidden.txt", ".git/config.txt", "d.pdf", "e.PDF", "a/Makefile"):
        write(tmp_path / name)
    documents, problems, counts = read(tmp_path)
    assert [Path(document.id).relative_to(tmp_path.resolve()).as_posix() for document in documents] == [
        "a/z.md",
        "b.txt",
        "c.HTML",
    ]
    assert problems == []
    assert (counts.files, counts.documents, counts.problems) == (3, 3, 0)
    assert dict(counts.ignored) == {".pdf": 2, "": 1}


def test_a_document_says_where_it_is_from(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.txt", "One.\nTwo.\n")
    ((document,), _, _) = read(path)
    name = str(path.resolve())
    assert document == Document(name, "One.\nTwo.\n", "notes.txt", {"source": name, "format": "text"})


def test_ids_do_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "docs" / "a.txt")
    write(tmp_path / "docs" / "b.jsonl", '{"text": "x"}\n{"text": "y", "_id": "two"}\n')
    monkeypatch.chdir(tmp_path)
    here = [document.id for document in read("docs")[0]]
    monkeypatch.chdir(tmp_path / "docs")
    assert [document.id for document in read(".")[0]] == here
    base = (tmp_path / "docs").resolve().as_posix()
    assert here == [f"{base}/a.txt", f"{base}/b.jsonl#1", f"{base}/b.jsonl#two"]


def test_a_file_is_read_once_however_many_paths_lead_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "docs" / "a.txt")
    (tmp_path / "docs" / "link.txt").symlink_to(path)
    (tmp_path / "docs" / "loop").symlink_to(tmp_path / "docs", target_is_directory=True)
    (tmp_path / "docs" / "self.txt").symlink_to(tmp_path / "docs" / "self.txt")
    documents, problems, _ = read(tmp_path / "docs", path, tmp_path)
    assert [document.id for document in documents] == [str(path.resolve())]
    assert [Path(problem.path).name for problem in problems] == ["self.txt"]


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "a.txt")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(read(tmp_path / "docs")[0]) == 1


def test_what_cannot_be_read_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a-dangling.txt").symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / "b-binary.txt").write_bytes(b"\x7fELF\0\0\1")
    write(tmp_path / "c-empty.txt", "")
    write(tmp_path / "d-blank.md", " \n\t\n")
    os.mkfifo(tmp_path / "e-pipe.txt")
    write(tmp_path / "f-rows.jsonl", '{"text": "good"}\n{"text": \n')
    write(tmp_path / "g-folder.txt" / "inside.txt")
    write(tmp_path / "z-good.txt")
    documents, problems, counts = read(tmp_path)
    assert [Path(document.id).name for document in documents] == ["f-rows.jsonl#1", "inside.txt", "z-good.txt"]
    assert [(Path(problem.path).name, problem.reason, problem.line) for problem in problems] == [
        ("a-dangling.txt", "is a link to a file that does not exist", None),
        ("b-binary.txt", "is a binary file: it holds NUL bytes", None),
        ("c-empty.txt", "is empty", None),
        ("d-blank.md", "holds no text", None),
        ("e-pipe.txt", "is not a regular file", None),
        ("f-rows.jsonl", "is not valid JSON: Expecting value at column 9", 2),
    ]
    assert all(problem.skipped for problem in problems)
    assert str(problems[5]) == f"{problems[5].path}, line 2: {problems[5].reason}"
    assert (counts.files, counts.documents, counts.problems) == (3, 3, 6)


def test_a_named_file_of_an_unknown_kind_is_a_problem(tmp_path: Path) -> None:
    documents, (problem,), counts = read(write(tmp_path / "paper.pdf"), write(tmp_path / "a.txt"))
    assert len(documents) == 1
    assert problem.reason == (
        "is not a kind of file that milvine reads (it reads .htm, .html, .jsonl, .md, .rst, .txt)"
    )
    assert not counts.ignored


def test_a_folder_without_documents_gives_none(tmp_path: Path) -> None:
    write(tmp_path / "data.csv")
    documents, problems, counts = read(tmp_path)
    assert (documents, problems, counts) == ([], [], ReadCounts(ignored=counts.ignored))
    assert counts.ignored[".csv"] == 1


def test_documents_are_read_one_at_a_time(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    late = write(tmp_path / "b.txt")
    problems: list[Problem] = []
    documents = read_documents([tmp_path], on_problem=problems.append)
    assert next(documents).title == "a.txt"
    late.unlink()
    assert list(documents) == []
    assert [problem.path for problem in problems] == [str(late)]


def test_a_file_name_that_is_not_utf8_gives_an_id_that_is(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    ((document,), _, _) = read(tmp_path)
    assert document.title == "caf\\xe9.txt"
    assert document.id.encode("utf-8").endswith(rb"/caf\xe9.txt")


def test_bad_arguments_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"missing\.txt does not exist"):
        read_documents([tmp_path, tmp_path / "missing.txt"], on_problem=print)
    with pytest.raises(InputError, match="paths is empty"):
        read_documents([], on_problem=print)
    with pytest.raises(InputTypeError, match=r"wrap it: \['docs'\]"):
        read_documents("docs", on_problem=print)
    with pytest.raises(InputTypeError, match="wrap it"):
        read_documents(tmp_path, on_problem=print)  # type: ignore[arg-type]
