"""What `benchmarks search` searches: real texts of 40 words, their vectors, questions, and what exact search finds."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.passages import MEAN, collected_passages
from benchmarks.peers import HOME
from benchmarks.texts import QUESTIONS

SPARE = 1_000
"""Texts beyond the rows: what rows are replaced by."""
CHUNK = 65_536
_PROSE = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'|^[ \t]*#+[ \t](.*)$', re.DOTALL | re.MULTILINE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Data:
    """Texts, questions and their vectors, of length 1.

    Attributes:
        texts: A JSON file with a list of distinct texts.
        vectors: A file of numpy's, float32 of shape `(texts, dim)`.
        queries: The questions.
        query_vectors: A file like `vectors`.
        about: Where they come from.
    """

    texts: Path
    vectors: Path
    queries: tuple[str, ...]
    query_vectors: Path
    about: str

    @property
    def dim(self) -> int:
        return int(np.load(self.vectors, mmap_mode="r").shape[1])

    @property
    def rows(self) -> int:
        return int(np.load(self.vectors, mmap_mode="r").shape[0])


def given_data(texts: Path, vectors: Path, queries: Path, query_vectors: Path) -> Data:
    """Data of ready files.

    Raises:
        click.UsageError: They do not belong together, or vectors are not of length 1.
    """
    questions = tuple(json.loads(queries.read_text(encoding="utf-8")))
    for path, count in ((vectors, len(json.loads(texts.read_text(encoding="utf-8")))), (query_vectors, len(questions))):
        matrix = np.load(path, mmap_mode="r")
        if matrix.ndim != 2 or len(matrix) != count:
            raise click.UsageError(f"{path} has the shape {matrix.shape}, and there are {count:,} texts for it")
        if not np.allclose(np.linalg.norm(matrix[:100], axis=1), 1, atol=1e-3):
            raise click.UsageError(
                f"{path} holds vectors whose length is not 1, which some stores would rank otherwise"
            )
    return Data(texts, vectors, questions, query_vectors, f"{texts.name} with {vectors.name}")


def made_data(count: int, folders: Sequence[Path], model: str) -> Data:
    """Texts of this machine's Python sources, or of test collections, embedded once and kept in `.milvine/search`."""
    rows = count + SPARE
    texts = list(dict.fromkeys(collected_passages(folders, rows))) if folders else machine_passages(rows)
    if len(texts) <= count:
        raise click.UsageError(f"there are {len(texts):,} distinct texts of {MEAN} words here, and {rows:,} are needed")
    queries = list(_queries(folders))
    key = hashlib.blake2b(json.dumps([model, texts, queries]).encode(), digest_size=8).hexdigest()
    folder = HOME / "search" / key
    if not folder.is_dir():
        made = folder.with_suffix(".partial")
        made.mkdir(parents=True, exist_ok=True)
        (made / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        _embed(model, texts, queries, made)
        made.rename(folder)
    of = ", ".join(folder.name for folder in folders) or "this machine's Python sources"
    return Data(
        folder / "texts.json",
        folder / "vectors.npy",
        tuple(queries),
        folder / "query-vectors.npy",
        f"{model}, texts of {of}",
    )


def _embed(model: str, texts: list[str], queries: list[str], folder: Path) -> None:
    from milvine.model import dense

    static = model.startswith(("potion", "minishlab/"))
    kind = dense.Model2VecEmbeddingFunction if static else dense.SentenceTransformerEmbeddingFunction
    function: Any = kind(model, show_progress=False)
    path = folder / "vectors.npy"
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(len(texts), function.dim))
    starts = range(0, len(texts), 4096)
    with click.progressbar(starts, label=f"Embedding {len(texts):,} texts with {model}", file=sys.stderr) as shown:
        for at in shown:
            matrix[at : at + 4096] = np.stack(function.encode_documents(texts[at : at + 4096]))
    matrix.flush()
    np.save(folder / "query-vectors.npy", np.stack(function.encode_queries(queries)).astype(np.float32))


def _queries(folders: Sequence[Path]) -> Iterator[str]:
    """Those of the collections; or questions about Python, and the first lines of docstrings."""
    from milvine.evaluate import load_beir
    from milvine.ingest import python_documents

    if folders:
        yield from dict.fromkeys(text for folder in folders for text in load_beir(folder).queries.values())
        return
    yield from QUESTIONS
    bodies = (document.text.partition("\n\n")[2].partition("\n\n")[0] for document in python_documents())
    lines = (" ".join(body.split()) for body in bodies)
    yield from islice(dict.fromkeys(line for line in lines if 4 <= len(line.split()) <= 16), 380)


