from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from milvine import Collection, Record
from milvine.cli.main import main
from milvus_servers import LiteServer
from small_functions import HashedTerms, HashedWords


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["copy", *map(str, arguments)])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collections of models that only this test knows: copying needs none."""
    path = tmp_path_factory.mktemp("copy") / "kb.milvine"
    for name, functions in (("default", HashedWords()), ("second", {"terms": HashedTerms()})):
        with Collection(path, name, embedding_function=functions) as docs:  # type: ignore[arg-type]
            docs.add(Record(f"n{n}", f"text {n}", {"n": n}) for n in range(1200))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    server = LiteServer(tmp_path_factory.mktemp("copy-server") / "data")
    server.start()
    yield server
    server.stop()


def test_what_it_says(source: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    result = invoke(source, there)
    assert result.exit_code == 0, result.output
    expected = (
        rf"'default' in {there}: 1,200 records \(1,200 new, 0 replaced, 0 there already\), compared with 'default' in"
        rf" {source} and equal, in \d+\.\d s\.\n"
    )
    assert re.fullmatch(expected, result.output)
    assert "(0 new, 0 replaced, 1,200 there already)" in invoke(source, there).output
    with Collection(there, embedding_function=HashedWords()) as docs:
        assert docs.search("text 7", limit=1)[0].id == "n7"


def test_names(source: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.milvine"
    result = invoke(source, there, "--collection", "second", "--as", "renamed")
    assert result.exit_code == 0, result.output
    assert f"'renamed' in {there}: 1,200 records" in result.output
    assert len(Collection(there, "renamed", embedding_function={"terms": HashedTerms()})) == 1200


@pytest.mark.parametrize("target", ["there.milvine", "there.db"])
def test_all(source: Path, tmp_path: Path, target: str) -> None:
    there = tmp_path / target
    result = invoke(source, there, "--all")
    assert result.exit_code == 0, result.output
    assert [line.partition(":")[0] for line in result.output.splitlines()] == [
        f"'default' in {there}",
        f"'second' in {there}",
    ]
    again = invoke(there, tmp_path / "again.milvine", "--all")
    assert again.exit_code == 0, again.output
    assert again.output.count("1,200 new") == 2
    for options in (["--collection", "second"], ["--as", "other"]):
        refused = invoke(source, there, "--all", *options)
        assert refused.exit_code == 2
        assert "leave out --collection and --as" in refused.output


def test_all_of_a_server(source: Path, server: LiteServer, tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(server.uri)
    client.create_collection("theirs", dimension=4)
    client.close()
    assert invoke(source, server.uri, "--all").exit_code == 0
    result = invoke(server.uri, tmp_path / "there.db", "--all")
    assert result.exit_code == 0, result.output
    assert result.output.count("1,200 new") == 2
    assert "theirs" not in result.output


def test_nothing_to_copy(tmp_path: Path) -> None:
    missing = invoke(tmp_path / "none.milvine", tmp_path / "there.db")
    assert missing.exit_code == 1
    assert missing.output.startswith("Error: there is no database")
    assert not (tmp_path / "there.db").exists()
    assert "there is no database" in invoke(tmp_path / "none.db", tmp_path / "there.db", "--all").output
    with Collection(tmp_path / "kb.milvine", "other", embedding_function=HashedWords()) as docs:
        docs.drop()
    assert "holds no collection that milvine made" in invoke(tmp_path / "kb.milvine", "there.db", "--all").output
    assert "no collection 'default'" in invoke(tmp_path / "kb.milvine", tmp_path / "there.db").output


def test_refusals_are_one_message(source: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.milvine"
    with Collection(there, embedding_function=HashedWords(version=2)) as docs:
        docs.add(["a text"])
    result = invoke(source, there)
    assert result.exit_code == 1
    assert result.output.startswith("Error: 'default' in ")
    assert "'version': 1" in result.output
    assert "is the collection itself" in invoke(source, source).output


def test_no_password_is_shown(source: Path, server: LiteServer, tmp_path: Path) -> None:
    secret = server.uri.replace("://", "://someone:hush-hush@")
    for result in (
        invoke(source, secret, "--as", "secretly"),
        invoke(secret, tmp_path / "there.db", "--collection", "secretly"),
        invoke(source, secret, "--as", "in_bulk", "--bulk", tmp_path / "bulk"),
        invoke(secret, tmp_path / "there.db", "--collection", "nosuch"),
    ):
        assert "hush" not in result.output
        assert server.uri in result.output


def test_bulk_says_what_to_do(source: Path, server: LiteServer, tmp_path: Path) -> None:
    folder = tmp_path / "bulk"
    result = invoke(source, server.uri, "--as", "bulky", "--bulk", folder)
    assert result.exit_code == 0, result.output
    assert f"{folder} holds its 1,200 records in 1 files" in result.output
    assert [path.name for path in folder.iterdir()] == ["part-00001.parquet"]
    assert 'files=[["bulky/part-00001.parquet"]]' in result.output
    assert f"copy {source} {server.uri} --collection default --as bulky" in result.output
    refused = invoke(source, tmp_path / "there.db", "--bulk", tmp_path / "more")
    assert refused.exit_code == 1
    assert "only Milvus servers import such files" in refused.output


def test_no_model_is_loaded(source: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from milvine.cli import main\n"
        f"try: main(['copy', {str(source)!r}, {str(tmp_path / 'there.milvine')!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('onnxruntime', 'pymilvus', 'tokenizers', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
