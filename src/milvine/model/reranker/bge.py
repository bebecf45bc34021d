"""BGE's rerankers, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from milvine.errors import InputError
from milvine.local.options import check_count, check_switch
from milvine.model._local import identity_of, local_model, one_device
from milvine.model.base import BaseRerankFunction, RerankResult
from milvine.model.reranker.cross_encoder import sigmoid

if TYPE_CHECKING:
    from milvine.local.options import LocalOptions

SPECIAL_TOKENS = 4
"""Those of a pair, in XLM-RoBERTa's layout; BERT's has one fewer."""


class BGERerankFunction(BaseRerankFunction):
    """Reranks by one of BGE's cross-encoders, run by onnxruntime in float32.

    Scores are those of FlagEmbedding's `BaseReranker`: the query is cut to `query_max_length` tokens, and of a pair
    still too long only the document loses its end. Any other classifier with one logit can be run so, too. BGE's
    rerankers that are language models (gemma, minicpm) cannot be run here.

    Args:
        model_name: A reranker of the catalogue or of the hub, or the path of a folder that holds one.
        use_fp16: Taken for the sake of programs written for `pymilvus.model`; all is computed in float32.
        batch_size: Taken for the sake of programs written for `pymilvus.model`; see `batch_tokens`.
        normalize: Whether scores are the logits' sigmoids, from 0 to 1, or the logits themselves.
        device: `"cpu"`, which is the default, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        query_max_length: Tokens of a query that are read, without special ones; and no more than leave one token of a
            document.
        max_length: Tokens of a pair that are read, special ones included.
        devices: FlagEmbedding's name for `device`.
        **options: See `milvine.local.options.LocalOptions`.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed, or the model tells several labels apart;
            `InputTypeError` if an option is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "BAAI/bge-reranker-v2-m3",
        use_fp16: bool = True,  # noqa: ARG002
        batch_size: int = 32,
        normalize: bool = True,
        device: str | None = None,
        query_max_length: int = 256,
        max_length: int = 512,
        *,
        devices: str | Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        check_switch("normalize", normalize)
        check_count("max_length", max_length, SPECIAL_TOKENS + 2)
        check_count("query_max_length", query_max_length)
        stated = cast("LocalOptions", {**options, "max_length": max_length})
        self._model = local_model(model_name, "reranker", one_device(device, devices), batch_size, stated)
        if self._model.dim != 1:
            raise InputError(
                f"{self._model.spec.name} tells {self._model.dim} labels apart, and a reranker has one;"
                " CrossEncoderRerankFunction(..., label=...) ranks by one of several"
            )
        self.model_name = self._model.spec.name
        self.normalize = normalize
        self.query_max_length = min(query_max_length, max_length - SPECIAL_TOKENS - 1)
        self.max_length = max_length

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:  # noqa: ARG002
        logits = self._model.logits(query, documents, query_length=self.query_max_length)[:, 0].tolist()
        scores = map(sigmoid, logits) if self.normalize else logits
        return [RerankResult(text, score, at) for at, (text, score) in enumerate(zip(documents, scores, strict=True))]

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint."""
        return {"function": "BGERerankFunction", **identity_of(self._model)}
