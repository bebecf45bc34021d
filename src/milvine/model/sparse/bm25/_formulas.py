"""The choices of formulas: which weight and which idf go by which name, and the numbers that they take."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from milvine.analysis.bm25 import (
    Floats,
    Integers,
    idf_l,
    idf_lucene,
    idf_okapi,
    idf_plus,
    idf_robertson,
    tf_weight,
    tf_weight_l,
    tf_weight_plus,
)
from milvine.errors import InputError

VariantName: TypeAlias = Literal["bm25", "bm25l", "bm25+"]
IdfName: TypeAlias = Literal["lucene", "robertson", "okapi", "bm25l", "bm25+"]


@dataclass(frozen=True)
class Variant:
    """What a variant of BM25 is made of.

    Attributes:
        weight: The weight of a term in a document; takes `delta` last, if there is one.
        delta: Its usual value, or `None` where the formula has none.
        idf: The name of the idf that belongs to it.
    """

    weight: Callable[..., Floats]
    delta: float | None
    idf: IdfName


VARIANTS: dict[str, Variant] = {
    "bm25": Variant(tf_weight, None, "lucene"),
    "bm25l": Variant(tf_weight_l, 0.5, "bm25l"),
    "bm25+": Variant(tf_weight_plus, 1.0, "bm25+"),
}
IDFS: dict[str, Callable[[Integers, int], Floats]] = {
    "lucene": idf_lucene,
    "robertson": idf_robertson,
    "okapi": idf_okapi,
    "bm25l": idf_l,
    "bm25+": idf_plus,
}


def idf_of(name: str, df: Integers, n: int, epsilon: float) -> Floats:
    """The idf of each term by the formula of this name; 0 for a term that no document has."""
    values = np.zeros(len(df))
    there = df > 0
    values[there] = idf_okapi(df[there], n, epsilon) if name == "okapi" else IDFS[name](df[there], n)
    return values


def with_defaults(variant: VariantName, idf: IdfName | None, delta: float | None) -> tuple[IdfName, float | None]:
    """The idf and delta to use: what belongs to the variant in place of `None`.

    Raises:
        InputError: A name is unknown, or delta is out of its range or has no place in the variant.
    """
    if variant not in VARIANTS:
        raise InputError(f"variant must be {_either(VARIANTS)}, not {variant!r}")
    row = VARIANTS[variant]
    idf = row.idf if idf is None else idf
    if idf not in IDFS:
        raise InputError(f"idf must be {_either(IDFS)}, not {idf!r}")
    if row.delta is None:
        if delta is not None:
            raise InputError(f"delta is no part of variant {variant!r}: leave it out, or name another variant")
        return idf, None
    delta = row.delta if delta is None else delta
    if not is_number(delta) or delta < 0:
        raise InputError(f"delta must be a number of at least 0, not {delta!r}; 0.5 or 1 is usual")
    return idf, float(delta)


def check_parameters(k1: Any, b: Any, epsilon: Any) -> None:
    """Raise an InputError that names the first number that is out of its range."""
    if not is_number(k1) or k1 < 0:
        raise InputError(f"k1 must be a number of at least 0, not {k1!r}; 0.9 to 1.5 is usual")
    if not is_number(b) or not 0 <= b <= 1:
        raise InputError(f"b must be a number from 0 to 1, not {b!r}; 0.4 to 0.75 is usual")
    if not is_number(epsilon):
        raise InputError(f"epsilon must be a finite number, not {epsilon!r}; 0.25 is usual")


def is_number(value: Any) -> bool:
    """Whether this is a finite real number, and no bool."""
    return type(value) is not bool and isinstance(value, numbers.Real) and math.isfinite(value)


def _either(names: Iterable[str]) -> str:
    *others, last = (f'"{name}"' for name in names)
    return f"{', '.join(others)} or {last}"
