"""Sentence Transformers models, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milvine._texts import as_text
from milvine.errors import InputError
from milvine.local.catalogue import find
from milvine.model.base import BaseEmbeddingFunction
from milvine.types import DenseVectors


class SentenceTransformerEmbeddingFunction(BaseEmbeddingFunction[DenseVectors]):
    """Dense vectors from a Sentence Transformers model, run by onnxruntime in float32.

    The default, all-MiniLM-L6-v2 (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2), has 384 dimensions
    and reads 256 tokens of English; vectors have length 1. The model's files are fetched at first use, or before by
    `milvine models pull`. An empty text has a vector like any other.

    Args:
        model_name: A model of the catalogue; `milvine models` lists it.
        batch_size: Taken for the sake of programs written for `pymilvus.model`. Batches are formed by tokens, which is
            faster; see `batch_tokens`.
        query_instruction: Put before each query; by default what the model was trained with.
        doc_instruction: Put before each document; by default what the model was trained with.
        device: `"cpu"`.
        normalize_embeddings: Scale vectors to length 1.
        folder: Where the model's files lie, if they are not to be looked for. They are checked like any others.
        max_length: Tokens of a text that are read, at most what the model was made for.
        batch_tokens: Tokens that run together; small batches stay in the processor's cache.
        threads: Batches that run at once; by default the number of processors.
        show_progress: Show a bar; by default on a terminal only.

    Raises:
        UnknownModelError: The catalogue has no such model.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str = "all-MiniLM-L6-v2",
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
        row = self._model.row
        self.model_name = row.name
        self.query_instruction = as_text(query_instruction, "query_instruction") or row.query_prefix
        self.doc_instruction = as_text(doc_instruction, "doc_instruction") or row.document_prefix
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
        prefixed = [instruction + text for text in texts] if instruction else texts
        return list(self._model.encode(prefixed, normalized=self.normalize_embeddings))

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint, and every option that changes its vectors."""
        row = self._model.row
        return {
            "function": "SentenceTransformerEmbeddingFunction",
            "model": row.name,
            "revision": row.revision,
            "fingerprint": row.fingerprint,
            "dim": self.dim,
            "pooling": row.pooling,
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
        """
        return cls(
            find(identity["model"]).name,
            query_instruction=identity["query_instruction"],
            doc_instruction=identity["doc_instruction"],
            normalize_embeddings=identity["normalize_embeddings"],
            max_length=identity["max_length"],
        )


def check_device(device: str, batch_size: int) -> None:
    """Refuse what the local models do not do.

    Raises:
        InputTypeError: `batch_size` is no integer.
        InputError: `device` is not the CPU, or `batch_size` is less than 1.
    """
    from milvine.local.engine import check_count

    if device not in ("cpu", ""):
        raise InputError(f'device must be "cpu", not {device!r}: this version of milvine runs on the CPU alone')
    check_count("batch_size", batch_size)
