"""Running many token sequences through one session, close to what the machine can do.

Short sequences run beside short ones, so that padding costs next to nothing; batches are small enough to stay in a
core's cache; each worker thread runs its own batch on a session that uses one thread, because that keeps all cores
busy where parallel matrix products of this size cannot. Weights exist once, whatever the number of workers. What fits
one batch, such as a query, takes the short way: no workers, and a session that spreads each product over all cores.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine._progress import progress
from milvine.errors import ModelError, ModelFileError
from milvine.local.options import check_count
from milvine.local.running.tokenizer import Tokens
from milvine.types import DenseMatrix

if TYPE_CHECKING:
    import onnxruntime as ort

BATCH_TOKENS = 512  # measured: larger batches leave the cache and cost up to a fifth of the speed
WINDOW = 1024  # texts tokenized and sorted together; bounds the memory that tokens take
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
POOLING_MASK = "pooling_mask"
"""An input that a graph of ours may have besides: 1 for the tokens that are pooled."""


def default_threads() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def session_options(threads: int = 1) -> ort.SessionOptions:
    """Options of a session that runs a batch on so many threads, the calling one among them."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


Arrays = dict[str, np.ndarray[Any, Any]]
Store = Callable[[list[int], list[Tokens], Arrays], None]
"""Takes what a batch gave: the positions of its texts, their tokens, and by name the outputs, float32, of shape
`(batch, width)` or, one row a token, `(batch, length, width)`."""


