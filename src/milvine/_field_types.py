"""Types and metrics of vector fields: what functions give, what the caller chooses, what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast, get_args

from milvine.errors import CollectionMismatchError, InputError, InputTypeError
from milvine.store.base import Metric, VectorType

ChosenTypes: TypeAlias = "VectorType | Mapping[str, VectorType] | None"
"""What a caller passes as `vector_type`."""
ChosenMetrics: TypeAlias = "Metric | Mapping[str, Metric] | None"
"""What a caller passes as `metric`."""

METRIC: Metric = "COSINE"
TYPES: dict[str, VectorType] = {"dense": "float32", "multivector": "float16"}
"""The type that fields of a kind have unless another is chosen."""
_ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    "vector_type": {"dense": get_args(VectorType), "multivector": ("float32", "float16")},
    "metric": {"dense": get_args(Metric)},
}


def given_type(function: Any) -> VectorType:
    """The type of the dense vectors that an embedding function gives, by its `output`."""
    output = getattr(function, "output", "float32")
    return cast(VectorType, output) if output in get_args(VectorType) else "float32"


def type_of(field: Mapping[str, Any]) -> VectorType:
    """The type of a dense or multi-vector field, out of a collection's configuration."""
    return cast(VectorType, field.get("type", TYPES[field["kind"]]))


def metric_of(field: Mapping[str, Any]) -> Metric:
    """The metric of a dense field, out of a collection's configuration."""
    return cast(Metric, field.get("metric", METRIC))


def describe(
    fields: dict[str, dict[str, Any]], given: Mapping[str, VectorType], types: ChosenTypes, metrics: ChosenMetrics
) -> None:
    """Record the types and metrics of new fields, where they are not the usual ones.

    Args:
        fields: The fields of a new configuration.
        given: For dense and multi-vector fields what their functions give.
        types: What the caller chose; a field that nothing was chosen for gets what its function gives.
        metrics: Likewise.

    Raises:
        InputError: What is chosen is not there, does not go together, or cannot be made of what a function gives.
        InputTypeError: It is neither a string nor a mapping.
    """
    chosen_types, chosen_metrics = _chosen("vector_type", types, fields), _chosen("metric", metrics, fields)
    for name, own in given.items():
        field = fields[name]
        usual = TYPES[field["kind"]]
        type_ = chosen_types.get(name, usual if own == "float32" or field["kind"] == "multivector" else own)
        metric = chosen_metrics.get(name, METRIC)
        if own in ("int8", "binary") and type_ != own:
            raise InputError(
                f"the function of {name!r} gives {own} vectors, which cannot be made {type_}; leave vector_type out for"
                " it, or have the function give float32"
            )
        if type_ == "binary" and field["dim"] % 8:
            raise InputError(
                f"the field {name!r} has {field['dim']} dimensions, and binary vectors pack 8 into a byte; take a"
                " multiple of 8, or another vector_type"
            )
        if type_ == "binary" and metric != METRIC:
            raise InputError(
                f"metric={metric!r} for {name!r}: its vectors are binary, of which only the number of bits that differ"
                f" tells anything; leave it at {METRIC!r}"
            )
        if type_ == "int8" and metric != METRIC:
            raise InputError(
                f"metric={metric!r} for {name!r}: its vectors are int8, each on a scale of its own, so that their"
                f" lengths mean nothing; leave it at {METRIC!r}, or take a vector_type of floats"
            )
        field |= {"type": type_} if type_ != usual else {}
        field |= {"metric": metric} if metric != METRIC else {}


def check(fields: Mapping[str, Mapping[str, Any]], types: ChosenTypes, metrics: ChosenMetrics) -> None:
    """Compare what the caller chose with what a collection has.

    Raises:
        CollectionMismatchError: They differ; the message names both sides.
        InputError: What is chosen is not there.
        InputTypeError: It is neither a string nor a mapping.
    """
    given = {"vector_type": _chosen("vector_type", types, fields), "metric": _chosen("metric", metrics, fields)}
    stored = {"vector_type": type_of, "metric": metric_of}
    for option, chosen in given.items():
        for name, value in chosen.items():
            there = stored[option](fields[name])
            if there != value:
                raise CollectionMismatchError(
                    f"the field {name!r} was made with {option}={there!r}, and the collection is opened with"
                    f" {option}={value!r}; leave it out, or index the texts into a new collection"
                )


def _chosen(option: str, value: Any, fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The value of an option for each field that it was chosen for; a string is for all dense ones."""
    if value is None:
        return {}
    if not isinstance(value, (str, Mapping)):
        raise InputTypeError(f"{option} must be a string, or a mapping of fields to such, not {type(value).__name__}")
    allowed = _ALLOWED[option]
    able = [name for name, field in fields.items() if field["kind"] in allowed]
    if isinstance(value, str):
        dense = [name for name in able if fields[name]["kind"] == "dense"]
        if not dense:
            raise InputError(f"{option}={value!r} is for dense fields, and there is none")
        value = dict.fromkeys(dense, value)
    for name, one in value.items():
        if name not in able:
            there = ", ".join(map(repr, able)) or "none"
            raise InputError(f"{option} names {name!r}, and the fields that it is for are: {there}")
        if one not in allowed[fields[name]["kind"]]:
            listed = ", ".join(map(repr, allowed[fields[name]["kind"]]))
            raise InputError(f"the {option} of {name!r} must be one of {listed}, not {one!r}")
    return dict(value)
