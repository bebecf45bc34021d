"""Instructor models, on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from milvine.errors import InputError
from milvine.local.options import LocalOptions
from milvine.model._dense import LocalDenseFunction
from milvine.types import DenseVectors

if TYPE_CHECKING:
    from typing_extensions import Unpack


class InstructorEmbeddingFunction(LocalDenseFunction):
    """Dense vectors from an Instructor model (Su et al. 2022, https://arxiv.org/abs/2212.09741), run by onnxruntime.

    Such a model is told by an instruction what a text is wanted for. The instruction stands before the text and takes
    part in attention, but its tokens are left out of the mean. White space around texts and instructions is removed,
    as the published code does.

    Args:
        model_name: A model of the catalogue, the id of a model on the Hugging Face hub, or the path of a folder that
            holds one.
        batch_size: Taken for the sake of programs written for `pymilvus.model`; see `batch_tokens`.
        query_instruction: What a query is wanted for.
        doc_instruction: What a document is wanted for.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        normalize_embeddings: Scale vectors to length 1; the published models do so themselves.
        truncate_dim: How many dimensions of a vector are kept, the first.
        output: As in `SentenceTransformerEmbeddingFunction`.
        **options: See `milvine.local.options.LocalOptions`.

    Raises:
        UnknownModelError: There is no such model.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        MissingExtraError: `device` is a CUDA device, and the onnxruntime that is installed cannot use one.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "hkunlp/instructor-xl",
        batch_size: int = 32,
        query_instruction: str = "Represent the question for retrieval:",
        doc_instruction: str = "Represent the document for retrieval:",
        device: str | None = "cpu",
        normalize_embeddings: bool = True,
        *,
        truncate_dim: int | None = None,
        output: str = "float32",
        **options: Unpack[LocalOptions],
    ) -> None:
        if options.get("backend") == "torch":
            raise InputError('backend="torch" is not for Instructor models, which milvine runs itself')
        super().__init__(
            model_name,
            batch_size,
            query_instruction,
            doc_instruction,
            device,
            normalize_embeddings,
            truncate_dim,
            output,
            **options,
        )
        self.query_instruction = query_instruction.strip()
        self.doc_instruction = doc_instruction.strip()
        self._model.spec = replace(self._model.spec, pools_prompt=False)  # it is loaded at first use

    def _encode_documents(self, texts: list[str]) -> DenseVectors:
        return super()._encode_documents([text.strip() for text in texts])

    def _encode_queries(self, texts: list[str]) -> DenseVectors:
        return super()._encode_queries([text.strip() for text in texts])
