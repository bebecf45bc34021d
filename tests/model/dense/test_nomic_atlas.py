"""Nomic Atlas' API behind `NomicEmbeddingFunction`; its models on this machine are in test_nomic.py."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from milvine.errors import (
    AuthenticationError,
    InputError,
    InputTypeError,
    ProviderRequestError,
    ProviderResponseError,
    ProviderUnavailableError,
)
from milvine.model.dense import NomicEmbeddingFunction
from provider_server import KEY, ProviderServer, Reply, vector_of
from tiny_nomic import TEXTS, write_model

pytestmark = pytest.mark.usefixtures("bare_environment")


def function_of(server: ProviderServer, *arguments: Any, **options: Any) -> NomicEmbeddingFunction:
    return NomicEmbeddingFunction(*arguments, api_key=KEY, base_url=server.url_of("nomic"), **options)


def test_queries_and_documents_reach_the_server_with_their_tasks(server: ProviderServer) -> None:
    # pymilvus.model 0.3.4 sends queries as search_document.
    ef = function_of(server)
    documents, queries = ef.encode_documents(["a b"]), ef.encode_queries(["a b"])
    first, second = server.requests
    assert first.path == "/nomic/v1/embedding/text"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.body == {
        "model": "nomic-embed-text-v1.5",
        "texts": ["a b"],
        "task_type": "search_document",
        "dimensionality": 768,
    }
    assert second.body == {**first.body, "task_type": "search_query"}
    np.testing.assert_allclose(documents[0], vector_of("search_document: a b", 768), atol=1e-6)
    np.testing.assert_allclose(queries[0], vector_of("search_query: a b", 768), atol=1e-6)
    assert (ef.inference_mode, ef.dim, ef.usage.tokens) == ("remote", 768, 4)


def test_another_task_is_the_documents(server: ProviderServer) -> None:
    ef = function_of(server, "nomic-embed-text-v1.5", "clustering", 64)
    ef(["a"])
    ef.encode_queries(["a"])
    assert [request.body["task_type"] for request in server.requests] == ["clustering", "search_query"]
    assert server.requests[0].body["dimensionality"] == 64
    assert (ef.task_type, ef.dimensions, ef.dim, ef.model_name) == ("clustering", 64, 64, "nomic-embed-text-v1.5")


@pytest.mark.parametrize("model", ["nomic-embed-text-v1", "gte-multilingual-base"])
def test_a_model_that_cannot_be_cut_is_whole(server: ProviderServer, model: str) -> None:
    ef = function_of(server, model)
    assert len(ef.encode_documents(["a"])[0]) == ef.dimensions == 768
    assert "dimensionality" not in server.requests[0].body
    with pytest.raises(InputError, match=f"{model} cannot shorten its 768 dimensions to 64"):
        function_of(server, model, dimensions=64)


def test_the_options_say_where(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOMIC_API_KEY", KEY)
    monkeypatch.setenv("ATLAS_API_PATH", server.url_of("nomic"))
    with httpx.Client() as client:
        for options in ({"inference_mode": "remote"}, {"api_key": KEY}, {"http_client": client}):
            ef = NomicEmbeddingFunction(**options)  # type: ignore[arg-type]
            assert (ef.inference_mode, len(ef(["a"]))) == ("remote", 1)


def test_a_key_in_the_environment_alone_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOMIC_API_KEY", KEY)
    ef = NomicEmbeddingFunction(write_model(tmp_path), dimensions=16)
    assert ef.inference_mode == "local"
    assert "provider" not in ef.identity()


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"inference_mode": "local", "api_key": KEY}, InputError, 'api_key and inference_mode="local" contradict'),
        ({"inference_mode": "dynamic"}, InputError, 'inference_mode must be "local" or "remote", not \'dynamic\''),
        ({"api_key": KEY, "device": "cuda"}, InputError, "device='cuda' is for a model on this machine"),
        ({"api_key": KEY, "long_text_mode": "cut"}, InputError, 'long_text_mode must be "truncate" or "mean"'),
        ({"api_key": KEY, "output": "int8"}, InputError, "nomic gives vectors as 'float32', not 'int8'"),
        ({"api_key": KEY, "dimensions": 1024}, InputError, "at most 768 dimensions, not 1024"),
        ({"api_key": KEY, "max_length": 5}, InputTypeError, "no argument max_length"),
        ({"inference_mode": "remote"}, AuthenticationError, "environment variable NOMIC_API_KEY or ATLAS_API_KEY"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        NomicEmbeddingFunction(**options)


def test_long_texts_may_be_averaged(server: ProviderServer) -> None:
    function_of(server, long_text_mode="mean")(["a"])
    assert server.requests[0].body["long_text_mode"] == "mean"


def test_lists_are_split_as_the_vendors_client_splits_them(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(35)]
    ef = function_of(server)
    expected = [vector_of(f"search_document: {text}", 768) for text in texts]
    np.testing.assert_allclose(ef.encode_documents(texts), expected, atol=1e-6)
    assert sorted(len(request.body["texts"]) for request in server.requests) == [5, 10, 10, 10]
    np.testing.assert_allclose(list(ef.iter_documents(iter(texts))), expected, atol=1e-6)


def test_the_coroutines_do_the_same(server: ProviderServer, tmp_path: Path) -> None:
    here = NomicEmbeddingFunction(write_model(tmp_path), dimensions=16)
    for ef in (function_of(server), here):

        async def all_of_them(ef: NomicEmbeddingFunction = ef) -> list[Any]:
            return [await ef.aencode_documents(TEXTS), await ef.aencode_queries(TEXTS), await ef.acall(TEXTS)]

        found = asyncio.run(all_of_them())
        for ours, theirs in zip(found, (ef.encode_documents(TEXTS), ef.encode_queries(TEXTS), ef(TEXTS)), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_only_a_model_on_this_machine_has(server: ProviderServer, tmp_path: Path) -> None:
    here, there = NomicEmbeddingFunction(write_model(tmp_path), dimensions=16), function_of(server)
    assert here.count_tokens(["a"])[0] > 0
    assert (here.max_length > 0, here.truncation.texts, here.usage.requests) == (True, 0, 0)
    for name in ("tokenizer", "max_length", "truncation"):
        assert hasattr(here, name)
        assert not hasattr(there, name)


@pytest.mark.parametrize("options", [{}, {"task_type": "classification", "dimensions": 64, "long_text_mode": "mean"}])
def test_an_identity_makes_the_function_again_where_it_was(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setenv("NOMIC_API_KEY", KEY)
    monkeypatch.setenv("ATLAS_API_PATH", server.url_of("nomic"))
    made = function_of(server, **options)
    identity = json.loads(json.dumps(made.identity()))
    assert (identity["function"], identity["provider"]) == ("NomicEmbeddingFunction", "nomic")
    assert KEY not in f"{json.dumps(identity)} {made!r}"
    again = NomicEmbeddingFunction.from_identity(identity)
    assert (again.inference_mode, again.task_type) == ("remote", options.get("task_type", "search_document"))
    assert again.identity() == identity
    np.testing.assert_array_equal(again(["a"]), made(["a"]))
    with pytest.raises(InputError, match="not of NomicEmbeddingFunction"):
        NomicEmbeddingFunction.from_identity({**identity, "function": "JinaEmbeddingFunction"})


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(401, {"detail": "Invalid token"}), AuthenticationError, "Invalid token.*NOMIC_API_KEY"),
        (Reply(422, {"detail": [{"msg": "value is not a valid list"}]}), ProviderRequestError, "not a valid list"),
        (Reply(503, {"detail": "busy"}), ProviderUnavailableError, "busy"),
        (Reply(200, {"embeddings": []}), ProviderResponseError, "0 vectors for 1 text"),
        (Reply(200, {"vectors": []}), ProviderResponseError, "no list named 'embeddings'"),
    ],
)
def test_each_trouble_has_its_error(server: ProviderServer, reply: Reply, kind: type[Exception], told: str) -> None:
    server.script = [reply]
    with pytest.raises(kind, match=told) as caught:
        function_of(server, max_retries=0)(["a"])
    assert KEY not in str(caught.value)


def test_it_can_be_closed(server: ProviderServer, tmp_path: Path) -> None:
    with function_of(server) as ef:
        ef(["a"])
    with pytest.raises(Exception, match="closed"):
        ef(["b"])
    with NomicEmbeddingFunction(write_model(tmp_path), dimensions=16) as here:
        here(["a"])
    assert len(here(["b"])) == 1
