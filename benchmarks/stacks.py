"""Stacks to measure: this project's own, and one with any number of resources."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import seconds
from benchmarks.server import environment

__all__ = ["CLI", "EMBEDDED", "Stack"]

_PROJECT = Path(__file__).parent.parent
_BIN = Path(sys.executable).parent
EMBEDDED = str(_BIN / "pulumi-embedded")
CLI = shutil.which("pulumi")
_PASSPHRASE = "benchmark"  # noqa: S105 - of stacks that live for a minute

# `check` is the first call to a dynamic resource's provider. It records the time of the call in a file.
_MANY = """
from pathlib import Path
import pulumi
from pulumi.dynamic import CheckResult, CreateResult, Resource, ResourceProvider

class Item(ResourceProvider):
    def check(self, olds, news):
        if not Path("first-call").exists():
            Path("first-call").touch()
        return CheckResult(news, [])

    def create(self, props):
        return CreateResult(props["name"], props)

class Thing(Resource):
    def __init__(self, name):
        super().__init__(Item(), name, {"name": name, "text": "x" * 200})

for number in range(int(Path("count").read_text())):
    Thing(f"thing-{number}")
"""

_MIGRATIONS = """
import os
import pulumi
from pulumi_alembic import Migrations

target = pulumi.Config().require("revision")
migrations = Migrations("migrations", url=os.environ["DATABASE_URL"], target=target)
pulumi.export("revision", migrations.revision)
"""


_PROJECT_FILE = "name: many\nruntime: {name: python, options: {virtualenv: .venv}}\nbackend: {url: 'file://./.state'}\n"


@dataclass(frozen=True)
class Stack:
    """A project in its own folder, with one stack of the folder's name, on either engine."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of_this_project(cls, folder: Path) -> Stack:
        """Create a copy of this project, as it is in the working tree."""
        folder.mkdir(parents=True)
        for name in ("Pulumi.yaml", "__main__.py", "pyproject.toml", "migrations"):
            source = _PROJECT / name
            _ = shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder)
        return cls(folder)._initialised("taskdb:revision: head")

    @classmethod
    def of_many(cls, folder: Path, count: int) -> Stack:
        """Create a project with this many dynamic resources that do nothing."""
        folder.mkdir()
        (folder / "__main__.py").write_text(_MANY)
        (folder / "count").write_text(str(count))
        (folder / "Pulumi.yaml").write_text(_PROJECT_FILE)
        return cls(folder)._initialised("many:none: here")

    @classmethod
    def of_migrations(cls, folder: Path, scripts: Path, variables: dict[str, str]) -> Stack:
        """Create a project with only the migrations of the database at DATABASE_URL, to `many:revision`."""
        folder.mkdir()
        shutil.copytree(scripts, folder / "migrations")
        (folder / "__main__.py").write_text(_MIGRATIONS)
        (folder / "Pulumi.yaml").write_text(_PROJECT_FILE)
        return cls(folder, variables)._initialised("many:revision: head")

    def _initialised(self, setting: str) -> Stack:
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / ".state").mkdir()
        self.run(EMBEDDED, "stack", "init", self.folder.name)
        with (self.folder / f"Pulumi.{self.folder.name}.yaml").open("a") as file:
            file.write(f"config:\n  {setting}\n")
        return self

    def run(self, engine: str, *arguments: str) -> None:
        """Run a command of an engine. A failure ends the benchmark with the output."""
        command = [engine, *arguments, "--stack", self.folder.name]
        if arguments[:2] == ("stack", "init"):
            command = [engine, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=_environment() | self.variables, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")

    def up(self, engine: str, *flags: str) -> float:
        """Return the duration of `up` in seconds."""
        return seconds(lambda: self.run(engine, "up", "--yes", *flags))

    def preview(self, engine: str) -> float:
        """Return the duration of `preview` in seconds."""
        return seconds(lambda: self.run(engine, "preview"))

    def first_call(self, engine: str) -> float:
        """Return the time from the command to the first provider call, in seconds."""
        mark = self.folder / "first-call"
        mark.unlink(missing_ok=True)
        begun = time.time()
        self.run(engine, "up", "--yes", "--skip-preview")
        return mark.stat().st_mtime - begun

    def resources(self) -> int:
        """Return the number of resources in the state."""
        return len(json.loads(self._state().read_text())["checkpoint"]["latest"]["resources"])

    def _state(self) -> Path:
        [path] = (self.folder / ".state/.pulumi/stacks").glob(f"*/{self.folder.name}.json")
        return path

    def state_bytes(self) -> int:
        """Return the size of the state file in bytes."""
        return self._state().stat().st_size


def _environment() -> dict[str, str]:
    return {**environment(), "PULUMI_CONFIG_PASSPHRASE": _PASSPHRASE, "PULUMI_SKIP_UPDATE_CHECK": "true"}
