from __future__ import annotations

import json

import numpy as np
import pytest

from milvine.errors import ProviderRequestError, ProviderResponseError
from milvine.model.dense.openai import OpenAIEmbeddingFunction
from provider_server import KEY, ProviderServer, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")


def own(server: ProviderServer) -> str:
    return f"{server.url}/openai/own/v1"


def test_a_server_of_ones_own_needs_no_key_and_may_have_any_model(
    monkeypatch: pytest.MonkeyPatch, server: ProviderServer
) -> None:
    texts = ["one", "two"]
    function = OpenAIEmbeddingFunction("BAAI/bge-m3", base_url=own(server))
    np.testing.assert_array_equal(np.stack(function(texts)), np.stack([vector_of(text, 5) for text in texts]))
    assert function.dim == 5
    (request,) = server.requests
    assert request.body == {"model": "BAAI/bge-m3", "input": texts, "encoding_format": "base64"}
    assert "authorization" not in request.headers
    monkeypatch.setenv("OPENAI_BASE_URL", own(server))
    assert OpenAIEmbeddingFunction("other").dim == 5


def test_batches_that_the_server_finds_too_large_are_halved(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(100)]
    vectors = OpenAIEmbeddingFunction("own", base_url=own(server), concurrency=1)(texts)
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 5) for text in texts]))
    assert server.statuses.count(200) == 4
    server.requests.clear()
    OpenAIEmbeddingFunction("own", base_url=own(server), batch_size=32)(texts)
    assert server.statuses == [200] * 4


@pytest.mark.parametrize(("words", "status"), [(600, 400), (2_000, 500)])
def test_a_text_that_is_too_long_is_named_and_the_others_are_kept(
    server: ProviderServer, words: int, status: int
) -> None:
    texts = ["one", "word " * words, "three"]
    with pytest.raises(ProviderRequestError, match=r"texts\[1\] is too long") as caught:
        OpenAIEmbeddingFunction("own", base_url=own(server))(texts)
    assert caught.value.status == status
    assert set(caught.value.completed) == {0, 2}
    np.testing.assert_array_equal(caught.value.completed[2], vector_of("three", 5))


def test_the_url_belongs_to_a_models_identity_unless_it_is_openais(server: ProviderServer) -> None:
    made = OpenAIEmbeddingFunction("own", base_url=own(server))
    identity = json.loads(json.dumps(made.identity()))
    assert identity["base_url"] == own(server)
    rebuilt = OpenAIEmbeddingFunction.from_identity(identity)
    assert rebuilt.identity() == identity
    np.testing.assert_array_equal(rebuilt(["a"])[0], made(["a"])[0])
    assert "base_url" not in OpenAIEmbeddingFunction("text-embedding-3-small", KEY, server.url_of("openai")).identity()


def test_a_dimension_that_the_server_does_not_heed_is_refused(server: ProviderServer) -> None:
    with pytest.raises(ProviderResponseError, match="has 5 dimensions, not 4"):
        OpenAIEmbeddingFunction("own", base_url=own(server), dimensions=4)(["a"])
