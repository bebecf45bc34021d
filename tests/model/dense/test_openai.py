from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import openai
import pytest

from milvine.errors import (
    AuthenticationError,
    InputError,
    InputTypeError,
    ProviderRequestError,
    ProviderResponseError,
    RateLimitError,
)
from milvine.model.base import BaseEmbeddingFunction
from milvine.model.dense.openai import OpenAIEmbeddingFunction
from provider_apis.openai import error as openai_error
from provider_server import KEY, ProviderServer, Reply, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")


def function_of(
    server: ProviderServer, model: str = "text-embedding-3-small", **options: Any
) -> OpenAIEmbeddingFunction:
    return OpenAIEmbeddingFunction(model, KEY, server.url_of("openai"), **options)


def inputs(server: ProviderServer) -> list[list[str]]:
    return [request.body["input"] for request in server.requests]


# Vectors


@pytest.mark.parametrize("encode", ["__call__", "encode_documents", "encode_queries"])
def test_vectors_are_the_servers_in_the_order_of_the_texts(server: ProviderServer, encode: str) -> None:
    texts = ["one", "two", "  ", "Füße 日本語 🎉"]
    with function_of(server) as function:
        assert isinstance(function, BaseEmbeddingFunction)
        vectors = getattr(function, encode)(iter(texts))
    assert isinstance(vectors, list)
    assert [vector.shape for vector in vectors] == [(1536,)] * 4
    assert {vector.dtype for vector in vectors} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text) for text in texts]))
    assert vectors[0].base is vectors[3].base
    assert vectors[0].base.flags.c_contiguous
    assert inputs(server) == [texts]


def test_the_official_client_gets_the_same_vectors_from_the_server(server: ProviderServer) -> None:
    texts = ["one", "two", "three"]
    ours = function_of(server, "text-embedding-3-large", dimensions=256)(texts)
    with openai.OpenAI(api_key=KEY, base_url=server.url_of("openai"), max_retries=0) as official:
        for options in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            response = official.embeddings.create(
                model="text-embedding-3-large", input=texts, dimensions=256, **options
            )
            theirs: list[Any] = [item.embedding for item in response.data]
            if options.get("encoding_format") == "base64":
                theirs = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in theirs]
            np.testing.assert_array_equal(np.array(theirs, np.float32), np.stack(ours))
        assert response.usage.total_tokens == 11
    # By default the official client sends what ours sends, field by field.
    assert server.requests[0].body == server.requests[1].body
    for name in ("authorization", "content-type", "accept"):
        assert server.requests[0].headers[name] == server.requests[1].headers[name]


def test_the_official_client_understands_the_servers_errors(server: ProviderServer) -> None:
    with openai.OpenAI(api_key="sk-wrong", base_url=server.url_of("openai"), max_retries=0) as official:
        with pytest.raises(openai.AuthenticationError) as refused:
            official.embeddings.create(model="tiny", input="a")
        assert refused.value.code == "invalid_api_key"
        assert refused.value.request_id
    with openai.OpenAI(api_key=KEY, base_url=server.url_of("openai"), max_retries=0) as official:
        with pytest.raises(openai.NotFoundError):
            official.embeddings.create(model="none", input="a")
        with pytest.raises(openai.BadRequestError):
            official.embeddings.create(model="tiny", input=["a", ""])
        server.script = [openai_error(429, "Slow down.", "rate_limit_exceeded")]
        with pytest.raises(openai.RateLimitError):
            official.embeddings.create(model="tiny", input="a")


def test_a_server_that_knows_no_base64_is_understood(server: ProviderServer) -> None:
    server.encode_as_asked = False
    vectors = function_of(server, "tiny")(["a", "b"])
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of("a", 7), vector_of("b", 7)]))
    assert vectors[0].dtype == np.float32


def test_results_are_placed_by_their_index(server: ProviderServer) -> None:
    shuffled = [{"index": 1, "embedding": [3.0, 4.0]}, {"index": 0, "embedding": [1, 2]}]
    server.script = [Reply(200, {"data": shuffled})]
    assert [vector.tolist() for vector in function_of(server, "tiny")(["a", "b"])] == [[1.0, 2.0], [3.0, 4.0]]


def test_an_empty_list_asks_for_nothing(server: ProviderServer) -> None:
    function = function_of(server)
    assert function([]) == function.encode_queries([]) == function.encode_documents([]) == []
    assert server.requests == []


def test_duplicates_are_sent_once(server: ProviderServer) -> None:
    vectors = function_of(server, "tiny")(["b", "a", "b", "b", "c"])
    assert inputs(server) == [["b", "a", "c"]]
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 7) for text in "babbc"]))
    vectors[0][0] = 9.0
    assert vectors[2][0] != 9.0


# Splitting


def test_requests_keep_to_2048_texts(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(2 * 2048 + 1)]
    vectors = function_of(server, "tiny", concurrency=1)(texts)
    assert [len(batch) for batch in inputs(server)] == [2048, 2048, 1]
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 7) for text in texts]))


