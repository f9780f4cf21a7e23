"""`taskdb run` prints what it did before Pulumi's own first line, and no more."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from taskdb import cli


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The commands of Pulumi that it ended as."""
    commands: list[list[str]] = []
    engine = SimpleNamespace(name="pulumi-embedded", program="pulumi-embedded", environment=lambda stack: {})
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")

    def start(project: Path, say: Any) -> None:
        say("PostgreSQL runs")

    monkeypatch.setattr(cli.stack, "project_folder", lambda: tmp_path)
    monkeypatch.setattr(cli.Engine, "find", lambda engine_name: engine)
    monkeypatch.setattr(cli.local, "start", start)
    monkeypatch.setattr(os, "execve", lambda program, arguments, environment: commands.append(arguments[1:]))
    monkeypatch.delenv("PGHOST", raising=False)
    return commands


@pytest.mark.parametrize("running", [True, False])
def test_a_server_that_runs_already_has_no_line(
    running: bool, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.local, "is_running", lambda project: running)
    done = CliRunner().invoke(cli.main, ["run", "--stack", "dev", "up", "--yes"])
    assert begun == [["up", "--yes"]]
    assert done.output == ("" if running else "  PostgreSQL runs\n")


def test_the_stack_is_named_unless_pulumi_s_first_line_names_it(
    begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.local, "is_running", lambda project: True)
    done = CliRunner().invoke(cli.main, ["run", "--stack", "dev", "stack", "output"])
    assert begun == [["stack", "output"]]
    assert done.output == "Stack: dev\n"
