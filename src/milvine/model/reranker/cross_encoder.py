"""Cross-encoders: models that read a query and a document together, on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.errors import InputError, InputTypeError, ModelFileError
from milvine.local.options import LocalOptions
from milvine.model._local import identity_of, local_model
from milvine.model.base import BaseRerankFunction, RerankResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_MODEL = "ms-marco-MiniLM-L-12-v2"


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


class CrossEncoderRerankFunction(BaseRerankFunction):
    """Reranks by a cross-encoder, run by onnxruntime.

    The default, ms-marco-MiniLM-L-12-v2 (https://huggingface.co/cross-encoder/ms-marco-MiniLM-L12-v2), was trained on
    questions and passages of the web. The catalogue's file is quantised to int8; each pair runs alone, because the
    quantisation would make a score depend on the other pairs of its batch.

    Args:
        model_name: A reranker of the catalogue; empty for the default; the path of a folder that holds a classifier in
            the layout of Sentence Transformers or of Hugging Face transformers; or a hub id.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        batch_size: Taken for the sake of programs written for `pymilvus.model`; see `batch_tokens`.
        activation_fct: What is made of the model's logit: a function of one float, such as `sigmoid` of this module;
            by default, for a model of the catalogue, the logit itself, which for the default model is from about -11
            to 11; for a model of a folder, what Sentence Transformers makes of it: what the model's files name, else
            the sigmoid. Of several labels, the one that is wanted has its share, from 0 to 1: the softmax of all
            logits, or, where the model's files say that several labels may hold, the sigmoid of its own.
        label: For a model that tells several labels apart, such as entailment and contradiction, the one that
            documents are ordered by: its name or its number.
        **options: See `milvine.local.options.LocalOptions`. Of a pair longer than `max_length` the longer text loses
            its end.

    Raises:
        UnknownModelError: There is no such model in the catalogue, no such folder, and none on the hub.
        ModelUnavailableError: The model's files cannot be had.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed, or of several labels none is named; `InputTypeError` if
            an option is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "",
        device: str | None = "",
        batch_size: int = 32,
        activation_fct: Callable[[float], float] | None = None,
        *,
        label: int | str | None = None,
        **options: Unpack[LocalOptions],
    ) -> None:
        if activation_fct is not None and not callable(activation_fct):
            raise InputTypeError(f"activation_fct must be a function of one float, not {activation_fct!r}")
        self._model = local_model(model_name or DEFAULT_MODEL, "reranker", device, batch_size, options)
        self.model_name = self._model.spec.name
        if activation_fct is None and self._model.spec.activation is None:
            raise ModelFileError(
                f"the activation that {self._model.spec.folder} names is not known here; pass activation_fct, a"
                " function of one float"
            )
        self.label = label
        self._logit = _logit_of(label, self._model.spec.labels, self._model.dim, self.model_name)
        self._shares = activation_fct is None and self._model.spec.activation == "Softmax"
        own = sigmoid if self._model.spec.activation == "Sigmoid" else float
        self.activation_fct: Callable[[float], float] = activation_fct or own

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:  # noqa: ARG002
        rows, at = self._model.logits(query, documents).tolist(), self._logit
        scores = [_share(row, at) if self._shares else self._activated(row[at]) for row in rows]
        if any(map(math.isnan, scores)):
            raise InputError("activation_fct gives NaN for some logits, and NaN cannot be ranked")
        return [RerankResult(text, score, at) for at, (text, score) in enumerate(zip(documents, scores, strict=True))]

    def _activated(self, logit: float) -> float:
        given = self.activation_fct(logit)
        try:
            return float(given)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputTypeError(f"activation_fct gives {given!r} for {logit!r}; it must give one float") from error

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint, and the label that documents are ordered by, if one is named."""
        label = {} if self.label is None else {"label": self.label}
        return {"function": "CrossEncoderRerankFunction", **identity_of(self._model), **label}


def _logit_of(label: int | str | None, labels: tuple[str, ...], count: int, name: str) -> int:
    """Which of a model's `count` logits makes the score.

    Raises:
        InputError: There is no such label, or there are several and none is named.
        InputTypeError: It is neither a name nor a number.
    """
    if label is None and count == 1:
        return 0
    known = ", ".join(f"{number}: {label!r}" for number, label in enumerate(labels))
    if label is None:
        raise InputError(
            f"{name} tells {count} labels apart ({known}), and documents can be ordered by one: pass label=, its name"
            " or its number"
        )
    if isinstance(label, bool) or not isinstance(label, (int, str)):
        raise InputTypeError(f"label must be a name or a number, not {type(label).__name__} ({label!r})")
    number = labels.index(label) if label in labels else label
    if not isinstance(number, int) or not 0 <= number < count:
        raise InputError(f"{name} has no label {label!r}; it has {known}")
    return number


def _share(logits: list[float], at: int) -> float:
    """One logit's share of the softmax, without overflow."""
    return 1 / sum(math.exp(min(logit - logits[at], 700)) for logit in logits)
