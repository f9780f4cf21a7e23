"""Run commands of the installed engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from taskdb.errors import TaskdbError

__all__ = ["DEVELOPMENT", "ENGINES", "Engine"]

DEVELOPMENT = "dev"
ENGINES = ("auto", "pulumi", "embedded")


@dataclass(frozen=True)
class Engine:
    """A program with Pulumi's commands: `pulumi`, or the project's own `pulumi-embedded`."""

    program: str

    @classmethod
    def find(cls, name: str = "auto") -> Engine:
        """Return the engine of this name. `auto` is the Pulumi CLI if it is on the PATH, otherwise the embedded engine.

        Raises:
            TaskdbError: The name is `pulumi`, and no Pulumi CLI is installed.

        """
        cli = shutil.which("pulumi")
        if name == "pulumi" and cli is None:
            raise TaskdbError("there is no pulumi on the PATH. Install it, or take the other engine: --engine embedded")
        own = str(Path(sys.executable).with_name("pulumi-embedded"))
        return cls(own if name == "embedded" or cli is None else cli)

    @property
    def name(self) -> str:
        """The engine's name in command lines."""
        return Path(self.program).name

    def run(self, *arguments: str, stack: str = "", stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command, on a stack if one is named, and return its result."""
        return subprocess.run(
            [self.program, *arguments, *(["--stack", stack] if stack else [])],
            capture_output=True,
            text=True,
            input=stdin,
            env=self.environment(stack),
            check=False,
        )

    def environment(self, stack: str) -> dict[str, str]:
        """Return the variables of a command. PULUMI_STACK names the stack unless `--stack` names another one."""
        return _passphrase(stack) | os.environ | ({"PULUMI_STACK": stack} if stack else {})

    def ask(self, *arguments: str, stack: str = "", stdin: str = "") -> str:
        """Return the output of a command. Raises TaskdbError, with the engine's message, if the command fails."""
        answer = self.run(*arguments, stack=stack, stdin=stdin)
        if answer.returncode != 0:
            reason = answer.stderr.strip().removeprefix("error: ")
            where = f" --stack {stack}" if stack else ""
            raise TaskdbError(f"{self.name} {' '.join(arguments)}{where}: {reason}")
        return answer.stdout.strip()

    def has_stack(self, name: str) -> bool:
        """Return whether the backend has the stack. This needs no passphrase.

        Raises:
            TaskdbError: The backend cannot be read.

        """
        stacks = json.loads(self.ask("stack", "ls", "--json"))
        return name in {stack["name"].rpartition("/")[2] for stack in stacks}

    def show(self, *arguments: str, stack: str) -> None:
        """Run a command whose output appears in the terminal. Raises TaskdbError if it fails."""
        command = [self.program, *arguments, "--stack", stack]
        # Ctrl-C reaches the engine too, which ends in order; `run` would kill it after a moment.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            failed = subprocess.Popen(command, env=self.environment(stack)).wait() != 0
        finally:
            signal.signal(signal.SIGINT, before)
        if failed:
            raise TaskdbError(f"{self.name} {' '.join(arguments)} --stack {stack} failed: what it printed says why")


def _passphrase(stack: str) -> dict[str, str]:
    # The development stack's passphrase is empty, and an empty one has to be set to be used.
    named = "PULUMI_CONFIG_PASSPHRASE_FILE" in os.environ
    return {"PULUMI_CONFIG_PASSPHRASE": ""} if stack == DEVELOPMENT and not named else {}
