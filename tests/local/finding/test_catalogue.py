from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from milvine.errors import InputTypeError, ModelError, UnknownModelError
from milvine.local.building.architectures.registry import ARCHITECTURES
from milvine.local.finding import catalogue
from milvine.local.finding.catalogue import ModelRow, find, models, read_catalogue, row_text

CATALOGUE = Path(catalogue.__file__).with_name("catalogue.json")
BGE = "Represent this sentence for searching relevant passages: "
PREFIXES = {
    # As the model cards have them; who trained a family says what goes before its texts.
    r"BAAI/bge-.*-en-v1.5": (BGE, ""),
    r"BAAI/bge-.*-zh-v1.5": ("为这个句子生成表示以用于检索相关文章：", ""),
    r"intfloat/.*": ("query: ", "passage: "),
    r"nomic-ai/.*": ("search_query: ", "search_document: "),
    r"hkunlp/.*": ("Represent the question for retrieval:", "Represent the document for retrieval:"),
    r"Snowflake/.*-v2.0": ("query: ", ""),
    r"Snowflake/.*|mixedbread-ai/.*": (BGE, ""),
}
LICENSES = {"Apache-2.0", "MIT", "CC-BY-NC-SA-4.0", "NOASSERTION"}


@pytest.mark.parametrize("row", models(), ids=lambda row: row.name)
def test_every_row_says_what_it_is_and_where_its_files_are(row: ModelRow) -> None:
    hashes = [file.sha256 for file in row.files] + [wheel.sha256 for wheel in row.wheels]
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes)
    assert row.license in LICENSES  # SPDX's names; its NOASSERTION is for a model card without a licence
    assert row.description
    assert row.hub or row.wheels
    assert (row.dim is not None) == (row.task != "reranker")
    assert row.architecture in {*ARCHITECTURES, "model2vec", "onnx"}
    assert (row.pooling is not None) == ("dense" in row.tasks)
    assert (row.quantization == "int8") == (row.architecture == "onnx")
    expected = next((said for family, said in PREFIXES.items() if re.fullmatch(family, row.repo)), ("", ""))
    assert (row.query_prefix, row.document_prefix) == expected
    if row.verified:
        assert row.fingerprint in {file.sha256 for file in row.files}
        assert row.size == sum(file.size for file in row.files)
    else:
        assert row.hub
        assert row.size == 0
        with pytest.raises(ModelError, match="has no sha256 of"):
            assert row.fingerprint


def test_the_catalogue_has_the_models_that_users_name() -> None:
    assert len(models()) >= 35
    tasks = Counter(task for row in models() for task in row.tasks)
    assert all(tasks[task] >= 2 for task in catalogue.TASKS)
    # Without these nothing runs where no hub can be reached.
    assert {row.name for row in models() if row.wheels} == {
        "all-MiniLM-L6-v2",
        "bge-small-en-v1.5-int8",
        "ms-marco-MiniLM-L-12-v2",
        "potion-base-8M",
        "splade-tiny",
    }


def test_a_model_without_a_pinned_revision_is_an_exception() -> None:
    assert {row.name for row in models() if not row.verified and row.revision is None} == {
        "instructor-base",
        "paraphrase-albert-small-v2",
        "Splade_PP_en_v1",
    }


def test_the_catalogue_is_written_as_rows_are_printed(make_row: Callable[..., ModelRow]) -> None:
    text = ",\n".join(f"  {row_text(row)}" for row in models())
    assert CATALOGUE.read_text(encoding="utf-8") == f"[\n{text}\n]\n"
    row = make_row(aliases=["other"], normalize=None, query_prefix='"é"')
    assert catalogue._build(ModelRow, json.loads(row_text(row)), "it") == row


def test_names_are_unique_whatever_their_case() -> None:
    names = [name.lower() for row in models() for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


def test_the_default_model_is_pinned_to_the_hubs_own_bytes() -> None:
    # The revision and the hash that the hub shows for model.safetensors.
    row = find("all-MiniLM-L6-v2")
    assert row.revision == "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    assert row.fingerprint == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert (row.dim, row.max_length, row.pooling, row.normalize) == (384, 256, "mean", True)


def test_the_quantised_rows_say_so() -> None:
    # Only these have scores that would depend on their batch; see the dtype of the tensors in each weights file.
    assert {row.name: row.quantization for row in models() if row.quantization} == {
        "bge-small-en-v1.5-int8": "int8",
        "ms-marco-MiniLM-L-12-v2": "int8",
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("ALL-minilm-l6-V2", "all-MiniLM-L6-v2"),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("cross-encoder/ms-marco-MiniLM-L-12-v2", "ms-marco-MiniLM-L-12-v2"),
        ("cross-encoder/ms-marco-MiniLM-L12-v2", "ms-marco-MiniLM-L-12-v2"),  # the one that needs no hub
        ("ms-marco-MiniLM-L-12-v2-float32", "ms-marco-MiniLM-L-12-v2-float32"),
        ("cross-encoder/ms-marco-MiniLM-L-6-v2", "ms-marco-MiniLM-L-6-v2"),
        ("BAAI/bge-small-en-v1.5", "bge-small-en-v1.5"),  # not the int8 copy
        ("BAAI/BGE-M3", "bge-m3"),
    ],
)
def test_a_model_is_found_by_name_alias_and_hub_id(name: str, found: str) -> None:
    assert find(name).name == found