def test_requests_keep_to_300000_tokens_of_the_greediest_tokenizer(server: ProviderServer) -> None:
    # 75 texts of 4,000 bytes are 300,000; the server counts a token for each byte.
    texts = [f"{number:04d}" + "é" * 1998 for number in range(100)]
    vectors = function_of(server, "tiny", concurrency=1)(texts)
    assert [len(batch) for batch in inputs(server)] == [75, 25]
    np.testing.assert_array_equal(np.stack(vectors), np.stack([vector_of(text, 7) for text in texts]))


def test_a_text_over_the_limit_is_refused_in_the_providers_words(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match="maximum input length is 8192 tokens"):
        function_of(server, "tiny")(["x" * 8193])


# dim


@pytest.mark.parametrize(
    ("model", "dimensions", "dim"),
    [
        ("text-embedding-ada-002", None, 1536),
        ("text-embedding-ada-002", 1536, 1536),
        ("text-embedding-3-small", None, 1536),
        ("text-embedding-3-large", None, 3072),
        ("text-embedding-3-large", 3072, 3072),
        ("text-embedding-3-small", 256, 256),
    ],
)
def test_a_known_dimension_is_what_comes_back(
    server: ProviderServer, model: str, dimensions: int | None, dim: int
) -> None:
    function = function_of(server, model, dimensions=dimensions)
    assert function.dim == dim
    assert server.requests == []
    assert function(["a"])[0].shape == (dim,)


def test_an_unknown_models_dimension_is_learnt_once(server: ProviderServer) -> None:
    function = function_of(server, "tiny")
    assert function.dim == function.dim == 7
    assert len(server.requests) == 1
    other = function_of(server, "tiny")
    other(["some text"])
    assert other.dim == 7
    assert len(server.requests) == 2


def test_the_default_model_is_that_of_pymilvus() -> None:
    assert OpenAIEmbeddingFunction(api_key=KEY).model_name == "text-embedding-ada-002"


@pytest.mark.parametrize(
    ("model", "dimensions", "kind", "told"),
    [
        ("text-embedding-ada-002", 256, InputError, "cannot shorten its 1536 dimensions to 256"),
        ("text-embedding-3-small", 1537, InputError, "at most 1536 dimensions, not 1537"),
        ("text-embedding-3-small", 0, InputError, "at least 1, not 0"),
        ("text-embedding-3-small", "256", InputTypeError, "must be an integer, not str"),
    ],
)
def test_impossible_dimensions_are_refused(model: str, dimensions: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        OpenAIEmbeddingFunction(model, KEY, dimensions=dimensions)


# Errors


def test_an_empty_text_is_refused_before_anything_is_sent(server: ProviderServer) -> None:
    with pytest.raises(InputError, match=r"texts\[1\] is an empty string.*2 of 4"):
        function_of(server)(["a", "", "b", ""])
    assert server.requests == []


def test_a_lone_surrogate_is_refused_before_anything_is_sent(server: ProviderServer) -> None:
    with pytest.raises(InputError, match=r"texts\[1\] .* lone surrogate at character 2"):
        function_of(server)(["a", "ab\ud800"])
    assert server.requests == []


@pytest.mark.parametrize("texts", ["a bare string", [1, 2], None])
def test_what_is_no_list_of_strings_is_refused(server: ProviderServer, texts: Any) -> None:
    with pytest.raises(InputTypeError):
        function_of(server)(texts)
    assert server.requests == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "no list of objects named 'data'"),
        ({"data": "x"}, "no list of objects named 'data'"),
        ({"data": ["x", "y"]}, "no list of objects named 'data'"),
        ({"data": [{"index": 0, "embedding": [1.0]}]}, "1 vectors for 2 texts"),
        ({"data": [{"index": index, "embedding": [1.0]} for index in range(3)]}, "3 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, "two results have the index 0"),
        ({"data": [{"index": index, "embedding": [1.0]} for index in (1, 2)]}, "no index from 0 to 1"),
        ({"data": [{"index": index, "embedding": [1.0]} for index in (-1, 0)]}, "no index from 0 to 1"),
        ({"data": [{"index": index, "embedding": [1.0]} for index in (True, 0)]}, "no index from 0 to 1"),
        ({"data": [{"embedding": [1.0]}] * 2}, "no index from 0 to 1"),
        ({"data": [{"index": index} for index in (0, 1)]}, "result 0 has no embedding"),
        ({"data": [{"index": index, "embedding": ["1.0"]} for index in (0, 1)]}, "not a list of numbers"),
        ({"data": [{"index": index, "embedding": [[1.0]]} for index in (0, 1)]}, "not a list of numbers"),
        ({"data": [{"index": index, "embedding": [[1.0], 2.0]} for index in (0, 1)]}, "not a list of numbers"),
        ({"data": [{"index": index, "embedding": []} for index in (0, 1)]}, "a vector is empty"),
        ({"data": [{"index": index, "embedding": "äöü"} for index in (0, 1)]}, "not the base64"),
        ({"data": [{"index": index, "embedding": "AACA!Pw=="} for index in (0, 1)]}, "not the base64"),
        ({"data": [{"index": index, "embedding": "AAAAAAA="} for index in (0, 1)]}, "not the base64"),
        ({"data": [{"index": index, "embedding": [1.0] * (index + 1)} for index in (0, 1)]}, "vector 1 has 2 dimen"),
        (
            {"data": [{"index": index, "embedding": [float("nan")]} for index in (0, 1)]},
            "vector 0 has a number that is",
        ),
        ({"data": [{"index": index, "embedding": [1e300]} for index in (0, 1)]}, "vector 0 has a number that is"),
        ({"data": [{"index": index, "embedding": "AADAfw=="} for index in (0, 1)]}, "vector 0 has a number that is"),
    ],
)
def test_a_malformed_answer_is_refused_with_the_reason(server: ProviderServer, body: Any, told: str) -> None:
    server.script = [Reply(200, body)]
    with pytest.raises(ProviderResponseError, match=told) as caught:
        function_of(server, "tiny")(["a", "b"])
    assert caught.value.status == 200
    assert caught.value.request_id
    assert caught.value.body
    assert len(server.requests) == 1


