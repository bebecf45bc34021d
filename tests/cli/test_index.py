from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from milvine import Collection
from milvine.cli import main

TEXTS = {
    "receipts.md": "# Expenses\n\nExpenses above 50 euros need a receipt.\n",
    "office.txt": "The office is closed on public holidays.\n",
    "parking.rst": "Parking\n=======\n\nVisitors park behind the house.\n",
    "page.html": "<html><head><title>Lunch</title></head><body><p>Lunch is served at noon.</p></body></html>",
    "faq.jsonl": json.dumps({"_id": "q1", "title": "Keys", "text": "Ask the porter for a spare key.", "year": 2024}),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in TEXTS.items():
        (docs / name).write_text(text, encoding="utf-8")
    return docs


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_every_kind_of_file_is_indexed_and_found(folder: Path, tmp_path: Path) -> None:
    db = tmp_path / "kb.db"
    result = invoke("index", folder, "--db", db)
    assert result.exit_code == 0, result.output
    assert "5 documents from 5 files: 5 passages (5 new, 0 changed, 0 unchanged)" in result.output
    assert f'search "a question" --db {db}' in result.output

    found = invoke("search", "where do I leave my car?", "--db", db)
    assert found.exit_code == 0, found.output
    assert found.output.startswith("1. Parking")
    lines = invoke("search", "spare key", "--db", db, "--json", "--limit", "2", "--mode", "lexical").output.splitlines()
    hit = json.loads(lines[0])
    assert hit["id"] == f"{folder / 'faq.jsonl'}#q1#0"
    assert (hit["metadata"]["year"], hit["metadata"]["title"]) == (2024, "Keys")
    assert hit["fields"]["lexical"]["rank"] == 1
    filtered = invoke("search", "what is there?", "--db", db, "--json", "--filter", 'format == "html"').output
    assert [json.loads(line)["text"] for line in filtered.splitlines()] == ["Lunch is served at noon."]
    reranked = invoke("search", "when can I eat?", "--db", db, "--json", "--rerank").output.splitlines()
    assert json.loads(reranked[0])["rerank_score"] is not None


def test_a_second_run_does_only_what_has_changed(folder: Path, tmp_path: Path) -> None:
    db = tmp_path / "kb.db"
    long = "\n\n".join(
        f"Paragraph {number} tells of matter {number * 7}. " + "It goes on. " * 60 for number in range(6)
    )
    (folder / "office.txt").write_text(long, encoding="utf-8")
    first = invoke("index", folder, "--db", db)
    with Collection.open(db) as collection:
        before = collection.count()
    assert before > 8, first.output
    assert "0 new, 0 changed" in invoke("index", folder, "--db", db).output
    (folder / "office.txt").write_text("The office is open.\n", encoding="utf-8")
    result = invoke("index", folder, "--db", db)
    assert f"(0 new, 1 changed, 4 unchanged, {before - 5} removed)" in result.output
    with Collection.open(db) as collection:
        assert collection.count() == 5
        assert collection.search("open", mode="lexical")[0].text == "The office is open."


def test_what_is_no_longer_there_is_removed(folder: Path, tmp_path: Path) -> None:
    db = tmp_path / "kb.db"
    (folder / "faq.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": f"Answer number {n}."}) + "\n" for n in range(3)), encoding="utf-8"
    )
    outside = tmp_path / "docs too.txt"
    outside.write_text("It lies beside the folder.", encoding="utf-8")
    invoke("index", folder, outside, "--db", db)
    with Collection.open(db) as collection:
        collection.add(["of the user's own"], ids=[f"{folder}/own.txt#0"])
        assert collection.count() == 9

    (folder / "receipts.md").unlink()
    (folder / "page.html").write_text("<p> </p>", encoding="utf-8")
    (folder / "faq.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": f"Answer number {n}."}) + "\n" for n in (0, 2)), encoding="utf-8"
    )
    outside.unlink()
    kept = CliRunner().invoke(main, ["index", str(folder), "--db", str(db), "--keep"])
    assert "(0 new, 0 changed, 4 unchanged)" in kept.stdout
    assert "Removed" not in kept.stderr
    result = CliRunner().invoke(main, ["index", str(folder), "--db", str(db)])
    assert f"Removed: {folder / 'receipts.md'}: it is no longer there (1 passage; --keep would keep" in result.stderr
    assert f"Removed: {folder / 'faq.jsonl'}: what is no longer in it (1 passage" in result.stderr
    assert f"Removed: {folder / 'page.html'}: what is no longer in it (1 passage" in result.stderr
    assert "(0 new, 0 changed, 4 unchanged, 3 removed)" in result.stdout
    with Collection.open(db) as collection:
        names = sorted(id_.removeprefix(f"{tmp_path}/") for id_ in collection.ids())
    # What lies outside of the folders that were indexed now stays, and so does what the index has not made.
    assert names == [
        "docs too.txt#0",
        *("docs/faq.jsonl#q0#0", "docs/faq.jsonl#q2#0", "docs/office.txt#0", "docs/own.txt#0", "docs/parking.rst#0"),
    ]


