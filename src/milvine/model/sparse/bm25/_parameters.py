"""What a fitted BM25 consists of, and its file: JSON, format "v1" of `pymilvus.model`."""

from __future__ import annotations

import json
import math
import numbers
import os
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from milvine.errors import InputError, ReadError

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


def check_parameters(k1: float, b: float, epsilon: float) -> None:
    """Raise an InputError that names the first number that is out of its range."""
    if not _is_number(k1) or k1 < 0:
        raise InputError(f"k1 must be a number of at least 0, not {k1!r}; 0.9 to 1.5 is usual")
    if not _is_number(b) or not 0 <= b <= 1:
        raise InputError(f"b must be a number from 0 to 1, not {b!r}; 0.4 to 0.75 is usual")
    if not _is_number(epsilon):
        raise InputError(f"epsilon must be a finite number, not {epsilon!r}; 0.25 is usual")


def write_parameters(path: str | os.PathLike[str], parameters: Parameters) -> None:
    """Replace the file at `path` in one step.

    Raises:
        InputError: The folder does not exist, or `path` is a folder.
        OSError: The file cannot be written; what was there before is still there.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"Cannot save to {target}: the folder {target.parent} does not exist; create it first")
    if target.is_dir():
        raise InputError(f"Cannot save to {target}: it is a folder; name a file in it")
    content = json.dumps({"version": FORMAT, **asdict(parameters)}, allow_nan=False)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    if not isinstance(values, list) or not all(map(_is_number, values)):
        raise InputError("idf_value must be a list of finite numbers")
    if len(words) != len(values):
        raise InputError(f"idf_word has {len(words)} entries and idf_value {len(values)}; they must be as many")
    if len(set(words)) != len(words):
        raise InputError("idf_word has a word twice")
    if not isinstance(read.corpus_size, int) or isinstance(read.corpus_size, bool) or read.corpus_size < 1:
        raise InputError(f"corpus_size must be an integer of at least 1, not {read.corpus_size!r}")
    if not _is_number(read.avgdl) or read.avgdl < 0 or (words and read.avgdl == 0):
        raise InputError(f"avgdl must be a number above 0, not {read.avgdl!r}")
    return read


def _is_number(value: Any) -> bool:
    return type(value) is not bool and isinstance(value, numbers.Real) and math.isfinite(value)
