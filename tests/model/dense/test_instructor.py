"""Instructor's rules for instructions, by the vectors of tests/reference/make_instructor_golden.py."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from milvine.errors import InputTypeError, ModelFileError, TruncationWarning
from milvine.model.dense import InstructorEmbeddingFunction, SentenceTransformerEmbeddingFunction
from tiny_instructor import DIM, INSTRUCTIONS, TEXTS, write_model

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "instructor_golden.npz")["vectors"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


@pytest.mark.parametrize("number", range(len(INSTRUCTIONS)))
def test_the_instructions_tokens_are_left_out_of_the_mean(tmp_path: Path, number: int) -> None:
    instruction, expected = INSTRUCTIONS[number], GOLDEN[number]
    folder = write_model(tmp_path)
    documents = InstructorEmbeddingFunction(folder, doc_instruction=instruction)
    queries = InstructorEmbeddingFunction(folder, query_instruction=instruction)
    assert documents.dim == DIM
    for vectors in (documents(TEXTS), documents.encode_documents(TEXTS), queries.encode_queries(TEXTS)):
        np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(documents(TEXTS[::-1])[::-1], expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose([documents([text])[0] for text in TEXTS], expected, atol=1e-5, rtol=0)


def test_the_names_that_the_published_package_saves_are_known(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "InstructorEmbedding.instructor", "INSTRUCTOR_")
    ef = InstructorEmbeddingFunction(folder, doc_instruction=INSTRUCTIONS[0])
    np.testing.assert_allclose(ef(TEXTS), GOLDEN[0], atol=1e-5, rtol=0)
    # Such a model leaves the prompt out wherever it is run; one saved as Sentence Transformers' own does not say so.
    general = SentenceTransformerEmbeddingFunction(folder, doc_instruction=INSTRUCTIONS[0].strip())
    stripped = [text.strip() for text in TEXTS]
    np.testing.assert_allclose(general(stripped), GOLDEN[0], atol=1e-5, rtol=0)


def test_the_default_instructions_are_those_of_pymilvus_model(tmp_path: Path) -> None:
    ef = InstructorEmbeddingFunction(write_model(tmp_path))
    assert ef.query_instruction == "Represent the question for retrieval:"
    assert ef.doc_instruction == "Represent the document for retrieval:"


def test_an_identity_makes_the_function_again(tmp_path: Path) -> None:
    made = InstructorEmbeddingFunction(write_model(tmp_path), doc_instruction="a b: ", truncate_dim=4, max_length=9)
    identity = json.loads(json.dumps(made.identity()))
    assert identity["pooling"] == f"mean, {DIM} Identity, normalize, without the prompt"
    again = InstructorEmbeddingFunction.from_identity(identity)
    assert again.identity() == identity
    np.testing.assert_array_equal(again(TEXTS), made(TEXTS))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with pytest.raises(InputTypeError, match="doc_instruction must be one string"):
        InstructorEmbeddingFunction(folder, doc_instruction=["a"])  # type: ignore[arg-type]
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match="2_Dense holds no weights"):
        InstructorEmbeddingFunction(folder)
