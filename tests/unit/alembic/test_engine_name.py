"""Messages name the engine that runs the program, otherwise the one that is installed."""

from pathlib import Path

import pytest

from pulumi_alembic.output.engine import engine, path


def test_the_engine_of_a_message_is_the_running_one_or_the_installed_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PULUMI_COMMAND", raising=False)
    assert engine() == "pulumi-embedded"
    assert Path(path()).is_absolute()
    (tmp_path / "pulumi").write_text("#!/bin/sh\n")
    (tmp_path / "pulumi").chmod(0o755)
    assert (engine(), path()) == ("pulumi", str(tmp_path / "pulumi"))
    monkeypatch.setenv("PULUMI_COMMAND", "pulumi-embedded")
    assert engine() == "pulumi-embedded"
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.delenv("PULUMI_COMMAND")
    (tmp_path / "pulumi").unlink()
    assert (engine(), path()) == ("pulumi", "pulumi")
