"""Format "v1" of `pymilvus.model`: JSON with the idf values, but not the counts that they were made of."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from milvine.errors import InputError, ReadError
from milvine.model.sparse.bm25._files import replace_file
from milvine.model.sparse.bm25._formulas import check_parameters, is_number

FORMAT = "v1"


@dataclass(frozen=True)
class Parameters:
    """The contents of a file; field for field its JSON keys, beside `"version": "v1"`.

    Attributes:
        corpus_size: The number of documents that were fitted.
        avgdl: Their mean number of terms.
        idf_word: The terms; a term's place is its dimension.
        idf_value: The idf of each.
        k1: See `tf_weight`.
        b: See `tf_weight`.
        epsilon: See `idf_okapi`.
    """

    corpus_size: int
    avgdl: float
    idf_word: list[str]
    idf_value: list[float]
    k1: float
    b: float
    epsilon: float


def write_parameters(path: str | os.PathLike[str], parameters: Parameters) -> None:
    """Replace the file at `path` in one step.

    Raises:
        InputError: The folder does not exist, or `path` is a folder.
        OSError: The file cannot be written; what was there before is still there.
    """
    content = json.dumps({"version": FORMAT, **vars(parameters)}, allow_nan=False)
    replace_file(path, content.encode())


def read_parameters(path: str | os.PathLike[str]) -> Parameters:
    """The contents of a file that was saved here or by `pymilvus.model`.

    Raises:
        ReadError: It is missing, unreadable, damaged, another kind of file, or of another version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"Cannot read BM25 parameters from {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path} holds no BM25 parameters: it is not JSON ({error})") from error
    try:
        return _checked(content)
    except (InputError, OverflowError) as error:
        raise ReadError(f"{path} holds no BM25 parameters that milvine can use: {error}") from error


def _checked(content: Any) -> Parameters:
    names = [field.name for field in fields(Parameters)]
    if not isinstance(content, dict):
        raise InputError(f"it holds a {type(content).__name__} where an object with {', '.join(names)} is due")
    version = content.get("version")
    if version != FORMAT:
        raise InputError(f'its version is {version!r}, and this milvine reads "{FORMAT}"; a newer milvine may read it')
    missing = [name for name in names if name not in content]
    if missing:
        raise InputError(f"it lacks {', '.join(missing)}")
    read = Parameters(**{name: content[name] for name in names})
    check_parameters(read.k1, read.b, read.epsilon)
    words, values = read.idf_word, read.idf_value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError("idf_word must be a list of strings")
    if not isinstance(values, list) or not all(map(is_number, values)):
        raise InputError("idf_value must be a list of finite numbers")
    if len(words) != len(values):
        raise InputError(f"idf_word has {len(words)} entries and idf_value {len(values)}; they must be as many")
    if len(set(words)) != len(words):
        raise InputError("idf_word has a word twice")
    if not isinstance(read.corpus_size, int) or isinstance(read.corpus_size, bool) or read.corpus_size < 1:
        raise InputError(f"corpus_size must be an integer of at least 1, not {read.corpus_size!r}")
    if not is_number(read.avgdl) or read.avgdl < 0 or (words and read.avgdl == 0):
        raise InputError(f"avgdl must be a number above 0, not {read.avgdl!r}")
    return read
