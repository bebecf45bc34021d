from __future__ import annotations

import json
from typing import Any

import numpy as np
import openai
import pytest

from milvine.errors import AuthenticationError, InputError, InputTypeError, ProviderRequestError
from milvine.model.dense.azure_openai import AzureOpenAIEmbeddingFunction
from provider_server import KEY, REQUEST_ID, ProviderServer, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")

DEPLOYMENT = "my small one"
VERSION = "2024-10-21"


def function_of(server: ProviderServer, **options: Any) -> AzureOpenAIEmbeddingFunction:
    return AzureOpenAIEmbeddingFunction(DEPLOYMENT, KEY, server.url_of("azure"), **options)


def test_the_v1_api_names_the_deployment_in_the_body(server: ProviderServer) -> None:
    texts = ["one", "two"]
    vectors = function_of(server, dimensions=64).encode_queries(texts)
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 64) for text in texts]))
    (request,) = server.requests
    assert (request.path, request.query) == ("/azure/openai/v1/embeddings", {})
    assert request.body == {"model": DEPLOYMENT, "input": texts, "encoding_format": "base64", "dimensions": 64}
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers


def test_an_api_version_takes_the_older_path(server: ProviderServer) -> None:
    vectors = function_of(server, api_version=VERSION)(["one"])
    np.testing.assert_array_equal(vectors[0], vector_of("one"))
    (request,) = server.requests
    assert request.path == "/azure/openai/deployments/my%20small%20one/embeddings"
    assert request.query == {"api-version": VERSION}


@pytest.mark.parametrize("api_version", ["v1", "preview"])
def test_the_newer_apis_versions_keep_its_path(server: ProviderServer, api_version: str) -> None:
    function_of(server, api_version=api_version)(["one"])
    (request,) = server.requests
    assert (request.path, request.query) == ("/azure/openai/v1/embeddings", {"api-version": api_version})


def test_the_official_clients_send_the_same_and_get_the_same(server: ProviderServer) -> None:
    texts = ["one", "two"]
    ours = [function_of(server)(texts), function_of(server, api_version=VERSION)(texts)]
    # The vendor's way to the v1 API is the plain client with another base URL and the key in its own header.
    newer = openai.OpenAI(
        api_key="x", base_url=f"{server.url_of('azure')}/openai/v1", default_headers={"api-key": KEY}, max_retries=0
    )
    older = openai.AzureOpenAI(api_key=KEY, azure_endpoint=server.url_of("azure"), api_version=VERSION, max_retries=0)
    for place, official in enumerate((newer, older)):
        with official:
            response = official.embeddings.create(model=DEPLOYMENT, input=texts)
        theirs = np.array([item.embedding for item in response.data], np.float32)
        np.testing.assert_array_equal(theirs, np.stack(ours[place]))
        mine, other = server.requests[place], server.requests[place + 2]
        assert (mine.path, mine.query, mine.body) == (other.path, other.query, other.body)
        assert mine.headers["api-key"] == other.headers["api-key"]


@pytest.mark.parametrize("end", ["/", "/openai", "/openai/v1", "/openai/v1/"])
def test_the_endpoint_may_be_given_as_azure_shows_it(server: ProviderServer, end: str) -> None:
    made = AzureOpenAIEmbeddingFunction(DEPLOYMENT, KEY, server.url_of("azure") + end)
    assert made(["a"])[0].shape == (1536,)
    assert AzureOpenAIEmbeddingFunction(DEPLOYMENT, KEY, base_url=server.url_of("azure") + end).dim == 1536


def test_queries_and_documents_are_sent_alike(server: ProviderServer) -> None:
    function = function_of(server)
    function.encode_queries(["a"])
    function.encode_documents(["a"])
    assert server.requests[0].body == server.requests[1].body


def test_the_environment_gives_key_endpoint_and_version(
    monkeypatch: pytest.MonkeyPatch, server: ProviderServer
) -> None:
    with pytest.raises(InputError, match="AZURE_OPENAI_ENDPOINT"):
        AzureOpenAIEmbeddingFunction(DEPLOYMENT, KEY)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url_of("azure") + "/")
    with pytest.raises(AuthenticationError, match="AZURE_OPENAI_API_KEY"):
        AzureOpenAIEmbeddingFunction(DEPLOYMENT)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_VERSION", VERSION)
    assert AzureOpenAIEmbeddingFunction(DEPLOYMENT).dim == 1536
    assert server.requests[0].query == {"api-version": VERSION}


def test_errors_carry_what_azure_says(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="invalid subscription key") as refused:
        AzureOpenAIEmbeddingFunction(DEPLOYMENT, "wrong-key", server.url_of("azure"))(["a"])
    assert refused.value.request_id == REQUEST_ID
    assert "wrong-key" not in str(refused.value) + refused.value.body
    with pytest.raises(ProviderRequestError, match="deployment for this resource does not exist"):
        AzureOpenAIEmbeddingFunction("none", KEY, server.url_of("azure"))(["a"])
    with pytest.raises(InputError, match="empty"):
        function_of(server)(["a", ""])
    with pytest.raises(InputTypeError, match="api_version"):
        function_of(server, api_version=3)


def test_a_function_is_rebuilt_from_its_identity_whatever_the_api_version(
    monkeypatch: pytest.MonkeyPatch, server: ProviderServer
) -> None:
    made = function_of(server, api_version=VERSION, dimensions=32)
    identity = json.loads(json.dumps(made.identity()))
    assert KEY not in json.dumps(identity)
    assert identity["base_url"] == server.url_of("azure")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    rebuilt = AzureOpenAIEmbeddingFunction.from_identity(identity)
    assert rebuilt.identity() == identity
    np.testing.assert_array_equal(rebuilt(["a"])[0], made(["a"])[0])
