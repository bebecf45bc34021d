"""What a collection remembers of its models, and the comparison with what it is opened with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from milvine.errors import CollectionMismatchError, InputError, InputTypeError
from milvine.types import DenseVectors

if TYPE_CHECKING:
    from milvine.analysis import Analyzer, DictionaryAnalyzer
    from milvine.model.base import BaseEmbeddingFunction

FORMAT = 1
K1, B = 0.9, 0.4  # for passages; see README's figures


def new_config(function: BaseEmbeddingFunction[DenseVectors] | None, language: str | None) -> dict[str, Any]:
    """What a new collection stores about itself, as JSON."""
    from milvine.analysis import get_analyzer

    function = _default_function() if function is None else _checked(function)
    return {
        "format": FORMAT,
        "fields": {
            "dense": _identity_of(function),
            "lexical": {"analyzer": get_analyzer(language or "en").identity, "k1": K1, "b": B},
        },
    }


def functions(
    stored: dict[str, Any], function: BaseEmbeddingFunction[DenseVectors] | None, language: str | None
) -> tuple[BaseEmbeddingFunction[DenseVectors], Analyzer | DictionaryAnalyzer]:
    """The functions that a collection was made with: those given, if they are the same, else rebuilt.

    Raises:
        CollectionMismatchError: Those given differ, or cannot be rebuilt, or a newer milvine made the collection.
    """
    from milvine.analysis import get_analyzer

    if stored.get("format") != FORMAT:
        raise CollectionMismatchError(
            f"the collection has format {stored.get('format')}, and this milvine reads {FORMAT}: upgrade milvine"
        )
    dense, analyzer = stored["fields"]["dense"], stored["fields"]["lexical"]["analyzer"]
    function = _rebuild(dense) if function is None else _checked(function)
    _compare("embedding function", dense, _identity_of(function))
    chosen = get_analyzer(language or analyzer["language"])
    _compare("analyzer", analyzer, chosen.identity)
    return function, chosen


def _compare(what: str, stored: dict[str, Any], given: dict[str, Any]) -> None:
    # Where a model's folder lies says nothing of its vectors.
    keys = [key for key in {**stored, **given} if key != "folder"]
    differing = [key for key in keys if stored.get(key) != given.get(key)]
    if differing:
        sides = "; ".join(f"{key}: {stored.get(key)!r} there, {given.get(key)!r} here" for key in differing)
        raise CollectionMismatchError(
            f"the collection was made with another {what} ({sides}); open it with the one it was made with,"
            " or index the texts into a new collection"
        )


def _checked(function: Any) -> BaseEmbeddingFunction[DenseVectors]:
    from milvine.model.base import BaseEmbeddingFunction

    if not isinstance(function, BaseEmbeddingFunction) or not isinstance(function.dim, int) or function.dim < 1:
        raise InputTypeError(
            "embedding_function must be a dense embedding function, such as those of milvine.model.dense, not"
            f" {type(function).__name__}"
        )
    output = getattr(function, "output", "float32")
    if output in ("float16", "int8", "binary"):
        raise InputError(
            f"{type(function).__name__} gives {output} vectors, and a collection stores float32 ones; make it with"
            " output='float32'"
        )
    return function


def _identity_of(function: BaseEmbeddingFunction[DenseVectors]) -> dict[str, Any]:
    """The identity as it comes back out of a store."""
    try:
        identity: dict[str, Any] = json.loads(json.dumps(function.identity()))
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"the identity() of {type(function).__name__} is not JSON: {error}") from error
    return identity


def _default_function() -> BaseEmbeddingFunction[DenseVectors]:
    from milvine.model import DefaultEmbeddingFunction

    return DefaultEmbeddingFunction()


def _rebuild(identity: dict[str, Any]) -> BaseEmbeddingFunction[DenseVectors]:
    from milvine.model import dense

    function = getattr(dense, str(identity.get("function")), None)
    if function is None or not hasattr(function, "from_identity"):
        raise CollectionMismatchError(
            f"the collection was made with {identity.get('function')}, which cannot be rebuilt from what is stored;"
            " pass it as embedding_function"
        )
    rebuilt: BaseEmbeddingFunction[DenseVectors] = function.from_identity(identity)
    return rebuilt
