"""The default embedding function with its real weights, which are fetched once into the user's cache."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milvine import model
from milvine.errors import InputError, InputTypeError, ModelFileError, TruncationWarning, UnknownModelError
from milvine.local.finding.catalogue import find
from milvine.local.finding.files import fetch_model
from milvine.model.dense import SentenceTransformerEmbeddingFunction
from milvine.types import Truncation
from varied_texts import TEXTS

GOLDEN = Path(__file__).parents[2] / "data" / "minilm_golden.npy"
"""The vectors of TEXTS by sentence-transformers; see tests/reference/make_minilm_golden.py."""


@pytest.fixture(scope="module")
def ef() -> SentenceTransformerEmbeddingFunction:
    return SentenceTransformerEmbeddingFunction(threads=2)


@pytest.fixture
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


def test_the_guides_sentences_have_the_guides_vectors(ef: SentenceTransformerEmbeddingFunction) -> None:
    # The values that PyMilvus' guide prints: https://milvus.io/docs/embeddings.md
    first, _, third = ef.encode_documents(TEXTS[:3])
    start = [-3.09392996e-02, -1.80662833e-02, 1.34775648e-02, 2.77156215e-02, -4.86349640e-03]
    start += [-3.12581174e-02, -3.55921760e-02, 5.76934684e-03, 2.80773244e-03, 1.35783911e-01]
    np.testing.assert_allclose(first[:10], start, atol=1e-6, rtol=0)
    np.testing.assert_allclose(third[-2:], [9.04406682e-02, -5.36676683e-02], atol=1e-6, rtol=0)


@pytest.mark.usefixtures("_quiet")
def test_texts_of_every_kind_have_sentence_transformers_vectors(ef: SentenceTransformerEmbeddingFunction) -> None:
    golden = np.load(GOLDEN)
    np.testing.assert_allclose(ef.encode_documents(TEXTS), golden, atol=2e-6, rtol=0)
    np.testing.assert_allclose(ef.encode_queries(TEXTS), golden, atol=2e-6, rtol=0)
    np.testing.assert_allclose(ef(TEXTS), golden, atol=2e-6, rtol=0)


@pytest.mark.usefixtures("_quiet")
def test_a_vector_depends_neither_on_batch_mates_nor_on_order(ef: SentenceTransformerEmbeddingFunction) -> None:
    together = np.stack(ef(TEXTS))
    order = np.random.RandomState(3).permutation(len(TEXTS))
    padded = SentenceTransformerEmbeddingFunction(batch_tokens=100_000)
    # float32's sums in another order: 1e-7 is what they differ by
    np.testing.assert_allclose(np.stack([ef([text])[0] for text in TEXTS[:30]]), together[:30], atol=1e-6, rtol=0)
    np.testing.assert_allclose(ef([TEXTS[at] for at in order]), together[order], atol=1e-6, rtol=0)
    np.testing.assert_allclose(padded(TEXTS), together, atol=1e-6, rtol=0)


def test_vectors_are_float32_rows_of_one_block_of_length_one(ef: SentenceTransformerEmbeddingFunction) -> None:
    assert ef.dim == 384
    for texts in (["one"], ["one", "two", "one", ""]):
        vectors = ef.encode_documents(texts)
        assert isinstance(vectors, list)
        assert [vector.shape for vector in vectors] == [(384,)] * len(texts)
        assert {vector.dtype for vector in vectors} == {np.dtype(np.float32)}
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        block = vectors[0].base
        assert block is not None
        assert block.flags.c_contiguous
        assert all(vector.base is block for vector in vectors)
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_without_normalisation_only_the_length_differs(ef: SentenceTransformerEmbeddingFunction) -> None:
    raw = np.stack(SentenceTransformerEmbeddingFunction(normalize_embeddings=False)(TEXTS[:3]))
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.all(np.abs(lengths - 1) > 0.1)
    np.testing.assert_allclose(raw / lengths, ef(TEXTS[:3]), atol=1e-6)


def test_instructions_are_put_before_queries_and_documents(ef: SentenceTransformerEmbeddingFunction) -> None:
    instructed = SentenceTransformerEmbeddingFunction(query_instruction="query: ", doc_instruction="passage: ")
    np.testing.assert_allclose(instructed.encode_queries(["cat"]), ef(["query: cat"]), atol=1e-6)
    np.testing.assert_allclose(instructed.encode_documents(["cat"]), ef(["passage: cat"]), atol=1e-6)


def test_any_iterable_of_strings_is_taken_and_nothing_gives_nothing(ef: SentenceTransformerEmbeddingFunction) -> None:
    expected = ef(["a", "b"])
    for texts in (
        ("a", "b"),
        iter(["a", "b"]),
        (letter for letter in "ab"),
        np.array(["a", "b"]),
        {"a": 1, "b": 2}.keys(),
    ):
        np.testing.assert_array_equal(ef(texts), expected)
    assert ef([]) == ef.encode_queries(iter(())) == ef.encode_documents(()) == []


def test_documents_come_out_one_by_one_as_they_go_in(ef: SentenceTransformerEmbeddingFunction) -> None:
    taken = []

    def texts() -> Any:
        for number in range(25):
            taken.append(number)
            yield f"text number {number}"

    made = ef.iter_documents(texts(), batch_size=10)
    assert taken == []
    first = next(made)
    assert taken == list(range(10))
    rest = list(made)
    expected = ef.encode_documents([f"text number {number}" for number in range(25)])
    np.testing.assert_allclose([first, *rest], expected, atol=1e-6)
    wrong: Any
    for wrong in ("bare", b"bare", {"a": 1}, None, 5):
        with pytest.raises(InputTypeError, match="documents must be a list of strings"):
            ef.iter_documents(wrong)
    wrong = ["a", "b", "c", 4]
    with pytest.raises(InputTypeError, match=r"documents\[3\] must be one string, not int \(4\)"):
        list(ef.iter_documents(wrong, batch_size=2))
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        ef.iter_documents([], batch_size=0)


def test_vectors_of_other_types_are_made_of_the_same_vectors(ef: SentenceTransformerEmbeddingFunction) -> None:
    full = np.stack(ef(TEXTS[:3]))
    made = {
        output: SentenceTransformerEmbeddingFunction(truncate_dim=64, output=output)
        for output in ("float32", "float16", "int8", "binary")
    }
    cut = full[:, :64] / np.linalg.norm(full[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose(made["float32"](TEXTS[:3]), cut, atol=1e-6)
    np.testing.assert_allclose(made["float16"](TEXTS[:3]), cut, atol=1e-3)
    scaled = cut * 127 / np.abs(cut).max(axis=1, keepdims=True)
    assert np.abs(np.stack(made["int8"](TEXTS[:3])) - scaled).max() < 0.501
    np.testing.assert_array_equal(made["binary"](TEXTS[:3]), np.packbits(full[:, :64] > 0, axis=1))
    assert {output: ef.dim for output, ef in made.items()} == dict.fromkeys(made, 64)
    assert {output: ef.encode_queries(["a"])[0].dtype.name for output, ef in made.items()} == {
        "float32": "float32",
        "float16": "float16",
        "int8": "int8",
        "binary": "uint8",
    }


def test_what_was_lost_of_long_texts_can_be_asked() -> None:
    ef = SentenceTransformerEmbeddingFunction(max_length=8)
    assert ef.truncation == Truncation(0, 0)
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than the 8 tokens .* about 4 tokens"):
        ef.encode_documents(["one two three four five six seven eight nine ten", "short"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        ef.encode_queries(["one two three four five six seven eight"])
    assert ef.truncation == Truncation(2, 6)
    assert ef.count_tokens(["one two three four five six seven eight nine ten", ""]) == [12, 2]


@pytest.mark.parametrize(
    "texts", ["bare", b"bytes", None, 3, [1, 2], ["a", None], [["a"]], [b"a"], {"a": "b"}, np.array(5)]
)
def test_what_is_no_list_of_strings_is_refused(ef: SentenceTransformerEmbeddingFunction, texts: Any) -> None:
    for encode in (ef, ef.encode_documents, ef.encode_queries):
        with pytest.raises(InputTypeError, match=r"must be a (list of strings|string), not"):
            encode(texts)


def test_half_a_surrogate_pair_is_refused(ef: SentenceTransformerEmbeddingFunction) -> None:
    with pytest.raises(InputError, match=r"half of a surrogate pair \('\\udc80' at character 3"):
        ef(["fine", "bad\udc80"])


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model_name": "no-such-model"}, UnknownModelError, "no model 'no-such-model'"),
        ({"model_name": "ms-marco-MiniLM-L-12-v2"}, InputError, "is a reranker model; a dense model is needed here"),
        ({"model_name": None}, InputTypeError, "a model's name must be one string"),
        ({"device": "gpu"}, InputError, 'device must be "cpu", "cuda" or .* not \'gpu\''),
        ({"device": 0}, InputTypeError, "device must be a string"),
        ({"quantize": "int4"}, InputError, "quantize must be 'int8' or None, not 'int4'"),
        ({"truncate_dim": 385}, InputError, "truncate_dim must be from 1 to 384, not 385"),
        ({"truncate_dim": 0}, InputError, "truncate_dim must be from 1 to 384, not 0"),
        ({"truncate_dim": 100, "output": "binary"}, InputError, "100 is no multiple of 8"),
        ({"output": "int4"}, InputError, "output must be one of float32, float16, int8, binary, not 'int4'"),
        ({"cache_dir": "x"}, InputTypeError, "there is no option 'cache_dir' for a local model; there are folder,"),
        ({"batch_size": 0}, InputError, "batch_size must be at least 1, not 0"),
        ({"batch_size": "32"}, InputTypeError, "batch_size must be a whole number, not str"),
        ({"max_length": 257}, InputError, "max_length must be from 3 to 256, not 257"),
        ({"threads": 0}, InputError, "threads must be at least 1"),
        ({"query_instruction": None}, InputTypeError, "query_instruction must be one string"),
        ({"doc_instruction": "\udc80"}, InputError, "^doc_instruction holds half of a surrogate pair"),
        ({"model_name": "x" * 5000}, UnknownModelError, "There is no model 'xxx"),
        ({"model_name": "a/" + "x" * 5000}, UnknownModelError, "There is no model 'a/xxx"),
        ({"output": []}, InputError, r"output must be one of .*, not \[\]"),
        (
            {"truncate_dim": np.int64(8)},
            InputTypeError,
            r"a whole number, not int64 \(.*8.*\); convert it with int\(\)",
        ),
        ({"normalize_embeddings": "no"}, InputTypeError, "normalize_embeddings must be True or False, not str"),
        ({"show_progress": "yes"}, InputTypeError, "show_progress must be True or False, not str"),
        ({"revision": 5}, InputTypeError, "revision must be one string, not int"),
        ({"revision": ""}, InputError, "revision is blank"),
        ({"folder": 5}, InputTypeError, "folder must be a string or a Path, not int"),
        ({"folder": " "}, InputError, "folder is blank"),
        ({"device": "CUDA:1", "quantize": "int8"}, InputError, "quantize='int8' is for the processor; .*device='cpu'"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        SentenceTransformerEmbeddingFunction(**options)


def test_a_folder_is_checked_like_any_other_source(tmp_path: Path, ef: SentenceTransformerEmbeddingFunction) -> None:
    files = fetch_model(find("all-MiniLM-L6-v2"))
    for name, path in files.items():
        (tmp_path / name).symlink_to(path)
    expected = ef(["cat"])
    np.testing.assert_array_equal(SentenceTransformerEmbeddingFunction(folder=tmp_path)(["cat"]), expected)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"does not hold config\.json"):
        SentenceTransformerEmbeddingFunction(folder=tmp_path)(["cat"])
    (tmp_path / "config.json").write_text(files["config.json"].read_text().replace('"gelu"', '"relu"'))
    with pytest.raises(ModelFileError, match=r"config\.json is not the file of all-MiniLM-L6-v2"):
        SentenceTransformerEmbeddingFunction(folder=str(tmp_path))(["cat"])


def test_a_long_text_is_said_to_be_cut_at_the_callers_line() -> None:
    ef = SentenceTransformerEmbeddingFunction()
    for encode in (ef.encode_queries, ef):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            encode(["short", "word " * 2000])
        assert [warning.filename for warning in caught] == ([__file__] if encode == ef.encode_queries else [])
        assert all("1 of 2 texts are longer than the 256 tokens" in str(warning.message) for warning in caught)


@pytest.mark.usefixtures("_quiet")
def test_two_megabytes_are_one_text(ef: SentenceTransformerEmbeddingFunction) -> None:
    text = "The quick brown fox, which nobody saw, jumps over a lazy dog. " * 33_000
    np.testing.assert_array_equal(ef([text]), ef([text[:5000]]))
    assert len(ef(["x" * 2_000_000, "汉" * 2_000_000])) == 2


def test_several_threads_may_use_one_function(ef: SentenceTransformerEmbeddingFunction) -> None:
    expected, results = np.stack(ef(TEXTS[:30])), {}

    def work(number: int) -> None:
        results[number] = np.stack(ef(TEXTS[:30]))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number in range(3):
        np.testing.assert_allclose(results[number], expected, atol=1e-6, rtol=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_may_use_a_function_that_was_used_before() -> None:
    script = """
