"""A model made ready to run: files fetched, tokenizer and session loaded at first use."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import InputError, ModelError, ModelFileError, TruncationWarning, UnknownModelError
from milvine.local.architectures import find_architecture
from milvine.local.architectures.base import TYPES
from milvine.local.catalogue import find
from milvine.local.engine import BATCH_TOKENS, POOLING_MASK, Engine, check_count, default_threads, session_options
from milvine.local.files import fetch_model
from milvine.local.folder import read_folder, read_json
from milvine.local.graph import Graph
from milvine.local.sparse_rows import SparseRows
from milvine.local.spec import ModelFiles, ModelSpec, spec_of_row
from milvine.local.task_heads import TASK_HEADS
from milvine.local.tokenizer import TextTokenizer, Tokens
from milvine.local.weights import encoder_names, read_weights
from milvine.types import DenseMatrix, SparseMatrix

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnxruntime as ort

PROVIDERS = ["CPUExecutionProvider"]


class LocalModel:
    """A model on this machine; it may be used from several threads.

    For a model of the catalogue nothing is read or fetched before it is first used. Of a folder, the small files are
    read at once, so that errors come early, and the weights at first use.

    Args:
        name: A name that the catalogue knows, or the path of a folder that holds a model.
        task: What the model must be for: "dense", "sparse" or "reranker".
        folder: Where the files of a model of the catalogue lie; by default they are looked for as
            `milvine.local.files` says.
        max_length: Tokens a text may have; by default, and for a model of the catalogue at most, what it was made for.
        batch_tokens: Tokens run together; by default what runs fastest, and each sequence alone in a quantised model.
        threads: Batches that run at once; by default the number of processors.
        show_progress: Show a bar; by default on a terminal only.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: The model is for another task, or a number is out of range.
        InputTypeError: An argument that counts something is no integer.
    """

    def __init__(
        self,
        name: str | Path,
        task: str,
        *,
        folder: str | Path | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        threads: int | None = None,
        show_progress: bool | None = None,
    ) -> None:
        self.spec = find_spec(name, task, folder)
        self.max_length = self.spec.max_length if max_length is None else max_length
        # Room for the special tokens and one token of each text.
        check_count("max_length", self.max_length, 5 if task == "reranker" else 3, self.spec.limit)
        # Dynamic quantisation scales by the whole batch: alone, a sequence's result depends on nothing else.
        alone_or_not = 1 if self.spec.quantization else BATCH_TOKENS
        self._batch_tokens = alone_or_not if batch_tokens is None else batch_tokens
        self._threads = default_threads() if threads is None else threads
        check_count("batch_tokens", self._batch_tokens)
        check_count("threads", self._threads)
        self.show_progress = show_progress
        self._folder = None if folder is None else Path(folder)
        self._lock = threading.Lock()
        self._loaded: tuple[TextTokenizer, Engine] | None = None
        self._fingerprint: str | None = None
        self._has_warned = False

    @property
    def fingerprint(self) -> str:
        """The sha256 of the weights, 64 hexadecimal digits; a folder's weights are read for it, once.

        Raises:
            ModelFileError: A folder's weights cannot be read.
        """
        if self.spec.row:
            return self.spec.row.fingerprint
        if self._fingerprint is None:
            try:
                self._fingerprint = self._files().fingerprint()
            except OSError as error:
                raise ModelFileError(f"the weights of {self.spec.name} cannot be read: {error}") from error
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Dimensions of a vector, or the number of a reranker's logits."""
        return self.spec.dim

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer."""
        return self._load()[0]

    def encode(self, texts: list[str], *, normalized: bool, prompt: str = "") -> DenseMatrix:
        """The texts' vectors, shape `(len(texts), dim)`; a text that comes twice is computed once.

        Args:
            texts: The texts.
            normalized: Whether to scale vectors to length 1.
            prompt: What is put before each text.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used, or it fails.
        """
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        tokenizer, engine = self._load()
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._run(engine, list(row_of), self._prompted(tokenizer, prompt), "Encoding")
        if normalized:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors if len(row_of) == len(texts) else vectors[[row_of[text] for text in texts]]

    def encode_sparse(self, texts: list[str], *, prompt: str = "", keep: int | None = None) -> SparseMatrix:
        """The texts' vectors, shape `(len(texts), dim)`; a text that comes twice is computed once.

        Args:
            texts: The texts.
            prompt: What is put before each text.
            keep: How many values of a vector are kept, the largest; by default all.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used, or it fails.
        """
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        rows = SparseRows(len(row_of), self.dim, keep)
        if texts:
            tokenizer, engine = self._load()
            tokenize = _Counting(self._prompted(tokenizer, prompt))
            engine.each(list(row_of), tokenize, self.dim, rows.store, show_progress=self.show_progress)
            self._warn_of_cuts(tokenize.cut, len(row_of))
        return rows.matrix([row_of[text] for text in texts])

    def score(self, query: str, documents: list[str]) -> list[float]:
        """The model's logit for the query with each document; a document that comes twice is computed once.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used, or it fails.
        """
        if not documents:
            return []
        tokenizer, engine = self._load()
        row_of = {text: row for row, text in enumerate(dict.fromkeys(documents))}
        logits = self._run(engine, list(row_of), partial(tokenizer.pairs, query), "Reranking")
        return [float(logits[row_of[text], 0]) for text in documents]

    def _prompted(self, tokenizer: TextTokenizer, prompt: str) -> Callable[[Sequence[str]], list[Tokens]]:
        """Tokenizes texts with the prompt before them."""
        if not prompt:
            return tokenizer.texts
        unpooled = 0 if self.spec.pools_prompt else tokenizer.prompt_length(prompt)

        def tokenize(texts: Sequence[str]) -> list[Tokens]:
            tokens = tokenizer.texts([prompt + text for text in texts])
            return [replace(each, unpooled=unpooled) for each in tokens] if unpooled else tokens

        return tokenize

    def _run(
        self, engine: Engine, texts: list[str], tokenize: Callable[[Sequence[str]], list[Tokens]], description: str
    ) -> DenseMatrix:
        counting = _Counting(tokenize)
        rows = engine.run(texts, counting, self.dim, description=description, show_progress=self.show_progress)
        self._warn_of_cuts(counting.cut, len(texts))
        return rows

    def _warn_of_cuts(self, cut: int, count: int) -> None:
        if not cut or self._has_warned:
            return
        self._has_warned = True
        what = "pairs of query and document" if self.spec.task == "reranker" else "texts"
        warnings.warn(
            f"{cut} of {count} {what} are longer than the {self.max_length} tokens that {self.spec.name} is"
            " set to read, and their ends were left out; split them into passages to have all of them read",
            TruncationWarning,
            stacklevel=_levels_to_caller(),
        )

    def _files(self) -> ModelFiles:
        if self.spec.files:
            return self.spec.files
        row = self.spec.row
        assert row is not None  # noqa: S101 - a spec has one or the other
        files = fetch_model(row, self._folder, show_progress=self.show_progress)
        return ModelFiles(files["tokenizer.json"], files.get("config.json"), (("", files[row.weights]),))

    def _load(self) -> tuple[TextTokenizer, Engine]:
        with self._lock:
            if self._loaded is None:
                files = self._files()
                tokenizer = TextTokenizer(files.tokenizer, self.max_length, lowercase=self.spec.lowercase)
                weights = files.weights[0][1]
                session = self._ready_or_built(files, tokenizer)
                try:
                    engine = Engine(session, batch_tokens=self._batch_tokens, threads=self._threads)
                except ModelError as error:
                    raise ModelFileError(f"{weights} cannot be run: {error}") from error
                self._loaded = tokenizer, engine
            return self._loaded

    def _ready_or_built(self, files: ModelFiles, tokenizer: TextTokenizer) -> ort.InferenceSession:
        if files.config is None or files.weights[0][1].suffix == ".onnx":
            return _ready_session(files.weights[0][1])
        return _built_session(self.spec, files, self.max_length, tokenizer.tokenizer.get_vocab_size())


class _Counting:
    """Tokenizes, and counts the texts that were too long."""

    def __init__(self, tokenize: Callable[[Sequence[str]], list[Tokens]]) -> None:
        self._tokenize = tokenize
        self.cut = 0

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        tokens = self._tokenize(texts)
        self.cut += sum(sequence.cut for sequence in tokens)
        return tokens


def find_spec(name: str | Path, task: str, folder: str | Path | None = None) -> ModelSpec:
    """The model of this name: the catalogue's, or else that of the folder at this path.

    Raises:
        UnknownModelError: There is neither.
        InputError: The model is for another task, or `folder` is given beside the path of a folder.
        ModelFileError: The folder's model cannot be run here.
    """
    try:
        row = find(str(name) if isinstance(name, Path) else name)
    except UnknownModelError as error:
        path = Path(name).expanduser()
        if not str(name).strip() or not path.is_dir():
            raise UnknownModelError(f"{error} There is no folder {str(path)!r} either.") from None
        if folder is not None:
            raise InputError(f"{path} is a folder with a model; folder={str(folder)!r} cannot be another one") from None
        return read_folder(path, task)
    if row.task != task:
        raise InputError(f"{row.name} is a {row.task} model; a {task} model is needed here")
    return spec_of_row(row)


def _built_session(spec: ModelSpec, files: ModelFiles, max_length: int, known: int) -> ort.InferenceSession:
    """A session over a graph that is built from a checkpoint; `known` is how many tokens the tokenizer knows."""
    source = str(files.config)
    raw = read_json(Path(source), dict)
    architecture = find_architecture(raw, source)
    config = architecture.read(raw, source)
    head = spec.head or TASK_HEADS[spec.task](raw, config, source)
    dim = config.hidden_size
    for step in head:
        dim = step.width(dim)
    what = "vocab_size" if spec.task == "sparse" else "hidden_size"
    for fits, problem in (
        (dim == spec.dim, f"{what} is {getattr(config, what)}, not {spec.dim}"),
        (
            config.max_tokens is None or config.max_tokens >= max_length,
            f"a text may have {config.max_tokens} tokens, fewer than the {max_length} wanted",
        ),
        (config.vocab_size >= known, f"vocab_size is {config.vocab_size}, fewer than tokenizer.json's {known}"),
    ):
        if not fits:
            raise ModelFileError(f"{source} contradicts {spec.name}: {problem}")
    tensors: dict[str, npt.NDArray[Any]] = {}
    for prefix, path in files.weights:
        named = encoder_names(read_weights(path), () if prefix else architecture.prefixes)
        tensors |= {prefix + name: tensor for name, tensor in named.items()}
    g = Graph(tensors, str(files.weights[0][1]))
    ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
    pooled = mask if spec.pools_prompt else g.input(POOLING_MASK, ["batch", "length"])
    if spec.task == "reranker" and spec.typed and getattr(config, "type_vocab_size", 0) > 1:
        g.input(TYPES, ["batch", "length"])
    x = architecture.build(g, config, ids, mask)
    for step in head:
        x = step.build(g, x, pooled)
    g.output("vectors", x, ["batch", spec.dim])
    return g.session(session_options(), PROVIDERS)


def _ready_session(path: Path) -> ort.InferenceSession:
    import onnxruntime as ort

    try:
        return ort.InferenceSession(str(path), session_options(), providers=PROVIDERS)
    except Exception as error:  # onnxruntime's errors have no other base
        raise ModelFileError(f"onnxruntime cannot load {path}: {error}") from error


def _levels_to_caller() -> int:
    """The `stacklevel` at which a warning of the calling function points at the first line outside milvine."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "milvine":
        frame, level = frame.f_back, level + 1
    return level
