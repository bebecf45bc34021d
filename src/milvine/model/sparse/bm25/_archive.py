"""milvine's own format: exact counts, so that fitting can go on, and the analyzer's identity, in a numpy `.npz` file.

An `.npz` file is a zip of plain arrays with checksums; nothing in it is ever executed. Its members:

- `header`: UTF-8 JSON of `Archive`'s fields but `terms` and `df`, with `"format": "milvine bm25"` and `"version": 1`;
- `terms`: the terms' UTF-8, one after the other, in the order of their numbers;
- `sizes`: how many bytes each term takes;
- `df`: in how many documents each term occurs.

500,000 terms take 3 MB and a third of a second to write; as v1 they take 16 MB.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milvine.analysis.bm25 import Integers
from milvine.errors import InputError, ReadError
from milvine.model.sparse.bm25._files import replace_file
from milvine.model.sparse.bm25._formulas import IdfName, VariantName, check_parameters, with_defaults

FORMAT, VERSION = "milvine bm25", 1
_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Archive:
    """The contents of a file.

    Attributes:
        analyzer: What identifies the analyzer, as JSON.
        k1: See `tf_weight`.
        b: See `tf_weight`.
        epsilon: See `idf_okapi`.
        variant: The name of a variant.
        idf: The name of an idf.
        delta: The variant's delta, if it has one.
        n_documents: The number of documents that were fitted.
        total_length: Their terms, counted with repetition.
        terms: The terms, in the order of their numbers.
        df: In how many documents each occurs: int64, shape `(terms,)`.
    """

    analyzer: Any
    k1: float
    b: float
    epsilon: float
    variant: VariantName
    idf: IdfName
    delta: float | None
    n_documents: int
    total_length: int
    terms: list[str]
    df: Integers


_PLAIN = tuple(field.name for field in fields(Archive) if field.name not in ("terms", "df"))


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as an archive does.

    Raises:
        ReadError: It cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise ReadError(f"Cannot read BM25 parameters from {path}: {error.strerror or error}") from error


def write_archive(path: str | os.PathLike[str], archive: Archive) -> None:
    """Replace the file at `path` in one step. Equal contents give equal bytes.

    Raises:
        InputError: The folder does not exist, or `path` is a folder.
        OSError: The file cannot be written; what was there before is still there.
    """
    plain = {name: getattr(archive, name) for name in _PLAIN}
    header = json.dumps({"format": FORMAT, "version": VERSION, **plain}, allow_nan=False).encode()
    encoded = [term.encode("utf-8", "surrogatepass") for term in archive.terms]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        header=np.frombuffer(header, np.uint8),
        terms=np.frombuffer(b"".join(encoded), np.uint8),
        sizes=np.fromiter(map(len, encoded), np.int64, len(encoded)),
        df=archive.df,
    )
    replace_file(path, buffer.getvalue())


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """The contents of a file.

    Raises:
        ReadError: It is missing, unreadable, damaged, another kind of file, or of a newer version.
    """
    try:
        with np.load(path, allow_pickle=False) as members:
            arrays = {name: members[name] for name in ("header", "terms", "sizes", "df")}
    except KeyError as error:
        raise ReadError(f"{path} holds no BM25 statistics: {error.args[0]}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ReadError(f"{path} is damaged, or no file of BM25 statistics: {error}") from error
    except OSError as error:
        raise ReadError(f"Cannot read BM25 statistics from {path}: {error.strerror or error}") from error
    try:
        return _checked(**arrays)
    except (InputError, TypeError, ValueError, OverflowError) as error:
        raise ReadError(f"{path} holds no BM25 statistics that milvine can use: {error}") from error


def _checked(
    header: npt.NDArray[Any], terms: npt.NDArray[Any], sizes: npt.NDArray[Any], df: npt.NDArray[Any]
) -> Archive:
    content = json.loads(header.astype(np.uint8, casting="safe").tobytes())
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise InputError(f'its header does not name the format "{FORMAT}"')
    if (version := content.pop("version", None)) != VERSION:
        raise InputError(f"its version is {version!r}, and this milvine reads {VERSION}; a newer milvine may read it")
    if sizes.ndim != 1 or sizes.shape != df.shape or (sizes < 0).any() or sizes.sum() != terms.size:
        raise InputError("its terms, their sizes and their document frequencies do not go together")
    blob = terms.astype(np.uint8, casting="safe").tobytes()
    ends = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    listed = [blob[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(ends)]
    archive = Archive(**content, terms=listed, df=df.astype(np.int64, casting="safe"))
    check_parameters(archive.k1, archive.b, archive.epsilon)
    with_defaults(archive.variant, archive.idf, archive.delta)
    if len(set(listed)) != len(listed):
        raise InputError("it has a term twice")
    n_documents, total_length = archive.n_documents, archive.total_length
    if type(n_documents) is not int or type(total_length) is not int or min(n_documents, total_length) < 0:
        raise InputError(f"{n_documents!r} documents with {total_length!r} terms are no counts")
    if (archive.df < 0).any() or (archive.df > n_documents).any() or archive.df.sum() > total_length:
        raise InputError(f"its document frequencies are not those of {n_documents} documents of {total_length} terms")
    return archive
