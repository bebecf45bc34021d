"""A catalogue row made ready to run: files fetched, tokenizer and session loaded at first use."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine.errors import InputError, ModelError, ModelFileError, TruncationWarning
from milvine.local.architectures import find_architecture
from milvine.local.catalogue import ModelRow, find
from milvine.local.engine import BATCH_TOKENS, Engine, check_count, default_threads, session_options
from milvine.local.files import fetch_model
from milvine.local.graph import Graph
from milvine.local.heads import POOLINGS
from milvine.local.tokenizer import TextTokenizer, Tokens
from milvine.local.weights import read_weights
from milvine.types import DenseMatrix

if TYPE_CHECKING:
    import onnxruntime as ort

PROVIDERS = ["CPUExecutionProvider"]


class LocalModel:
    """A model of the catalogue on this machine; it may be used from several threads.

    Nothing is read or fetched before it is first used.

    Args:
        name: A name that the catalogue knows.
        task: What the model must be for: "dense" or "reranker".
        folder: Where its files lie; by default they are looked for as `milvine.local.files` says.
        max_length: Tokens a text may have; by default, and at most, what the model was made for.
        batch_tokens: Tokens run together; by default what runs fastest, and each sequence alone in a quantised model.
        threads: Batches that run at once; by default the number of processors.
        show_progress: Show a bar; by default on a terminal only.

    Raises:
        UnknownModelError: The catalogue has no such model.
        InputError: The model is for another task, or a number is out of range.
        InputTypeError: An argument that counts something is no integer.
    """

    def __init__(
        self,
        name: str,
        task: str,
        *,
        folder: str | Path | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        threads: int | None = None,
        show_progress: bool | None = None,
    ) -> None:
        self.row: ModelRow = find(name)
        if self.row.task != task:
            raise InputError(f"{self.row.name} is a {self.row.task} model; a {task} model is needed here")
        self.max_length = self.row.max_length if max_length is None else max_length
        # Room for the special tokens and one token of each text.
        check_count("max_length", self.max_length, 5 if task == "reranker" else 3, self.row.max_length)
        # Dynamic quantisation scales by the whole batch: alone, a sequence's result depends on nothing else.
        alone_or_not = 1 if self.row.quantization else BATCH_TOKENS
        self._batch_tokens = alone_or_not if batch_tokens is None else batch_tokens
        self._threads = default_threads() if threads is None else threads
        check_count("batch_tokens", self._batch_tokens)
        check_count("threads", self._threads)
        self.show_progress = show_progress
        self._folder = None if folder is None else Path(folder)
        self._lock = threading.Lock()
        self._loaded: tuple[TextTokenizer, Engine] | None = None
        self._has_warned = False

    @property
    def dim(self) -> int:
        """Dimensions of a vector, or the number of a reranker's logits."""
        return self.row.dim or 1

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer."""
        return self._load()[0]

    def encode(self, texts: list[str], *, normalized: bool) -> DenseMatrix:
        """The texts' vectors, shape `(len(texts), dim)`; a text that comes twice is computed once.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used, or it fails.
        """
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        tokenizer, engine = self._load()
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._run(engine, list(row_of), tokenizer.texts, "Encoding")
        if normalized:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors if len(row_of) == len(texts) else vectors[[row_of[text] for text in texts]]

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

    def _run(
        self, engine: Engine, texts: list[str], tokenize: Callable[[Sequence[str]], list[Tokens]], description: str
    ) -> DenseMatrix:
        cut = 0

        def counted(window: Sequence[str]) -> list[Tokens]:
            nonlocal cut
            tokens = tokenize(window)
            cut += sum(sequence.cut for sequence in tokens)
            return tokens

        rows = engine.run(texts, counted, self.dim, description=description, show_progress=self.show_progress)
        if cut and not self._has_warned:
            self._has_warned = True
            what = "pairs of query and document" if self.row.task == "reranker" else "texts"
            warnings.warn(
                f"{cut} of {len(texts)} {what} are longer than the {self.max_length} tokens that {self.row.name} is"
                " set to read, and their ends were left out; split them into passages to have all of them read",
                TruncationWarning,
                stacklevel=_levels_to_caller(),
            )
        return rows

    def _load(self) -> tuple[TextTokenizer, Engine]:
        with self._lock:
            if self._loaded is None:
                files = fetch_model(self.row, self._folder, show_progress=self.show_progress)
                tokenizer = TextTokenizer(files["tokenizer.json"], self.max_length)
                weights = files[self.row.weights]
                if weights.suffix == ".onnx":
                    session = _ready_session(weights)
                else:
                    session = self._built_session(weights, files["config.json"], tokenizer)
                try:
                    engine = Engine(session, batch_tokens=self._batch_tokens, threads=self._threads)
                except ModelError as error:
                    raise ModelFileError(f"{weights} cannot be run: {error}") from error
                self._loaded = tokenizer, engine
            return self._loaded

    def _built_session(self, weights: Path, config_path: Path, tokenizer: TextTokenizer) -> ort.InferenceSession:
        raw = _read_config(config_path)
        architecture = find_architecture(raw, str(config_path))
        config = architecture.read(raw, str(config_path))
        known = tokenizer.tokenizer.get_vocab_size()
        for fits, problem in (
            (config.hidden_size == self.dim, f"hidden_size is {config.hidden_size}, not {self.dim}"),
            (
                config.max_tokens is None or config.max_tokens >= self.max_length,
                f"a text may have {config.max_tokens} tokens, fewer than the {self.max_length} wanted",
            ),
            (config.vocab_size >= known, f"vocab_size is {config.vocab_size}, fewer than tokenizer.json's {known}"),
        ):
            if not fits:
                raise ModelFileError(f"{config_path} contradicts {self.row.name}: {problem}")
        g = Graph(read_weights(weights), str(weights))
        ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
        states = architecture.build(g, config, ids, mask)
        pooled = POOLINGS[self.row.pooling or "mean"](g, states, mask)
        g.output("vectors", pooled, ["batch", config.hidden_size])
        return g.session(session_options(), PROVIDERS)


def _ready_session(path: Path) -> ort.InferenceSession:
    import onnxruntime as ort

    try:
        return ort.InferenceSession(str(path), session_options(), providers=PROVIDERS)
    except Exception as error:  # onnxruntime's errors have no other base
        raise ModelFileError(f"onnxruntime cannot load {path}: {error}") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelFileError(f"{path} must hold a JSON object, not {type(config).__name__}")
    return config


def _levels_to_caller() -> int:
    """The `stacklevel` at which a warning of the calling function points at the first line outside milvine."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "milvine":
        frame, level = frame.f_back, level + 1
    return level
