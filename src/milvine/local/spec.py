"""What a model is when it runs, whether a row of the catalogue says it or a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from milvine.errors import InputError, ModelFileError
from milvine.local.building.heads import Normalize, Pooling, Step
from milvine.local.finding.catalogue import ModelRow
from milvine.local.finding.sources import sha256_of
from milvine.local.reading.weights import weights_files
from milvine.local.running.late_interaction import LateInteraction


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's files lie.

    Attributes:
        tokenizer: Its `tokenizer.json`.
        config: Its `config.json`; `None` where the weights are a ready ONNX file.
        weights: Its checkpoints, each with what stands before its names in the graph: nothing for the encoder's.
    """

    tokenizer: Path
    config: Path | None
    weights: tuple[tuple[str, Path], ...]

    @property
    def size(self) -> int:
        """Bytes of the weights.

        Raises:
            ModelFileError: The index of a checkpoint in several files is no index, or a file is missing.
        """
        try:
            return sum(part.stat().st_size for _, path in self.weights for part in weights_files(path))
        except OSError as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"{error.filename} cannot be read: {error.strerror}") from error

    def fingerprint(self) -> str:
        """The sha256 of the weights, 64 hexadecimal digits; of several files, that of their hashes in order.

        Raises:
            ModelFileError: The index of a checkpoint in several files is no index.
            OSError: A file cannot be read.
        """
        hashes = [sha256_of(part) for _, path in self.weights for part in weights_files(path)]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


OUTPUTS = {"dense": "dense", "sparse": "sparse", "reranker": "logits", "multivector": "vectors"}
"""What the output of a model with one output is called, by its task."""

Heads = Mapping[str, tuple[Step, ...]]
"""What is made of the hidden states: for each output, by its name, the steps that lead to it."""


@dataclass(frozen=True)
class ModelSpec:
    """A model, and how its texts are treated.

    Attributes:
        name: What it is called: a row's name, or a folder's.
        task: What it is used for; see `milvine.local.finding.catalogue.TASKS`.
        dims: The dimensions of each output, by its name; of a reranker's logits, the number of labels.
        max_length: The longest input in tokens, by default.
        limit: The longest that may be asked for; `None` where there is no end.
        heads: What is made of the hidden states; `None` where `config.json` decides it.
        pools_prompt: Whether a prompt's tokens take part in pooling.
        query_prompt: What is put before a query.
        document_prompt: What is put before a document.
        lowercase: Whether texts are put into lower case before the tokenizer has them.
        typed: Whether the texts of a pair are told apart by the types of their tokens, where the model knows types.
        activation: What is made of a reranker's logit: `"Identity"` or `"Sigmoid"`, or of several `"Softmax"`; `None`
            where that is not known.
        labels: What a reranker's logits stand for, in their order.
        special_tokens: What the tokenizer's files call its special tokens; see `milvine.local.reading.special_tokens`.
        late: How texts become tokens in late interaction, if the task is that.
        quantization: As in `ModelRow`.
        row: The row, for a model of the catalogue.
        revision: The commit of the model's repository, if it is known.
        folder: The folder, for a model of one; an absolute path.
        files: The files, for a model of a folder.
    """

    name: str
    task: str
    dims: Mapping[str, int]
    max_length: int
    limit: int | None
    heads: Heads | None
    pools_prompt: bool = True
    query_prompt: str = ""
    document_prompt: str = ""
    lowercase: bool = False
    typed: bool = True
    activation: str | None = "Identity"
    labels: tuple[str, ...] = ("LABEL_0",)
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    late: LateInteraction | None = None
    quantization: str | None = None
    row: ModelRow | None = None
    revision: str | None = None
    folder: Path | None = None
    files: ModelFiles | None = None

    @property
    def dim(self) -> int:
        """The dimensions of the first output."""
        return next(iter(self.dims.values()))

    def only(self, outputs: Collection[str]) -> ModelSpec:
        """The same model with some of its outputs, so that the others are not computed.

        Raises:
            InputError: It has no such output, or none is wanted.
        """
        if not outputs:
            raise InputError(f"at least one output is needed; {self.name} has {', '.join(self.dims)}")
        lacking = ", ".join(name for name in outputs if name not in self.dims)
        if lacking:
            raise InputError(f"{self.name} has no output {lacking}; it has {', '.join(self.dims)}")
        heads = {name: head for name, head in (self.heads or {}).items() if name in outputs}
        return replace(self, dims={name: self.dims[name] for name in self.dims if name in outputs}, heads=heads)

    @property
    def normalizes(self) -> bool:
        """Whether the model itself scales the vectors of its first output to length 1, as far as is known."""
        if self.row and self.heads is None:
            return bool(self.row.normalize)
        head = next(iter((self.heads or {"": ()}).values()))
        return Normalize() in head or bool(self.row and self.row.normalize)

    @property
    def pooling(self) -> str | None:
        """The first output's head in words, such as `"mean, normalize"`; `None` where `config.json` decides it."""
        if self.row:
            return self.row.pooling
        if self.heads is None:
            return None
        head = next(iter(self.heads.values()))
        return ", ".join([*map(str, head), *([] if self.pools_prompt else ["without the prompt"])])


def spec_of_row(row: ModelRow) -> ModelSpec:
    """What a row of the catalogue says."""
    return ModelSpec(
        name=row.name,
        task=row.task,
        dims={OUTPUTS[row.task]: row.dim or 1},
        max_length=row.max_length,
        limit=row.max_length,
        heads={OUTPUTS[row.task]: (Pooling((row.pooling,)),)} if row.pooling else None,
        query_prompt=row.query_prefix,
        document_prompt=row.document_prefix,
        quantization=row.quantization,
        row=row,
        revision=row.revision,
    )
