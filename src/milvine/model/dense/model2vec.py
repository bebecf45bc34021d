"""Static embeddings of Model2Vec, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from milvine.local.options import LocalOptions
from milvine.model._dense import LocalDenseFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Model2VecEmbeddingFunction(LocalDenseFunction):
    """Dense vectors from static embeddings: the mean of the vectors of a text's tokens, looked up in a table.

    No network runs, so this is close to a hundred times as fast as a small transformer. The default, potion-base-8M
    (https://huggingface.co/minishlab/potion-base-8M), has 256 dimensions and reads 512 tokens of English; its vectors
    have length 1. A text without a token that the model knows, such as an empty one, has a vector of zeros.

    Vectors are those of the library that published the table: Model2Vec, or Sentence Transformers for its
    `StaticEmbedding`. A float16 or int8 table is averaged in float32.

    Args:
        model_source: A model of the catalogue, the id of a model on the Hugging Face hub, or the path of a folder that
            holds one.
        query_instruction: Put before each query.
        doc_instruction: Put before each document.
        normalize_embeddings: Scale vectors to length 1; by default as the model's own configuration says.
        truncate_dim: How many dimensions of a vector are kept, the first; Model2Vec orders them by importance.
        output: As in `SentenceTransformerEmbeddingFunction`.
        **options: See `milvine.local.options.LocalOptions`.

    Raises:
        UnknownModelError: There is no such model.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_source: str | Path = "minishlab/potion-base-8M",
        *,
        query_instruction: str = "",
        doc_instruction: str = "",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        output: str = "float32",
        **options: Unpack[LocalOptions],
    ) -> None:
        super().__init__(
            model_source,
            1,
            query_instruction,
            doc_instruction,
            "cpu",
            normalize_embeddings,
            truncate_dim,
            output,
            **options,
        )
