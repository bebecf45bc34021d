"""A catalogue row made ready to run: files fetched, tokenizer and session loaded at first use."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from milvine.errors import InputError, ModelFileError
from milvine.local.architectures import BertConfig, bert
from milvine.local.catalogue import ModelRow, find
from milvine.local.engine import BATCH_TOKENS, Engine, session_options
from milvine.local.files import fetch_model
from milvine.local.graph import Graph
from milvine.local.heads import POOLINGS
from milvine.local.tokenizer import TextTokenizer
from milvine.local.weights import read_weights
from milvine.types import DenseMatrix

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
        InputError: The model is for another task, or `max_length` is out of range.
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
        if not 3 <= self.max_length <= self.row.max_length:
            raise InputError(
                f"max_length must be from 3 to {self.row.max_length} for {self.row.name}, not {max_length}"
            )
        self.show_progress = show_progress
        self._folder = None if folder is None else Path(folder)
        # Dynamic quantisation scales by the whole batch: alone, a sequence's result depends on nothing else.
        alone = 1 if getattr(self.row, "quantization", self.row.weights.endswith(".onnx")) else BATCH_TOKENS
        self._batch_tokens = alone if batch_tokens is None else batch_tokens
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: tuple[TextTokenizer, Engine] | None = None

    @property
    def dim(self) -> int:
        """Dimensions of a vector, or the number of a reranker's logits."""
        return self.row.dim or 1

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer."""
        return self._load()[0]

    def encode(self, texts: list[str], *, normalized: bool) -> DenseMatrix:
        """The texts' vectors, shape `(len(texts), dim)`; a text that comes twice is computed once."""
        tokenizer, engine = self._load()
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = engine.run(list(row_of), tokenizer.texts, self.dim, show_progress=self.show_progress)
        if normalized:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors if len(row_of) == len(texts) else vectors[[row_of[text] for text in texts]]

    def score(self, query: str, documents: list[str]) -> list[float]:
        """The model's logit for the query with each document; a document that comes twice is computed once."""
        tokenizer, engine = self._load()
        row_of = {text: row for row, text in enumerate(dict.fromkeys(documents))}
        pairs = partial(tokenizer.pairs, query)
        logits = engine.run(list(row_of), pairs, self.dim, description="Reranking", show_progress=self.show_progress)
        return [float(logits[row_of[text], 0]) for text in documents]

    def _load(self) -> tuple[TextTokenizer, Engine]:
        with self._lock:
            if self._loaded is None:
                files = fetch_model(self.row, self._folder, show_progress=self.show_progress)
                tokenizer = TextTokenizer(files["tokenizer.json"], self.max_length)
                session = (
                    _ready_session(files) if self.row.weights.endswith(".onnx") else _built_session(self.row, files)
                )
                self._loaded = tokenizer, Engine(session, batch_tokens=self._batch_tokens, threads=self._threads)
            return self._loaded


def _ready_session(files: Mapping[str, Path]) -> Any:
    import onnxruntime as ort

    return ort.InferenceSession(str(files["model.onnx"]), session_options(), providers=PROVIDERS)


def _built_session(row: ModelRow, files: Mapping[str, Path]) -> Any:
    try:
        raw = json.loads(files["config.json"].read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFileError(f"{files['config.json']} is not JSON: {error}") from error
    g = Graph(read_weights(files[row.weights]))
    ids, mask = g.input("input_ids", ["batch", "length"]), g.input("attention_mask", ["batch", "length"])
    config = BertConfig.read(raw)
    states = bert(g, config, ids, mask)
    g.output("vectors", POOLINGS[row.pooling or "mean"](g, states, mask), ["batch", config.hidden_size])
    return g.session(session_options(), PROVIDERS)