def test_an_unknown_name_is_answered_with_a_close_one_and_the_ways_out() -> None:
    with pytest.raises(UnknownModelError) as raised:
        find("all-MiniLM-L16-v2")
    message = str(raised.value)
    assert "'all-MiniLM-L16-v2'" in message
    assert "Did you mean 'all-MiniLM-L6-v2'?" in message
    assert f"`milvine models` lists the {len(models())} that it has" in message
    assert "hub id (owner/name)" in message
    with pytest.raises(UnknownModelError, match=r"^(?!.*Did you mean)"):
        find("qqqq")
    with pytest.raises(InputTypeError, match="a model's name must be one string, not int"):
        find(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"tasks": ["magic"]},
            "tasks is ('magic',); it must hold some of dense, sparse, reranker, hybrid, multivector",
        ),
        ({"tasks": []}, "tasks is ()"),
        ({"tasks": ["dense", "dense"]}, "tasks is ('dense', 'dense'); it must hold"),
        ({"dim": None}, "a dense model has at least one dimension"),
        ({"tasks": ["reranker"]}, "dim is 2; a reranker has none"),
        ({"dim": "2"}, "field 'dim', must be of type int | None, not str ('2')"),
        ({"max_length": True}, "field 'max_length', must be of type int, not bool"),
        ({"max_length": 0}, "max_length is 0"),
        ({"pooling": "sum"}, "pooling is 'sum'"),
        ({"quantization": "int4"}, "quantization is 'int4'; it must be one of ('int8', None)"),
        ({"license": ""}, "architecture, license and description must not be empty"),
        ({"architecture": ""}, "architecture, license and description must not be empty"),
        ({"normalize": 1}, "field 'normalize', must be of type bool | None, not int (1)"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"revision": "main"}, "revision is 'main'; it must be a commit"),
        ({"revision": None}, "its files have no source: revision is null and wheels is empty"),
        ({"files": []}, "weights and wheels say nothing without files"),
        ({"name": "../up"}, "name is '../up'"),
        ({"repo": "nobody"}, "repo is 'nobody'"),
        ({"weights": "other.bin"}, "hold the weights 'other.bin'"),
        ({"files": "model.onnx"}, "field 'files', must be a JSON list, not str"),
        ({"files": ["model.onnx"]}, "must be a JSON object, not str"),
        ({"files": [{"path": "a", "size": 1}], "weights": "a"}, "lacks the field 'sha256'"),
        ({"files": [{"path": "a", "size": 1, "sha256": "F" * 64}], "weights": "a"}, "it must be 64 hexadecimal digits"),
        ({"files": [{"path": "a", "size": 0, "sha256": "f" * 64}], "weights": "a"}, "size is 0"),
        ({"files": [{"path": "../a", "size": 1, "sha256": "f" * 64}], "weights": "../a"}, "the path '../a' must lie"),
        ({"files": [{"path": "/a", "size": 1, "sha256": "f" * 64}], "weights": "/a"}, "the path '/a' must lie"),
        (
            {"wheels": [{"project": "p", "version": "1", "sha256": "f" * 64, "size": 1, "prefix": "data"}]},
            "the prefix 'data' must end in '/'",
        ),
        (
            {
                "wheels": [
                    {"project": "p", "version": "1", "sha256": "f" * 64, "size": 1, "prefix": "d/", "tag": "--index x"}
                ]
            },
            "tag is '--index x'; it must be like 'py3-none-any'",
        ),
    ],
)
def test_a_bad_row_is_refused_by_name_and_field(
    make_row: Callable[..., ModelRow], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=re.escape(says)) as raised:
        make_row(**changes)
    assert repr(changes.get("name", "small-model")) in str(raised.value)


def test_a_catalogue_that_is_no_list_of_rows_is_refused(tmp_path: Path, make_row: Callable[..., ModelRow]) -> None:
    path = tmp_path / "catalogue.json"
    make_row()
    (raw,) = json.loads(path.read_text())
    path.write_text(json.dumps([raw, raw | {"name": "other", "aliases": ["SMALL-model"]}]))
    with pytest.raises(ModelError, match="the name 'small-model' belongs to 'small-model' already"):
        read_catalogue(path)
    path.write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="must be a JSON list of models, not dict"):
        read_catalogue(path)
    path.write_text("[")
    with pytest.raises(ModelError, match="is not valid JSON"):
        read_catalogue(path)
