"""Nomic's embedding models, on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.errors import InputError
from milvine.local.options import LocalOptions, check_count
from milvine.local.running.vector_form import vector_form
from milvine.model._dense import LocalDenseFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack

TASK_TYPES = ("search_document", "search_query", "classification", "clustering")
FULL_ONLY = ("nomic-embed-text-v1",)
"""Models that were not trained to be cut (Matryoshka)."""


class NomicEmbeddingFunction(LocalDenseFunction):
    """Dense vectors from a Nomic embedding model, run by onnxruntime in float32.

    The default, nomic-embed-text-v1.5 (https://huggingface.co/nomic-ai/nomic-embed-text-v1.5), reads 8,192 tokens of
    English. Its vectors are made as its model card says: the mean of the tokens, layer normalisation, the first
    `dimensions`, length 1; so are those of Nomic's own local inference, for every number of dimensions. Queries are
    encoded as `search_query`, everything else as `task_type`.

    Args:
        model_name: A model of the catalogue, the id of a model on the Hugging Face hub, or the path of a folder that
            holds one.
        task_type: What documents are encoded for: `"search_document"`, `"search_query"`, `"classification"` or
            `"clustering"`.
        dimensions: Dimensions of a vector; nomic-embed-text-v1.5 was trained for 768, 512, 256, 128 and 64.
        dimensionality: The name that Nomic's client has for `dimensions`; it goes before.
        inference_mode: `"local"`. Nomic's client has `"remote"` too, which is not here.
        long_text_mode: `"truncate"`: of texts that are too long, the end is not read. `"mean"` is not here.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        output: As in `SentenceTransformerEmbeddingFunction`.
        **options: See `milvine.local.options.LocalOptions`.

    Raises:
        UnknownModelError: There is no such model.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        MissingExtraError: `device` is a CUDA device, and the onnxruntime that is installed cannot use one.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    SETTINGS = ("task_type", "dimensions", "output")

    def __init__(
        self,
        model_name: str | Path = "nomic-embed-text-v1.5",
        task_type: str = "search_document",
        dimensions: int = 768,
        *,
        dimensionality: int | None = None,
        inference_mode: str = "local",
        long_text_mode: str = "truncate",
        device: str | None = "cpu",
        output: str = "float32",
        **options: Unpack[LocalOptions],
    ) -> None:
        if task_type not in TASK_TYPES:
            raise InputError(f"task_type must be one of {', '.join(TASK_TYPES)}, not {task_type!r}")
        if inference_mode != "local":
            raise InputError(
                f"inference_mode={inference_mode!r} is not here: this version of milvine runs Nomic's models on this"
                ' machine, and does not call Nomic Atlas; use inference_mode="local"'
            )
        if long_text_mode != "truncate":
            raise InputError(f'long_text_mode must be "truncate", not {long_text_mode!r}; split long texts instead')
        kept = dimensions if dimensionality is None else dimensionality
        super().__init__(model_name, 1, "search_query: ", f"{task_type}: ", device, True, None, output, **options)
        spec = self._model.spec
        check_count("dimensions", kept, 1, spec.dim)
        is_whole = spec.name in FULL_ONLY
        if is_whole and kept != spec.dim:
            raise InputError(f"{spec.name} has {spec.dim} dimensions and was not trained to be cut to {kept}")
        self._form = replace(vector_form(spec.dim, kept, True, output), layer_norm=not is_whole)
        self.task_type = task_type
        self.dimensions = kept

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint, and every option that changes its vectors."""
        known = super().identity()
        return {name: known[name] for name in known if name not in ("query_instruction", "doc_instruction")}
