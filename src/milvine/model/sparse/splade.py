"""SPLADE models, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milvine._texts import as_text
from milvine.model._local import check_device, check_fingerprint, identity_of, name_in
from milvine.model.base import BaseEmbeddingFunction
from milvine.types import SparseMatrix


class SpladeEmbeddingFunction(BaseEmbeddingFunction[SparseMatrix]):
    """Sparse vectors from a SPLADE model, run by onnxruntime in float32: one dimension a token of the vocabulary.

    A token's weight is log(1 + relu(logit)), the largest that any token of the text gives it (Formal et al. 2021,
    https://arxiv.org/abs/2109.10086); padding takes no part, so a vector depends on no other text. Results are
    `scipy.sparse.csr_array`s of float32 and shape `(n, dim)`, indices sorted, no explicit zeros. They are gathered
    batch by batch, and never held in full.

    The catalogue has `"splade-tiny"`, for English. The default is `pymilvus.model`'s; the catalogue does not have it
    yet, so pass the path of a folder that holds it.

    Args:
        model_name: A model of the catalogue, which `milvine models` lists; or the path of a folder that holds a masked
            language model in the layout of Sentence Transformers or of Hugging Face transformers.
        batch_size: Taken for the sake of programs written for `pymilvus.model`. Batches are formed by tokens, which is
            faster; see `batch_tokens`.
        query_instruction: Put before each query; by default what the model was trained with.
        doc_instruction: Put before each document; by default what the model was trained with.
        device: `"cpu"`.
        k_tokens_query: How many tokens a query's vector has at most, those of the largest weights; by default all.
        k_tokens_document: The same for a document's.
        folder: Where the files of a model of the catalogue lie, if they are not to be looked for.
        max_length: Tokens of a text that are read; by default, and for a model of the catalogue at most, what the
            model was made for.
        batch_tokens: Tokens that run together.
        threads: Batches that run at once; by default the number of processors.
        show_progress: Show a bar; by default on a terminal only.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "naver/splade-cocondenser-ensembledistil",
        batch_size: int = 32,
        query_instruction: str = "",
        doc_instruction: str = "",
        device: str = "cpu",
        k_tokens_query: int | None = None,
        k_tokens_document: int | None = None,
        *,
        folder: str | Path | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        threads: int | None = None,
        show_progress: bool | None = None,
    ) -> None:
        from milvine.local.encoder import LocalModel
        from milvine.local.engine import check_count

        check_device(device, batch_size)
        for name, count in (("k_tokens_query", k_tokens_query), ("k_tokens_document", k_tokens_document)):
            if count is not None:
                check_count(name, count)
        self._model = LocalModel(
            model_name,
            "sparse",
            folder=folder,
            max_length=max_length,
            batch_tokens=batch_tokens,
            threads=threads,
            show_progress=show_progress,
        )
        spec = self._model.spec
        self.model_name = spec.name
        self.query_instruction = as_text(query_instruction, "query_instruction") or spec.query_prompt
        self.doc_instruction = as_text(doc_instruction, "doc_instruction") or spec.document_prompt
        self.k_tokens_query = k_tokens_query
        self.k_tokens_document = k_tokens_document

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector: the tokens of the vocabulary."""
        return self._model.dim

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, a `tokenizers.Tokenizer`; its `id_to_token` names a dimension."""
        return self._model.tokenizer.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read, special tokens included."""
        return self._model.max_length

    def _encode_documents(self, texts: list[str]) -> SparseMatrix:
        return self._model.encode_sparse(texts, prompt=self.doc_instruction, keep=self.k_tokens_document)

    def _encode_queries(self, texts: list[str]) -> SparseMatrix:
        return self._model.encode_sparse(texts, prompt=self.query_instruction, keep=self.k_tokens_query)

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint, and every option that changes its vectors."""
        return {
            "function": "SpladeEmbeddingFunction",
            **identity_of(self._model),
            "dim": self.dim,
            "max_length": self.max_length,
            "query_instruction": self.query_instruction,
            "doc_instruction": self.doc_instruction,
            "k_tokens_query": self.k_tokens_query,
            "k_tokens_document": self.k_tokens_document,
        }

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> SpladeEmbeddingFunction:
        """The function that has this identity.

        Raises:
            UnknownModelError: This milvine's catalogue has no such model.
            ModelUnavailableError: The model's folder is gone.
            ModelFileError: The folder holds another model now.
        """
        made = cls(
            name_in(identity),
            query_instruction=identity["query_instruction"],
            doc_instruction=identity["doc_instruction"],
            k_tokens_query=identity["k_tokens_query"],
            k_tokens_document=identity["k_tokens_document"],
            max_length=identity["max_length"],
        )
        check_fingerprint(made._model, identity)
        return made
