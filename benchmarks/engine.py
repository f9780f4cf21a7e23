"""The embedded engine beside the Pulumi CLI, and its own cost per step as a stack grows.

Whole commands, as a user types them. Needs a PostgreSQL server (PG* variables, or the development server), and a
Pulumi CLI on the PATH for the comparisons, which are left out without one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.server import environment

_PROJECT = Path(__file__).parent.parent
_BIN = Path(sys.executable).parent
_EMBEDDED = str(_BIN / "pulumi-embedded")
_CLI = shutil.which("pulumi")
_PASSPHRASE = "benchmark"  # noqa: S105 - of stacks that live for a minute

# `check` is the first call that a dynamic resource's provider gets; it leaves the moment in a file.
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


@dataclass(frozen=True)
class Stack:
    """A project in a folder of its own with one stack, driven by either engine."""

    folder: Path

    @classmethod
    def of_this_project(cls, folder: Path) -> Stack:
        """The project itself, as it is in the working tree."""
        folder.mkdir()
        for name in ("Pulumi.yaml", "__main__.py", "pyproject.toml", "migrations"):
            source = _PROJECT / name
            _ = shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder)
        return cls(folder)._initialised("taskdb:revision: head")

    @classmethod
    def of_many(cls, folder: Path, count: int) -> Stack:
        """A project with so many dynamic resources that do nothing."""
        folder.mkdir()
        (folder / "__main__.py").write_text(_MANY)
        (folder / "count").write_text(str(count))
        (folder / "Pulumi.yaml").write_text(
            "name: many\nruntime: {name: python, options: {virtualenv: .venv}}\nbackend: {url: 'file://./.state'}\n"
        )
        return cls(folder)._initialised("many:none: here")

    def _initialised(self, setting: str) -> Stack:
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / ".state").mkdir()
        self.run(_EMBEDDED, "stack", "init", "bench")
        with (self.folder / "Pulumi.bench.yaml").open("a") as file:
            file.write(f"config:\n  {setting}\n")
        return self

    def run(self, engine: str, *arguments: str) -> None:
        """Runs a command of an engine; anything but success ends the benchmark with what was printed."""
        command = [engine, *arguments, "--stack", "bench"]
        if arguments[:2] == ("stack", "init"):
            command = [engine, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=_environment(), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")

    def up(self, engine: str, *flags: str) -> float:
        """How long `up` takes."""
        return seconds(lambda: self.run(engine, "up", "--yes", *flags))

    def first_call(self, engine: str) -> float:
        """How long it takes from the command to the first provider call."""
        mark = self.folder / "first-call"
        mark.unlink(missing_ok=True)
        begun = time.time()
        self.run(engine, "up", "--yes", "--skip-preview")
        return mark.stat().st_mtime - begun

    def resources(self) -> int:
        """How many resources the state holds."""
        return len(json.loads(self._state().read_text())["checkpoint"]["latest"]["resources"])

    def _state(self) -> Path:
        [path] = (self.folder / ".state/.pulumi/stacks").glob("*/bench.json")
        return path

    def state_bytes(self) -> int:
        """The size of the state file."""
        return self._state().stat().st_size


def _environment() -> dict[str, str]:
    return {**environment(), "PULUMI_CONFIG_PASSPHRASE": _PASSPHRASE, "PULUMI_SKIP_UPDATE_CHECK": "true"}


def _against_cli(cli: str, ours: Stack, many: Stack) -> list[Claim]:
    claims = []
    for name, stack in (("this project", ours), ("200 resources", many)):
        for flags in ((), ("--skip-preview",)):
            what = f"no-op up {' '.join(flags)} of {name}, embedded ÷ CLI".replace("  ", " ")
            claims.append(claim(what, partial(stack.up, _EMBEDDED, *flags), partial(stack.up, cli, *flags), limit=0.5))
    claims.append(
        claim(
            "from the command to the first provider call, embedded ÷ CLI",
            partial(many.first_call, _EMBEDDED),
            partial(many.first_call, cli),
            limit=0.5,
        )
    )
    return claims


def _growth(folder: Path) -> list[Claim]:
    """Creating eight times as many: the time per step may grow as the state file does, and no faster."""
    small, large = Stack.of_many(folder / "small", 25), Stack.of_many(folder / "large", 200)
    times, sizes = {}, {}
    for stack in (small, large):
        creating = stack.up(_EMBEDDED, "--skip-preview")
        times[stack] = (creating - stack.up(_EMBEDDED, "--skip-preview")) / stack.resources()
        sizes[stack] = stack.state_bytes()
    growth = sizes[large] / sizes[small]
    per_step = Claim(
        "time per step, 200 ÷ 25 resources", times[large], times[small], times[large] / times[small], growth
    )
    # The stack and the provider are smaller than a resource, and there is one of each.
    one, another = (sizes[each] / each.resources() for each in (large, small))
    size = Claim("state per resource, 200 ÷ 25 resources", one, another, one / another, 1.1, "bytes")
    return [per_step, size]


def main() -> None:
    """Measures and prints every claim; exit code 1 where one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        claims = _growth(folder)
        if _CLI is None:
            print("no Pulumi CLI on the PATH: the comparisons with it are left out")
        else:
            ours, many = Stack.of_this_project(folder / "ours"), Stack.of_many(folder / "many", 200)
            try:
                claims += _against_cli(_CLI, ours, many)
            finally:
                ours.run(_EMBEDDED, "destroy", "--yes", "--skip-preview")
        sys.exit(0 if report(claims) else 1)


if __name__ == "__main__":
    main()
