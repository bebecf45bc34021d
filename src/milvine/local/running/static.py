"""Static embeddings: a table of token vectors, of which a text's vector is the mean. No network runs.

Two libraries publish such tables, and each has its own rules for texts: Model2Vec
(https://github.com/MinishLab/model2vec) and the `StaticEmbedding` module of Sentence Transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milvine._progress import progress
from milvine.errors import ModelFileError
from milvine.local.building.heads import Normalize, Pooling
from milvine.local.finding.hub_files import named_modules
from milvine.local.reading.json_files import read_json
from milvine.local.reading.prompts import read_prompts
from milvine.local.running.tokenizer import TextTokenizer, Tokens
from milvine.local.running.vector_form import normalized
from milvine.local.spec import ModelFiles, ModelSpec
from milvine.types import DenseMatrix

if TYPE_CHECKING:
    import numpy.typing as npt
    from tokenizers import Tokenizer

    from milvine.local.running.engine import Store

WINDOW = 512  # texts tokenized together; bounds the memory that tokens take
MODEL2VEC_MAX_LENGTH = 512
"""Tokens of a text that Model2Vec reads where the model's `config.json` says nothing (its `StaticModel.encode`)."""

ENDLESS = 1 << 31
"""The maximum length of a model that reads texts to their ends."""

MODEL2VEC, SENTENCE_TRANSFORMERS = "embeddings", "embedding.weight"
"""What each library calls the table in its `model.safetensors`."""

_TABLES = {MODEL2VEC, SENTENCE_TRANSFORMERS}
_BESIDES = {"mapping", "weights"}  # a vocabulary that shares rows has these (Model2Vec's vocabulary quantisation)
_WEIGHTS = "model.safetensors"
_PLACES = ("", "0_StaticEmbedding")


def holds_static(path: Path) -> bool:
    """Whether a checkpoint is a table of token vectors and nothing else, going by the names in its header."""
    try:
        return path.suffix == ".safetensors" and _are_static(_tensor_names(path))
    except ModelFileError:
        return False  # whoever reads it next says what is wrong with it


def is_static(folder: Path) -> bool:
    """Whether a folder holds static embeddings, or says that it does, though they be missing or damaged."""
    if named_modules(folder)[0][0] == "StaticEmbedding":
        return True
    with suppress(ModelFileError):
        if read_json(folder / "config.json", dict).get("model_type") == "model2vec":
            return True
    return any((folder / place / _WEIGHTS).is_file() and holds_static(folder / place / _WEIGHTS) for place in _PLACES)


def read_static_folder(folder: Path) -> ModelSpec:
    """The static embeddings of a folder; its small files are read, and the header of its weights.

    Args:
        folder: A folder as Model2Vec saves it (`model.safetensors`, `tokenizer.json`, `config.json`), or as Sentence
            Transformers does (`modules.json` with a `StaticEmbedding`, and perhaps a `Normalize` after it).

    Raises:
        ModelFileError: A file is missing, or says what cannot be run here.
    """
    at = next((folder / place for place in _PLACES if (folder / place / _WEIGHTS).is_file()), None)
    if at is None:
        raise ModelFileError(f"{folder} holds no static embeddings: there is no {_WEIGHTS} in it")
    weights = at / _WEIGHTS
    names = _tensor_names(weights)
    if not _are_static(names):
        raise ModelFileError(
            f"{weights} holds no static embeddings: it has neither a tensor {MODEL2VEC!r} (Model2Vec) nor"
            f" {SENTENCE_TRANSFORMERS!r} (Sentence Transformers), or others besides"
        )
    config: Path | None = None
    max_length = ENDLESS
    if MODEL2VEC in names:
        config = at / "config.json"
        said = read_json(config, dict)
        is_normalized = bool(said.get("normalize", False))
        max_length = _max_length(said.get("max_length", MODEL2VEC_MAX_LENGTH), config)
    else:
        is_normalized = _ends_normalized(folder)
        max_length = _truncation(at / "tokenizer.json")
    query, document = read_prompts(folder / "config_sentence_transformers.json")
    return ModelSpec(
        name=folder.resolve().name,
        folder=folder.resolve(),
        task="dense",
        dims={"dense": _dim(weights)},
        max_length=max_length,
        limit=None,
        heads={"dense": (Pooling(("mean",)), *([Normalize()] if is_normalized else []))},
        query_prompt=query,
        document_prompt=document,
        files=ModelFiles(at / "tokenizer.json", config, (("", weights),)),
    )


