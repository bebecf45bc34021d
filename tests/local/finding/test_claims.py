from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_static
import tiny_tasks
import tiny_token_models
from milvine.local.finding.catalogue import ModelRow, read_catalogue, row_text
from milvine.local.finding.claims import contradictions, with_files
from milvine.local.reading.folder import read_folder
from tiny_heads import write_model

RIGHT = {
    "architecture": "bert",
    "dim": 5,
    "max_length": 19,
    "pooling": "mean",
    "normalize": True,
    "query_prefix": "",
    "document_prefix": "",
    "files": [],
    "weights": "",
}
"""What `tiny_heads` says of its model "chain"."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path, "chain")


def test_a_right_row_is_not_contradicted(folder: Path, make_row: Callable[..., ModelRow]) -> None:
    assert contradictions(make_row(**RIGHT), folder) == []
    # What a row does not say cannot be wrong, and what the files do not say, neither.
    changes: dict[str, Any] = {"normalize": None, "query_prefix": "query: "}
    assert contradictions(make_row(**RIGHT | changes), folder) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": "mpnet"}, ["architecture is 'mpnet' in the catalogue, 'bert' in its files"]),
        ({"dim": 21}, ["dim is 21 in the catalogue, 5 in its files"]),
        ({"max_length": 512}, ["max_length is 512 in the catalogue, 19 in its files"]),
        ({"pooling": "cls"}, ["pooling is 'cls' in the catalogue, 'mean' in its files"]),
        ({"normalize": False}, ["normalize is False in the catalogue, True in its files"]),
        (
            {"dim": 4, "normalize": False},
            ["dim is 4 in the catalogue, 5 in its files", "normalize is False in the catalogue, True in its files"],
        ),
    ],
)
def test_each_wrong_claim_is_named(
    folder: Path, make_row: Callable[..., ModelRow], changes: dict[str, Any], says: list[str]
) -> None:
    assert contradictions(make_row(**RIGHT | changes), folder) == says


KINDS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "bge-m3": (
        tiny_token_models.write_bge_m3,
        {"tasks": ["hybrid"], "architecture": "xlm-roberta", "pooling": "cls"},
    ),
    "mgte": (
        tiny_token_models.write_mgte,
        {"tasks": ["hybrid"], "architecture": "new", "pooling": "cls"},
    ),
    "colbert": (
        lambda folder: tiny_token_models.write_stanford(folder, next(iter(tiny_token_models.STANFORD))),
        {"tasks": ["multivector"], "architecture": "bert", "pooling": None, "normalize": None},
    ),
    "splade": (
        lambda folder: tiny_tasks.write_model(folder, tiny_tasks.SPARSE["bert"]),
        {"tasks": ["sparse"], "architecture": "bert", "pooling": None, "normalize": None},
    ),
    "reranker": (
        lambda folder: tiny_tasks.write_model(folder, tiny_tasks.RERANKERS["bert"]),
        {"tasks": ["reranker"], "architecture": "bert", "pooling": None, "normalize": None, "dim": None},
    ),
    "static": (
        lambda folder: tiny_static.write_model(folder, next(iter(tiny_static.MODEL2VEC))),
        {"architecture": "model2vec"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_every_kind_can_be_compared(tmp_path: Path, make_row: Callable[..., ModelRow], kind: str) -> None:
    write, said = KINDS[kind]
    (tmp_path / "model").mkdir()
    folder = write(tmp_path / "model")
    row = make_row(**RIGHT | said | {"max_length": 1_000_000})
    spec = read_folder(folder, row.task)
    if row.dim:
        row = replace(row, dim=spec.dims.get("dense", spec.dim))
    problems = contradictions(row, folder)
    assert [problem.partition(" is ")[0] for problem in problems] == ["max_length"]
    assert contradictions(replace(row, max_length=spec.max_length), folder) == []
    assert contradictions(replace(row, max_length=spec.max_length, architecture="t5"), folder) != []


def test_prompts_and_prefixes_must_agree(tmp_path: Path, make_row: Callable[..., ModelRow]) -> None:
    folder = write_model(tmp_path, "prompted")
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    row = make_row(**RIGHT | {"query_prefix": prompts["query"], "document_prefix": prompts["document"]})
    assert contradictions(row, folder) == []
    assert contradictions(make_row(**RIGHT | {"document_prefix": prompts["document"]}), folder) == [
        f"query_prefix is '' in the catalogue, {prompts['query']!r} in its files"
    ]


def test_a_model_that_cannot_be_run_is_a_contradiction(folder: Path, make_row: Callable[..., ModelRow]) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "unheard-of"}
    (folder / "config.json").write_text(json.dumps(config))
    (problem,) = contradictions(make_row(**RIGHT), folder)
    assert problem.startswith("as a dense model it cannot be run: ")
    assert "the architecture 'unheard-of' is not known here" in problem


def test_the_row_to_contribute_has_every_file(tmp_path: Path, folder: Path, make_row: Callable[..., ModelRow]) -> None:
    row = with_files(make_row(**RIGHT | {"normalize": None}), folder)
    assert row.verified
    assert row.normalize is True
    assert row.weights == "model.safetensors"
    files = {file.path: (file.sha256, file.size) for file in row.files}
    assert files == {
        path.relative_to(folder).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }
    (tmp_path / "catalogue.json").write_text(f"[\n  {row_text(row)}\n]\n")
    assert read_catalogue(tmp_path / "catalogue.json") == (row,)
