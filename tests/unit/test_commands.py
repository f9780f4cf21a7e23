"""The three commands are of one family: help without an argument, and a version."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import loaded

COMMANDS = ("pulumi-alembic", "pulumi-embedded", "taskdb")


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return loaded.run([Path(sys.executable).with_name(name), *arguments])


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


INTERRUPTED = """
import importlib, sys
sys.argv = ["/usr/bin/" + sys.argv[1]]
sys.modules.pop("signal", None)
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "signal":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
module = importlib.import_module(sys.argv[0].rpartition("/")[2].replace("-", "_"))
if module.__name__ == "pulumi_embedded":
    importlib.import_module("pulumi_embedded.__main__").main()
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_before_a_command_can_handle_it_leaves_no_traceback(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
