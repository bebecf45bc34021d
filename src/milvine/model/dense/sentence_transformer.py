"""Sentence Transformers models, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from milvine.local.options import LocalOptions
from milvine.model._dense import LocalDenseFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SentenceTransformerEmbeddingFunction(LocalDenseFunction):
    """Dense vectors from a Sentence Transformers model, run by onnxruntime in float32.

    The default, all-MiniLM-L6-v2 (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2), has 384 dimensions
    and reads 256 tokens of English; vectors have length 1. The model's files are fetched at first use, or before by
    `milvine models pull`. An empty text has a vector like any other.

    A folder is read as Sentence Transformers reads it: its chain of modules, its maximum length, and its prompts for
    queries and documents. What its own chain normalises has length 1, whatever `normalize_embeddings` says.

    Args:
        model_name: A model of the catalogue, which `milvine models` lists; the path of a folder that holds a model in
            the layout of Sentence Transformers or of Hugging Face transformers; or the id of one on the Hugging Face
            hub, such as `"intfloat/e5-small-v2"`.
        batch_size: Taken for the sake of programs written for `pymilvus.model`. Batches are formed by tokens, which is
            faster; see `batch_tokens`.
        query_instruction: Put before each query; by default what the model was trained with.
        doc_instruction: Put before each document; by default what the model was trained with.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        normalize_embeddings: Scale vectors to length 1.
        truncate_dim: How many dimensions of a vector are kept, the first; for models trained for it (Matryoshka).
        output: `"float32"`; `"float16"`; `"int8"`, each vector scaled so that its largest component is 127 or -127, to
            be compared by cosine; or `"binary"`, one bit a dimension, 1 where it is above 0, eight to a byte, to be
            compared by Hamming distance.
        **options: See `milvine.local.options.LocalOptions`.

    Raises:
        UnknownModelError: There is no such model in the catalogue, no such folder, and none on the hub.
        ModelUnavailableError: The model's files cannot be had.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        MissingExtraError: `device` is a CUDA device, and the onnxruntime that is installed cannot use one.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "all-MiniLM-L6-v2",
        batch_size: int = 32,
        query_instruction: str = "",
        doc_instruction: str = "",
        device: str | None = "cpu",
        normalize_embeddings: bool = True,
        *,
        truncate_dim: int | None = None,
        output: str = "float32",
        **options: Unpack[LocalOptions],
    ) -> None:
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
