"""SPLADE models, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from milvine.local.options import LocalOptions, check_count
from milvine.model._local import LocalEmbeddingFunction
from milvine.types import SparseMatrix

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SpladeEmbeddingFunction(LocalEmbeddingFunction[SparseMatrix]):
    """Sparse vectors from a SPLADE model, run by onnxruntime in float32: one dimension a token of the vocabulary.

    A token's weight is log(1 + relu(logit)), the largest that any token of the text gives it (Formal et al. 2021,
    https://arxiv.org/abs/2109.10086); padding takes no part, so a vector depends on no other text. Results are
    `scipy.sparse.csr_array`s of float32 and shape `(n, dim)`, indices sorted, no explicit zeros. They are gathered
    batch by batch, and never held in full.

    The default is `pymilvus.model`'s, which only the Hugging Face hub has, and whose licence (CC-BY-NC-SA-4.0) is not
    for commercial use. `"splade-tiny"` (MIT) can be had without the hub.

    Args:
        model_name: A model of the catalogue, which `milvine models` lists; the path of a folder that holds a masked
            language model in the layout of Sentence Transformers or of Hugging Face transformers; or a hub id.
        batch_size: Taken for the sake of programs written for `pymilvus.model`. Batches are formed by tokens, which is
            faster; see `batch_tokens`.
        query_instruction: Put before each query; by default what the model was trained with.
        doc_instruction: Put before each document; by default what the model was trained with.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        k_tokens_query: How many tokens a query's vector has at most, those of the largest weights; by default all.
        k_tokens_document: The same for a document's.
        **options: See `milvine.local.options.LocalOptions`.

    Raises:
        UnknownModelError: There is no such model in the catalogue, no such folder, and none on the hub.
        ModelUnavailableError: The model's files cannot be had.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    TASK = "sparse"
    SETTINGS = ("k_tokens_query", "k_tokens_document")

    def __init__(
        self,
        model_name: str | Path = "naver/splade-cocondenser-ensembledistil",
        batch_size: int = 32,
        query_instruction: str = "",
        doc_instruction: str = "",
        device: str | None = "cpu",
        k_tokens_query: int | None = None,
        k_tokens_document: int | None = None,
        **options: Unpack[LocalOptions],
    ) -> None:
        for name, count in (("k_tokens_query", k_tokens_query), ("k_tokens_document", k_tokens_document)):
            if count is not None:
                check_count(name, count)
        super().__init__(model_name, batch_size, query_instruction, doc_instruction, device, **options)
        self.k_tokens_query = k_tokens_query
        self.k_tokens_document = k_tokens_document

    def _encode_documents(self, texts: list[str]) -> SparseMatrix:
        return self._model.encode_sparse(texts, prompt=self.doc_instruction, keep=self.k_tokens_document)

    def _encode_queries(self, texts: list[str]) -> SparseMatrix:
        return self._model.encode_sparse(texts, prompt=self.query_instruction, keep=self.k_tokens_query)