class Engine:
    """Runs token sequences through sessions.

    Args:
        open_session: Gives an onnxruntime session that runs on so many threads, with the inputs `input_ids`,
            `attention_mask` and, if it wants them, `token_type_ids` and `pooling_mask`. It is called when such a
            session is first needed: once for one thread, and once for all.
        widths: The outputs that are wanted, and the dimensions of a row of each. Where one is wanted and the session
            has none of its name, its first output is meant.
        batch_tokens: Tokens a batch may have, padding included; 1 runs every sequence alone.
        threads: Batches that run at once, by default the number of processors; and the threads that a lone batch runs
            on, but no more than there are processors: they wait for each other, and more of them wait longer.
        is_large: Whether the weights are too large to be held twice: then there is one session, of the kind that is
            needed first.
        source: What errors call the model: its path.

    Raises:
        InputTypeError: `batch_tokens` or `threads` is no integer.
        InputError: `batch_tokens` or `threads` is less than 1.
    """

    def __init__(
        self,
        open_session: Callable[[int], ort.InferenceSession],
        widths: Mapping[str, int],
        *,
        batch_tokens: int = BATCH_TOKENS,
        threads: int | None = None,
        is_large: bool = False,
        source: str = "the model",
    ) -> None:
        self.threads = default_threads() if threads is None else threads
        check_count("batch_tokens", batch_tokens)
        check_count("threads", self.threads)
        self.batch_tokens = batch_tokens
        self._widths = dict(widths)
        self._open, self._is_large, self._source = open_session, is_large, source
        self._sessions: dict[int, ort.InferenceSession] = {}
        self._inputs: set[str] = set()
        self._outputs: list[str] = []
        self._lock = threading.Lock()

    def session(self, threads: int) -> ort.InferenceSession:
        """The session that runs on so many threads, opened if need be; of large weights, the one there is.

        Raises:
            ModelFileError: It cannot be opened, wants other inputs, or lacks an output.
        """
        with self._lock:
            if self._is_large and self._sessions:
                return next(iter(self._sessions.values()))
            if threads not in self._sessions:
                session = self._open(threads)
                self._inputs, self._outputs = _names(session, self._widths, self._source)
                self._sessions[threads] = session
            return self._sessions[threads]

    def run(
        self,
        texts: Sequence[str],
        tokenize: Callable[[Sequence[str]], list[Tokens]],
        *,
        description: str = "Encoding",
        show_progress: bool | None = None,
    ) -> DenseMatrix:
        """One row of the first output a text, in the texts' order; float32 of shape `(len(texts), width)`.

        Raises:
            ModelError: The model fails, or gives NaN, infinity or rows of another width.
        """
        name, width = next(iter(self._widths.items()))
        rows = np.empty((len(texts), width), dtype=np.float32)

        def store(positions: list[int], _: list[Tokens], outputs: Arrays) -> None:
            rows[positions] = outputs[name]

        self.each(texts, tokenize, store, description=description, show_progress=show_progress)
        return rows

    def each(
        self,
        texts: Sequence[str],
        tokenize: Callable[[Sequence[str]], list[Tokens]],
        store: Store,
        *,
        description: str = "Encoding",
        show_progress: bool | None = None,
    ) -> None:
        """Give every batch's rows away as soon as they are there, so that no more of them are held than run at once.

        Args:
            texts: The texts.
            tokenize: Makes tokens of them.
            store: Called with what each batch gave; from several threads.
            description: What the bar says.
            show_progress: Show a bar; by default on a terminal only.

        Raises:
            ModelError: The model fails, or gives NaN, infinity or rows of another width.
        """
        windows = (tokenize(texts[start : start + WINDOW]) for start in range(0, len(texts), WINDOW))
        first = next(windows, [])
        batches = list(self._batches(first))
        if len(first) == len(texts) and len(batches) <= 1:
            for batch in batches:
                self._store(store, self.session(min(self.threads, default_threads())), 0, first, batch)
            return
        session = self.session(1)
        workers = self.threads if 1 in self._sessions else 1
        pool = ThreadPoolExecutor(workers, thread_name_prefix="milvine")
        try:
            with progress(description, len(texts), show=show_progress) as advance:
                running: list[Future[int]] = []
                start = 0
                for tokens in chain([first], windows):  # tokenized while the window before still runs
                    for done in running:
                        advance(done.result())
                    running = [
                        pool.submit(self._store, store, session, start, tokens, batch)
                        for batch in self._batches(tokens)
                    ]
                    start += len(tokens)
                for done in running:
                    advance(done.result())
        finally:
            # After an error or Ctrl-C nothing that waits is begun; what runs ends within one batch.
            pool.shutdown(wait=True, cancel_futures=True)

    def _batches(self, tokens: Sequence[Tokens]) -> Iterator[list[int]]:
        """Positions of sequences that run together, the longest first so that no long batch ends the work alone."""
        batch: list[int] = []
        for position in sorted(range(len(tokens)), key=lambda at: -len(tokens[at])):
            if batch and (len(batch) + 1) * len(tokens[batch[0]]) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(position)
        if batch:
            yield batch

    def _store(
        self, store: Store, session: ort.InferenceSession, start: int, tokens: Sequence[Tokens], batch: list[int]
    ) -> int:
        of_batch = [tokens[at] for at in batch]
        store([start + position for position in batch], of_batch, self._batch(session, of_batch))
        return len(batch)

    def _batch(self, session: ort.InferenceSession, tokens: Sequence[Tokens]) -> Arrays:
        shape = (len(tokens), max(map(len, tokens)))
        feed = {name: np.zeros(shape, dtype=np.int64) for name in self._inputs}
        for row, sequence in enumerate(tokens):
            feed["input_ids"][row, : len(sequence)] = sequence.ids
            feed["attention_mask"][row, : len(sequence) - sequence.unattended] = 1
            if "token_type_ids" in feed:
                feed["token_type_ids"][row, : len(sequence)] = sequence.type_ids
            if POOLING_MASK in feed:
                feed[POOLING_MASK][row, sequence.unpooled : len(sequence)] = 1
        try:
            outputs = session.run(self._outputs, feed)
        except Exception as error:  # onnxruntime's errors have no other base
            raise ModelError(f"{self._source} fails on {shape[0]} texts of up to {shape[1]} tokens: {error}") from error
        return {
            name: self._checked(output, shape, width)
            for (name, width), output in zip(self._widths.items(), outputs, strict=True)
        }

    def _checked(self, output: np.ndarray[Any, Any], shape: tuple[int, int], width: int) -> np.ndarray[Any, Any]:
        if output.shape not in ((shape[0], width), (*shape, width)):
            raise ModelError(f"{self._source} gave an output of shape {output.shape}, not {(shape[0], width)}")
        if not np.isfinite(output).all():
            raise ModelError(f"{self._source} gave NaN or infinity; its weights are damaged, or a text overflows them")
        return np.ascontiguousarray(output, dtype=np.float32)


def _names(session: ort.InferenceSession, widths: Mapping[str, int], source: str) -> tuple[set[str], list[str]]:
    """The inputs of a session, and what it calls the outputs that are wanted."""
    inputs = {value.name for value in session.get_inputs()}
    if not set(INPUTS[:2]) <= inputs <= {*INPUTS, POOLING_MASK}:
        raise ModelFileError(
            f"{source} cannot be run: the model's inputs are {', '.join(sorted(inputs))};"
            f" they must be {INPUTS[0]}, {INPUTS[1]} and perhaps {INPUTS[2]}"
        )
    outputs = [value.name for value in session.get_outputs()]
    wanted = outputs[:1] if len(widths) == 1 and outputs and not set(widths) & set(outputs) else list(widths)
    if not set(wanted) <= set(outputs):
        raise ModelFileError(
            f"{source} cannot be run: the model's outputs are {', '.join(outputs)}; {', '.join(widths)} are wanted"
        )
    return inputs, wanted
