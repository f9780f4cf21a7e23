"""A project with the faulty provider, on which commands run, with access to state, store and calls."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests import forks
from tests.forks import Ended

from .launcher import SALT

HERE = Path(__file__).parent
PROGRAM = """
import json, os, pulumi
with open(os.path.join(os.environ["FAULTY_STORE"], "processes"), "a") as file:
    file.write(f"program {os.getpid()}\\n")
things = {}
for name, inputs in json.load(open("things.json")).items():
    inputs = dict(inputs)
    of, id = inputs.pop("of", None), inputs.pop("read", None)
    if of:
        inputs["of"] = things[of].serial
    options = pulumi.ResourceOptions(id=id, depends_on=[things[each] for each in inputs.pop("after", [])])
    things[name] = pulumi.CustomResource("faulty:index:Thing", name, {**inputs, "serial": None}, options)
"""
URN = "urn:pulumi:dev::faulty::faulty:index:Thing::"

Things = dict[str, dict[str, Any]]


class Launcher(forks.Launcher):
    """Runs commands of the engine in forks of one process that has loaded it."""

    def __init__(self) -> None:
        super().__init__("tests.stack.engine.faulty.launcher")


class Bench:
    """One project folder with its state, and the store of the provider beside it."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.store = folder / "store"
        self._launcher = launcher

    @classmethod
    def new(cls, folder: Path, launcher: Launcher) -> Bench:
        """Create an initialised stack without resources."""
        bench = cls(folder, launcher)
        (bench.project / ".state").mkdir(parents=True)
        (bench.store / "things").mkdir(parents=True)
        (bench.project / ".venv").symlink_to(Path(sys.executable).parent.parent)
        (bench.project / "Pulumi.yaml").write_text(
            "name: faulty\nruntime: {name: python, options: {virtualenv: .venv}}\nbackend: {url: file://./.state}\n"
        )
        (bench.project / "Pulumi.dev.yaml").write_text(f"encryptionsalt: {SALT}\n")
        (bench.project / "__main__.py").write_text(PROGRAM)
        bench.declare({})
        bench.plugin(
            f"import runpy\n\nrunpy.run_path({str(HERE / 'plugin.py')!r}, run_name='__main__')", sys.executable
        )
        done = bench.run("stack init dev")
        assert done.code == 0, done.output
        return bench

    def copy(self, folder: Path) -> Bench:
        """Copy the project, the state and the store."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Bench(folder, self._launcher)

    def plugin(self, script: str, interpreter: str = "/bin/sh") -> None:
        """Install a script as the provider's plugin."""
        file = self.folder / "bin" / "pulumi-resource-faulty"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!{interpreter}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def declare(self, things: Things) -> None:
        """Make the program want these things."""
        (self.project / "things.json").write_text(json.dumps(things))

    def environment(self, plan: dict[str, Any] | None = None) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FAULTY_STORE": str(self.store),
            "FAULTY_PLAN": json.dumps(plan or {}),
            "PULUMI_CONFIG_PASSPHRASE": "",
            # The selected stack is stored by folder, and benches are copied.
            "PULUMI_STACK": "dev",
            "TMPDIR": str(self.folder),
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }

    def arguments(self, command: str) -> list[str]:
        return ["--non-interactive", "-C", str(self.project), *command.split()]

    def run(
        self,
        command: str,
        *,
        plan: dict[str, Any] | None = None,
        fault: dict[str, Any] | None = None,
        unset: str = "",
        **environment: str,
    ) -> Ended:
        """Run a command. `plan` is for the plugin, `fault` for the engine, and `unset` is a variable to remove."""
        self._forget()
        values = {**os.environ, **self.environment(plan), **environment}
        output = self.folder / "output"
        code = self._launcher.start(
            {
                "arguments": self.arguments(command),
                "environment": {key: value for key, value in values.items() if key != unset},
                "output": str(output),
                "fault": fault,
            }
        )
        return Ended(code, output.read_text(errors="replace"))

    def start(self, command: str, plan: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        """Start a command in its own process."""
        self._forget()
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("pulumi-embedded")), *self.arguments(command)],
            env={**os.environ, **self.environment(plan)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _forget(self) -> None:
        for name in ("calls", "writes", "processes", "hold"):
            (self.store / name).unlink(missing_ok=True)

    @property
    def state_file(self) -> Path:
        return self.project / ".state/.pulumi/stacks/faulty/dev.json"

    @property
    def locks(self) -> list[Path]:
        folder = self.project / ".state/.pulumi/locks"
        return [path for path in folder.rglob("*") if path.is_file()]

    def state(self) -> dict[str, Any]:
        return json.loads(self.state_file.read_text())["checkpoint"]["latest"]

    def resources(self) -> list[dict[str, Any]]:
        """Return the things in the state."""
        return [each for each in self.state().get("resources") or [] if each["type"] == "faulty:index:Thing"]

    def pending(self) -> dict[str, str]:
        """Return the types of the pending operations, by URN."""
        return {each["resource"]["urn"]: each["type"] for each in self.state().get("pending_operations") or []}

    def things(self) -> dict[str, dict[str, Any]]:
        """Return the existing things by id, with URN and inputs."""
        return {path.stem: json.loads(path.read_text()) for path in (self.store / "things").glob("*.json")}

    def exists(self, id_: str, urn: str, inputs: dict[str, Any] | None) -> None:
        """Create a thing without the engine's knowledge, or delete it if there are no inputs."""
        path = self.store / "things" / f"{id_}.json"
        if inputs is None:
            path.unlink()
        else:
            path.write_text(json.dumps({"urn": urn, "inputs": inputs}))

    def calls(self) -> list[str]:
        """Return the methods that were called in the last command's plugin, in order."""
        path = self.store / "calls"
        return path.read_text().split() if path.exists() else []

    def writes(self) -> int:
        """Return how often the last command wrote the state."""
        path = self.store / "writes"
        return int(path.read_text()) if path.exists() else 0

    def survivors(self) -> list[str]:
        """Return the plugins and programs of the last command that still run after 20 seconds."""
        path = self.store / "processes"
        left = path.read_text().splitlines() if path.exists() else []
        deadline = time.monotonic() + 20
        while left and time.monotonic() < deadline:
            left = [line for line in left if runs(int(line.split()[1]))]
            time.sleep(0.01)
        return left


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False