def test_a_known_model_that_answers_with_another_dimension_is_refused(server: ProviderServer) -> None:
    server.script = [Reply(200, {"data": [{"index": 0, "embedding": [1.0, 2.0]}]})]
    with pytest.raises(ProviderResponseError, match="has 2 dimensions, not 1536"):
        function_of(server)(["a"])


def test_an_unknown_model_is_refused_in_the_providers_words(server: ProviderServer) -> None:
    with pytest.raises(ProviderRequestError, match="The model `nope` does not exist"):
        function_of(server, "nope")(["a"])


def test_a_rate_limit_that_passes_is_not_noticed(server: ProviderServer) -> None:
    server.script = [Reply(429, {"error": {"message": "Slow down."}}, {"Retry-After": "0"})]
    assert len(function_of(server)(["a"])) == 1
    server.script = [Reply(429, {"error": {"message": "Slow down."}}, {"Retry-After": "0"})]
    with pytest.raises(RateLimitError):
        function_of(server, max_retries=0)(["a"])


# Settings


def test_the_environment_gives_key_and_base_url(monkeypatch: pytest.MonkeyPatch, server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        OpenAIEmbeddingFunction()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url_of("openai"))
    assert OpenAIEmbeddingFunction("tiny")(["a"])[0].shape == (7,)


def test_an_unknown_argument_is_named_with_those_allowed() -> None:
    with pytest.raises(InputTypeError, match=r"organization.*base_url, timeout, max_retries, http_client"):
        OpenAIEmbeddingFunction(api_key=KEY, organization="org")


@pytest.mark.parametrize("name", ["roles", "fields", "output", "prefixes", "whole", "provider"])
def test_what_the_base_takes_is_no_argument(name: str) -> None:
    with pytest.raises(InputTypeError, match=f"has no argument {name}"):
        OpenAIEmbeddingFunction(api_key=KEY, **{name: {}})


@pytest.mark.parametrize(("name", "kind"), [("", InputError), (None, InputTypeError)])
def test_a_model_needs_a_name(name: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="model_name"):
        OpenAIEmbeddingFunction(name, KEY)


def test_identity_and_repr_hold_no_key(server: ProviderServer) -> None:
    function = function_of(server, dimensions=256)
    identity = function.identity()
    assert identity == {
        "function": "OpenAIEmbeddingFunction",
        "dim": 256,
        "provider": "openai",
        "dimensions": 256,
        "model": "text-embedding-3-small",
    }
    assert KEY not in json.dumps(identity) + repr(function)
    assert "text-embedding-3-small" in repr(function)


def test_a_function_is_rebuilt_from_its_identity(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url_of("openai"))
    made = OpenAIEmbeddingFunction("text-embedding-3-small", dimensions=64)
    rebuilt = OpenAIEmbeddingFunction.from_identity(json.loads(json.dumps(made.identity())))
    assert rebuilt.identity() == made.identity()
    assert np.array_equal(rebuilt.encode_queries(["a"])[0], made.encode_queries(["a"])[0])


def test_queries_and_documents_are_sent_alike(server: ProviderServer) -> None:
    function = function_of(server)
    function.encode_queries(["a"])
    function.encode_documents(["a"])
    assert server.requests[0].body == server.requests[1].body


@pytest.mark.parametrize(("encoding", "sent"), [("base64", "base64"), ("float", "float"), (None, None)])
def test_the_encoding_can_be_chosen_and_changes_no_vector(
    server: ProviderServer, encoding: str | None, sent: str | None
) -> None:
    function = function_of(server, encoding_format=encoding)
    np.testing.assert_array_equal(function(["a"])[0], vector_of("a"))
    assert server.requests[0].body.get("encoding_format") == sent
    assert ("encoding_format" in server.requests[0].body) is (sent is not None)
    assert function.identity() == function_of(server).identity()
    with pytest.raises(InputError, match="'base64', 'float' or None"):
        function_of(server, encoding_format="int8")
