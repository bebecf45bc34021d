"""Documents that every machine with Python has: the language reference and the standard library's docstrings.

The sources are parsed, not imported: importing some modules opens a browser, prints, or starts a GUI. Excepted are
modules written in C, whose docstrings exist at run time alone. `pydocs.json` says which modules are left out
(`left_out`), which modules inside packages are read (`submodules`: those that programs import by their full name), and
which can be imported without side effects (`compiled`).
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import inspect
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from milvine.ingest.documents import Document

SHORTEST_DOCSTRING = 40
"""Shorter docstrings, in characters, say no more than the name and are left out."""

_UNDERLINES = "*=-~^"
_ROLE = re.compile(r":[a-z]+(?::[a-z]+)?:`~?\.?([^`]+)`")


def python_documents() -> Iterator[Document]:
    """The Python documentation that comes with the running interpreter.

    First the sections of the language reference (`pydoc_data.topics`), then the public modules of the standard
    library with their public classes and functions. A document's text begins with its title; its metadata are `kind`
    ("topic", "module", "class" or "function"), `name` and `module`. Ids do not depend on the Python version.

    Modules whose sources are not installed are left out.
    """
    seen: set[str] = set()
    for document in (*_topics(), *_library()):
        if document.id not in seen:
            seen.add(document.id)
            yield document


# The language reference


def _topics() -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # Some distributions package it separately.
        return
    bodies: set[str] = set()
    # Whole chapters repeat sections that are topics of their own; the shorter text, more to the point, comes first.
    for name, text in sorted(topics.items(), key=lambda item: (len(item[1]), item[0])):
        for headings, body in _sections(text):
            key = " ".join(body.split())
            if len(key) < SHORTEST_DOCSTRING or key in bodies:
                continue
            bodies.add(key)
            title = ": ".join(headings) or name
            yield Document(
                id="/".join([f"python:topic:{name}", *headings[1:]]),
                text=f"{title}\n\n{body}",
                title=title,
                metadata={"kind": "topic", "name": name, "module": ""},
            )


def _sections(text: str) -> Iterator[tuple[list[str], str]]:
    """The sections of a text with underlined headings: the headings that lead to each, outermost first; its body."""
    lines = text.splitlines()
    headings: list[tuple[int, str]] = []
    start = 0
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if not line or line[0].isspace() or len(line) != len(following) or following.strip(following[0]):
            continue
        level = _UNDERLINES.find(following[0])
        if level < 0:
            continue
        yield [heading for _, heading in headings], "\n".join(lines[start:number]).strip("\n")
        headings = [(depth, heading) for depth, heading in headings if depth < level] + [(level, line)]
        start = number + 2
    yield [heading for _, heading in headings], "\n".join(lines[start:]).strip("\n")


# The standard library


def _library() -> Iterator[Document]:
    choice = json.loads(Path(__file__).with_name("pydocs.json").read_text(encoding="utf-8"))
    left_out = {module for modules in choice["left_out"].values() for module in modules}
    folder = Path(sysconfig.get_path("stdlib"))
    for module in sorted({*sys.stdlib_module_names, *choice["submodules"]} - left_out):
        if module.startswith("_"):
            continue
        yield from _parsed(module, folder)
        if module in choice["compiled"]:
            with contextlib.suppress(ImportError):  # Python can be built without sqlite3 or zlib.
                yield from _inspected(importlib.import_module(module))


def _parsed(module: str, folder: Path) -> Iterator[Document]:
    """What a module's source defines, and what a package's `__init__` takes from its own modules."""
    tree = _tree(module, folder)
    if tree is None:
        return
    public = "os.path" if module == "posixpath" else module
    yield from _document("module", public, public, public, ast.get_docstring(tree))
    yield from _defined(tree, public, _exports(tree))
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        origin = f"{module}.{node.module}" if node.level == 1 else node.module
        part = _tree(origin, folder) if origin.startswith(f"{module}.") else None
        if part is not None:
            named = {alias.name for alias in node.names}
            yield from _defined(part, public, _exports(part) if "*" in named else named)


def _tree(module: str, folder: Path) -> ast.Module | None:
    """A module's syntax tree; `None` where its source is not installed or it is no Python module."""
    path = folder.joinpath(*module.split("."))
    for source in (path.with_suffix(".py"), path / "__init__.py"):
        if source.is_file():
            return ast.parse(source.read_bytes())
    return None


def _defined(tree: ast.Module, module: str, exported: set[str]) -> Iterator[Document]:
    """The public classes and functions that a source defines at its top level, as members of `module`."""
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if node.name.startswith("_") or (exported and node.name not in exported):
            continue
        name = f"{module}.{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from _document("class", name, module, name, ast.get_docstring(node))
        else:
            signature = f"{name}({ast.unparse(node.args)})"
            yield from _document("function", name, module, signature, ast.get_docstring(node))


def _exports(tree: ast.Module) -> set[str]:
    """The names in a module's `__all__` as far as they are written out; empty where there is none."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets: Iterable[ast.expr] = node.targets
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            names.update(
                n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            )
    return names


def _inspected(module: ModuleType) -> Iterator[Document]:
    """What a module offers at run time; `python_documents` drops what its source has given already."""
    module_name, members = module.__name__, vars(module)
    yield from _document("module", module_name, module_name, module_name, inspect.getdoc(module))
    own = [n for n in members if module is builtins or getattr(members[n], "__module__", None) == module_name]
    for short in sorted(members.get("__all__", own)):
        member = members.get(short)
        if short.startswith("_") or not (inspect.isclass(member) or inspect.isroutine(member)):
            continue
        if module is not builtins and member is getattr(builtins, short, None):
            continue
        name = short if module is builtins else f"{module_name}.{short}"
        if inspect.isclass(member):
            yield from _document("class", name, module_name, name, inspect.getdoc(member))
            continue
        try:
            signature = f"{name}{inspect.signature(member)}"
        except (ValueError, TypeError):  # Some functions written in C have none.
            signature = name
        yield from _document("function", name, module_name, signature, inspect.getdoc(member))


def _document(kind: str, name: str, module: str, heading: str, docstring: str | None) -> Iterator[Document]:
    body = _ROLE.sub(r"\1", (docstring or "").strip())
    if len(body) >= SHORTEST_DOCSTRING:
        yield Document(
            id=f"python:{kind}:{name}",
            text=f"{heading}\n\n{body}",
            title=name,
            metadata={"kind": kind, "name": name, "module": module},
        )
