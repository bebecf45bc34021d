"""What the functions share that give one dense vector a text by a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.local.options import LocalOptions, check_switch
from milvine.local.running.vector_form import vector_form
from milvine.model._local import LocalEmbeddingFunction
from milvine.types import DenseVectors

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.local.spec import ModelSpec


class LocalDenseFunction(LocalEmbeddingFunction[DenseVectors]):
    """Dense vectors from a model on this machine; see `SentenceTransformerEmbeddingFunction` for the arguments."""

    TASK = "dense"
    SETTINGS = ("normalize_embeddings", "truncate_dim", "output")

    def __init__(
        self,
        model_name: str | Path | ModelSpec,
        batch_size: int,
        query_instruction: str,
        doc_instruction: str,
        device: str | None,
        normalize_embeddings: bool | None,
        truncate_dim: int | None,
        output: str,
        /,
        **options: Unpack[LocalOptions],
    ) -> None:
        super().__init__(model_name, batch_size, query_instruction, doc_instruction, device, **options)
        check_switch("normalize_embeddings", normalize_embeddings)
        own = self._model.spec.normalizes
        self.normalize_embeddings = own if normalize_embeddings is None else normalize_embeddings
        self.truncate_dim = truncate_dim
        self.output = output
        self._form = vector_form(self._model.dim, truncate_dim, self.normalize_embeddings, output)

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector; of a binary one, the number of bits."""
        return self._form.dim

    def _encode_documents(self, texts: list[str]) -> DenseVectors:
        return list(self._model.encode(texts, self._form, prompt=self.doc_instruction))

    def _encode_queries(self, texts: list[str]) -> DenseVectors:
        return list(self._model.encode(texts, self._form, prompt=self.query_instruction))

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint, and every option that changes its vectors.

        For the model of a folder, the weights are read to make the fingerprint, and the folder is named; where it lies
        changes no vector.
        """
        return super().identity() | {"pooling": self._model.spec.pooling}
