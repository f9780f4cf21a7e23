"""The three commands are of one family: help without an argument, and a version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("pulumi-alembic", "pulumi-embedded", "taskdb")


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_arguments_prints_its_help(name: str) -> None:
    done = run(name)
    assert (done.stdout + done.stderr).startswith(f"Usage: {name} [OPTIONS] COMMAND [ARGS]...")


def test_a_group_without_arguments_prints_its_help_as_the_cli() -> None:
    for arguments in ((), ("state",), ("plugin",)):
        done = run("pulumi-embedded", *arguments)
        assert done.returncode == 0
        assert done.stdout.startswith(f"Usage: {' '.join(('pulumi-embedded', *arguments))} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_version(name: str) -> None:
    done = run(name, "--version")
    assert done.returncode == 0
    assert any(character.isdigit() for character in done.stdout)
