"""A reader who follows a page, in a shell, in a copy of the project whose stack `dev` is deployed."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from taskdb import local
from taskdb.local.binaries import Binaries
from taskdb.local.place import Place
from taskdb.local.ports import free_port
from taskdb.local.record import Record
from tests.acceptance.project import PASSED_ON
from tests.acceptance.states import moved
from tests.conftest import PROJECT, SETTINGS
from tests.docs.pages import REMEMBERED, Step, cut, difference, replaced, shows

COPIED = (
    ".ci",
    ".gitignore",
    "Makefile",
    "Pulumi*.yaml",
    "__main__.py",
    "migrations",
    "pyproject.toml",
    "VERSION",
    "packages",
    "requirements.txt",
    "src",
)
HOME = "/home/ada/taskdb"
"""The folder of the project, as the pages show it."""

TERMINAL = Path(__file__).with_name("terminal.py")

Prepare = Callable[[str], Mapping[str, str]]


class Shell:
    """A bash process that gets its input line by line. A line's exports and its folder stay valid for the next line."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._end = f"end-{secrets.token_hex(8)}"
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._last = 0

    def type(self, command: str, variables: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run the command without a keyboard, and return its exit code and its output on both streams."""
        assert self._process.stdin and self._process.stdout
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in (variables or {}).items())
        self._process.stdin.write(
            f"{exports}(exit {self._last}); eval {shlex.quote(command)} < /dev/null\nprintf '\\n{self._end} %s\\n' $?\n"
        )
        self._process.stdin.flush()
        printed: list[str] = []
        for line in self._process.stdout:
            if line.startswith(self._end):
                self._last = int(line.split()[1])
                return self._last, "".join(printed)[:-1]
            printed.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(printed)}")

    def close(self) -> None:
        """End the shell and its processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@dataclass
class Reader:
    """Follows a page.

    `compares` turns the comparison of the output with the page on, and `printed` has each step's output.
    """

    folder: Path
    shell: Shell
    compares: bool = True
    speaks: Callable[[str], str] = lambda command: command
    prepare: Prepare = lambda command: {}
    remembered: dict[int, str] = field(default_factory=dict)
    printed: list[tuple[Step, str]] = field(default_factory=list)

    def follow(self, step: Step) -> str:
        """Do one step, and return the output.

        Raises AssertionError if the command fails and the page shows no error.
        """
        if step.edits:
            [path] = self.folder.glob(step.path)
            begin = path.read_text().index(step.text.partition("\n")[0])
            path.write_text(path.read_text()[:begin] + step.text)
            return ""
        if step.path:
            path = self.folder / step.path
            path.parent.mkdir(exist_ok=True)
            path.write_text(step.text)
            return ""
        command = replaced(self.speaks(step.command), self.remembered)
        if step.picture:
            command = shlex.join([sys.executable, str(TERMINAL), str(step.columns), command])
        code, output = self.shell.type(command, self.prepare(command))
        for number, pattern in enumerate(REMEMBERED):
            for found in pattern.finditer(output):
                self.remembered[number] = found[0]
        output = as_shown(output, self.folder)
        self.printed.append((step, output))
        assert (code == 0 or step.may_fail) and "Traceback" not in output, f"$ {command}\n{output}\nexit code {code}"
        return output

    def compare(self, step: Step, output: str) -> str:
        """Return the difference between the page and the output, or an empty text."""
        if not self.compares or shows(step, output):
            return ""
        return f"$ {step.command}\n{difference(step.shown, output)}\n\nall of it:\n{output}"


def as_shown(output: str, folder: Path) -> str:
    """Return the output with the folder of the page's reader, and without a password."""
    output = re.sub(r" +$", "", output.replace(str(folder), HOME), flags=re.M)
    output = re.sub(r"[\w./-]*/taskdb-[0-9a-f]{12}\b", f"{HOME}/.local/server", output)
    return re.sub(r"(postgresql://\w+):[^@*\s]+@", r"\1:PASSWORD@", output)


def rewritten(page: str, printed: list[tuple[Step, str]]) -> str:
    """Return the page with the new output, and with the values that a reader copies from it."""
    lines = page.splitlines()
    remembered: dict[int, str] = {}
    edits: list[tuple[int, int, list[str]]] = []
    for step, output in printed:
        if step.line and not step.hidden:
            command = replaced(step.command, remembered).split("\n")
            edits.append(
                (
                    step.line,
                    step.line + len(command),
                    ["$ " + command[0], *(f"> {each}".rstrip() for each in command[1:])],
                )
            )
        if step.shown and not step.picture:
            edits.append((step.first, step.last, cut(step.shown, output)))
        for number, pattern in enumerate(REMEMBERED):
            for found in pattern.finditer(output):
                remembered[number] = found[0]
    for first, last, text in sorted(edits, reverse=True):
        lines[first:last] = text
    return "\n".join(lines) + "\n"


def copied(folder: Path) -> Path:
    """Copy the project into the folder, as a repository with one commit, and with a virtual environment."""
    project = folder / "taskdb"
    project.mkdir(mode=0o755)
    sources = [path for pattern in COPIED for path in sorted(PROJECT.glob(pattern))]
    subprocess.run(["cp", "-Rp", *sources, project], check=True)
    (project / ".state").mkdir()
    shutil.copy(PROJECT / ".state/.gitignore", project / ".state")
    # The folder is complete, so that `make` creates nothing.
    binaries = project / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for path in Path(sys.prefix).iterdir():
        if path.name == "pyvenv.cfg":
            shutil.copy(path, project / ".venv")
        elif path.name != "bin":
            (project / ".venv" / path.name).symlink_to(path)
    for path in Path(sys.prefix, "bin").iterdir():
        if not path.name.startswith("."):
            (binaries / path.name).symlink_to(path)
    (binaries / ".up").touch()
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", project]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "The project"], check=True)
    return project


def environment_of(project: Path, binaries: Binaries) -> dict[str, str]:
    """Return the variables that `. .venv/bin/activate` and the export of the page's stack and passphrase leave."""
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PATH": f"{project}/.venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:{binaries.folder}",
        "PYTHONPATH": str(project / "src"),
        "HOME": str(project.parent),
        "LOGNAME": "ada",
        "USER": "ada",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
        "PULUMI_STACK": "dev",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


@contextmanager
def new(run_folder: Path, binaries: Binaries) -> Iterator[tuple[Path, dict[str, str]]]:
    """Copy the project before its first command. Its server is deleted with it.

    Yield the folder, and its user's environment.
    """
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=run_folder))
    folder.chmod(0o755)
    project = copied(folder)
    try:
        yield project, environment_of(project, binaries)
    finally:
        local.remove(project)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Beginning:
    """A project after `make up`, with a stopped server. A page that does not run it begins with a copy."""

    home: Path
    binaries: Binaries

    @classmethod
    def of(cls, run_folder: Path, binaries: Binaries) -> Beginning:
        """Return the run's beginning. The first worker creates it, and the others wait for it."""
        home = run_folder / "documentation"
        with (run_folder / "documentation.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (home / "complete").exists():
                home.mkdir(mode=0o755)
                project = copied(home)
                place = Place.of(project)
                try:
                    local.start(project, say=lambda text: None)
                    subprocess.run(
                        ["taskdb", "run", "--engine", "embedded", "--create", "up", "--yes", "--skip-preview"],
                        cwd=project,
                        env=environment_of(project, binaries),
                        check=True,
                        stdout=subprocess.DEVNULL,
                    )
                    local.stop(project)
                    subprocess.run(["cp", "-Rp", place.server, home / "server"], check=True)
                finally:
                    local.remove(project)
                with (home / "server/data/postgresql.conf").open("a") as configuration:
                    configuration.write("".join(f"{name} = {value}\n" for name, value in SETTINGS.items()))
                (home / "complete").touch()
        return cls(home, binaries)

    @contextmanager
    def copy(self) -> Iterator[tuple[Path, dict[str, str]]]:
        """Copy the project with its own server, which is deleted with it.

        Yield the folder, and its user's environment.
        """
        folder = Path(tempfile.mkdtemp(prefix="page-", dir=self.home.parent))
        folder.chmod(0o755)
        # shutil would give the server's files to the user that copies them.
        subprocess.run(["cp", "-Rp", self.home / "taskdb", self.home / "server", folder], check=True)
        project = folder / "taskdb"
        place = Place.of(project)
        with place.locked():
            place.server.symlink_to(folder / "server")
            record = Record.read(place.server)
            assert record
            old, port = record.server.port, free_port()
            replace(record, server=replace(record.server, port=port)).write(place.server)
        state = project / ".state/.pulumi/stacks/taskdb/dev.json"
        state.write_text(moved(state.read_text(), "", old, port))
        try:
            local.start(project, say=lambda text: None)
            server = {"SERVER_PORT": str(port), "SERVER_PASSWORD": record.server.password}
            yield project, environment_of(project, self.binaries) | server
        finally:
            local.remove(project)
            shutil.rmtree(folder, ignore_errors=True)
