"""README's examples run as they stand, one after the other, in an empty folder."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from milvine.local.finding.catalogue import find
from milvine.local.finding.hub import is_hub_id
from milvine.local.options import check_options
from provider_server import KEY, provider_server

README = Path(__file__).parent.parent / "README.md"
NEEDS_HUB = "# needs the Hugging Face hub"
"""How an example begins that is not run here."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_python_examples_run(tmp_path: Path) -> None:
    examples = [example for example in blocks("python") if not example.startswith(NEEDS_HUB)]
    assert len(examples) == 8
    with provider_server() as server:
        hosted = {
            "OPENAI_BASE_URL": server.url_of("openai"),
            "JINA_BASE_URL": server.url_of("jina"),
            "OPENAI_API_KEY": KEY,
            "JINA_API_KEY": KEY,
        }
        printed = [_run(example, tmp_path, hosted) for example in examples]
    assert "expenses.md: Expenses above 50 euros need a receipt." in printed[0]
    assert printed[1].splitlines()[-1] == "1"  # of two records, the one of 2024 was deleted
    assert "The office is closed on public **holidays**." in printed[1]
    passages, best = printed[2].splitlines()
    assert int(passages.partition(" ")[0]) > 1
    assert "'document': 'turing'" in passages
    assert best == "2"
    assert printed[3].split() == ["1"]  # what was left of the two
    del printed[2:4]
    assert "Dim: 384 (384,)" in printed[2]
    assert printed[3].splitlines()[0] == "256"
    assert printed[3].splitlines()[1].startswith("Usage(requests=1, retries=0, texts=1, tokens=")
    assert printed[3].splitlines()[-1].startswith("0 ")
    german, japanese, found = printed[4].splitlines()
    assert (german, japanese) == ("['haus', 'strass']", "['東', '京', '都', '東京', '京都']")
    assert found == "Die Häuser stehen am Fluss."
    assert printed[5].splitlines()[:3] == ["[7]", "Truncation(texts=0, tokens=0)", "(32,)"]


def test_examples_that_need_a_hub_name_models_and_options_that_there_are() -> None:
    (example,) = [example for example in blocks("python") if example.startswith(NEEDS_HUB)]
    tree = ast.parse(example)
    names: dict[str, Any] = {}
    exec("\n".join(ast.unparse(line) for line in tree.body if isinstance(line, ast.ImportFrom)), names)  # noqa: S102
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    functions = [node for node in made if getattr(node.func, "id", "").endswith("Function")]
    assert len(functions) == 6
    for node in functions:
        (model,) = map(ast.literal_eval, node.args)
        assert is_hub_id(model) or find(model)
        signature = inspect.signature(names[node.func.id])  # type: ignore[attr-defined]
        given = signature.bind(model, **{str(each.arg): ast.literal_eval(each.value) for each in node.keywords})
        check_options(given.arguments.get("options", {}))


def _run(code: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_thirty_lines_say_what_it_is_and_how_to_try_it() -> None:
    head = "\n".join(README.read_text(encoding="utf-8").splitlines()[:30])
    for needed in ("PyTorch", "scripts/demo", "scripts/check"):
        assert needed in head


def test_files_that_readme_names_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([A-Z]+\.md)\)", text):
        assert (README.parent / name).is_file(), name
    for script in ("scripts/demo", "scripts/check", "scripts/setup"):
        assert os.access(README.parent / script, os.X_OK), script
