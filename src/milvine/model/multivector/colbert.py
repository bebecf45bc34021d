"""ColBERT models, on this machine."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from milvine.local.options import LocalOptions, check_count
from milvine.model._local import LocalEmbeddingFunction
from milvine.types import DenseMatrix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Unpack

    from milvine.local.running.late_interaction import LateTokenizer

DEFAULT_MODEL = "answerdotai/answerai-colbert-small-v1"


class ColBERTEmbeddingFunction(LocalEmbeddingFunction[list[DenseMatrix]]):
    """A vector for each token of a text, from a late-interaction model.

    Results are lists: for each text a float32 array of shape `(tokens, dim)`, its rows of length 1. How well a query's
    vectors meet a document's is told by `milvine.rank.maxsim` (Khattab and Zaharia 2020,
    https://arxiv.org/abs/2004.12832), and `milvine.model.reranker.ColBERTRerankFunction` orders documents so.

    Queries and documents are encoded differently, as the model's own library does it: each with a marker, queries
    filled up with mask tokens to `query_length` whose vectors count too, documents without their punctuation.
    `__call__` encodes documents. A text's vectors depend on no other text.

    Args:
        model_name: A model of the catalogue or of the hub, or the path of a folder that holds one as Stanford's
            colbert-ai (`artifact.metadata`), PyLate, or Sentence Transformers saves it.
        batch_size: Taken for the sake of uniformity; batches are formed by tokens, see `batch_tokens`.
        query_instruction: Put before each query, after the marker; by default what the model was trained with.
        doc_instruction: Put before each document; by default what the model was trained with.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        query_length: Tokens of a query that are read, and up to which it is filled; by default the model's own.
        **options: See `milvine.local.options.LocalOptions`; `max_length` is of documents, and by default what the model
            was trained with. More may be read, as far as the encoder's positions reach.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    TASK = "multivector"
    SETTINGS = ("query_length",)

    def __init__(
        self,
        model_name: str | Path = DEFAULT_MODEL,
        batch_size: int = 32,
        query_instruction: str = "",
        doc_instruction: str = "",
        device: str | None = "cpu",
        *,
        query_length: int | None = None,
        **options: Unpack[LocalOptions],
    ) -> None:
        super().__init__(model_name, batch_size, query_instruction, doc_instruction, device, **options)
        self.query_length = self._model.late.query_length if query_length is None else query_length
        check_count("query_length", self.query_length, 4, self._model.spec.limit)
        # Room for the special tokens, the marker and one token of the document.
        check_count("max_length", self.max_length, 3 + bool(self._model.late.document_marker))

    def count_tokens(self, documents: Iterable[str]) -> list[int]:
        """How many tokens each document has, special ones, the marker and the instruction's included.

        Those above `max_length` are not read.

        Raises:
            InputTypeError: `documents` is a bare string, or holds something that is no string.
        """
        marker = bool(self._model.late.document_marker)
        return [count + marker for count in super().count_tokens(documents)]

    @cached_property
    def _tokens(self) -> LateTokenizer:
        from milvine.local.running.late_interaction import LateTokenizer

        spec = self._model.spec
        return LateTokenizer(self._model.tokenizer, self._model.late, spec.special_tokens, spec.name)

    def _encode_documents(self, texts: list[str]) -> list[DenseMatrix]:
        return self._encode(texts, is_query=False)

    def _encode_queries(self, texts: list[str]) -> list[DenseMatrix]:
        return self._encode(texts, is_query=True)

    def _encode(self, texts: list[str], *, is_query: bool) -> list[DenseMatrix]:
        from milvine.local.running.token_vectors import encode_tokens

        if not texts:
            return []
        if is_query:
            length = self.query_length
            tokenize = self._tokens.queries(self.query_instruction, length)
        else:
            length = self.max_length
            tokenize = self._tokens.documents(self.doc_instruction, length)
        skipped = frozenset[int]() if is_query else self._tokens.skipped
        return encode_tokens(
            self._model, texts, tokenize, length, skipped=skipped, normalize=self._model.late.normalize
        )