def test_what_cannot_be_read_now_keeps_what_was_indexed_of_it(folder: Path, tmp_path: Path) -> None:
    db = tmp_path / "kb.db"
    invoke("index", folder, "--db", db)
    (folder / "office.txt").write_bytes(b"\0" * 100)
    (folder / "faq.jsonl").write_text('{"_id": "q2", "text": "Another."}\n{"_id": "q1", "te', encoding="utf-8")
    result = CliRunner().invoke(main, ["index", str(folder), "--db", str(db)])
    assert result.exit_code == 1
    assert "(1 new, 0 changed, 3 unchanged)" in result.stdout
    with Collection.open(db) as collection:
        assert collection.count() == 6


def test_what_cannot_be_read_is_reported_and_the_rest_indexed(folder: Path, tmp_path: Path) -> None:
    (folder / "dangling.txt").symlink_to(folder / "nowhere.txt")
    (folder / "binary.txt").write_bytes(b"\x7fELF\x00\x00\x01\x02" * 50)
    (folder / "latin.txt").write_bytes("Le café ferme à midi, près de l'école. Où êtes-vous allés ?".encode("latin-1"))
    (folder / "broken.jsonl").write_text('{"text": "A whole line."}\n{"text": \n', encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    result = CliRunner().invoke(main, ["index", str(folder), "--db", str(tmp_path / "kb.db")])
    assert result.exit_code == 1
    for name in ("dangling.txt", "binary.txt", "broken.jsonl, line 2"):
        assert f"Skipped: {folder / name}" in result.stderr
    assert f"Note: {folder / 'latin.txt'}" in result.stderr
    assert "3 files or lines could not be read" in result.stderr
    assert "7 documents from 7 files" in result.stdout
    with Collection.open(tmp_path / "kb.db") as collection:
        assert "café" in collection.search("café", mode="lexical")[0].text


@pytest.mark.parametrize("content", [{}, {"a.pdf": b"%PDF-1.7"}], ids=["empty", "other kinds"])
def test_a_folder_without_anything_to_read(tmp_path: Path, content: dict[str, bytes]) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, data in content.items():
        (docs / name).write_bytes(data)
    result = invoke("index", docs, "--db", tmp_path / "kb.db")
    assert result.exit_code == 1
    assert f"Error: There is nothing to index in {docs}" in result.output
    assert ("1 .pdf" in result.output) == bool(content)
    assert not (tmp_path / "kb.db").exists()


def test_a_path_that_is_not_there_makes_no_database(tmp_path: Path) -> None:
    result = invoke("index", tmp_path / "nowhere", "--db", tmp_path / "kb.db")
    assert result.exit_code == 1
    assert "nowhere does not exist" in result.output
    assert not (tmp_path / "kb.db").exists()


def test_a_database_that_another_process_has_open(folder: Path, tmp_path: Path) -> None:
    db = tmp_path / "kb.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"from milvine import Collection; c = Collection({str(db)!r}); print('open'); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    for command in (["index", str(folder), "--db", str(db)], ["search", "x", "--db", str(db)]):
        done = subprocess.run(
            [sys.executable, "-m", "milvine", *command], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: another process has {db} open")
        assert "Traceback" not in done.stderr
    holder.stdin.close()
    holder.wait(30)
    holder.stdout.close()
    assert invoke("index", folder, "--db", db).exit_code == 0


def test_without_network_and_without_the_model(folder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "MILVINE_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-m", "milvine", "index", str(folder), "--db", str(tmp_path / "kb.db")],
        env={**environment, "MILVINE_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "No source could deliver model.safetensors" in done.stderr
    assert "milvine models pull all-MiniLM-L6-v2" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_corrupt_model_is_named_with_the_command_that_mends_it(folder: Path, tmp_path: Path) -> None:
    from milvine.local.finding.catalogue import find
    from milvine.local.finding.files import fetch_model, model_folder

    row = find("all-MiniLM-L6-v2")
    files = fetch_model(row)
    cache = tmp_path / "cache"
    own = cache / "models" / row.name / model_folder(row).name
    own.mkdir(parents=True)
    for name, path in files.items():
        (own / name).write_bytes(path.read_bytes())
    weights = own / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[50_000_000] ^= 1
    weights.write_bytes(damaged)
    done = subprocess.run(
        [sys.executable, "-m", "milvine", "index", str(folder), "--db", str(tmp_path / "kb.db")],
        env={**os.environ, "MILVINE_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{weights} is corrupt" in done.stderr
    assert "milvine models pull all-MiniLM-L6-v2" in done.stderr


def test_a_collection_of_a_hosted_model_says_that_it_cannot_split(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milvine.model.dense import OpenAIEmbeddingFunction

    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    db = tmp_path / "kb.db"
    Collection(db, embedding_function=OpenAIEmbeddingFunction("text-embedding-3-small")).close()
    result = invoke("index", folder, "--db", db)
    assert result.exit_code == 1
    assert "OpenAIEmbeddingFunction, whose tokens cannot be counted" in result.output
