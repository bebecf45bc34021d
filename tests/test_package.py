from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

import milvine
from milvine import errors, model

HEAVY = ("onnxruntime", "onnx", "pymilvus", "torch", "transformers", "httpx", "requests", "tokenizers", "rich", "click")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_public_names() -> None:
    assert set(milvine.__all__) == {
        "AddReport",
        "Collection",
        "FieldScore",
        "Hit",
        "MilvineError",
        "Record",
        "RerankResult",
        "errors",
        "model",
    }
    for name in milvine.__all__:
        assert getattr(milvine, name) is not None


# The names that programs written for pymilvus.model 0.3.4 import, of those that milvine has by now.
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("milvine.model", ["DefaultEmbeddingFunction", "dense", "sparse", "reranker"]),
        (
            "milvine.model.dense",
            [
                *("InstructorEmbeddingFunction", "Model2VecEmbeddingFunction", "NomicEmbeddingFunction"),
                *("OnnxEmbeddingFunction", "OpenAIEmbeddingFunction", "SentenceTransformerEmbeddingFunction"),
            ],
        ),
        ("milvine.model.sparse", ["BM25EmbeddingFunction", "SpladeEmbeddingFunction"]),
        ("milvine.model.sparse.bm25", ["BM25EmbeddingFunction", "Analyzer", "build_default_analyzer"]),
        ("milvine.model.sparse.bm25.tokenizers", ["build_default_analyzer", "build_analyzer_from_yaml"]),
        ("milvine.model.reranker", ["CrossEncoderRerankFunction", "JinaRerankFunction"]),
        ("milvine.model.base", ["BaseEmbeddingFunction", "BaseRerankFunction", "RerankResult"]),
    ],
)
def test_names_of_pymilvus_model(module: str, names: list[str]) -> None:
    imported = __import__(module, fromlist=names)
    assert [name for name in names if not hasattr(imported, name)] == []


def test_importing_is_light() -> None:
    code = f"import sys, milvine; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code).strip() == "[]"


def test_importing_changes_no_logging() -> None:
    code = (
        "import logging; before = logging.root.level, list(logging.root.handlers); import milvine;"
        "print(before == (logging.root.level, list(logging.root.handlers)),"
        "[name for name in logging.root.manager.loggerDict if name.startswith('milvine')])"
    )
    assert python(code).strip() == "True []"


def test_neither_pytorch_nor_transformers_is_required() -> None:
    required = [requirement for requirement in metadata.requires("milvine") or [] if "extra ==" not in requirement]
    assert required
    assert not [name for name in required if name.split()[0].startswith(("torch", "transformers", "sentence"))]


def test_every_error_is_a_milvine_error() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, Warning if name.endswith("Warning") else errors.MilvineError)
        assert kind.__doc__


def test_the_default_function_is_all_minilm() -> None:
    assert model.DefaultEmbeddingFunction().identity()["model"] == "all-MiniLM-L6-v2"
