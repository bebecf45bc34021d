"""What a collection remembers of its models, and the comparison with what it is opened with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from milvine import _field_types
from milvine._field_types import ChosenMetrics, ChosenTypes, given_type
from milvine._fields import FieldSet
from milvine.errors import CollectionMismatchError, InputError, InputTypeError

if TYPE_CHECKING:
    from milvine.model.base import BaseEmbeddingFunction

Function: TypeAlias = "BaseEmbeddingFunction[Any]"
Given: TypeAlias = "Function | Mapping[str, Function] | None"
"""What a caller passes as `embedding_function`."""

FORMAT = 2
K1, B = 0.9, 0.4  # for passages; see README's figures
LEXICAL = "lexical"
MAX_NAME = 100  # with an output's name it stays within Milvus' 255
MULTIVECTOR = "multivector"
COLBERT = "colbert_vecs"
_KINDS = {"dense": "dense", "sparse": "sparse", COLBERT: MULTIVECTOR}
_SIZED = ("dim", "function")
PARTS = {"dense": _SIZED, MULTIVECTOR: _SIZED, "sparse": ("function",), LEXICAL: ("analyzer", "k1", "b")}
RESERVED_NAMES = frozenset({"id", "text", "content_hash", LEXICAL, "lexical_length"})


def new_config(
    given: Given = None,
    language: str | None = None,
    lexical: bool | None = None,
    vector_type: ChosenTypes = None,
    metric: ChosenMetrics = None,
) -> dict[str, Any]:
    """What a new collection stores about itself, as JSON.

    Raises:
        InputError: A function, a name, the language, a type or a metric is not fit for a collection, or there would be
            no field that finds anything.
        InputTypeError: Something is no embedding function.
    """
    from milvine.analysis import get_analyzer

    several = isinstance(given, Mapping)
    functions: dict[str, dict[str, Any]] = {}
    fields: dict[str, dict[str, Any]] = {}
    types = {}
    for name, function in _named(_default_function() if given is None else given).items():
        outputs = _outputs(function)
        name = name or ("hybrid" if None not in outputs else outputs[None]["kind"])
        functions[name] = _identity_of(function)
        for output, described in outputs.items():
            # Alone, a hybrid function's fields are called what its outputs are.
            field = name if output is None else f"{name}_{output}" if several else output
            if field in fields:
                raise InputError(f"two embedding functions would fill the field {field!r}; rename one of them")
            fields[field] = {**described, "function": name} | ({} if output is None else {"output": output})
            if described["kind"] in _field_types.TYPES:
                types[field] = given_type(function)
    _field_types.describe(fields, types, vector_type, metric)
    if lexical is not False:
        analyzer = get_analyzer("en" if language is None else language).identity
        fields[LEXICAL] = {"kind": LEXICAL, "analyzer": analyzer, "k1": K1, "b": B}
    elif language is not None:
        raise InputError(f"language={language!r} is for lexical search, and lexical=False leaves that out")
    if not fields:
        raise InputError("there is nothing to search by: give an embedding function, or leave out lexical=False")
    if all(field["kind"] == MULTIVECTOR for field in fields.values()):
        raise InputError(
            f"the field {next(iter(fields))!r} holds a vector a token: it scores what other fields find, and finds"
            " nothing itself; give a function of dense or sparse vectors beside it, or leave out lexical=False"
        )
    return {"format": FORMAT, "functions": functions, "fields": fields}


def field_set(
    stored: dict[str, Any],
    given: Given = None,
    language: str | None = None,
    lexical: bool | None = None,
    vector_type: ChosenTypes = None,
    metric: ChosenMetrics = None,
) -> FieldSet:
    """The fields that a collection was made with, and their functions: those given, if they are the same, else rebuilt.

    Raises:
        CollectionMismatchError: Those given differ, or cannot be rebuilt, or a newer milvine made the collection.
    """
    from milvine.analysis import get_analyzer

    config = read_config(stored)
    identities, described = config["functions"], config["fields"].get(LEXICAL)
    _field_types.check(config["fields"], vector_type, metric)
    functions = _rebuilt(identities) if given is None else _matched(identities, given)
    for name, function in functions.items():
        what = "embedding function" + (f" {name!r}" if len(functions) > 1 else "")
        _compare(what, identities[name], _identity_of(function))
    if (described is None and (lexical or language is not None)) or (described is not None and lexical is False):
        there, here = ("without", "with") if described is None else ("with", "without")
        raise CollectionMismatchError(
            f"the collection was made {there} lexical search and is opened {here} it; leave out lexical and language,"
            " or index the texts into a new collection"
        )
    if described is None:
        return FieldSet(config, functions, None)
    analyzer = get_analyzer(language or described["analyzer"]["language"])
    _compare("analyzer", described["analyzer"], analyzer.identity)
    return FieldSet(config, functions, analyzer)


def read_config(stored: dict[str, Any]) -> dict[str, Any]:
    """The configuration, in the present format."""
    known = stored.get("format")
    if known not in (1, FORMAT):
        raise CollectionMismatchError(
            f"the collection has format {known}, and this milvine reads 1 to {FORMAT}: upgrade milvine"
        )
    try:
        if known == 1:  # one dense field, and BM25
            dense, lexical = stored["fields"]["dense"], stored["fields"][LEXICAL]
            fields = {
                "dense": {"kind": "dense", "dim": dense["dim"], "function": "dense"},
                LEXICAL: {"kind": LEXICAL, **lexical},
            }
            return {"format": FORMAT, "functions": {"dense": dense}, "fields": fields}
        functions = stored["functions"]
        for field in stored["fields"].values():
            parts = {part: field[part] for part in PARTS[field["kind"]]}
            if field["kind"] != LEXICAL:
                functions[parts["function"]]
        return stored
    except (KeyError, TypeError, AttributeError) as error:
        raise CollectionMismatchError(f"the collection's configuration is damaged: {error!r} is missing") from error


def _matched(identities: Mapping[str, Any], given: Given) -> dict[str, Function]:
    """The given functions, by the names that the collection knows them by."""
    named = _named(given)
    if not isinstance(given, Mapping) and len(identities) == 1:
        return dict(zip(identities, named.values(), strict=True))
    if named.keys() != identities.keys():
        there = ", ".join(map(repr, identities)) or "none"
        here = ", ".join(map(repr, named)) if isinstance(given, Mapping) else "one without a name"
        raise CollectionMismatchError(
            f"the collection was made with the embedding functions {there}, and is opened with {here or 'none'}; give"
            " the same ones as a mapping of those names, or none to have them rebuilt"
        )
    return {name: named[name] for name in identities}


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


def _named(given: Given) -> dict[str, Function]:
    """The functions by name; one that was given alone has the name ""."""
    if not isinstance(given, Mapping):
        return {"": _checked(given)}
    for name in given:
        if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or len(name) > MAX_NAME:
            raise InputError(
                f"{name!r} cannot name a field: take letters, digits and underscores, no digit first, at most"
                f" {MAX_NAME} in all"
            )
        if name in RESERVED_NAMES or name.startswith("_"):
            raise InputError(
                f"{name!r} cannot name a field: {', '.join(sorted(RESERVED_NAMES))} and what begins with _ are reserved"
            )
    return {name: _checked(function) for name, function in given.items()}


def _checked(function: Any) -> Function:
    from milvine.model.base import BaseEmbeddingFunction
    from milvine.model.sparse import BM25EmbeddingFunction

    name = type(function).__name__
    if not isinstance(function, BaseEmbeddingFunction):
        raise InputTypeError(
            "embedding_function must be an embedding function, such as those of milvine.model, or a mapping of names to"
            f" them, not {name}"
        )
    if isinstance(function, BM25EmbeddingFunction):
        raise InputError(
            f"{name} is not for a collection, which does BM25 by itself, with statistics that stay true as texts come"
            " and go: leave it out, and choose its language with language=..."
        )
    return function


def _outputs(function: Function) -> dict[str | None, dict[str, Any]]:
    """What a function gives: kind and, where it has, dimensions, by the output's name; `None` for one without."""
    name = type(function).__name__
    kinds = _kinds(function)
    if not kinds:
        raise InputError(f"{name} does not say what it gives: encode_documents([]) must be a dict of empty outputs")
    outputs: dict[str | None, dict[str, Any]] = {}
    for output, kind in kinds.items():
        outputs[output] = {"kind": kind}
        if kind != "sparse":
            dim = function.dim
            dim = dim if output is None else dim.get(output) if isinstance(dim, Mapping) else None
            if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
                what = name if output is None else f"{name}'s {output!r}"
                raise InputTypeError(f"the dim of {what} must be an integer of at least 1, not {dim!r}")
            outputs[output]["dim"] = dim
    return outputs


