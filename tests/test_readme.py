"""README's examples run as they stand, one after the other, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from provider_server import KEY, provider_server

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_python_examples_run(tmp_path: Path) -> None:
    examples = blocks("python")
    assert len(examples) >= 4
    with provider_server() as server:
        hosted = {
            "OPENAI_BASE_URL": server.url,
            "JINA_BASE_URL": server.url,
            "OPENAI_API_KEY": KEY,
            "JINA_API_KEY": KEY,
        }
        printed = [_run(example, tmp_path, hosted) for example in examples]
    assert "expenses.md: Expenses above 50 euros need a receipt." in printed[0]
    assert printed[1].splitlines()[-1] == "1"  # of two records, the one of 2024 was deleted
    assert "Dim: 384 (384,)" in printed[2]
    assert printed[3].splitlines()[-1] == "256"


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
