from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from milvine.ingest import Document, python_documents


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    listed = list(python_documents())
    by_id = {document.id: document for document in listed}
    assert len(by_id) == len(listed)
    return by_id


def test_there_are_some_thousands_of_every_kind(documents: dict[str, Document]) -> None:
    kinds = Counter(document.metadata["kind"] for document in documents.values())
    assert set(kinds) == {"topic", "module", "class", "function"}
    assert min(kinds.values()) > 80
    assert 1_200 < len(documents) < 2_500
    assert sum(len(document.text) for document in documents.values()) < 1_300_000


@pytest.mark.parametrize(
    ("name", "title", "beginning", "phrase"),
    [
        ("topic:try", 'The "try" statement', 'The "try" statement\n\nThe "try" statement specifies', "cleanup code"),
        ("module:json", "json", "json\n\nJSON (JavaScript Object Notation)", "exposes an API familiar"),
        ("function:json.dumps", "json.dumps", "json.dumps(obj, *, skipkeys=False,", "Serialize ``obj`` to a JSON"),
        ("function:asyncio.gather", "asyncio.gather", "asyncio.gather(*coros_or_futures,", "aggregating results"),
        ("function:os.path.join", "os.path.join", "os.path.join(a, *p)", "Join two or more pathname components"),
        ("function:sorted", "sorted", "sorted(iterable, /, *, key=None, reverse=False)", "ascending order"),
        ("class:collections.deque", "collections.deque", "collections.deque\n\n", "list-like sequence"),
        ("class:datetime.datetime", "datetime.datetime", "datetime.datetime\n\n", "year"),
        ("function:open", "open", "open(file, mode='r'", "Open file and return a stream"),
    ],
)
def test_what_a_newcomer_asks_about_is_there(
    documents: dict[str, Document], name: str, title: str, beginning: str, phrase: str
) -> None:
    document = documents[f"python:{name}"]
    assert document.title == title
    assert document.text.startswith(beginning)
    assert phrase in document.text


def test_private_names_jokes_and_tests_are_left_out(documents: dict[str, Document]) -> None:
    names = {document.metadata["name"] for document in documents.values() if document.metadata["kind"] != "topic"}
    assert not [name for name in names if any(part.startswith("_") for part in name.split("."))]
    modules = {document.metadata["module"].partition(".")[0] for document in documents.values()}
    assert modules.isdisjoint({"antigravity", "this", "idlelib", "lib2to3", "test", "turtledemo", "tkinter"})
    assert modules - {""} <= sys.stdlib_module_names


def test_no_text_comes_twice_or_keeps_its_underlines(documents: dict[str, Document]) -> None:
    topics = [document for document in documents.values() if document.metadata["kind"] == "topic"]
    bodies = [document.text.partition("\n\n")[2] for document in topics]
    assert len(set(bodies)) == len(bodies)
    assert not [document.title for document in topics if "\n****" in document.text]
    # The chapter on compound statements repeats the sections on `try`, `with`, `for`, ... and has one of its own.
    assert not [document.title for document in topics if document.title.startswith('Compound statements: The "try"')]
    assert any(document.title.startswith('Compound statements: The "match"') for document in topics)


def test_nothing_with_side_effects_is_imported() -> None:
    program = (
        "import json, sys; from milvine.ingest.pydocs import python_documents; before = set(sys.modules);"
        "list(python_documents()); print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in json.loads(result.stdout)}  # Nothing else was printed either.
    assert imported.isdisjoint({"antigravity", "this", "tkinter", "idlelib", "test", "turtle", "site", "webbrowser"})
    assert result.stderr == ""