class StaticTokenizer(TextTokenizer):
    """Texts to token ids without special ones, by the rules of the library that published the table.

    Model2Vec drops unknown tokens, and of a text reads no more characters than `max_length` tokens of the median
    length have.

    Args:
        path: A `tokenizer.json`; its own padding and truncation are ignored.
        max_length: Tokens of a text that are read.
        is_model2vec: Whose rules.

    Raises:
        ModelFileError: The file is missing or no tokenizer.
    """

    def __init__(self, path: Path, max_length: int, *, is_model2vec: bool) -> None:
        super().__init__(path, max_length)
        self._one, self._two = [(0, 0, 0)], [(0, 0, 0), (1, 0, 0)]  # texts, and nothing beside them
        self._unknown = _unknown_id(self.tokenizer) if is_model2vec else None
        lengths = [len(token) for token in self.tokenizer.get_vocab()]
        self._characters = max_length * int(np.median(lengths)) if is_model2vec else None

    def texts(self, texts: Sequence[str]) -> list[Tokens]:
        """See `TextTokenizer`."""
        heads = [text[: self._characters] for text in texts]
        made = []
        for text, head, ids in zip(texts, heads, self._encode(heads), strict=True):
            rest = text[len(head) :]
            beyond = round(len(rest) * len(ids) / len(head)) if rest.strip() else 0
            kept = ids[: self.max_length]
            known = [token for token in kept if token != self._unknown] if self._unknown in kept else kept
            made.append(Tokens(known, [], len(ids) - len(kept) + beyond))
        return made


class StaticEngine:
    """Gives texts the means of their tokens' vectors, as `Engine` gives them what a session makes of them.

    A text without a token that the model knows, such as an empty one, has a vector of zeros.

    Args:
        path: The table, a safetensors file.
        normalize: Whether to scale vectors to length 1.
        tokens: How many ids the tokenizer may give.
        dim: Dimensions of a vector.

    Raises:
        ModelFileError: The file is damaged, has vectors of other dimensions, or none for a token.
    """

    def __init__(self, path: Path, *, normalize: bool, tokens: int, dim: int) -> None:
        tensors = _tensors(path)
        table = tensors[MODEL2VEC] if MODEL2VEC in tensors else tensors[SENTENCE_TRANSFORMERS]
        if table.ndim != 2 or not len(table) or table.shape[1] != dim:
            raise ModelFileError(f"{path}: the token vectors have shape {table.shape}; it must be (tokens, {dim})")
        self._table = table.astype(np.float32, copy=False)
        self._rows, self._weights = tensors.get("mapping"), tensors.get("weights")
        self._normalize = normalize
        _check_parts(path, tokens, self._table, self._rows, self._weights)

    def each(
        self,
        texts: Sequence[str],
        tokenize: Callable[[Sequence[str]], list[Tokens]],
        store: Store,
        *,
        description: str = "Encoding",
        show_progress: bool | None = None,
    ) -> None:
        """Give every window's vectors away as soon as they are there; see `Engine.each`."""
        with progress(description, len(texts), show=show_progress) as advance:
            for start in range(0, len(texts), WINDOW):
                tokens = tokenize(texts[start : start + WINDOW])
                means = self._means(tokens)
                vectors = normalized(means) if self._normalize else means
                store([*range(start, start + len(tokens))], tokens, {"dense": vectors})
                advance(len(tokens))

    def _means(self, tokens: Sequence[Tokens]) -> DenseMatrix:
        from scipy.sparse import csr_array

        counts = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        ids = np.fromiter(chain.from_iterable(each.ids for each in tokens), dtype=np.int32, count=int(counts.sum()))
        # A text is a row that has its tokens as columns; a token that comes twice stands there twice.
        values = np.ones(len(ids), dtype=np.float32) if self._weights is None else self._weights[ids]
        columns = ids if self._rows is None else self._rows[ids]
        ends = np.concatenate(([0], np.cumsum(counts)), dtype=np.int32)
        sums = csr_array((values, columns, ends), shape=(len(tokens), len(self._table))) @ self._table
        return np.asarray(sums / np.maximum(counts, 1)[:, None], dtype=np.float32)