def _kinds(function: Any) -> dict[str | None, str]:
    task = str(getattr(function, "TASK", ""))
    if task in _KINDS.values():
        return {None: task}
    if task == "hybrid":  # asking it for nothing would load its model
        return {output: _KINDS[output] for output, asked in function.ASKED_BY.items() if getattr(function, asked)}
    from scipy.sparse import issparse

    try:
        empty = function.encode_documents([])  # of the right kind, and free
    except Exception:  # noqa: BLE001 - a user's own function may fail on an empty list; what it gives is checked later
        empty = {} if isinstance(function.dim, Mapping) else []
    parts: Mapping[str | None, Any] = empty if isinstance(empty, Mapping) else {None: empty}
    return {
        output: "sparse" if issparse(vectors) else MULTIVECTOR if output == COLBERT else "dense"
        for output, vectors in parts.items()
    }


def _identity_of(function: Function) -> dict[str, Any]:
    """The identity as it comes back out of a store."""
    try:
        identity: dict[str, Any] = json.loads(json.dumps(function.identity()))
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"the identity() of {type(function).__name__} is not JSON: {error}") from error
    return identity


def _default_function() -> Function:
    from milvine.model import DefaultEmbeddingFunction

    return DefaultEmbeddingFunction()


def _rebuilt(identities: Mapping[str, dict[str, Any]]) -> dict[str, Function]:
    from milvine.model import dense, hybrid, multivector, sparse
    from milvine.model.base import BaseEmbeddingFunction

    functions = {}
    for name, identity in identities.items():
        wanted = str(identity.get("function"))
        found: Any = next(
            (getattr(part, wanted) for part in (dense, sparse, hybrid, multivector) if wanted in part.__all__), None
        )
        if found is None or not issubclass(found, BaseEmbeddingFunction) or not hasattr(found, "from_identity"):
            given = "embedding_function" if len(identities) == 1 else f"embedding_function={{{name!r}: ..., ...}}"
            raise CollectionMismatchError(
                f"the collection was made with {wanted}, which cannot be rebuilt from what is stored; pass it"
                f" as {given}"
            )
        functions[name] = found.from_identity(identity)
    return functions
