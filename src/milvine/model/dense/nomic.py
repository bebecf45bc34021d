"""Nomic's embedding models: on this machine, or behind Nomic Atlas' API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.errors import InputError
from milvine.hosted.providers.nomic import NOMIC
from milvine.local.options import LocalOptions, check_count
from milvine.local.running.vector_form import vector_form
from milvine.model._closing import Closing
from milvine.model._dense import LocalDenseFunction
from milvine.model._hosted import HostedEmbeddingFunction
from milvine.model._local import check_identity
from milvine.model.base import BaseEmbeddingFunction
from milvine.types import DenseVectors, Truncation, Usage

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

TASK_TYPES = ("search_document", "search_query", "classification", "clustering")
FULL_ONLY = ("nomic-embed-text-v1",)
"""Models that were not trained to be cut (Matryoshka)."""
REMOTE = ("api_key", "base_url", "http_client", "async_http_client")
"""Options that a model on this machine has no use for."""


class NomicEmbeddingFunction(Closing, BaseEmbeddingFunction[DenseVectors]):
    """Dense vectors from a Nomic embedding model: on this machine, run by onnxruntime in float32, or from Nomic Atlas.

    The default, nomic-embed-text-v1.5 (https://huggingface.co/nomic-ai/nomic-embed-text-v1.5), reads 8,192 tokens of
    English. Its vectors are made as its model card says: the mean of the tokens, layer normalisation, the first
    `dimensions`, length 1; so are those of Nomic's own local inference, for every number of dimensions. Queries are
    encoded as `search_query`, everything else as `task_type`.

    Nomic Atlas' API is called if `inference_mode="remote"`, or an API key, a base URL or an HTTP client, asks for it; a
    key in the environment alone does not. The same model gives vectors there that may be compared with those made here,
    but for rounding; their identities differ all the same, as Nomic may change the model behind a name.

    Args:
        model_name: Here: a model of the catalogue, the id of a model on the Hugging Face hub, or the path of a folder
            that holds one. At Atlas: the model, as the API names it.
        task_type: What documents are encoded for: `"search_document"`, `"search_query"`, `"classification"` or
            `"clustering"`.
        dimensions: Dimensions of a vector; nomic-embed-text-v1.5 was trained for 768, 512, 256, 128 and 64.
        dimensionality: The name that Nomic's client has for `dimensions`; it goes before.
        inference_mode: `"local"` or `"remote"`; `None`: remote if one of the options says so, else local.
        long_text_mode: `"truncate"`: of texts that are too long, the end is not read. `"mean"`, the mean of a text's
            parts, is Atlas' alone.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        output: As in `SentenceTransformerEmbeddingFunction`; of Atlas `"float32"`.
        api_key: Nomic Atlas' key; without it `NOMIC_API_KEY` is read.
        **options: On this machine, see `milvine.local.options.LocalOptions`; of Atlas,
            `milvine.hosted.options.HostedOptions`.

    Raises:
        UnknownModelError: There is no such model.
        ModelFileError: A file of the folder is missing, contradicts another, or says what cannot be run here.
        MissingExtraError: `device` is a CUDA device, and the onnxruntime that is installed cannot use one.
        AuthenticationError: Atlas is to be called, and there is no API key.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = "nomic-embed-text-v1.5",
        task_type: str = "search_document",
        dimensions: int = 768,
        *,
        dimensionality: int | None = None,
        inference_mode: str | None = None,
        long_text_mode: str = "truncate",
        device: str | None = "cpu",
        output: str = "float32",
        api_key: str | None = None,
        **options: Any,
    ) -> None:
        if task_type not in TASK_TYPES:
            raise InputError(f"task_type must be one of {', '.join(TASK_TYPES)}, not {task_type!r}")
        if inference_mode not in ("local", "remote", None):
            raise InputError(f'inference_mode must be "local" or "remote", not {inference_mode!r}')
        asked = [name for name in REMOTE if (api_key if name == "api_key" else options.get(name)) is not None]
        if inference_mode == "local" and asked:
            raise InputError(f'{", ".join(asked)} and inference_mode="local" contradict each other; leave one out')
        modes = ("truncate", "mean") if asked or inference_mode == "remote" else ("truncate",)
        if long_text_mode not in modes:
            allowed = " or ".join(f'"{mode}"' for mode in modes)
            raise InputError(f"long_text_mode must be {allowed}, not {long_text_mode!r}; split long texts instead")
        kept = dimensions if dimensionality is None else dimensionality
        self._function: _Local | _Atlas
        if len(modes) == 1:
            self._function = _Local(model_name, task_type, kept, device, output, **options)
        elif device not in ("cpu", None):
            raise InputError(f"device={device!r} is for a model on this machine, and Nomic Atlas was asked for")
        else:
            self._function = _Atlas(str(model_name), task_type, kept, long_text_mode, output, api_key, **options)

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector; of a binary one, the number of bits."""
        return self._function.dim

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self._function.model_name

    @property
    def task_type(self) -> str:
        """What documents are encoded for."""
        return self._function.task_type

    @property
    def dimensions(self) -> int:
        """The dimensions that were asked for."""
        return self._function.dimensions or self._function.dim

    @property
    def output(self) -> str:
        """The kind of vectors."""
        return self._function.output

    @property
    def inference_mode(self) -> str:
        """`"local"` or `"remote"`."""
        return "local" if isinstance(self._function, _Local) else "remote"

    @property
    def usage(self) -> Usage:
        """What has been spent at Nomic Atlas; on this machine, nothing."""
        return Usage() if isinstance(self._function, _Local) else self._function.usage

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of a model on this machine, a `tokenizers.Tokenizer` that neither cuts nor pads."""
        return self._local.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a text that a model on this machine reads, special tokens included."""
        return self._local.max_length

    @property
    def truncation(self) -> Truncation:
        """How many texts were too long for a model on this machine, and how many tokens they lost."""
        return self._local.truncation

    def count_tokens(self, documents: Iterable[str]) -> list[int]:
        """How many tokens each document has for a model on this machine, special ones and the prefix's included."""
        return self._local.count_tokens(documents)

    async def aencode_documents(self, documents: Iterable[str]) -> DenseVectors:
        """As `encode_documents`, in the running event loop; a model on this machine runs in a thread."""
        if isinstance(self._function, _Local):
            return await asyncio.to_thread(self.encode_documents, documents)
        return await self._function.aencode_documents(documents)

    async def aencode_queries(self, queries: Iterable[str]) -> DenseVectors:
        """As `encode_queries`, in the running event loop; a model on this machine runs in a thread."""
        if isinstance(self._function, _Local):
            return await asyncio.to_thread(self.encode_queries, queries)
        return await self._function.aencode_queries(queries)

    async def acall(self, texts: Iterable[str]) -> DenseVectors:
        """As calling the function, in the running event loop; a model on this machine runs in a thread."""
        if isinstance(self._function, _Local):
            return await asyncio.to_thread(self, texts)
        return await self._function.acall(texts)

    def identity(self) -> dict[str, Any]:
        """What must be equal for two functions' vectors to be comparable, as JSON; it never holds the key.

        On this machine the model's name, revision and fingerprint, and every option that changes its vectors; of Atlas
        the provider, the model's name and the options.
        """
        return {**self._function.identity(), "function": type(self).__name__}

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity, on this machine or at Atlas as it was; a key comes from the environment.

        Raises:
            AuthenticationError: It is Atlas', and there is no API key in the environment.
            UnknownModelError: This milvine's catalogue has no such model.
            ModelUnavailableError: The model's folder is gone.
            ModelFileError: The folder holds another model now.
            InputError: It is no identity, or another function's.
        """
        check_identity(cls.__name__, identity)
        kind: type[_Local | _Atlas] = _Atlas if identity.get("provider") == NOMIC.name else _Local
        made = cls.__new__(cls)
        made._function = kind.from_identity({**identity, "function": kind.__name__})
        return made

    def close(self) -> None:
        """Closes the connections to Atlas; the function cannot be used again. On this machine, nothing happens."""
        if isinstance(self._function, _Atlas):
            self._function.close()

    async def aclose(self) -> None:
        """Closes the connections to Atlas, those of the running event loop included."""
        if isinstance(self._function, _Atlas):
            await self._function.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_name!r}, {self.task_type!r}, inference_mode={self.inference_mode!r})"

    @property
    def _local(self) -> _Local:
        if not isinstance(self._function, _Local):
            # hasattr() and getattr() with a default then find that there is no such attribute.
            raise AttributeError('only a model on this machine has that; use inference_mode="local"')  # noqa: TRY004
        return self._function

    def _encode_documents(self, texts: list[str]) -> DenseVectors:
        return self._function._encode_documents(texts)

    def _encode_queries(self, texts: list[str]) -> DenseVectors:
        return self._function._encode_queries(texts)

    def _iter(self, documents: Iterator[str], batch_size: int) -> Iterator[Any]:
        return self._function._iter(documents, batch_size)


class _Local(LocalDenseFunction):
    SETTINGS = ("task_type", "dimensions", "output")

    def __init__(
        self,
        model_name: str | Path,
        task_type: str = "search_document",
        dimensions: int = 768,
        device: str | None = "cpu",
        output: str = "float32",
        **options: Unpack[LocalOptions],
    ) -> None:
        super().__init__(model_name, 1, "search_query: ", f"{task_type}: ", device, True, None, output, **options)
        spec = self._model.spec
        check_count("dimensions", dimensions, 1, spec.dim)
        is_whole = spec.name in FULL_ONLY
        if is_whole and dimensions != spec.dim:
            raise InputError(f"{spec.name} has {spec.dim} dimensions and was not trained to be cut to {dimensions}")
        self._form = replace(vector_form(spec.dim, dimensions, True, output), layer_norm=not is_whole)
        self.task_type = task_type
        self.dimensions = dimensions

    def identity(self) -> dict[str, Any]:
        known = super().identity()
        return {name: known[name] for name in known if name not in ("query_instruction", "doc_instruction")}


class _Atlas(HostedEmbeddingFunction):
    def __init__(
        self,
        model_name: str,
        task_type: str,
        dimensions: int,
        long_text_mode: str,
        output: str,
        api_key: str | None,
        **options: Any,
    ) -> None:
        super().__init__(
            NOMIC,
            model_name,
            api_key,
            dimensions=dimensions,
            output=output,
            roles={"query": {"task_type": "search_query"}, "document": {"task_type": task_type}},
            fields={} if long_text_mode == "truncate" else {"long_text_mode": long_text_mode},
            **options,
        )

    @property
    def task_type(self) -> str:
        return str(self._plan("document").fields["task_type"])
