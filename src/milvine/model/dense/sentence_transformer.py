"""Sentence Transformers models, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milvine._texts import as_text
from milvine.model._local import check_device, check_fingerprint, identity_of, name_in
from milvine.model.base import BaseEmbeddingFunction
from milvine.types import DenseVectors


class SentenceTransformerEmbeddingFunction(BaseEmbeddingFunction[DenseVectors]):
    """Dense vectors from a Sentence Transformers model, run by onnxruntime in float32.

    The default, all-MiniLM-L6-v2 (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2), has 384 dimensions
    and reads 256 tokens of English; vectors have length 1. The model's files are fetched at first use, or before by
    `milvine models pull`. An empty text has a vector like any other.

    A folder is read as Sentence Transformers reads it: its chain of modules, its maximum length, and its prompts for
    queries and documents. What its own chain normalises has length 1, whatever `normalize_embeddings` says.

    Args:
        model_name: A model of the catalogue, which `milvine models` lists; or the path of a folder that holds a model
            in the layout of Sentence Transformers or of Hugging Face transformers.
        batch_size: Taken for the sake of programs written for `pymilvus.model`. Batches are formed by tokens, which is
            faster; see `batch_tokens`.
        query_instruction: Put before each query; by default what the model was trained with.
        doc_instruction: Put before each document; by default what the model was trained with.
        device: `"cpu"`.
        normalize_embeddings: Scale vectors to length 1.
        folder: Where the files of a model of the catalogue lie, if they are not to be looked for. They are checked like
            any others.
        max_length: Tokens of a text that are read; by default, and for a model of the catalogue at most, what the
            model was made for.
        batch_tokens: Tokens that run together; small batches stay in the processor's cache.
        threads: Batches that run at once; by default the number of processors.
        show_progress: Show a bar; by default on a terminal only.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "all-MiniLM-L6-v2",
        batch_size: int = 32,
        query_instruction: str = "",
        doc_instruction: str = "",
        device: str = "cpu",
        normalize_embeddings: bool = True,
        *,
        folder: str | Path | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        threads: int | None = None,
        show_progress: bool | None = None,
    ) -> None:
        from milvine.local.encoder import LocalModel

        check_device(device, batch_size)
        self._model = LocalModel(
            model_name,
            "dense",
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
        self.normalize_embeddings = normalize_embeddings

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector."""
        return self._model.dim

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, a `tokenizers.Tokenizer` that neither cuts nor pads."""
        return self._model.tokenizer.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read, special tokens included."""
        return self._model.max_length

    def _encode_documents(self, texts: list[str]) -> DenseVectors:
        return self._encode(texts, self.doc_instruction)

    def _encode_queries(self, texts: list[str]) -> DenseVectors:
        return self._encode(texts, self.query_instruction)

    def _encode(self, texts: list[str], instruction: str) -> DenseVectors:
        return list(self._model.encode(texts, normalized=self.normalize_embeddings, prompt=instruction))

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint, and every option that changes its vectors.

        For the model of a folder, the weights are read to make the fingerprint, and the folder is named; where it lies
        changes no vector.
        """
        return {
            "function": "SentenceTransformerEmbeddingFunction",
            **identity_of(self._model),
            "dim": self.dim,
            "pooling": self._model.spec.pooling,
            "max_length": self.max_length,
            "normalize_embeddings": self.normalize_embeddings,
            "query_instruction": self.query_instruction,
            "doc_instruction": self.doc_instruction,
        }

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> SentenceTransformerEmbeddingFunction:
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
            normalize_embeddings=identity["normalize_embeddings"],
            max_length=identity["max_length"],
        )
        check_fingerprint(made._model, identity)
        return made
