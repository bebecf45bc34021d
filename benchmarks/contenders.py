"""What is measured: each function loads a library and a model, and gives the work that is then timed.

A contender runs in a process of its own, some in the peers' environment, where milvine is not installed: this module
imports nothing at its top. The work takes a list of texts and gives their vectors, scores or rows, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Work = Callable[[list[str]], Any]

PRODUCTS = 20
"""Matrix products that make up one round of `matrix_product`."""
PRODUCT_SIZE = 2048


def milvine_dense(**options: Any) -> Work:
    """The default embedding function, all-MiniLM-L6-v2, as a user makes it."""
    from milvine import model

    return model.DefaultEmbeddingFunction(show_progress=False, **options).encode_documents


def milvine_sparse(**options: Any) -> Work:
    from milvine.model.sparse import SpladeEmbeddingFunction

    return SpladeEmbeddingFunction(show_progress=False, **options).encode_documents


def milvine_reranker(folder: str) -> Work:
    """Logits for the first text with each of the others."""
    from milvine.model.reranker import CrossEncoderRerankFunction

    rerank = CrossEncoderRerankFunction(folder, activation_fct=float, show_progress=False)

    def score(texts: list[str]) -> list[float]:
        results = rerank(texts[0], texts[1:], top_k=len(texts))
        return [result.score for result in sorted(results, key=lambda result: result.index)]

    return score


def sentence_transformers_dense(folder: str, **options: Any) -> Work:
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(folder, device="cpu")
    return lambda texts: network.encode(texts, show_progress_bar=False, **options)


def sentence_transformers_sparse(folder: str) -> Work:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling

    words = MLMTransformer(folder, max_seq_length=512)
    network = SparseEncoder(modules=[words, SpladePooling("max")], device="cpu")
    return lambda texts: network.encode_document(texts, show_progress_bar=False)


def sentence_transformers_reranker(folder: str) -> Work:
    from sentence_transformers import CrossEncoder
    from torch.nn import Identity

    network = CrossEncoder(folder, device="cpu")

    def score(texts: list[str]) -> Any:
        pairs = [(texts[0], text) for text in texts[1:]]
        return network.predict(pairs, activation_fn=Identity(), show_progress_bar=False)

    return score


def fastembed_dense(folder: str) -> Work:
    """A folder with an ONNX file, added to fastembed as a model of one's own; all else as fastembed has it."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="all-MiniLM-L6-v2",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="https://localhost/not-fetched"),
        dim=384,
        model_file="model.onnx",
    )
    network = TextEmbedding("all-MiniLM-L6-v2", specific_model_path=folder)
    return lambda texts: list(network.embed(texts))


def pymilvus_default(folder: str) -> Work:
    """`pymilvus.model.DefaultEmbeddingFunction`, untouched, over a folder's model.onnx and tokenizer.

    It fetches `model.onnx` from a hub whatever name it is given; that one call is answered with the folder's file.
    """
    import huggingface_hub

    vars(huggingface_hub)["hf_hub_download"] = lambda repo_id, filename: f"{repo_id}/{filename}"
    from pymilvus import model

    function = model.DefaultEmbeddingFunction(model_name=folder, tokenizer_name=folder)
    return lambda texts: function.encode_documents(texts)


def onnxruntime_call() -> Work:
    """The bare `session.run` of milvine's own session, on the very inputs that milvine makes of a text."""
    from milvine import model

    function = model.DefaultEmbeddingFunction(show_progress=False)
    engine: Any = function._model._load()[1]
    session, calls = engine.session(engine.threads), {}

    class Recorder:
        def run(self, outputs: list[str], feed: dict[str, Any]) -> Any:
            self.seen = outputs, feed
            return session.run(outputs, feed)

    engine._sessions[engine.threads] = recorder = Recorder()

    def run(texts: list[str]) -> Any:
        if texts[0] not in calls:
            function.encode_queries(texts)
            calls[texts[0]] = recorder.seen
        return session.run(*calls[texts[0]])[0]

    return run


def matrix_product() -> Work:
    """Products of two float32 matrices by onnxruntime with all its threads: the most that the machine gives."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper

    shape = [PRODUCT_SIZE, PRODUCT_SIZE]
    left, right, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b", "c"))
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", [left, right], [out])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    feed = {name: generator.random(shape, dtype=np.float32) for name in ("a", "b")}

    def multiply(texts: list[str]) -> None:  # noqa: ARG001
        for _ in range(PRODUCTS):
            session.run(None, feed)

    return multiply
