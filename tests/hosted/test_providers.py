from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from milvine.hosted import JINA, OPENAI, PROVIDERS, Provider


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=PROVIDERS)
def test_every_row_is_whole(row: Provider) -> None:
    assert PROVIDERS[row.name] is row
    assert row.base_url.startswith("https://")
    assert not row.base_url.endswith("/")
    assert row.key_variables
    assert row.key_page.startswith("https://")
    assert row.embeddings or row.rerank
    for endpoint in (row.embeddings, row.rerank):
        if endpoint:
            assert endpoint.path.startswith("/")
            json.dumps(dict(endpoint.fixed))


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        OPENAI.base_url = "http://elsewhere"  # type: ignore[misc]
    assert OPENAI.embeddings is not None
    with pytest.raises(TypeError):
        OPENAI.embeddings.models["new"] = None  # type: ignore[index]


def test_the_vendors_variable_comes_before_that_of_pymilvus() -> None:
    assert OPENAI.key_variables == ("OPENAI_API_KEY",)
    assert JINA.key_variables == ("JINA_API_KEY", "JINAAI_API_KEY")


def test_the_table_and_the_client_load_no_http_client() -> None:
    script = "import sys, milvine.hosted, milvine.hosted.function; print('httpx' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
