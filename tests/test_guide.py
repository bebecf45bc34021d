"""The examples of PyMilvus' guide (https://milvus.io/docs/embeddings.md), only the imports changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from provider_server import KEY, provider_server

DEFAULT = """
from milvine import model

ef = model.DefaultEmbeddingFunction()

docs = [
    "Artificial intelligence was founded as an academic discipline in 1956.",
    "Alan Turing was the first person to conduct substantial research in AI.",
    "Born in Maida Vale, London, Turing was raised in southern England.",
]

embeddings = ef.encode_documents(docs)

print("Embeddings:", embeddings)
print("Dim:", ef.dim, embeddings[0].shape)
"""

BM25 = """
from milvine.model.sparse.bm25.tokenizers import build_default_analyzer
from milvine.model.sparse import BM25EmbeddingFunction

analyzer = build_default_analyzer(language="en")

corpus = [
    "Artificial intelligence was founded as an academic discipline in 1956.",
    "Alan Turing was the first person to conduct substantial research in AI.",
    "Born in Maida Vale, London, Turing was raised in southern England.",
]

tokens = analyzer(corpus[0])
print("tokens:", tokens)

bm25_ef = BM25EmbeddingFunction(analyzer)
bm25_ef.fit(corpus)
bm25_ef.save("bm25_params.json")

new_bm25_ef = BM25EmbeddingFunction(analyzer)
new_bm25_ef.load("bm25_params.json")

docs = [
    "The field of artificial intelligence was established as an academic subject in 1956.",
    "Alan Turing was the pioneer in conducting significant research in artificial intelligence.",
    "Originating in Maida Vale, London, Turing grew up in the southern regions of England.",
]
docs_embeddings = new_bm25_ef.encode_documents(docs)
queries = ["When was artificial intelligence founded", "Where was Alan Turing born?"]
query_embeddings = new_bm25_ef.encode_queries(queries)
print("Sparse dim:", new_bm25_ef.dim, list(query_embeddings)[0].shape)
"""

RERANK = f"""
from milvine.model.reranker import JinaRerankFunction

jina_rf = JinaRerankFunction("jina-reranker-v2-base-multilingual", "{KEY}")

query = "What event in 1956 marked the official birth of artificial intelligence as a discipline?"

documents = [
    "In 1950, Alan Turing published his seminal paper, 'Computing Machinery and Intelligence.'",
    "The Dartmouth Conference in 1956 is considered the birthplace of artificial intelligence as a field.",
    "In 1951, British mathematician and computer scientist Alan Turing also developed the first program.",
    "The invention of the Logic Theorist by Allen Newell, Herbert A. Simon, and Cliff Shaw in 1955.",
]

results = jina_rf(query, documents)

for result in results:
    print(f"Index: {{result.index}}")
    print(f"Score: {{result.score:.6f}}")
    print(f"Text: {{result.text}}\\n")
"""


def run(code: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_default_embedding_function(tmp_path: Path) -> None:
    printed = run(DEFAULT, tmp_path)
    assert printed.splitlines()[-1] == "Dim: 384 (384,)"
    # What the guide prints of the first and of the last vector.
    numbers = [float(number) for number in printed.replace("array([", " ").split("Embeddings: [")[1].split(",")[:3]]
    assert np.allclose(numbers, [-3.09392996e-02, -1.80662833e-02, 1.34775648e-02], atol=1e-6)


def test_bm25(tmp_path: Path) -> None:
    printed = run(BM25, tmp_path).splitlines()
    assert (
        printed[0] == "tokens: ['artifici', 'intellig', 'found', 'academ', 'disciplin', '1956']"
    )  # as the guide has it
    # The guide's 21 dimensions; a row of a csr_array has one axis, where the guide's csr_matrix had two.
    assert printed[1] == "Sparse dim: 21 (21,)"


def test_jina_reranker(tmp_path: Path) -> None:
    with provider_server() as server:
        printed = run(RERANK, tmp_path, JINA_BASE_URL=server.url_of("jina")).splitlines()
    # The server scores by shared words over all words; the document about 1956 shares most.
    assert printed[0] == "Index: 1"
    assert float(printed[1].removeprefix("Score: ")) > 0
    assert printed[2].startswith("Text: The Dartmouth Conference")
    assert sum(line.startswith("Index: ") for line in printed) == 4
