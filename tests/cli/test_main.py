from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from milvine.cli import main


def milvine(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "milvine", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert "\n  milvine demo    " in result.output  # the examples stand on lines of their own
    assert '\n  milvine search "a question" --db kb.milvine    ask\n' in result.output
    for command in ("demo", "index", "search", "copy", "doctor", "models", "cache"):
        assert f"\n  {command} " in result.output
        assert invoke(command, "--help").exit_code == 0


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from milvine.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print([name for name in ('onnxruntime', 'pymilvus', 'httpx', 'scipy', 'rich', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    from importlib import metadata

    assert metadata.version("milvine") in invoke("--version").output


def test_wrong_usage_ends_with_2_and_an_error_of_milvines_with_1(tmp_path: Path) -> None:
    assert invoke("index").exit_code == 2
    assert invoke("search", "x").exit_code == 2
    result = invoke("search", "x", "--db", str(tmp_path / "none.db"))
    assert result.exit_code == 1
    assert result.output.startswith("Error: there is no database")
    assert "Traceback" not in result.output


def test_errors_of_a_real_process_are_one_message_on_standard_error(tmp_path: Path) -> None:
    done = milvine("search", "x", "--db", "none.db", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: there is no database")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none.db").exists()
