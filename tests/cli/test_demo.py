from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from milvine.cli import main
from milvine.cli.demo import QUESTIONS


@pytest.mark.timeout(600)
def test_the_demo_answers_and_a_second_run_embeds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = str(tmp_path / "demo.milvine")
    first = CliRunner().invoke(main, ["demo", "--db", db])
    assert first.exit_code == 0, first.output
    rest = first.output
    answers = {}
    for question in reversed(QUESTIONS):
        assert question in rest
        rest, _, answers[question] = rest.partition(question)
    assert "collections.Counter" in answers[QUESTIONS[1]]
    assert "random.choice" in answers[QUESTIONS[3]]
    monkeypatch.setattr("milvine.cli.demo.QUESTIONS", QUESTIONS[:1])
    second = CliRunner().invoke(main, ["demo", "--db", db])
    assert second.exit_code == 0, second.output
    assert "passages, 0 of them embedded now" in second.output
    asked = CliRunner().invoke(main, ["search", "escape a URL", "--db", db, "--collection", "python"])
    assert "urllib.parse" in asked.output
