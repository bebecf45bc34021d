"""Running many token sequences through one session, close to what the machine can do.

Short sequences run beside short ones, so that padding costs next to nothing; batches are small enough to stay in a
core's cache; each worker thread runs its own batch on a session that uses one thread, because that keeps all cores
busy where parallel matrix products of this size cannot. Weights exist once, whatever the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine._progress import progress
from milvine.errors import ModelError
from milvine.local.options import check_count
from milvine.local.tokenizer import Tokens
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


def session_options() -> ort.SessionOptions:
    """Options of a session that runs one batch on the calling thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


Arrays = dict[str, np.ndarray[Any, Any]]
Store = Callable[[list[int], list[Tokens], Arrays], None]
"""Takes what a batch gave: the positions of its texts, their tokens, and by name the outputs, float32, of shape
`(batch, width)` or, one row a token, `(batch, length, width)`."""


class Engine:
    """Runs token sequences through a session.

    Args:
        session: An onnxruntime session with the inputs `input_ids`, `attention_mask` and, if it wants them,
            `token_type_ids` and `pooling_mask`.
        widths: The outputs that are wanted, and the dimensions of a row of each. Where one is wanted and the session
            has none of its name, its first output is meant.
        batch_tokens: Tokens a batch may have, padding included; 1 runs every sequence alone.
        threads: Batches that run at once; by default the number of processors.

    Raises:
        InputTypeError: `batch_tokens` or `threads` is no integer.
        InputError: `batch_tokens` or `threads` is less than 1.
        ModelError: The session wants other inputs, or lacks an output.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        widths: Mapping[str, int],
        *,
        batch_tokens: int = BATCH_TOKENS,
        threads: int | None = None,
    ) -> None:
        self.threads = default_threads() if threads is None else threads
        check_count("batch_tokens", batch_tokens)
        check_count("threads", self.threads)
        self.batch_tokens = batch_tokens
        self._session = session
        self._inputs = {value.name for value in session.get_inputs()}
        if not set(INPUTS[:2]) <= self._inputs <= {*INPUTS, POOLING_MASK}:
            raise ModelError(
                f"the model's inputs are {', '.join(sorted(self._inputs))};"
                f" they must be {INPUTS[0]}, {INPUTS[1]} and perhaps {INPUTS[2]}"
            )
        self._widths = dict(widths)
        outputs = [value.name for value in session.get_outputs()]
        self._outputs = outputs[:1] if len(widths) == 1 and outputs and not set(widths) & set(outputs) else list(widths)
        if not set(self._outputs) <= set(outputs):
            raise ModelError(f"the model's outputs are {', '.join(outputs)}; {', '.join(widths)} are wanted")

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
        if len(texts) == 1:
            tokens = tokenize(texts)
            store([0], tokens, self._batch(tokens))
            return
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="milvine")
        try:
            with progress(description, len(texts), show=show_progress) as advance:
                running: list[Future[int]] = []
                for start in range(0, len(texts), WINDOW):
                    tokens = tokenize(texts[start : start + WINDOW])  # while the window before this one still runs
                    for done in running:
                        advance(done.result())
                    running = [pool.submit(self._store, store, start, tokens, batch) for batch in self._batches(tokens)]
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

    def _store(self, store: Store, start: int, tokens: Sequence[Tokens], batch: list[int]) -> int:
        of_batch = [tokens[at] for at in batch]
        store([start + position for position in batch], of_batch, self._batch(of_batch))
        return len(batch)

    def _batch(self, tokens: Sequence[Tokens]) -> Arrays:
        shape = (len(tokens), max(map(len, tokens)))
        feed = {name: np.zeros(shape, dtype=np.int64) for name in self._inputs}
        for row, sequence in enumerate(tokens):
            feed["input_ids"][row, : len(sequence)] = sequence.ids
            feed["attention_mask"][row, : len(sequence)] = 1
            if "token_type_ids" in feed:
                feed["token_type_ids"][row, : len(sequence)] = sequence.type_ids
            if POOLING_MASK in feed:
                feed[POOLING_MASK][row, sequence.unpooled : len(sequence)] = 1
        try:
            outputs = self._session.run(self._outputs, feed)
        except Exception as error:  # onnxruntime's errors have no other base
            raise ModelError(f"the model fails on {shape[0]} texts of up to {shape[1]} tokens: {error}") from error
        return {
            name: _checked(output, shape, width)
            for (name, width), output in zip(self._widths.items(), outputs, strict=True)
        }


def _checked(output: np.ndarray[Any, Any], shape: tuple[int, int], width: int) -> np.ndarray[Any, Any]:
    if output.shape not in ((shape[0], width), (*shape, width)):
        raise ModelError(f"the model gave an output of shape {output.shape}, not {(shape[0], width)}")
    if not np.isfinite(output).all():
        raise ModelError("the model gave NaN or infinity; its weights are damaged, or a text overflows them")
    return np.ascontiguousarray(output, dtype=np.float32)
