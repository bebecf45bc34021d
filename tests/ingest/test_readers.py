from __future__ import annotations

import json
from pathlib import Path

import pytest

from milvine.ingest import Document, Problem, read_documents


def read(tmp_path: Path, name: str, text: str) -> tuple[list[Document], list[Problem]]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    problems: list[Problem] = []
    return list(read_documents([path], on_problem=problems.append)), problems


def one(tmp_path: Path, name: str, text: str) -> Document:
    ((document,), problems) = read(tmp_path, name, text)
    assert problems == []
    return document


# Markdown


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Install\n\ntext", "Install"),
        ("intro\n\n## The `pip` *way* ##\n", "The pip way"),
        ("Install it\n==========\n", "Install it"),
        ("# See [the docs](https://example.org/a)\n", "See the docs"),
        ("```sh\n# no heading\n```\n\n# Heading\n", "Heading"),
        ("~~~\n```\n# no heading\n~~~\n# Heading\n", "Heading"),
        ("#hashtag\n\ntext", "page.md"),
        ("Just text.\n\n---\n\nMore.", "page.md"),
    ],
)
def test_the_title_of_markdown_is_its_first_heading(tmp_path: Path, text: str, title: str) -> None:
    document = one(tmp_path, "page.md", text)
    assert document.title == title
    assert document.text == text
    assert document.metadata["format"] == "markdown"


def test_front_matter_gives_the_title_and_is_no_text(tmp_path: Path) -> None:
    document = one(tmp_path, "page.md", "---\ntitle: 'Set up: a guide'\ntags: [a, b]\n---\n\n# Other\n\nText.\n")
    assert document.title == "Set up: a guide"
    assert document.text == "# Other\n\nText.\n"


def test_front_matter_without_a_title_leaves_it_to_the_heading(tmp_path: Path) -> None:
    document = one(tmp_path, "page.md", "---\ndraft: true\n...\n# Heading\n")
    assert (document.title, document.text) == ("Heading", "# Heading\n")


def test_text_between_two_thematic_breaks_stays(tmp_path: Path) -> None:
    text = "---\nNot a mapping, but a sentence.\n\n---\n\n# Heading\n"
    assert one(tmp_path, "page.md", text).text == text


# reStructuredText


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Install\n=======\n\ntext", "Install"),
        ("=======\nInstall\n=======\n", "Install"),
        (".. _label:\n\nThe guide\n---------\n\nPart\n~~~~\n", "The guide"),
        ("No heading\n\n----\n\nafter a transition", "page.rst"),
    ],
)
def test_the_title_of_rst_is_its_first_underlined_heading(tmp_path: Path, text: str, title: str) -> None:
    document = one(tmp_path, "page.rst", text)
    assert (document.title, document.text, document.metadata["format"]) == (title, text, "rst")


# HTML

PAGE = """<!DOCTYPE html>
<html><head><title>Catching
  errors</title><style>p { color: red }</style></head>
<body>
<nav><a href="/">Home</a></nav>
<h1>Errors &amp; handlers</h1>
<p>Use a <b>tuple</b>:
   <code>except (A, B)</code>.</p><p>Caf&eacute; &#x1F600;&nbsp;!</p>
<ul><li>one</li> <li>two</li></ul>
<table><tr><td>a</td><td>b</td></tr>
<tr><td>c</td><td>d</td></tr></table>
<pre>try:
    f()</pre>
<script>var x = "<p>no</p>";</script><template><p>no</p></template><!-- no -->
last<br>line
</body></html>"""

PAGE_TEXT = """Errors & handlers

Use a tuple: except (A, B).

Café 😀\u00a0!

one
two

a\tb
c\td

try:
    f()

last
line"""


def test_a_page_becomes_paragraphs(tmp_path: Path) -> None:
    document = one(tmp_path, "page.html", PAGE)
    assert document.title == "Catching errors"
    assert document.text == PAGE_TEXT
    assert document.metadata["format"] == "html"


def test_end_tags_may_be_missing(tmp_path: Path) -> None:
    document = one(tmp_path, "a.html", "<html><head><title>T</title><body><p>a<p>b<ul><li>c<li>d</ul>")
    assert (document.title, document.text) == ("T", "a\n\nb\n\nc\nd")


