from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import pytest

from milvine.hosted import PROVIDERS, Provider
from milvine.hosted.providers import JINA, MISTRAL, OPENAI
from milvine.model._hosted import HostedEmbeddingFunction, HostedRerankFunction
from provider_server import KEY, ProviderServer, apis

pytestmark = pytest.mark.usefixtures("bare_environment")

# A model of each provider that embeds, as the test server knows it.
EMBEDDING_MODELS = {
    "openai": "text-embedding-3-small",
    "azure": "ada",
    "cohere": "embed-v4.0",
    "gemini": "gemini-embedding-001",
    "jina": "jina-embeddings-v3",
    "mistral": "mistral-embed",
    "nomic": "nomic-embed-text-v1.5",
    "ollama": "nomic-embed-text",
    "tei": "served",
    "voyage": "voyage-3-large",
}
RERANK_MODELS = {
    "cohere": "rerank-v3.5",
    "jina": "jina-reranker-v2-base-multilingual",
    "voyage": "rerank-2",
}
# What knows no difference between queries and documents, by the row's own words.
ALIKE = {"openai", "azure", "mistral", "ollama", "tei"}


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=PROVIDERS)
def test_every_row_is_whole(row: Provider) -> None:
    assert PROVIDERS[row.name] is row
    if row.base_url is not None:
        assert row.base_url.startswith("https://") or urlsplit(row.base_url).hostname == "localhost"
        assert not row.base_url.endswith("/")
    assert row.key_variables or not row.needs_key
    assert row.key_page.startswith("https://")
    assert row.error_messages
    assert row.embeddings or row.rerank
    for endpoint in (row.embeddings, row.rerank):
        assert endpoint is None or endpoint.path.startswith("/")
    if row.embeddings:
        assert "float32" in row.embeddings.encodings
        assert set(row.embeddings.encodings) <= {"float32", "int8", "binary"}
        assert set(row.embeddings.roles) in (set(), {"query", "document"})
        for encoding in row.embeddings.encodings.values():
            json.dumps(dict(encoding.fields))
        for model in row.embeddings.models.values():
            assert model.dim > 0
            assert not (model.sizes or model.most) or model.shortens
            assert not model.sizes or model.dim in model.sizes


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=PROVIDERS)
def test_every_endpoint_is_on_the_test_server(row: Provider, server: ProviderServer) -> None:
    routes = apis()[row.name].ROUTES
    for endpoint in (row.embeddings, row.rerank):
        if endpoint is not None:
            path = urlsplit(server.url_of(row.name)).path + endpoint.path.replace("{model}", "any")
            assert any(fnmatchcase(f"POST {path}", route) for route in routes), path


@pytest.mark.parametrize("row", [row for row in PROVIDERS.values() if row.embeddings], ids=lambda row: row.name)
def test_queries_and_documents_reach_every_provider_with_their_task(row: Provider, server: ProviderServer) -> None:
    model = EMBEDDING_MODELS[row.name]
    key = KEY if row.needs_key else None
    with HostedEmbeddingFunction(row, model, key, base_url=server.url_of(row.name)) as function:
        (query,), (document,) = function.encode_queries(["a"]), function.encode_documents(["a"])
    asked, told = (request.body for request in server.requests)
    assert (asked == told) is (row.name in ALIKE)
    assert (query.tolist() == document.tolist()) is (row.name in ALIKE)
    assert KEY not in json.dumps([asked, told]) + "".join(request.path for request in server.requests)
    assert not any(KEY in value for request in server.requests for value in request.query.values())


@pytest.mark.parametrize("name", RERANK_MODELS)
def test_every_reranker_asks_for_no_more_than_top_k(name: str, server: ProviderServer) -> None:
    with HostedRerankFunction(PROVIDERS[name], RERANK_MODELS[name], KEY, base_url=server.url_of(name)) as rerank:
        assert [result.index for result in rerank("a b", ["c", "a", "a b"], top_k=2)] == [2, 1]
    assert 2 in server.requests[0].body.values()


# What the servers were read to say; the rows cite where.
@pytest.mark.parametrize(
    ("name", "said", "is_too_long"),
    [
        ("openai", "Requested 375703 tokens, max 300000 tokens per request (max_tokens_per_request)", True),
        ("openai", "Invalid 'input[0]': maximum input length is 8192 tokens.", True),
        ("openai", "This model's maximum context length is 512 tokens. However, you requested 1451 tokens", True),
        ("openai", "input (992 tokens) is too large to process. increase the physical batch size", True),
        ("openai", "Input validation error: inputs must have less than 512 tokens", True),
        ("openai", "the input length exceeds the context length", True),
        ("openai", "The model `nope` does not exist or you do not have access to it.", False),
        ("openai", "Invalid value for 'dimensions' = 9999. Must be less than or equal to 1536.", False),
        ("openai", "'$.input' is invalid. Please check the API reference.", False),
        ("azure", "The API deployment for this resource does not exist.", False),
        ("mistral", "Too many tokens overall, split into more batches.", True),
        ("mistral", "Too many inputs in request, split into more batches.", True),
        ("mistral", "Too many tokens in batch. Max is 16384 got 17555", True),
        ("mistral", "Invalid model: none", False),
        ("voyage", "The max allowed tokens per submitted batch is 120000. Your batch has 121138 tokens", True),
        ("voyage", "Number of tokens in an example exceeds the context length", True),
        ("voyage", "Total number of tokens in the batch exceeds the limit", True),
        ("voyage", "Model none is not supported. Supported models are [].", False),
        ("voyage", "Output dimension 300 is not supported by voyage-3-large: [256].", False),
        ("cohere", "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs", True),
        ("cohere", "invalid request: total number of texts must be at most 96 - received 104", True),
        ("cohere", "invalid request: valid input_type must be provided with the provided model", False),
        ("cohere", "You are using a Trial key, which is limited to 40 API calls / minute.", False),
    ],
)
def test_too_long_is_told_from_other_refusals(name: str, said: str, is_too_long: bool) -> None:
    pattern = PROVIDERS[name].too_long
    assert pattern is not None
    assert bool(pattern.search(said)) is is_too_long


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        OPENAI.base_url = "http://elsewhere"  # type: ignore[misc]
    assert OPENAI.embeddings is not None
    with pytest.raises(TypeError):
        OPENAI.embeddings.models["new"] = None  # type: ignore[index]


def test_the_vendors_variable_comes_before_that_of_pymilvus() -> None:
    assert OPENAI.key_variables == ("OPENAI_API_KEY",)
    assert JINA.key_variables == ("JINA_API_KEY", "JINAAI_API_KEY")
    assert MISTRAL.key_variables == ("MISTRAL_API_KEY", "MISTRALAI_API_KEY")


def test_the_table_and_the_functions_load_no_http_client() -> None:
    script = "import sys, milvine.hosted, milvine.model._hosted; print('httpx' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
