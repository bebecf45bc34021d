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
        model_name: A reranker of the catalogue; empty for the default; or the path of a folder that holds a classifier
            with one logit, in the layout of Sentence Transformers or of Hugging Face transformers.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        batch_size: Taken for the sake of programs written for `pymilvus.model`; see `batch_tokens`.
        activation_fct: What is made of the model's logit: a function of one float, such as `sigmoid` of this module;
            by default, for a model of the catalogue, the logit itself, which for the default model is from about -11
            to 11; for a model of a folder, what Sentence Transformers makes of it: what the model's files name, else
            the sigmoid.
        **options: See `milvine.local.options.LocalOptions`. Of a pair longer than `max_length` the longer text loses
            its end.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "",
        device: str | None = "",
        batch_size: int = 32,
        activation_fct: Callable[[float], float] | None = None,
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
        own = sigmoid if self._model.spec.activation == "Sigmoid" else float
        self.activation_fct: Callable[[float], float] = activation_fct or own

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:  # noqa: ARG002
        scores = [float(self.activation_fct(logit)) for logit in self._model.score(query, documents)]
        if any(map(math.isnan, scores)):
            raise InputError("activation_fct gives NaN for some logits, and NaN cannot be ranked")
        return [RerankResult(text, score, at) for at, (text, score) in enumerate(zip(documents, scores, strict=True))]

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint."""
        return {"function": "CrossEncoderRerankFunction", **identity_of(self._model)}
