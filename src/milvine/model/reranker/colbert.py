"""Reranking by late interaction, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.local.options import LocalOptions
from milvine.model._local import identity_of
from milvine.model.base import BaseRerankFunction, RerankResult
from milvine.model.multivector.colbert import DEFAULT_MODEL, ColBERTEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ColBERTRerankFunction(BaseRerankFunction):
    """Reranks by late interaction: how well the vectors of the query's tokens meet those of a document's.

    A score is the sum, over the query's tokens, of the largest dot product with a token of the document (Khattab and
    Zaharia 2020, https://arxiv.org/abs/2004.12832); at most the number of the query's tokens, 32 for most models. It
    costs less than a cross-encoder, and the documents' vectors may be kept: see `milvine.rank.maxsim`.

    Args:
        model_name: As `ColBERTEmbeddingFunction` takes it; so are the others.
        batch_size: See there.
        query_instruction: See there.
        doc_instruction: See there.
        device: See there.
        query_length: See there.
        **options: See `milvine.local.options.LocalOptions`.

    Raises:
        UnknownModelError: The catalogue has no such model, and there is no such folder.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

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
        self.embedding_function = ColBERTEmbeddingFunction(
            model_name,
            batch_size,
            query_instruction,
            doc_instruction,
            device,
            query_length=query_length,
            **options,
        )
        self.model_name = self.embedding_function.model_name

    def _rerank(self, query: str, documents: list[str], top_k: int) -> list[RerankResult]:  # noqa: ARG002
        from milvine.local.running.maxsim import maxsim

        (asked,) = self.embedding_function.encode_queries([query])
        scores = maxsim(asked, self.embedding_function.encode_documents(documents)).tolist()
        return [RerankResult(text, score, at) for at, (text, score) in enumerate(zip(documents, scores, strict=True))]

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint."""
        return {"function": "ColBERTRerankFunction", **identity_of(self.embedding_function._model)}
