from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import cohere
import numpy as np
import pytest

from milvine.errors import AuthenticationError, InputError, InputTypeError, ProviderRequestError
from milvine.model.dense.cohere import CohereEmbeddingFunction
from provider_server import KEY, REQUEST_ID, ProviderServer, Reply, vector_of

pytestmark = pytest.mark.usefixtures("bare_environment")

MODEL = "embed-english-light-v3.0"


def function_of(server: ProviderServer, model: str = MODEL, **options: Any) -> CohereEmbeddingFunction:
    return CohereEmbeddingFunction(model, KEY, base_url=server.url_of("cohere"), **options)


def sent_types(server: ProviderServer) -> list[str]:
    return [request.body["input_type"] for request in server.requests]


def test_queries_and_documents_go_with_their_input_type(server: ProviderServer) -> None:
    function = function_of(server)
    query, document = function.encode_queries(["a"]), function.encode_documents(["a"])
    common = {"model": MODEL, "texts": ["a"], "embedding_types": ["float"]}
    assert [request.body for request in server.requests] == [
        {**common, "input_type": "search_query"},
        {**common, "input_type": "search_document"},
    ]
    assert server.requests[0].path == "/cohere/v2/embed"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    np.testing.assert_array_equal(query[0], vector_of("search_query: a", 384))
    np.testing.assert_array_equal(document[0], vector_of("search_document: a", 384))
    assert query[0].dtype == np.float32


@pytest.mark.parametrize(
    ("input_type", "sent"),
    [
        ("search_document", ["search_query", "search_document", "search_document", "search_document"]),
        # In pymilvus.model, too, input_type holds where the function itself is called.
        ("search_query", ["search_query", "search_document", "search_query", "search_query"]),
        ("clustering", ["clustering"] * 4),
        ("classification", ["classification"] * 4),
    ],
)
def test_input_type_holds_where_the_function_is_called(
    server: ProviderServer, input_type: str, sent: list[str]
) -> None:
    function = function_of(server, input_type=input_type)
    function.encode_queries(["a"])
    function.encode_documents(["a"])
    function(["a"])
    asyncio.run(function.acall(["a"]))
    assert sent_types(server) == sent


@pytest.mark.parametrize("kind", ["float", "int8", "ubinary", "binary"])
def test_the_official_client_gets_the_same_from_the_server(server: ProviderServer, kind: str) -> None:
    texts = ["one", "two", "three"]
    function = function_of(server, "embed-v4.0", embedding_types=[kind], output_dimension=256, truncate="END")
    ours = np.stack(function.encode_queries(texts))
    official = cohere.ClientV2(KEY, base_url=server.url_of("cohere"))
    response = official.embed(
        model="embed-v4.0",
        texts=texts,
        input_type="search_query",
        embedding_types=[kind],
        output_dimension=256,
        truncate="END",
    )
    theirs = np.array(getattr(response.embeddings, "float_" if kind == "float" else kind))
    if kind == "binary":  # theirs are the bits of ubinary less 128
        theirs = theirs + 128
    expected = {"float": np.float32, "int8": np.int8}.get(kind, np.uint8)
    assert (ours.dtype, ours.shape) == (np.dtype(expected), (3, 32 if expected is np.uint8 else 256))
    assert function.dim == 256
    np.testing.assert_array_equal(ours, theirs.astype(expected))
    mine, other = (request.body for request in server.requests)
    assert mine == {**other, "embedding_types": ["ubinary" if kind == "binary" else kind]}
    assert function.usage.tokens == response.meta.billed_units.input_tokens == 3


def test_the_official_client_understands_the_servers_errors(server: ProviderServer) -> None:
    asked: dict[str, Any] = {"model": MODEL, "texts": ["a"], "input_type": "search_query"}
    with pytest.raises(cohere.UnauthorizedError):
        cohere.ClientV2("wrong", base_url=server.url_of("cohere")).embed(**asked)
    official = cohere.ClientV2(KEY, base_url=server.url_of("cohere"))
    with pytest.raises(cohere.NotFoundError):
        official.embed(**{**asked, "model": "none"})
    for wrong in ({"texts": ["a"] * 97}, {"input_type": "none"}, {"embedding_types": ["none"]}, {"truncate": "MID"}):
        with pytest.raises(cohere.BadRequestError):
            official.embed(**{**asked, **wrong})


