"""mGTE, on this machine: dense and sparse vectors from one pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from milvine.errors import InputError
from milvine.local.options import LocalOptions
from milvine.model.hybrid._hybrid import HybridEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack


class MGTEEmbeddingFunction(HybridEmbeddingFunction):
    """Dense and sparse vectors from mGTE (Zhang et al. 2024, https://arxiv.org/abs/2407.19669), in one pass.

    Results are a dict of what is asked for:

    - `dense`: a list of float32 arrays of shape `(768,)` or `(dimensions,)`, the first token's state.
    - `sparse`: a `scipy.sparse.csr_array`, float32, one row a text and one column a token of the vocabulary. A token
      that comes several times has the largest of its weights; special and unknown tokens have none.

    What is not asked for is not computed. Queries and documents are encoded alike: the model needs no instruction.

    Args:
        model_name: A model of the catalogue or of the hub, or the path of a folder that holds a classifier of tokens
            with one label.
        batch_size: Taken for the sake of programs written for `pymilvus.model`. Batches are formed by tokens, which is
            faster; see `batch_tokens`.
        device: `"cpu"`, which an empty string means too, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        normalize_embeddings: Whether dense vectors are scaled to length 1, after what is too much has been cut off.
        dimensions: Dimensions of a dense vector that are kept, the first; from 128 to 768 it was trained for. By
            default all.
        use_fp16: Taken for the sake of programs written for `pymilvus.model`; all is computed in float32.
        return_dense: Whether `dense` is wanted.
        return_sparse: Whether `sparse` is wanted.
        dimension: Another name for `dimensions`.
        query_instruction: Put before each query.
        doc_instruction: Put before each document.
        **options: See `milvine.local.options.LocalOptions`. By default up to 8,192 tokens of a text are read.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed, nothing is asked for, or the model does not have it;
            `InputTypeError` if it is of the wrong type.
    """

    SETTINGS = ("normalize_embeddings", "dimensions", "return_dense", "return_sparse")
    ASKED_BY: ClassVar[dict[str, str]] = {"dense": "return_dense", "sparse": "return_sparse"}

    def __init__(
        self,
        model_name: str | Path = "Alibaba-NLP/gte-multilingual-base",
        batch_size: int = 16,
        device: str | None = "",
        normalize_embeddings: bool = True,
        dimensions: int | None = None,
        use_fp16: bool = False,  # noqa: ARG002
        return_dense: bool = True,
        return_sparse: bool = True,
        *,
        dimension: int | None = None,
        query_instruction: str = "",
        doc_instruction: str = "",
        **options: Unpack[LocalOptions],
    ) -> None:
        if None not in (dimensions, dimension) and dimensions != dimension:
            raise InputError(f"dimensions={dimensions!r} and dimension={dimension!r} contradict each other")
        self.dimensions = dimension if dimensions is None else dimensions
        self.return_dense = return_dense
        self.return_sparse = return_sparse
        super().__init__(
            model_name,
            batch_size,
            query_instruction,
            doc_instruction,
            device,
            normalize=normalize_embeddings,
            dimensions=self.dimensions,
            **options,
        )