def test_a_page_without_a_title_has_its_heading_else_its_name(tmp_path: Path) -> None:
    assert one(tmp_path, "a.htm", "<p>x<h1>The <i>heading</i></h1>").title == "The heading"
    assert one(tmp_path, "b.htm", "just words").title == "b.htm"


def test_a_page_of_markup_alone_holds_no_text(tmp_path: Path) -> None:
    documents, (problem,) = read(tmp_path, "a.html", "<title>t</title><script>x()</script>")
    assert (documents, problem.reason, problem.skipped) == ([], "holds no text", True)


def test_elements_nested_very_deep_are_read(tmp_path: Path) -> None:
    document = one(tmp_path, "a.html", "<div><b>" * 5_000 + "deep" + "</b></div>" * 5_000 + "<p>after")
    assert document.text == "deep\n\nafter"


# JSON lines


def test_rows_become_documents(tmp_path: Path) -> None:
    rows = [
        {"_id": "d1", "title": "T", "text": "first", "year": 1956, "tags": ["a", {"b": None}]},
        {"id": 7, "text": "second"},
        {"text": "third", "title": None},
        {"_id": "d4", "title": "A title alone", "text": ""},
        {"_id": "d5", "text": "fifth", "source": "the web", "start": 3},
    ]
    documents, problems = read(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in rows[:2]) + "\n\n\n")
    documents_2, problems_2 = read(tmp_path, "b.jsonl", "\n".join(json.dumps(row) for row in rows[2:]))
    assert problems == problems_2 == []
    a, b = (str((tmp_path / name).resolve()) for name in ("a.jsonl", "b.jsonl"))
    ours = {"source": a, "format": "jsonl"}
    assert documents == [
        Document(f"{a}#d1", "first", "T", {"year": 1956, "tags": ["a", {"b": None}], **ours}),
        Document(f"{a}#7", "second", "", ours),
    ]
    ours = {"source": b, "format": "jsonl"}
    assert documents_2 == [
        Document(f"{b}#1", "third", "", ours),
        Document(f"{b}#d4", "A title alone", "A title alone", ours),
        Document(f"{b}#d5", "fifth", "", {"source_": "the web", "start_": 3, **ours}),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "x"', "is not valid JSON: Expecting ',' delimiter at column 13"),
        ('["text"]', "must be a JSON object with a field 'text', not list"),
        ('{"title": "x"}', "has no field 'text'"),
        ('{"text": 5}', "its 'text' must be a string, not int"),
        ('{"text": "x", "title": ["y"]}', "its 'title' must be a string, not list"),
        ('{"text": "x", "_id": null}', "its id must be a string that is not empty, or an integer, not None"),
        ('{"text": "x", "id": true}', "its id must be a string that is not empty, or an integer, not True"),
        ('{"text": " "}', "its text is empty"),
        ('{"text": "x", "_id": "ok"}', "its id 'ok' was used on an earlier line"),
        ('{"text": "x", "score": NaN}', "holds NaN, which is not JSON"),
        (r'{"text": "\ud83d"}', r"holds half of a surrogate pair (\ud800 to \udfff), which is no character"),
    ],
)
def test_a_bad_row_is_reported_with_its_line_and_the_rest_goes_on(tmp_path: Path, line: str, reason: str) -> None:
    good = '{"_id": "ok", "text": "good"}\n'
    documents, (problem,) = read(tmp_path, "a.jsonl", f'{good}\n{line}\n{{"text": "after"}}\n')
    assert [document.text for document in documents] == ["good", "after"]
    assert (problem.reason, problem.line, problem.skipped) == (reason, 3, True)


@pytest.mark.parametrize("line", ["[" * 200_000, '{"text": "x", "n": ' + "9" * 5_000 + "}"])
def test_a_row_made_to_break_the_parser_is_a_problem_like_any_other(tmp_path: Path, line: str) -> None:
    documents, problems = read(tmp_path, "a.jsonl", f'{line}\n{{"text": "after"}}\n')
    assert documents[-1].text == "after"
    assert [problem.line for problem in problems] in ([1], [])  # Some releases of 3.10 read any number of digits.
    assert len(documents) + len(problems) == 2
