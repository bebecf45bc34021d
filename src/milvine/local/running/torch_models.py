"""Models that run through sentence-transformers and PyTorch: those whose architecture milvine does not know.

It needs `pip install 'milvine[torch]'`, and is asked for with `backend="torch"`.
"""

from __future__ import annotations

import hashlib
import importlib
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine._callers import levels_to_caller
from milvine._progress import progress
from milvine.errors import (
    InputError,
    MissingExtraError,
    ModelError,
    ModelFileError,
    TruncationWarning,
    UnknownModelError,
)
from milvine.local.finding.hub import is_hub_id, snapshot_folder
from milvine.local.finding.sources import sha256_of, why_offline
from milvine.local.options import LocalOptions, check_count
from milvine.local.reading.prompts import choose_prompts
from milvine.local.running.devices import check_device
from milvine.local.running.sparse_rows import SparseRows
from milvine.local.running.tokenizer import check_unicode
from milvine.local.running.vector_form import VectorForm
from milvine.local.spec import OUTPUTS, ModelSpec
from milvine.types import DenseMatrix, SparseMatrix, Truncation

if TYPE_CHECKING:
    import numpy.typing as npt

WINDOW = 1024  # texts given to sentence-transformers together, which sorts them by length
SPARSE_WINDOW = 64  # texts whose terms are held in full

_CLASSES = {"dense": "SentenceTransformer", "sparse": "SparseEncoder", "reranker": "CrossEncoder"}
_NOT_HERE = ("batch_tokens", "threads", "quantize")


