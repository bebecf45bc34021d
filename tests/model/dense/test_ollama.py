from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from milvine.errors import InputError, InputTypeError, ProviderRequestError, ProviderResponseError
from milvine.model.dense import OllamaEmbeddingFunction
from provider_apis.ollama import vector
from provider_server import ProviderServer, Reply

pytestmark = pytest.mark.usefixtures("bare_environment")

MODEL = "nomic-embed-text"


def function_of(server: ProviderServer, model: str = MODEL, **options: Any) -> OllamaEmbeddingFunction:
    return OllamaEmbeddingFunction(model, server.url_of("ollama"), **options)


def test_queries_and_documents_have_what_their_model_wants(server: ProviderServer) -> None:
    ef = function_of(server)
    documents, queries = ef.encode_documents(["a b"]), ef.encode_queries(["a b"])
    first, second = server.requests
    assert first.path == "/ollama/api/embed"
    assert "authorization" not in first.headers
    assert first.body == {"model": MODEL, "input": ["search_document: a b"]}
    assert second.body == {"model": MODEL, "input": ["search_query: a b"]}
    np.testing.assert_allclose(documents[0], vector("search_document: a b", 768, 768), atol=1e-6)
    np.testing.assert_allclose(queries[0], vector("search_query: a b", 768, 768), atol=1e-6)
    assert ef.dim == 768
    assert ef.usage.tokens == 6


@pytest.mark.parametrize(
    ("model", "options", "query", "document"),
    [
        ("nomic-embed-text:v1.5", {}, "search_query: a", "search_document: a"),
        ("nomic-embed-text", {"query_instruction": "", "doc_instruction": ""}, "a", "a"),
        ("nomic-embed-text", {"doc_instruction": "clustering: "}, "search_query: a", "clustering: a"),
        ("all-minilm", {}, "a", "a"),
        ("all-minilm", {"query_instruction": "? "}, "? a", "a"),
    ],
)
def test_instructions_go_before_what_is_known(
    server: ProviderServer, model: str, options: dict[str, Any], query: str, document: str
) -> None:
    ef = function_of(server, model, **options)
    ef.encode_queries(["a"])
    ef.encode_documents(["a"])
    assert [request.body["input"] for request in server.requests] == [[query], [document]]


def test_dimensions_are_asked_of_the_server(server: ProviderServer) -> None:
    ef = function_of(server, "all-minilm", dimensions=64)
    np.testing.assert_allclose(ef(["a"])[0], vector("a", 384, 64), atol=1e-6)
    assert server.requests[0].body == {"model": "all-minilm", "input": ["a"], "dimensions": 64}


def test_a_model_that_was_not_pulled(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match=r"model 'bge-m3' not found.*ollama pull bge-m3"):
        function_of(server, "bge-m3").encode_documents(["a"])
    assert len(server.requests) == 1


def test_a_text_that_is_too_long_is_cut_by_the_server_unless_told_otherwise(server: ProviderServer) -> None:
    long, cut = "word " * 2100, " ".join(["word"] * 2048)
    (found,) = function_of(server, "all-minilm").encode_documents([long])
    np.testing.assert_allclose(found, vector(cut, 384, 384), atol=1e-6)
    with pytest.raises(ProviderRequestError, match=r"texts\[1\] is too long for ollama.*exceeds the context length"):
        function_of(server, "all-minilm", truncate=False).encode_documents(["a", long, "b"])


def test_the_vendors_client_gets_the_same_vectors(server: ProviderServer) -> None:
    ollama = pytest.importorskip("ollama", reason="ollama is not installed")
    client = ollama.Client(host=server.url_of("ollama"))
    theirs = client.embed("all-minilm", ["a b", "c"], dimensions=64)
    ours = function_of(server, "all-minilm", dimensions=64).encode_documents(["a b", "c"])
    np.testing.assert_allclose(ours, np.array(theirs.embeddings), atol=1e-6)
    first, second = server.requests
    assert (first.method, first.path, first.body) == (second.method, second.path, second.body)
    with pytest.raises(ollama.ResponseError, match="model 'bge-m3' not found"):
        client.embed("bge-m3", ["a"])


@pytest.mark.parametrize(
    ("host", "url"),
    [
        # As the doctests of ollama 0.6.3's _parse_host have them.
        (None, "http://localhost:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://1.2.3.4", "https://1.2.3.4:443"),
        ("https://1.2.3.4:56789", "https://1.2.3.4:56789"),
        ("example.com", "http://example.com:11434"),
        ("example.com:56789/path/", "http://example.com:56789/path"),
        ("[0001:002:003:0004::1]", "http://[0001:002:003:0004::1]:11434"),
        ("https://[0001:002:003:0004::1]:56789/path", "https://[0001:002:003:0004::1]:56789/path"),
    ],
)
def test_the_host_is_read_as_the_vendors_client_reads_it(
    monkeypatch: pytest.MonkeyPatch, host: str | None, url: str
) -> None:
    if host is not None:
        monkeypatch.setenv("OLLAMA_HOST", host)
    assert f"base_url={url!r}" in repr(OllamaEmbeddingFunction())


def test_an_argument_goes_before_the_environment(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    assert len(function_of(server)(["a"])) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"embeddings": []}, "0 vectors for 1 text"),
        ({"error": "?"}, "no list named 'embeddings'"),
        ({"embeddings": [[1.0, float("inf")]]}, "not finite"),
    ],
)
def test_a_malformed_answer_is_refused(server: ProviderServer, body: Any, told: str) -> None:
    server.script = [Reply(200, body)]
    with pytest.raises(ProviderResponseError, match=told):
        function_of(server).encode_documents(["a"])


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"model_name": ""}, InputError, "model_name is empty"),
        ({"model_name": None}, InputTypeError, "model_name must be a string"),
        ({"truncate": 1}, InputTypeError, "truncate must be True, False or None, not int"),
        ({"query_instruction": 1}, InputTypeError, "an instruction must be one string, not int"),
        ({"base_url": "ftp://x"}, InputError, "base_url must be a URL"),
        ({"keep_alive": "5m"}, InputTypeError, "no argument keep_alive"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        OllamaEmbeddingFunction(**options)


def test_an_identity_makes_the_function_again_wherever_the_server_is(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = function_of(server, dimensions=64, doc_instruction="clustering: ")
    identity = json.loads(json.dumps(made.identity()))
    assert "base_url" not in identity
    monkeypatch.setenv("OLLAMA_HOST", server.url_of("ollama"))
    again = OllamaEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(["a"]), made(["a"]))
    np.testing.assert_array_equal(again.encode_queries(["a"]), made.encode_queries(["a"]))
