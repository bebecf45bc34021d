"""A model made ready to run: files fetched, tokenizer and session loaded at first use."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine._callers import levels_to_caller
from milvine.errors import InputError, ModelFileError, TruncationWarning
from milvine.local.building.sessions import built_session, ready_session
from milvine.local.finding.files import fetch_model
from milvine.local.finding.resolve import find_spec
from milvine.local.options import check_count, check_quantize
from milvine.local.running.devices import check_device, is_cuda, providers
from milvine.local.running.engine import BATCH_TOKENS, Arrays, Engine, Store, default_threads
from milvine.local.running.late_interaction import LateInteraction
from milvine.local.running.sparse_rows import SparseRows
from milvine.local.running.static import StaticEngine, holds_static, load_static
from milvine.local.running.tokenizer import TextTokenizer, Tokens
from milvine.local.running.vector_form import VectorForm
from milvine.local.spec import ModelFiles, ModelSpec
from milvine.types import DenseMatrix, SparseMatrix, Truncation

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnxruntime as ort

CUDA_BATCH_TOKENS = 16_384
"""Tokens that run together on a CUDA device, which small batches would leave idle."""

LARGE = 512_000_000
"""Bytes of weights beyond which they are held once only, whatever runs."""


class LocalModel:
    """A model on this machine; it may be used from several threads.

    For a verified model of the catalogue nothing is read or fetched before it is first used. Any other is fetched, and
    its small files are read, at once, so that errors come early; its weights are read at first use.

    Args:
        name: A name that the catalogue knows, the path of a folder that holds a model, or a hub id; or what `find_spec`
            gave.
        task: What the model must be for: one of `milvine.local.finding.catalogue.TASKS`.
        device: As `milvine.local.running.devices.providers` takes it.
        folder: This and the others as in `LocalOptions`; by default each sequence of a quantised file runs alone,
            because its results would depend on its batch.
        revision: See above.
        max_length: See above.
        batch_tokens: See above.
        threads: See above.
        quantize: See above.
        show_progress: See above.

    Raises:
        UnknownModelError: There is no such model in the catalogue, no such folder, and none on the hub.
        ModelUnavailableError: A model of the hub cannot be had.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: The model is for another task, or an option is out of range.
        InputTypeError: An argument is of the wrong type.
    """

    def __init__(
        self,
        name: str | Path | ModelSpec,
        task: str,
        *,
        device: str | None = "cpu",
        folder: str | Path | None = None,
        revision: str | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        threads: int | None = None,
        quantize: str | None = None,
        show_progress: bool | None = None,
    ) -> None:
        check_device(device)
        check_quantize(quantize, device)
        if is_cuda(device):
            providers(device)  # so that what is missing is said at once
        self.spec = name if isinstance(name, ModelSpec) else find_spec(name, task, folder, revision, show_progress)
        self.max_length = self.spec.max_length if max_length is None else max_length
        # Room for the special tokens and one token of each text.
        check_count("max_length", self.max_length, 5 if task == "reranker" else 3, self.spec.limit)
        # Dynamic quantisation scales by the whole batch: alone, a sequence's result depends on nothing else.
        usual = 1 if self.spec.quantization else CUDA_BATCH_TOKENS if is_cuda(device) else BATCH_TOKENS
        self._batch_tokens = usual if batch_tokens is None else batch_tokens
        self._threads = (1 if is_cuda(device) else default_threads()) if threads is None else threads
        check_count("batch_tokens", self._batch_tokens)
        check_count("threads", self._threads)
        self.quantize = quantize
        self.device = device or "cpu"
        self.show_progress = show_progress
        self.truncation = Truncation()
        self._folder = None if folder is None else Path(folder)
        self._lock = threading.Lock()
        self._loaded: tuple[TextTokenizer, Engine | StaticEngine] | None = None
        self._fingerprint: str | None = None

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
    def late(self) -> LateInteraction:
        """How texts become tokens in late interaction.

        Raises:
            ModelFileError: The model's files do not say.
        """
        if self.spec.late is None:
            raise ModelFileError(f"{self.spec.name} does not say how its queries and documents become tokens")
        return self.spec.late

    def keep_outputs(self, outputs: Collection[str]) -> None:
        """Compute these outputs alone, from now on; it is to be called before the model is used.

        Raises:
            InputError: The model has no such output, or none is wanted.
        """
        self.spec = self.spec.only(outputs)

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer."""
        return self._load()[0]

    def encode(self, texts: list[str], form: VectorForm | None = None, *, prompt: str = "") -> npt.NDArray[Any]:
        """The texts' dense vectors in a form, one a row; a text that comes twice is computed once.

        Args:
            texts: The texts.
            form: What is done to the model's vectors; by default nothing.
            prompt: What is put before each text.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used, or it fails.
        """
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        applied = form or VectorForm(self.dim)
        rows = applied.empty(len(row_of))

        def store(positions: list[int], _: list[Tokens], outputs: Arrays) -> None:
            rows[positions] = applied.apply(outputs["dense"])

        self.each(list(row_of), store, prompt=prompt)
        return rows if len(row_of) == len(texts) else rows[[row_of[text] for text in texts]]

    def encode_sparse(self, texts: list[str], *, prompt: str = "", keep: int | None = None) -> SparseMatrix:
        """The texts' sparse vectors, shape `(len(texts), dim)`; a text that comes twice is computed once.

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
        self.each(list(row_of), lambda at, _, outputs: rows.store(at, outputs["sparse"]), prompt=prompt)
        return rows.matrix([row_of[text] for text in texts])

    def logits(self, query: str, documents: list[str], *, query_length: int | None = None) -> DenseMatrix:
        """The model's logits for the query with each document; a document that comes twice is computed once.

        Args:
            query: The query.
            documents: The documents.
            query_length: Tokens of the query that are read, without special ones; of a pair too long, only the document
                is cut then. By default the longer text is.

        Returns:
            float32 of shape `(len(documents), labels)`.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used, or it fails.
        """
        row_of = {text: row for row, text in enumerate(dict.fromkeys(documents))}
        logits = np.empty((len(row_of), self.dim), dtype=np.float32)

        def store(positions: list[int], _: list[Tokens], outputs: Arrays) -> None:
            logits[positions] = outputs["logits"]

        pairs = partial(self.tokenizer.pairs, query, first_length=query_length) if documents else None
        self.each(list(row_of), store, tokenize=pairs, description="Reranking")
        return logits[[row_of[text] for text in documents]]

    def count_tokens(self, texts: list[str], *, prompt: str = "") -> list[int]:
        """How many tokens each text has in full, special ones and the prompt's included.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used.
        """
        return self.tokenizer.count([prompt + text for text in texts]) if texts else []

    def each(
        self,
        texts: list[str],
        store: Store,
        *,
        prompt: str = "",
        tokenize: Callable[[Sequence[str]], list[Tokens]] | None = None,
        max_length: int | None = None,
        description: str = "Encoding",
    ) -> None:
        """Run texts, and give every batch's outputs away as soon as they are there; see `Engine.each`.

        Args:
            texts: The texts.
            store: Takes what a batch gave.
            prompt: What is put before each text.
            tokenize: Makes tokens of texts; by default the model's tokenizer, after the prompt was put before them.
            max_length: Tokens that it reads of each text, if not the model's usual number.
            description: What the bar says.

        Raises:
            InputError: A text holds half of a surrogate pair.
            ModelError: The model's files cannot be had or used, or it fails.
        """
        if not texts:
            return
        tokenizer, engine = self._load()
        counting = _Counting(tokenize or self._prompted(tokenizer, prompt))
        engine.each(texts, counting, store, description=description, show_progress=self.show_progress)
        self._take_note(counting.truncation, len(texts), max_length or self.max_length)

    def _prompted(self, tokenizer: TextTokenizer, prompt: str) -> Callable[[Sequence[str]], list[Tokens]]:
        """Tokenizes texts with the prompt before them."""
        if not prompt:
            return tokenizer.texts
        unpooled = 0 if self.spec.pools_prompt else tokenizer.prompt_length(prompt)

        def tokenize(texts: Sequence[str]) -> list[Tokens]:
            tokens = tokenizer.texts([prompt + text for text in texts])
            return [replace(each, unpooled=unpooled) for each in tokens] if unpooled else tokens

        return tokenize

    def _take_note(self, truncation: Truncation, count: int, max_length: int) -> None:
        if not truncation.texts:
            return
        with self._lock:
            is_first, self.truncation = not self.truncation.texts, self.truncation + truncation
        if is_first:
            what = "pairs of query and document" if self.spec.task == "reranker" else "texts"
            warnings.warn(
                f"{truncation.texts} of {count} {what} are longer than the {max_length} tokens that"
                f" {self.spec.name} is set to read, and lost their ends, about {truncation.tokens:,} tokens; split them"
                " into passages to have all of them read",
                TruncationWarning,
                stacklevel=levels_to_caller(),
            )

    def _files(self) -> ModelFiles:
        if self.spec.files:
            return self.spec.files
        row = self.spec.row
        assert row is not None  # noqa: S101 - a spec has one or the other
        files = fetch_model(row, self._folder, show_progress=self.show_progress)
        return ModelFiles(files["tokenizer.json"], files.get("config.json"), (("", files[row.weights]),))

    def _load(self) -> tuple[TextTokenizer, Engine | StaticEngine]:
        with self._lock:
            if self._loaded is None:
                files = self._files()
                weights = files.weights[0][1]
                if holds_static(weights):
                    if self.quantize:
                        raise InputError(
                            f"quantize={self.quantize!r} is for networks; {self.spec.name} is a table: leave it out"
                        )
                    self._loaded = load_static(self.spec, files, self.max_length)
                    return self._loaded
                tokenizer = TextTokenizer(files.tokenizer, self.max_length, lowercase=self.spec.lowercase)
                engine = Engine(
                    partial(self._open, files, tokenizer),
                    self.spec.dims,
                    batch_tokens=self._batch_tokens,
                    threads=self._threads,
                    is_large=is_cuda(self.device) or files.size > LARGE,
                    source=str(weights),
                )
                self._loaded = tokenizer, engine
            return self._loaded

    def _open(self, files: ModelFiles, tokenizer: TextTokenizer, threads: int) -> ort.InferenceSession:
        path = files.weights[0][1]
        if files.config is None or path.suffix == ".onnx":
            if self.quantize and not self.spec.quantization:
                raise InputError(f"quantize={self.quantize!r} cannot be had of {path}, which is a ready ONNX file")
            return ready_session(self.spec, files, providers(self.device), threads)
        return built_session(
            self.spec,
            files,
            max_length=self.max_length,
            known=tokenizer.tokenizer.get_vocab_size(),
            providers=providers(self.device),
            quantize=self.quantize,
            threads=threads,
        )


class _Counting:
    """Tokenizes, and counts what was lost of texts that were too long."""

    def __init__(self, tokenize: Callable[[Sequence[str]], list[Tokens]]) -> None:
        self._tokenize = tokenize
        self.truncation = Truncation()

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        tokens = self._tokenize(texts)
        lost = [sequence.lost for sequence in tokens if sequence.lost]
        self.truncation += Truncation(len(lost), sum(lost))
        return tokens