class TorchModel:
    """A model run by sentence-transformers, that does what `LocalModel` does.

    It is loaded at once: nothing is known of it before. No code that a model's repository holds is run.

    Args:
        name: The path of a folder, the id of a model on the Hugging Face hub, or a name of the catalogue.
        task: `"dense"`, `"sparse"` or `"reranker"`.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        batch_size: Texts that run together.
        options: `folder`, `revision`, `max_length` and `show_progress` of `LocalOptions`.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        InputError: An option is one that this backend does not have, or the task one that it does not do.
        ModelError: sentence-transformers cannot load the model.
    """

    backend = "torch"
    quantize = None

    def __init__(
        self, name: str | Path, task: str, *, device: str | None, batch_size: int, options: LocalOptions
    ) -> None:
        check_device(device)
        if task not in _CLASSES:
            raise InputError(f'backend="torch" does not run {task} models; it runs {", ".join(_CLASSES)} ones')
        for option in _NOT_HERE:
            if options.get(option) is not None:
                raise InputError(f'{option}= is not for backend="torch", where batch_size= says what runs together')
        self.device = device or "cpu"
        self.show_progress = options.get("show_progress")
        self.truncation = Truncation()
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._place, self._folder, revision = _place(name, options.get("folder"), options.get("revision"))
        self._model = _load(_CLASSES[task], self._place, self.device, revision)
        self._transformers_tokenizer = self._model.tokenizer
        self.spec = self._spec(str(name), task, revision)
        self.max_length = self.spec.max_length
        if (wanted := options.get("max_length")) is not None:
            check_count("max_length", wanted, 5 if task == "reranker" else 3)
            self.max_length = wanted
            name_of_it = "max_seq_length" if hasattr(self._model, "max_seq_length") else "max_length"
            setattr(self._model, name_of_it, wanted)
        self._fingerprint: str | None = None

    @property
    def dim(self) -> int:
        """Dimensions of a vector, or the number of a reranker's logits."""
        return self.spec.dim

    @property
    def tokenizer(self) -> Any:
        """An object whose `tokenizer` is the model's, a `tokenizers.Tokenizer` that neither cuts nor pads.

        Raises:
            ModelError: The model's tokenizer is no such one.
        """
        from tokenizers import Tokenizer

        backend = getattr(self._transformers_tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ModelError(f"the tokenizer of {self.spec.name} is written in Python, and is not given out")
        copy = Tokenizer.from_str(backend.to_str())
        copy.no_padding()
        copy.no_truncation()
        return _Held(copy)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the weights, 64 hexadecimal digits; of several files, that of their hashes in order.

        Raises:
            ModelFileError: The weights cannot be found or read.
        """
        if self._fingerprint is None:
            folder = self._folder or snapshot_folder(self._place, self.spec.revision)
            files = sorted(path for end in ("safetensors", "bin") for path in (folder or Path()).rglob(f"*.{end}"))
            if folder is None or not files:
                raise ModelFileError(f"the weights of {self.spec.name} cannot be found in {folder or 'the cache'}")
            hashes = [sha256_of(path) for path in files]
            joined = "\n".join(hashes).encode()
            self._fingerprint = hashes[0] if len(hashes) == 1 else hashlib.sha256(joined).hexdigest()
        return self._fingerprint

    def encode(self, texts: list[str], form: VectorForm | None = None, *, prompt: str = "") -> npt.NDArray[Any]:
        """See `LocalModel.encode`."""
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        applied = form or VectorForm(self.dim)
        rows = applied.empty(len(row_of))

        def run(start: int, part: list[str]) -> None:
            vectors = self._model.encode(part, prompt=prompt, **self._quietly)
            rows[start : start + len(part)] = applied.apply(self._checked(vectors, len(part)))

        self._each(list(row_of), prompt, WINDOW, run)
        return rows if len(row_of) == len(texts) else rows[[row_of[text] for text in texts]]

    def encode_sparse(self, texts: list[str], *, prompt: str = "", keep: int | None = None) -> SparseMatrix:
        """See `LocalModel.encode_sparse`."""
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        rows = SparseRows(len(row_of), self.dim, keep)

        def run(start: int, part: list[str]) -> None:
            vectors = self._model.encode(part, prompt=prompt, convert_to_sparse_tensor=False, **self._quietly)
            rows.store([*range(start, start + len(part))], self._checked(vectors, len(part)))

        self._each(list(row_of), prompt, SPARSE_WINDOW, run)
        return rows.matrix([row_of[text] for text in texts])

    def logits(self, query: str, documents: list[str], *, query_length: int | None = None) -> DenseMatrix:
        """See `LocalModel.logits`."""
        if query_length is not None:
            raise InputError('query_length= is not for backend="torch"')
        row_of = {text: row for row, text in enumerate(dict.fromkeys(documents))}
        rows = np.empty((len(row_of), self.dim), dtype=np.float32)
        identity = importlib.import_module("torch").nn.Identity()

        def run(start: int, part: list[str]) -> None:
            pairs = [(query, document) for document in part]
            found = self._model.predict(pairs, activation_fn=identity, **self._quietly)
            rows[start : start + len(part)] = self._checked(found.reshape(len(part), -1), len(part))

        check_unicode(query)
        self._each(list(row_of), query, WINDOW, run)
        return rows[[row_of[text] for text in documents]]

    def count_tokens(self, texts: list[str], *, prompt: str = "") -> list[int]:
        """See `LocalModel.count_tokens`."""
        if not texts:
            return []
        if self.spec.task == "reranker":
            found = self._transformers_tokenizer([prompt] * len(texts), texts, verbose=False)
        else:
            found = self._transformers_tokenizer([prompt + text for text in texts], verbose=False)
        return [len(ids) for ids in found["input_ids"]]

    @property
    def _quietly(self) -> dict[str, Any]:
        return (
            {"batch_size": self._batch_size, "convert_to_numpy": True, "show_progress_bar": False}
            if (self.spec.task != "sparse")
            else {"batch_size": self._batch_size, "convert_to_tensor": True, "show_progress_bar": False}
        )

    def _each(self, texts: list[str], prompt: str, window: int, run: Callable[[int, list[str]], None]) -> None:
        lost: list[int] = []
        description = "Reranking" if self.spec.task == "reranker" else "Encoding"
        with progress(description, len(texts), show=self.show_progress) as advance:
            for start in range(0, len(texts), window):
                part = texts[start : start + window]
                for text in part:
                    check_unicode(text)
                lost += [count - self.max_length for count in self.count_tokens(part, prompt=prompt)]
                run(start, part)
                advance(len(part))
        self._take_note([count for count in lost if count > 0], len(texts))

    def _take_note(self, lost: list[int], count: int) -> None:
        if not lost:
            return
        with self._lock:
            is_first = not self.truncation.texts
            self.truncation += Truncation(len(lost), sum(lost))
        if is_first:
            warnings.warn(
                f"{len(lost)} of {count} texts are longer than the {self.max_length} tokens that {self.spec.name} is"
                f" set to read, and lost their ends, {sum(lost):,} tokens; split them into passages to have all of"
                " them read",
                TruncationWarning,
                stacklevel=levels_to_caller(),
            )

    def _checked(self, found: Any, count: int) -> DenseMatrix:
        array = found if isinstance(found, np.ndarray) else found.detach().cpu().float().numpy()
        if array.shape != (count, self.dim):
            raise ModelError(f"{self.spec.name} gave an output of shape {array.shape}, not {(count, self.dim)}")
        if not np.isfinite(array).all():
            raise ModelError(
                f"{self.spec.name} gave NaN or infinity; its weights are damaged, or a text overflows them"
            )
        return np.asarray(array, dtype=np.float32)

    def _spec(self, name: str, task: str, revision: str | None) -> ModelSpec:
        model, folder = self._model, self._folder
        activation, query, document = "Identity", "", ""
        labels: tuple[str, ...] = ("LABEL_0",)
        if task == "reranker":
            dim, length = int(model.config.num_labels), getattr(model, "max_seq_length", None) or model.max_length
            labels = tuple(str(model.config.id2label[number]) for number in range(dim))
            activation = type(model.activation_fn).__name__ if dim == 1 else "Softmax"
        else:
            # Of a language model without a SpladePooling, sentence-transformers states the hidden size instead.
            dim, length = int(model.encode(["a"], show_progress_bar=False).shape[1]), model.max_seq_length
            prompts = {kind: text for kind, text in model.prompts.items() if text}  # it adds empty ones
            settings = {"prompts": prompts, "default_prompt_name": model.default_prompt_name}
            query, document = choose_prompts(settings, name)
        known = activation if activation in ("Identity", "Sigmoid", "Softmax") else None
        return ModelSpec(
            name=folder.name if folder else name,
            task=task,
            dims={OUTPUTS[task]: dim},
            max_length=length if isinstance(length, int) and length < 1 << 24 else 1 << 24,
            limit=None,
            heads=None,
            query_prompt=query,
            document_prompt=document,
            activation=known,
            labels=labels,
            folder=folder,
            revision=revision,
        )


class _Held:
    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer


def _place(name: str | Path, folder: str | Path | None, revision: str | None) -> tuple[str, Path | None, str | None]:
    """What sentence-transformers is told: a folder, or an id of the hub and a revision."""
    from milvine.local.finding.catalogue import find

    path = Path(name if folder is None else folder).expanduser()
    if path.is_dir():
        return str(path), path.resolve(), None
    try:
        row = find(str(name))
    except UnknownModelError:
        if folder is not None or not is_hub_id(str(name)):
            raise
        return str(name), None, revision
    return row.repo, None, revision or row.revision


def _load(kind: str, place: str, device: str, revision: str | None) -> Any:
    try:
        package = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingExtraError(
            "backend=\"torch\" needs sentence-transformers, which is not installed: pip install 'milvine[torch]'"
        ) from error
    try:
        return getattr(package, kind)(
            place, device=device, revision=revision, local_files_only=why_offline(None) is not None
        )
    except Exception as error:  # transformers, huggingface_hub and PyTorch raise all kinds
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelFileError(f"sentence-transformers cannot load {place} as a {kind}: {reason}") from error