def machine_passages(count: int, folders: Iterable[Path] = ()) -> list[str]:
    """That many distinct texts, in a fixed random order: windows of 40 words over the Python sources of this machine.

    First docstrings and comments, then everything; where there is not enough, windows overlap by a half and by three
    quarters.

    Args:
        count: How many at most.
        folders: Where sources are; by default the standard library's folder, and that of installed packages.
    """
    paths = sysconfig.get_paths()
    roots = list(folders) or [Path(paths["stdlib"]), Path(paths["purelib"])]
    found: dict[str, None] = {}
    sources: dict[bytes, Path] = {}  # some files are there many times
    for path in sorted(path for root in roots for path in root.rglob("*.py")):
        sources.setdefault(hashlib.blake2b(path.read_bytes(), digest_size=16).digest(), path)
    for read, offset in ((_prose, 0), (_prose, 20), (_everything, 0), (_everything, 20), (_prose, 10), (_prose, 30)):
        for path in sources.values():
            for words in read(path.read_text(encoding="utf-8", errors="replace")):
                found.update(dict.fromkeys(_windows(words, offset)))
            if len(found) >= count:
                texts = list(found)[:count]
                np.random.default_rng(0).shuffle(texts)
                return texts
    return list(found)


def _prose(source: str) -> Iterator[list[str]]:
    comment: list[str] = []
    for match in _PROSE.finditer(source):
        if match[3] is None:
            yield (match[1] or match[2] or "").split()
        else:
            comment += match[3].split()
    yield comment


def _everything(source: str) -> Iterator[list[str]]:
    yield source.split()


def _windows(words: Sequence[str], offset: int) -> Iterator[str]:
    for at in range(offset, len(words) - MEAN // 2, MEAN):
        text = " ".join(words[at : at + MEAN])
        if len(text) <= 800 and sum(map(str.isalpha, text)) > len(text) / 2:
            yield text


def words_of(question: str) -> list[str]:
    """The distinct words that are no English stop words; or all, if no others are there."""
    from milvine.analysis import find_language, stop_words

    common = stop_words(find_language("en"))
    words = list(dict.fromkeys(_WORD.findall(question.lower())))
    return [word for word in words if word not in common] or words


def choose(count: int, of: int) -> list[int]:
    """That many positions, evenly spread."""
    return [at * of // min(count, of) for at in range(min(count, of))]


def least_scores(vectors: Path, count: int, queries: Any, best: int) -> Any:
    """The cosine of each query's last row among its best ones, by exact float32 search over the first `count` vectors.

    Args:
        vectors: The file.
        count: How many of its vectors are searched.
        queries: Array of shape `(queries, dim)`.
        best: How many are the best.

    Returns:
        Array of shape `(queries,)`.
    """
    matrix = np.load(vectors, mmap_mode="r")
    top = np.full((len(queries), best), -np.inf, dtype=np.float32)
    for at in range(0, count, CHUNK):
        scores = queries @ np.asarray(matrix[at : min(at + CHUNK, count)], dtype=np.float32).T
        joined = np.concatenate([top, scores], axis=1)
        top = np.partition(joined, joined.shape[1] - best, axis=1)[:, -best:]
    return top.min(axis=1)


def recall(found: Sequence[Sequence[int]], vectors: Path, queries: Any, least: Any, best: int) -> float:
    """The mean share of the best rows that were found; a row counts if it scores as high as the last of the best.

    Args:
        found: The numbers of the rows that each query found.
        vectors: The file with the rows' vectors.
        queries: Array of shape `(queries, dim)`.
        least: What `least_scores` gave.
        best: How many there are to be found.
    """
    matrix = np.load(vectors, mmap_mode="r")
    shares = []
    for numbers, query, bound in zip(found, queries, least, strict=True):
        distinct = sorted(set(numbers))
        scores = np.asarray(matrix[distinct], dtype=np.float32) @ query
        shares.append(int((scores >= bound - 1e-6).sum()) / best)
    return float(np.mean(shares))
