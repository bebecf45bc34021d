"""BGE-M3, on this machine: dense, sparse and token vectors from one pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from milvine.local.options import LocalOptions
from milvine.model._local import one_device
from milvine.model.hybrid._hybrid import HybridEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack


class BGEM3EmbeddingFunction(HybridEmbeddingFunction):
    """Dense, sparse and token vectors from BGE-M3 (Chen et al. 2024, https://arxiv.org/abs/2402.03216), in one pass.

    Results are a dict of what is asked for:

    - `dense`: a list of float32 arrays of shape `(1024,)`, the first token's state.
    - `sparse`: a `scipy.sparse.csr_array`, float32, one row a text and one column a token of the vocabulary. A token
      that comes several times has the largest of its weights; special and unknown tokens have none.
    - `colbert_vecs`: for each text a float32 array of shape `(tokens, 1024)`, one row for each of its tokens but the
      first. `milvine.rank.maxsim` compares them; FlagEmbedding divides that by the number of the query's tokens.

    What is not asked for is not computed. Queries and documents are encoded alike: the model needs no instruction.
    A text's vectors depend on no other text, and are those of FlagEmbedding.

    Args:
        model_name: BGE-M3, or a model trained from it, by its name in the catalogue, its id on the hub, or the path of
            a folder that holds `sparse_linear.pt` and `colbert_linear.pt` beside the encoder.
        batch_size: Taken for the sake of programs written for `pymilvus.model`. Batches are formed by tokens, which is
            faster; see `batch_tokens`.
        device: `"cpu"`, which is the default, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        normalize_embeddings: Whether dense and token vectors are scaled to length 1.
        use_fp16: Taken for the sake of programs written for `pymilvus.model`; all is computed in float32.
        return_dense: Whether `dense` is wanted.
        return_sparse: Whether `sparse` is wanted.
        return_colbert_vecs: Whether `colbert_vecs` is wanted.
        devices: FlagEmbedding's name for `device`.
        query_instruction: Put before each query.
        doc_instruction: Put before each document.
        **options: See `milvine.local.options.LocalOptions`. By default up to 8,192 tokens of a text are read;
            FlagEmbedding's own default is 512.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed, nothing is asked for, or the model does not have it;
            `InputTypeError` if it is of the wrong type.
    """

    SETTINGS = ("normalize_embeddings", "return_dense", "return_sparse", "return_colbert_vecs")
    ASKED_BY: ClassVar[dict[str, str]] = {
        "dense": "return_dense",
        "sparse": "return_sparse",
        "colbert_vecs": "return_colbert_vecs",
    }

    def __init__(
        self,
        model_name: str | Path = "BAAI/bge-m3",
        batch_size: int = 16,
        device: str | None = None,
        normalize_embeddings: bool = True,
        use_fp16: bool = False,  # noqa: ARG002
        return_dense: bool = True,
        return_sparse: bool = True,
        return_colbert_vecs: bool = False,
        *,
        devices: str | Sequence[str] | None = None,
        query_instruction: str = "",
        doc_instruction: str = "",
        **options: Unpack[LocalOptions],
    ) -> None:
        self.return_dense = return_dense
        self.return_sparse = return_sparse
        self.return_colbert_vecs = return_colbert_vecs
        super().__init__(
            model_name,
            batch_size,
            query_instruction,
            doc_instruction,
            one_device(device, devices),
            normalize=normalize_embeddings,
            **options,
        )
