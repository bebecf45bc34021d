"""Google's Gemini embedding models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milvine.errors import InputError, InputTypeError
from milvine.hosted.providers.gemini import GEMINI, PREFIXES, SUCCESSORS, TASK_TYPES
from milvine.hosted.spec import Role
from milvine.model._hosted import HostedEmbeddingFunction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milvine.hosted.options import HostedOptions

__all__ = ["GeminiEmbeddingFunction"]

_CONFIG = ("task_type", "title", "output_dimensionality")
_SYMMETRIC = ("SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING")
_DOCUMENT, _QUERY = "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"


class GeminiEmbeddingFunction(HostedEmbeddingFunction):
    """Dense vectors from Google's Gemini API, of length 1: a list of float32 arrays of shape `(dim,)`.

    Queries are encoded as `RETRIEVAL_QUERY` and documents as `RETRIEVAL_DOCUMENT`: by the task type of the request, or
    with gemini-embedding-2, which knows none, by what its documentation puts before the text. Vectors with fewer
    dimensions than the model's own are brought to length 1 here where Google leaves that to its users
    (gemini-embedding-001). The end of a text that is too long is left unread by Google, without a word.

    The key goes in a header, never in the URL. Vertex AI is not here.

    Args:
        model_name: The model, as the API names it, with `models/` before it or without. The default, that of
            `pymilvus.model`, was shut down, and stands for `"gemini-embedding-001"`, which gives the same vectors.
        api_key: The key; without it `GEMINI_API_KEY` is read, then `GOOGLE_API_KEY`.
        config: A `google.genai.types.EmbedContentConfig`, or a dict, with `task_type`, `title` and
            `output_dimensionality`; nothing else of it is for this API.
        task_type: What vectors are for, instead of the config's: `"RETRIEVAL_DOCUMENT"` or `"RETRIEVAL_QUERY"`, the
            default pair; `"QUESTION_ANSWERING"`, `"FACT_VERIFICATION"` or `"CODE_RETRIEVAL_QUERY"`, which is what
            queries get then, and documents `RETRIEVAL_DOCUMENT`; or `"SEMANTIC_SIMILARITY"`, `"CLASSIFICATION"` or
            `"CLUSTERING"`, for both.
        dimensions: How many dimensions to ask for, instead of the config's `output_dimensionality`.
        **options: See `milvine.hosted.options.HostedOptions`.

    Raises:
        AuthenticationError: There is no API key, or what was found cannot be one.
        InputError: An argument has a value that is not allowed.
        InputTypeError: An argument has a type that is not allowed, or there is no such argument.
    """

    def __init__(
        self,
        model_name: str = "gemini-embedding-exp-03-07",
        api_key: str | None = None,
        config: Any = None,
        *,
        task_type: str | None = None,
        dimensions: int | None = None,
        **options: Unpack[HostedOptions],
    ) -> None:
        asked = _config(config)
        task = asked.get("task_type") if task_type is None else task_type
        if task is not None and task not in TASK_TYPES:
            raise InputError(f"task_type must be one of {', '.join(TASK_TYPES)}, not {task!r}")
        title = asked.get("title")
        if not (title is None or isinstance(title, str)):
            raise InputTypeError(f"title must be a string, not {type(title).__name__} ({title!r})")
        if isinstance(model_name, str):
            model_name = model_name.removeprefix("models/")
            model_name = SUCCESSORS.get(model_name, model_name)
        is_default = task in (None, _DOCUMENT, _QUERY) and title is None
        by_prefix = isinstance(model_name, str) and model_name.startswith("gemini-embedding-2")
        super().__init__(
            GEMINI,
            model_name,
            api_key,
            dimensions=asked.get("output_dimensionality") if dimensions is None else dimensions,
            roles=None if is_default or by_prefix else _roles(task, title),
            prefixes=None if is_default or not by_prefix else _prefixes(task, title),
            **options,
        )


def _config(config: Any) -> dict[str, Any]:
    """What a config says, without what it leaves open."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        given = dict(config)
    elif hasattr(config, "model_dump"):
        given = config.model_dump(exclude_none=True)
    else:
        raise InputTypeError(
            f"config must be a google.genai.types.EmbedContentConfig or a dict, not {type(config).__name__}"
        )
    others = sorted(set(given) - set(_CONFIG))
    if others:
        raise InputError(
            f"config has {', '.join(map(repr, others))}; of a config, {', '.join(_CONFIG)} are for this API"
        )
    return {name: value for name, value in given.items() if value is not None}


def _tasks(task: str | None) -> dict[Role, str]:
    """The task types of queries and documents."""
    if task in _SYMMETRIC:
        return {"query": task, "document": task}
    return {"query": _QUERY if task in (None, _DOCUMENT) else task, "document": _DOCUMENT}


def _roles(task: str | None, title: str | None) -> dict[Role, dict[str, Any]]:
    roles: dict[Role, dict[str, Any]] = {role: {"taskType": kind} for role, kind in _tasks(task).items()}
    if title is not None:
        roles["document"]["title"] = title
    return roles


def _prefixes(task: str | None, title: str | None) -> dict[Role, str]:
    prefixes: dict[Role, str] = {role: PREFIXES[kind] for role, kind in _tasks(task).items()}
    if title is not None and prefixes["document"] == PREFIXES[_DOCUMENT]:
        prefixes["document"] = f"title: {title} | text: "
    return prefixes
