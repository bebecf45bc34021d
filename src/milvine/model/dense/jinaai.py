"""Jina AI's embedding models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from milvine.errors import InputTypeError
from milvine.hosted.providers.jina import JINA, tasks
from milvine.hosted.spec import Role
from milvine.model._hosted import HostedEmbeddingFunction
from milvine.types import DenseVectors

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["JinaEmbeddingFunction"]

_DEFAULT = "retrieval.passage"


class JinaEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from Jina AI's API, of length 1: a list of arrays of shape `(dim,)`.

    Queries are encoded as `retrieval.query` and documents as `retrieval.passage`; models that know no such tasks (v2)
    are told none, and code models the two of `nl2code`. A text of more tokens than the model reads is refused, unless
    `truncate` is set.

    Args:
        model_name: The model, as the API names it.
        api_key: The key; without it `JINA_API_KEY` is read, then `JINAAI_API_KEY`.
        task: What vectors are for. One of a pair stands for both: with `"retrieval.query"`, `"code.passage"` and their
            like, documents get the `.passage` and queries the `.query`, and calling the function does what was named.
            Any other, such as `"text-matching"`, holds for both. `None`: no task is sent.
        dimensions: How many dimensions to ask for; v2 models cannot shorten their vectors.
        late_chunking: Whether the documents of a call are passages of one text, and each is to be encoded in the light
            of all (https://arxiv.org/abs/2409.04701). They go in one request, in their order, and are refused where
            they have more tokens than the model reads. Queries are encoded each for itself.
        output: `"float32"`; or `"binary"`: uint8 of shape `(dim / 8,)`, eight dimensions an element, as Milvus'
            BINARY_VECTOR takes it.
        truncate: Whether the end of a text that is too long is left unread; `None`: the API's default, which is not.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    _called_as: Role = "document"

    def __init__(
        self,
        model_name: str = "jina-embeddings-v3",
        api_key: str | None = None,
        task: str | None = _DEFAULT,
        dimensions: int | None = None,
        late_chunking: bool = False,
        *,
        output: str = "float32",
        truncate: bool | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        if not (task is None or isinstance(task, str)):
            raise InputTypeError(f"task must be a string or None, not {type(task).__name__} ({task!r})")
        for name, value in (("late_chunking", late_chunking), ("truncate", truncate)):
            if not (value is None or isinstance(value, bool)):
                raise InputTypeError(f"{name} must be True or False, not {type(value).__name__} ({value!r})")
        super().__init__(
            JINA,
            model_name,
            api_key,
            dimensions=dimensions,
            output=output,
            roles=_roles(model_name, task, bool(late_chunking)),
            fields={} if truncate is None else {"truncate": truncate},
            whole=bool(late_chunking),
            **options,
        )
        if task is not None and task.endswith(".query"):
            self._called_as = "query"

    def __call__(self, texts: Iterable[str]) -> DenseVectors:
        """The vectors of texts for the task that was named, which is a document's unless it ends in `.query`."""
        return self.encode_queries(texts) if self._called_as == "query" else super().__call__(texts)

    async def acall(self, texts: Iterable[str]) -> DenseVectors:
        """As calling the function, in the running event loop."""
        return await (self.aencode_queries(texts) if self._called_as == "query" else super().acall(texts))


def _roles(model_name: str, task: str | None, late_chunking: bool) -> Mapping[Role, Mapping[str, Any]] | None:
    """The fields of the body that tell queries from documents; `None` where they are the row's."""
    endpoint = JINA.embeddings
    assert endpoint is not None  # noqa: S101 - the row has one
    model = endpoint.models.get(model_name)
    chosen = endpoint.roles if model is None or model.roles is None else model.roles
    if task == _DEFAULT and not late_chunking:
        return None
    if task is None:
        chosen = {}
    elif task != _DEFAULT:
        family, _, side = task.rpartition(".")
        paired = side in ("query", "passage")
        chosen = tasks(f"{family}.query" if paired else task, f"{family}.passage" if paired else task)
    document = {**chosen.get("document", {}), **({"late_chunking": True} if late_chunking else {})}
    return {"query": dict(chosen.get("query", {})), "document": document}