import os, sys
from milvine import model
ef = model.DefaultEmbeddingFunction()
texts = [f"text {number}" for number in range(40)]
before = ef(texts)
child = os.fork()
if child == 0:
    os._exit(0 if all((a == b).all() for a, b in zip(ef(texts), before)) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_ends_the_work_and_leaves_no_thread_behind() -> None:
    script = """
import threading
from milvine import model
ef = model.DefaultEmbeddingFunction()
ef(["loaded"])
print("ready", flush=True)
try:
    ef([f"{number} " + "the quick brown fox jumps over the lazy dog " * 30 for number in range(20_000)])
except KeyboardInterrupt:
    for thread in threading.enumerate()[1:]:  # one that was just being started ends by itself
        thread.join(5)
    print([thread.name for thread in threading.enumerate()], ef(["still of use"])[0].shape, flush=True)
    raise
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)  # it is at work, which would take minutes
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert output == "['MainThread'] (384,)\n"
    assert process.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert "ignored" not in errors


def test_the_identity_names_what_changes_vectors_and_makes_the_function_again() -> None:
    made = SentenceTransformerEmbeddingFunction(
        "sentence-transformers/all-MiniLM-L6-v2",
        query_instruction="q: ",
        max_length=99,
        normalize_embeddings=False,
        truncate_dim=64,
        output="int8",
        quantize="int8",
    )
    identity = json.loads(json.dumps(made.identity()))
    assert identity == {
        "function": "SentenceTransformerEmbeddingFunction",
        "model": "all-MiniLM-L6-v2",
        "revision": "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        "fingerprint": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "dim": 64,
        "pooling": "mean",
        "max_length": 99,
        "normalize_embeddings": False,
        "truncate_dim": 64,
        "output": "int8",
        "quantize": "int8",
        "query_instruction": "q: ",
        "doc_instruction": "",
    }
    assert SentenceTransformerEmbeddingFunction.from_identity(identity).identity() == identity


def test_it_is_the_default_and_its_tokenizer_counts_uncut(ef: SentenceTransformerEmbeddingFunction) -> None:
    assert model.DefaultEmbeddingFunction is SentenceTransformerEmbeddingFunction
    assert len(ef.tokenizer.encode("word " * 2000).ids) == 2002
    assert ef.tokenizer.encode("a").tokens == ["[CLS]", "a", "[SEP]"]
    assert ef.max_length == 256
