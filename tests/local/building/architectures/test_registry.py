"""A row without golden data does not pass."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from milvine.errors import ModelFileError
from milvine.local.building import architectures
from milvine.local.building.architectures import ARCHITECTURES, Architecture, find_architecture

FILES = {path.stem for path in Path(str(architectures.__file__)).parent.glob("[!_]*.py")}
DATA = Path(__file__).parents[3] / "data"


def row_of(name: str) -> Architecture | None:
    """The row that a file holds: it has the file's name, in capitals."""
    return getattr(importlib.import_module(f"milvine.local.building.architectures.{name}"), name.upper(), None)


@pytest.mark.parametrize("name", sorted(name for name in FILES if row_of(name)))
def test_every_architecture_is_registered_and_has_golden_data(name: str) -> None:
    row = row_of(name)
    assert row is not None
    assert all(ARCHITECTURES[model_type] is row for model_type in row.model_types)
    assert (DATA / f"{name}_golden.npz").is_file()


def test_every_row_comes_from_a_file_of_its_name() -> None:
    found = [row for name in FILES if (row := row_of(name))]
    assert {id(row) for row in ARCHITECTURES.values()} == {id(row) for row in found}
    assert len(found) >= 9


@pytest.mark.parametrize(("model_type", "named"), [("llama", "'llama'"), (["bert"], r"\['bert'\]"), (None, "None")])
def test_an_unknown_architecture_is_named_with_those_known(model_type: Any, named: str) -> None:
    with pytest.raises(ModelFileError, match=rf"/m/config.json: the architecture {named} is not known here; .*t5"):
        find_architecture({"model_type": model_type}, "/m/config.json")
