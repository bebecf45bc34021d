"""Vectors of texts as bytes and back, bit by bit: what a cache stores of each text.

A text's vectors are a form and a payload. The form is JSON that says how the payload is to be read, numpy's dtype and
shape among it; no pickle is involved. Of a function with several outputs the payloads follow one another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from milvine.errors import InputError, InputTypeError

__all__ = ["Packed", "pack", "unpack"]

Packed = tuple[str, bytes]
"""A text's vectors: their form and their payload."""

LIST, MATRIX, CSR = "list", "matrix", "csr"


def pack(vectors: Any) -> list[Packed]:
    """What an embedding function gave for several texts, as what is stored of each.

    Args:
        vectors: A list of arrays, an array of one row a text, a `csr_array`, or a dict of those.

    Raises:
        InputError: The outputs in a dict are not of one length.
        InputTypeError: It is something else.
    """
    if not isinstance(vectors, dict):
        return list(_pack(vectors))
    columns = [list(_pack(output)) for output in vectors.values()]
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(f"{name}: {len(column)}" for name, column in zip(vectors, columns, strict=True))
        raise InputError(f"the outputs of an embedding function must be as many as the texts, all of them ({lengths})")
    names = [json.dumps(str(name)) for name in vectors]
    return [
        (
            "{" + ", ".join(f"{name}: {form}" for name, (form, _) in zip(names, of_text, strict=True)) + "}",
            b"".join(payload for _, payload in of_text),
        )
        for of_text in zip(*columns, strict=True)
    ]


def _pack(output: Any) -> Iterator[Packed]:
    from scipy.sparse import csr_array

    if isinstance(output, csr_array):
        for start, end in zip(output.indptr[:-1].tolist(), output.indptr[1:].tolist(), strict=True):
            indices, data = output.indices[start:end], output.data[start:end]
            form = _form(CSR, data.dtype, (output.shape[1], end - start), indices.dtype)
            yield form, indices.tobytes() + data.tobytes()
    elif isinstance(output, list) or (isinstance(output, np.ndarray) and output.ndim > 1):
        kind = LIST if isinstance(output, list) else MATRIX
        for array in output:
            if not isinstance(array, np.ndarray):
                raise InputTypeError(f"a cache takes lists of arrays, not of {type(array).__name__}; use np.asarray")
            yield _form(kind, array.dtype, array.shape), array.tobytes()
    else:
        raise InputTypeError(
            f"a cache takes lists of arrays, arrays, csr_arrays and dicts of those, not {type(output).__name__}"
        )


@lru_cache(maxsize=4096)
def _form(kind: str, dtype: Any, shape: tuple[int, ...], index_dtype: Any = None) -> str:
    for each in (dtype, index_dtype):
        if each is not None and each.kind not in "biufc":  # what else there is has no bytes of its own
            raise InputTypeError(f"a cache takes arrays of numbers, not of {each}")
    return json.dumps([kind, dtype.str, list(shape), *([] if index_dtype is None else [index_dtype.str])])


@dataclass(frozen=True)
class _Output:
    """One output of a form.

    Attributes:
        name: Its key where the function gives a dict, else `None`.
        kind: `LIST`, an array of a list of them; `MATRIX`, a row of an array; `CSR`, a row of a `csr_array`.
        dtype: Of the values.
        shape: Of an array; of a sparse row, how many columns and how many values there are.
        index_dtype: Of a sparse row's column numbers.
        size: Bytes of the payload.
    """

    name: str | None
    kind: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    index_dtype: np.dtype[Any]
    size: int


@lru_cache(maxsize=4096)
def _outputs(form: str) -> tuple[_Output, ...]:
    read = json.loads(form)
    named = read.items() if isinstance(read, dict) else [(None, read)]
    return tuple(_output(name, *fields) for name, fields in named)


def _output(name: str | None, kind: str, dtype: str, shape: list[int], index_dtype: str = "<i4") -> _Output:
    values, columns = np.dtype(dtype), np.dtype(index_dtype)
    count = shape[1] if kind == CSR else int(np.prod(shape, dtype=np.int64))
    size = count * (values.itemsize + (columns.itemsize if kind == CSR else 0))
    return _Output(name, kind, values, tuple(shape), columns, size)


def unpack(packed: Sequence[Packed]) -> Any:
    """The vectors of several texts, at least one, as the embedding function gave them; arrays may be written to.

    Arrays of one dimension and length in a list are rows of one contiguous block.

    Raises:
        InputError: The texts' vectors are of different kinds.
    """
    forms = [_outputs(form) for form, _ in packed]
    if len({tuple((output.name, output.kind) for output in form) for form in set(forms)}) > 1:
        raise InputError(
            "the cache holds vectors of another kind than the function gives; `milvine cache clear` removes them"
        )
    result: dict[str | None, Any] = {}
    starts = [0] * len(forms)
    for at, output in enumerate(forms[0]):
        of_texts = [form[at] for form in forms]
        ends = [start + each.size for start, each in zip(starts, of_texts, strict=True)]
        if len(forms[0]) == 1:
            pieces = [payload for _, payload in packed]
        else:
            pieces = [payload[start:end] for (_, payload), start, end in zip(packed, starts, ends, strict=True)]
        result[output.name] = (_unpack_rows if output.kind == CSR else _unpack_arrays)(of_texts, pieces)
        starts = ends
    return result.get(None, result)


def _unpack_arrays(outputs: list[_Output], pieces: list[bytes]) -> Any:
    first = outputs[0]
    if len(set(outputs)) > 1 or (first.kind == LIST and len(first.shape) != 1):
        return [
            np.frombuffer(bytearray(piece), output.dtype).reshape(output.shape)
            for output, piece in zip(outputs, pieces, strict=True)
        ]
    block = np.frombuffer(bytearray().join(pieces), first.dtype).reshape(len(pieces), *first.shape)
    return list(block) if first.kind == LIST else block


def _unpack_rows(outputs: list[_Output], pieces: list[bytes]) -> Any:
    from scipy.sparse import csr_array

    first = outputs[0]
    counts = [output.shape[1] for output in outputs]
    cuts = [count * first.index_dtype.itemsize for count in counts]
    indices = bytearray().join(piece[:cut] for piece, cut in zip(pieces, cuts, strict=True))
    data = bytearray().join(piece[cut:] for piece, cut in zip(pieces, cuts, strict=True))
    ends = np.cumsum([0, *counts])
    if ends[-1] <= np.iinfo(first.index_dtype).max:
        ends = ends.astype(first.index_dtype)
    arrays = np.frombuffer(data, first.dtype), np.frombuffer(indices, first.index_dtype), ends
    return csr_array(arrays, shape=(len(pieces), first.shape[0]))
