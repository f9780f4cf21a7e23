"""A copy of the project with its own stack, and commands on it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pulumi_alembic.scripts.history import History
from taskdb.local import Server
from tests import loaded
from tests.acceptance.states import outputs_of
from tests.conftest import PROJECT

ENGINES = {"embedded": "pulumi-embedded", "pulumi": "pulumi"}
NEEDED = ("Pulumi.yaml", "__main__.py", "pyproject.toml", "migrations")
PASSPHRASE = "correct horse battery staple"
PASSED_ON = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "COVERAGE_PROCESS_CONFIG")
"""The variables that a command gets from the test run. `make coverage` sets the last one."""


@dataclass(frozen=True)
class Outcome:
    """The result of a command. `text` is its whole output, on both streams."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Standard output, followed by standard error."""
        return self.stdout + self.stderr


@dataclass(frozen=True)
class Project:
    """A copy of the project in its own folder, with one stack on one engine."""

    folder: Path
    stack: str
    engine: str
    environment: dict[str, str]
    printed: list[Outcome] = field(default_factory=list)

    @property
    def server(self) -> Server:
        """The server of the stack, and its admin's login."""
        names = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD")
        host, port, username, password = (self.environment[name] for name in names)
        return Server(host, int(port), username, password)

    @property
    def state(self) -> Path:
        """The stack's state file, in the project's backend or in another folder's."""
        backend = self.environment.get("PULUMI_BACKEND_URL", f"file://{self.folder}/.state")
        return Path(backend.removeprefix("file://"), ".pulumi/stacks/taskdb", f"{self.stack}.json")

    @property
    def name(self) -> str:
        """The name of the stack's database, and the prefix of its roles'."""
        return f"taskdb_{self.stack}"

    def run(self, *command: str, **changes: str) -> Outcome:
        """Run a command in the folder. `changes` are to its environment."""
        environment = self.environment | changes
        program = shutil.which(command[0], path=environment["PATH"]) or command[0]
        done = loaded.run([program, *command[1:]], cwd=self.folder, env=environment, timeout=280)
        self.printed.append(Outcome(done.returncode, done.stdout, done.stderr))
        return self.printed[-1]

    def pulumi(self, *arguments: str, **changes: str) -> Outcome:
        """Run the engine on the stack."""
        return self.run(ENGINES[self.engine], *arguments, "--stack", self.stack, **changes)

    def succeed(self, *arguments: str, **changes: str) -> Outcome:
        """Run the engine on the stack. A failure fails the test with the output."""
        outcome = self.pulumi(*arguments, **changes)
        assert outcome.exit_code == 0, outcome.text
        return outcome

    def up(self, *options: str) -> Outcome:
        """Bring the stack up without a preview."""
        return self.succeed("up", "--yes", "--skip-preview", *options)

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs from its state, including secrets."""
        return outputs_of(self.state.read_text(), self.environment["PULUMI_CONFIG_PASSPHRASE"])

    def resources(self) -> list[dict[str, Any]]:
        """Return the resources in the state file, in their order."""
        latest = json.loads(self.state.read_text())["checkpoint"]["latest"]
        resources: list[dict[str, Any]] = latest.get("resources", [])
        return resources

    def resource(self, kind: str) -> dict[str, Any]:
        """Return the only resource of this kind in the state file."""
        [found] = [each for each in self.resources() if each["type"].endswith(f":{kind}")]
        return found

    def configure(self, **values: str) -> None:
        """Replace the stack's configuration, except for its secrets provider. `__` in a key stands for `:`."""
        path = self.folder / f"Pulumi.{self.stack}.yaml"
        kept = [line for line in path.read_text().splitlines() if line.startswith("encryptionsalt")]
        settings = {"taskdb:revision": "head"} | {key.replace("__", ":"): value for key, value in values.items()}
        lines = [f"  {key}: {json.dumps(value)}" for key, value in settings.items() if value]
        path.write_text("\n".join([*kept, "config:" if lines else "", *lines, ""]))

    def on(self, engine: str) -> Project:
        """Return the same stack on another engine."""
        return replace(self, engine=engine)

    def script(self, number: int, upgrade: str, downgrade: str = "pass") -> Path:
        """Add a revision after the existing ones, and list it. Each argument is the body of a function."""
        versions = self.folder / "migrations" / "versions"
        down = max(path.name[:12] for path in versions.glob("*.py"))
        path = versions / f"20260101_{number:03}_added_by_a_test.py"
        path.write_text(
            f'"""added by a test"""\n\nfrom alembic import op\n\nrevision = "{path.name[:12]}"\n'
            f'down_revision = "{down}"\n\n\ndef upgrade():\n    {upgrade}\n\n\ndef downgrade():\n    {downgrade}\n'
        )
        self.list_scripts()
        return path

    def remove(self, script: Path) -> None:
        """Remove a revision and its line in the manifest."""
        script.unlink()
        self.list_scripts()

    def list_scripts(self) -> None:
        """Update the manifest to the scripts."""
        History.load(self.folder / "migrations").write_manifest()


_INITIAL: dict[str, tuple[str, Path]] = {}
"""The result of `stack init` by engine: the name of the stack, and a folder with its files."""


def new_project(folder: Path, engine: str, server: Server) -> Project:
    """Copy the project into a new folder, with a new, empty stack for this server.

    Only the first stack of an engine needs a command. The others are its files with another name.
    """
    folder.mkdir(exist_ok=True)
    for name in NEEDED:
        source = PROJECT / name
        ignore = shutil.ignore_patterns("__pycache__")
        _ = shutil.copytree(source, folder / name, ignore=ignore) if source.is_dir() else shutil.copy(source, folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".state").mkdir()
    project = Project(folder, f"t{secrets.token_hex(4)}", engine, environment_of(server, folder))
    if engine not in _INITIAL:
        _INITIAL[engine] = project.stack, folder.with_name(f"{folder.name}-{engine}")
        initialize(project)
        shutil.copytree(folder / ".state", _INITIAL[engine][1] / ".state")
        shutil.copy(folder / f"Pulumi.{project.stack}.yaml", _INITIAL[engine][1])
    else:
        name, initial = _INITIAL[engine]
        shutil.copytree(initial, folder, dirs_exist_ok=True)
        for path in [each for each in folder.rglob(f"*{name}*") if each.is_file()]:
            renamed = path.rename(path.with_name(path.name.replace(name, project.stack)))
            renamed.write_text(renamed.read_text().replace(name, project.stack))
    project.configure()
    return project


def initialize(project: Project) -> None:
    """Run `stack init` for a stack that does not exist yet."""
    (project.folder / f"Pulumi.{project.stack}.yaml").touch()
    created = project.run(ENGINES[project.engine], "stack", "init", project.stack)
    assert created.exit_code == 0, created.text


def has_engine(engine: str) -> bool:
    """Return whether this machine can run tests on `engine`."""
    return engine == "embedded" or shutil.which("pulumi") is not None


def environment_of(server: Server, folder: Path) -> dict[str, str]:
    """Return a user's environment with only the passphrase, and the variables that name the server."""
    scripts = str(Path(sys.executable).parent)
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.username,
        "PGPASSWORD": server.password,
    }
