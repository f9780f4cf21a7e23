"""The command line of `pulumi-alembic`: what all commands have in common, without a database."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from pulumi_alembic.commands import new
from pulumi_alembic.commands.cli import group
from pulumi_alembic.errors import MigrationError
from tests import loaded


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("pulumi-alembic"), *arguments]
    return loaded.run(command, cwd=folder, env=os.environ | environment)


def test_without_a_command_it_prints_the_help(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert set(group.commands) <= set((done.stdout + done.stderr).split())


def test_it_says_its_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout.split()[-1] == version("pulumi-alembic")


def test_a_shell_completes_its_commands(tmp_path: Path) -> None:
    done = run(tmp_path, _PULUMI_ALEMBIC_COMPLETE="bash_complete", COMP_WORDS="pulumi-alembic hi", COMP_CWORD="1")
    assert done.stdout.strip() == "plain,history"


def test_without_its_extra_status_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith(("pulumi_alembic.status", "cryptography"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MigrationError, match=r"pip install 'pulumi-alembic\[status\]'"):
        group.main(["status", "--directory", str(tmp_path)], standalone_mode=False)


def test_quiet_leaves_the_result_and_the_error(tmp_path: Path) -> None:
    url = "postgresql://nobody:hush@127.0.0.1:1/nothing"
    (tmp_path / "migrations/versions").mkdir(parents=True)
    done = run(tmp_path, "--quiet", "plan", "--directory", "migrations", DATABASE_URL=url)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "hush" not in done.stderr


def commands(of: click.Group, *names: str) -> dict[str, click.Command]:
    """Return every command by its full name, including the commands of groups."""
    found: dict[str, click.Command] = {}
    for name, command in of.commands.items():
        if isinstance(command, click.Group):
            assert command.help and command.help.endswith(".")
            found |= commands(command, *names, name)
        else:
            found[" ".join([*names, name])] = command
    return found


NO_JSON = {"accept", "baseline", "capsule", "contract", "manifest", "prune", "report", "restore", "schema", "squash"}
NO_JSON |= {f"new {name}" for name in new.GROUP.commands}
NO_JSON |= {f"backfill {name}" for name in ("run", "pause", "resume", "cancel")}


@pytest.mark.parametrize("name", commands(group))
def test_every_help_is_a_sentence_and_every_option_has_one(name: str) -> None:
    command = commands(group)[name]
    assert command.help and command.help[0].isupper() and command.help.endswith(".")
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert options and all(option.help and option.help.endswith(".") for option in options)
    assert (name in NO_JSON) != any(option.name == "json" for option in options), "a machine reads what a command lists"
