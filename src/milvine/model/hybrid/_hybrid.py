"""What the functions over hybrid models share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from milvine.local.options import LocalOptions, check_switch
from milvine.local.running.vector_form import vector_form
from milvine.model._local import LocalEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack


class HybridEmbeddingFunction(LocalEmbeddingFunction[dict[str, Any]]):
    """Several kinds of vectors from one pass of one model.

    A subclass says which of its arguments ask for which outputs, and keeps them as attributes of the same names before
    it calls this constructor.
    """

    TASK = "hybrid"
    ASKED_BY: ClassVar[dict[str, str]]

    def __init__(
        self,
        model_name: str | Path,
        batch_size: int,
        query_instruction: str,
        doc_instruction: str,
        device: str | None,
        *,
        normalize: bool,
        dimensions: int | None = None,
        **options: Unpack[LocalOptions],
    ) -> None:
        check_switch("normalize_embeddings", normalize)
        for argument in self.ASKED_BY.values():
            check_switch(argument, getattr(self, argument))
        super().__init__(model_name, batch_size, query_instruction, doc_instruction, device, **options)
        self.normalize_embeddings = normalize
        self._dims = dict(self._model.spec.dims)
        self._form = vector_form(self._dims["dense"], dimensions, normalize, "float32")
        wanted = [output for output, argument in self.ASKED_BY.items() if getattr(self, argument)]
        self._model.keep_outputs(wanted)

    @property
    def dim(self) -> dict[str, int]:
        """The dimensions of each output that the model has, whether it is asked for or not.

        Those of `sparse` are the tokens that the tokenizer knows, so that the model is loaded to tell.
        """
        return self._dims | {"dense": self._form.dim, "sparse": int(self.tokenizer.get_vocab_size())}

    def _encode(self, texts: list[str], prompt: str) -> dict[str, Any]:
        from milvine.local.running.token_vectors import encode_hybrid

        found = encode_hybrid(self._model, texts, self._form, prompt=prompt)
        return found | ({"dense": list(found["dense"])} if "dense" in found else {})

    def _encode_documents(self, texts: list[str]) -> dict[str, Any]:
        return self._encode(texts, self.doc_instruction)

    def _encode_queries(self, texts: list[str]) -> dict[str, Any]:
        return self._encode(texts, self.query_instruction)
