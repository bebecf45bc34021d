"""What is put before texts, by the settings of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milvine.local.reading.folder import read_folder
from tiny_heads import write_json, write_model


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"prompts": {"query": "q: ", "passage": "p: "}}, ("q: ", "p: ")),
        ({"prompts": {"query": "q: ", "document": "", "passage": "p: "}}, ("q: ", "p: ")),
        ({"prompts": {"query": "q: ", "corpus": "c: "}, "default_prompt_name": "query"}, ("q: ", "c: ")),
        ({"prompts": {"query": "q: "}}, ("q: ", "")),
        ({"prompts": {"query": "", "document": "", "x": "x: "}, "default_prompt_name": "x"}, ("", "")),
        ({"prompts": {"x": "x: "}, "default_prompt_name": "x"}, ("x: ", "x: ")),
        ({"prompts": {"query": None}}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_prompts_are_those_for_queries_and_documents_else_the_default(
    tmp_path: Path, settings: dict[str, Any], expected: tuple[str, str]
) -> None:
    # The names, and their order, are those that sentence-transformers' encode_query and encode_document document.
    folder = write_model(tmp_path, "plain")
    write_json(folder / "config_sentence_transformers.json", settings)
    spec = read_folder(folder, "dense")
    assert (spec.query_prompt, spec.document_prompt) == expected