def load_static(spec: ModelSpec, files: ModelFiles, max_length: int) -> tuple[StaticTokenizer, StaticEngine]:
    """Static embeddings made ready to run.

    Args:
        spec: What is known of them.
        files: Where they lie.
        max_length: Tokens of a text that are read.

    Raises:
        ModelFileError: A file is damaged, or contradicts another.
    """
    path = files.weights[0][1]
    tokenizer = StaticTokenizer(files.tokenizer, max_length, is_model2vec=MODEL2VEC in _tensor_names(path))
    tokens = max(tokenizer.tokenizer.get_vocab().values()) + 1
    normalize = bool(spec.row.normalize) if spec.row else Normalize() in (spec.heads or {})["dense"]
    return tokenizer, StaticEngine(path, normalize=normalize, tokens=tokens, dim=spec.dim)


def _truncation(path: Path) -> int:
    """What the tokenizer's own file cuts texts to, which Sentence Transformers leaves as it is."""
    own = read_json(path, dict).get("truncation")
    if not own:
        return ENDLESS
    if str(own.get("direction", "Right")).lower() != "right":
        raise ModelFileError(f"{path} cuts texts at their heads; only cutting at their ends is known here")
    return _max_length(own.get("max_length"), path)


def _max_length(said: Any, path: Path) -> int:
    if said is None:
        return ENDLESS
    if isinstance(said, bool) or not isinstance(said, int) or said < 1:
        raise ModelFileError(f"{path}: max_length is {said!r}; it must be a whole number above 0, or null")
    return said


def _kind(module: dict[str, Any]) -> str:
    return str(module.get("type")).rpartition(".")[2]


def _ends_normalized(folder: Path) -> bool:
    """Whether Sentence Transformers' chain of modules scales vectors to length 1 after the table."""
    path = folder / "modules.json"
    if not path.is_file():
        return False
    modules = read_json(path, list)
    kinds = [_kind(module) if isinstance(module, dict) else repr(module) for module in modules]
    if kinds not in (["StaticEmbedding"], ["StaticEmbedding", "Normalize"]):
        raise ModelFileError(
            f"{path}: a chain of {', '.join(kinds) or 'no modules'} is not known here; static embeddings are a"
            " StaticEmbedding, and perhaps a Normalize"
        )
    return "Normalize" in kinds


def _are_static(names: set[str]) -> bool:
    return bool(names & _TABLES) and names <= _TABLES | _BESIDES


def _tensor_names(path: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return set(file.keys())
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is not a usable safetensors file: {error}") from error


def _dim(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        shape = file.get_slice(next(iter(_TABLES & set(file.keys())))).get_shape()
    return int(shape[-1]) if shape else 0


def _tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of the file, integers too: an int8 table and the rows that a quantised vocabulary shares."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: dict[str, npt.NDArray[Any]] = load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError) as error:  # numpy has no bfloat16: a KeyError
        raise ModelFileError(f"{path} is not a usable safetensors file of static embeddings: {error!r}") from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelFileError(f"{path}: the tensor {name!r} holds NaN or infinity; the file is damaged")
    return tensors


def _check_parts(
    path: Path,
    tokens: int,
    table: npt.NDArray[Any],
    rows: npt.NDArray[Any] | None,
    weights: npt.NDArray[Any] | None,
) -> None:
    """Refuse a table that lacks the vector of a token; `tokens` is how many ids the tokenizer may give."""
    if rows is None:
        problem = f"{len(table)} vectors" if len(table) < tokens else ""
    elif rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) < tokens:
        problem = f"a mapping of type {rows.dtype} and shape {rows.shape}"
    else:
        problem = f"a mapping beyond its {len(table)} vectors" if not 0 <= rows.min() <= rows.max() < len(table) else ""
    if not problem and weights is not None and (weights.ndim != 1 or len(weights) < tokens):
        problem = f"weights of shape {weights.shape}"
    if problem:
        raise ModelFileError(f"{path} has {problem}, but its tokenizer.json knows {tokens} tokens")


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id of the token that stands for what the tokenizer does not know, if it has one."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown = (
        model.get("unk_id") if model.get("type") == "Unigram" else tokenizer.token_to_id(model.get("unk_token") or "")
    )
    return None if unknown is None else int(unknown)