def test_requests_keep_to_96_texts(server: ProviderServer) -> None:
    texts = [f"text {number}" for number in range(200)]
    vectors = function_of(server, concurrency=1).encode_documents(texts)
    assert [len(request.body["texts"]) for request in server.requests] == [96, 96, 8]
    expected = [vector_of(f"search_document: {text}", 384) for text in texts]
    np.testing.assert_array_equal(np.stack(vectors), np.stack(expected))


def test_a_text_that_is_too_long_loses_its_end_or_is_named(server: ProviderServer) -> None:
    texts = ["short", "word " * 600, "also short"]
    assert len(function_of(server)(texts)) == 3
    assert "truncate" not in server.requests[0].body
    with pytest.raises(ProviderRequestError, match=r"texts\[1\].*reads 512.*too many tokens") as caught:
        function_of(server, truncate="NONE")(texts)
    np.testing.assert_array_equal(caught.value.completed[0], vector_of("search_document: short", 384))
    np.testing.assert_array_equal(caught.value.completed[2], vector_of("search_document: also short", 384))
    assert set(caught.value.completed) == {0, 2}


@pytest.mark.parametrize(
    ("model", "options", "kind", "told"),
    [
        (MODEL, {"input_type": "document"}, InputError, "search_document, search_query"),
        (MODEL, {"truncate": True}, InputError, "NONE, START, END"),
        (MODEL, {"embedding_types": ["float", "int8"]}, InputError, "one type, not 2"),
        (MODEL, {"embedding_types": []}, InputError, "one type, not 0"),
        (MODEL, {"embedding_types": ["uint8"]}, InputError, "no vectors of uint8"),
        (MODEL, {"embedding_types": {"float"}}, InputTypeError, "a list of one string"),
        (MODEL, {"output_dimension": 256}, InputError, "cannot shorten"),
        ("embed-v4.0", {"output_dimension": 300}, InputError, "256, 512, 1024, 1536"),
        (MODEL, {"task": "x"}, InputTypeError, "task"),
    ],
)
def test_what_cannot_be_is_refused(model: str, options: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        CohereEmbeddingFunction(model, KEY, **options)


def test_errors_carry_what_cohere_says(server: ProviderServer) -> None:
    with pytest.raises(AuthenticationError, match="invalid api token") as refused:
        CohereEmbeddingFunction(MODEL, "wrong", base_url=server.url_of("cohere"))(["a"])
    assert refused.value.request_id == REQUEST_ID
    with pytest.raises(ProviderRequestError, match="model 'none' not found"):
        function_of(server, "none")(["a"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"embeddings": None},
        {"embeddings": [[1.0]]},
        {"embeddings": {}},
        {"embeddings": {"float": [[1.0]], "int8": [[1]]}},
        {"embeddings": {"float": [[1.0], [2.0]]}},
        {"embeddings": {"float": ["a"]}},
    ],
)
def test_a_malformed_answer_is_refused(server: ProviderServer, body: Any) -> None:
    server.script = [Reply(200, body)]
    with pytest.raises(Exception, match="not of the documented form"):
        function_of(server)(["a"])


def test_the_signature_is_that_of_pymilvus(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = list(inspect.signature(CohereEmbeddingFunction).parameters.values())
    assert [(one.name, one.default) for one in parameters[:5]] == [
        ("model_name", MODEL),
        ("api_key", None),
        ("input_type", "search_document"),
        ("embedding_types", None),
        ("truncate", None),
    ]
    with pytest.raises(AuthenticationError, match="CO_API_KEY or COHERE_API_KEY"):
        CohereEmbeddingFunction()
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    assert CohereEmbeddingFunction().dim == 384


@pytest.mark.parametrize("input_type", ["search_document", "clustering"])
def test_a_function_is_rebuilt_from_its_identity(
    monkeypatch: pytest.MonkeyPatch, server: ProviderServer, input_type: str
) -> None:
    made = function_of(server, embedding_types=["int8"], truncate="START", input_type=input_type)
    identity = json.loads(json.dumps(made.identity()))
    assert KEY not in json.dumps(identity) + repr(made)
    monkeypatch.setenv("CO_API_KEY", KEY)
    monkeypatch.setenv("CO_API_URL", server.url_of("cohere"))
    rebuilt = CohereEmbeddingFunction.from_identity(identity)
    assert rebuilt.identity() == identity
    np.testing.assert_array_equal(rebuilt(["a"])[0], made(["a"])[0])
    assert server.requests[0].body == server.requests[1].body
