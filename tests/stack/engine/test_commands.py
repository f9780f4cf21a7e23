"""The commands answer as the Pulumi CLI does: the same output, errors and exit codes, command by command.

`commands/*.json` contain the answers of the CLI 3.260. If a CLI is on the PATH, the same commands run on it too, and
its current answers count.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulumi_embedded import cli

from .replay import shortened

COMMANDS = Path(__file__).parent / "commands"
ENVIRONMENT = {
    "PULUMI_CONFIG_PASSPHRASE": "",
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TZ": "UTC",
}


@dataclass
class Answer:
    """The answer of a command, without the differences of any two runs."""

    exit_code: int
    stdout: str
    stderr: str
    config: str


class Desk:
    """A project, and the engine that works on it."""

    def __init__(self, folder: Path, engine: str, transcript: dict[str, Any]) -> None:
        self.engine = engine
        self.home = folder / "home"
        self.folder = folder / "project"
        self.folder.mkdir(parents=True)
        (self.folder / ".state").mkdir()
        (self.folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
        self.put(transcript["files"])

    def put(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def run(self, step: dict[str, Any]) -> Answer:
        self.put(step.get("files", {}))
        arguments = shlex.split(step["command"])[1:]
        environment = {**ENVIRONMENT, "PULUMI_HOME": str(self.home)}
        run = self._run_cli if self.engine == "cli" else self._run_here
        exit_code, stdout, stderr = run(arguments, environment, step.get("stdin", ""))
        config = self.folder / "Pulumi.dev.yaml"
        text = config.read_text() if config.exists() else ""
        return Answer(exit_code, self._plain(stdout), self._plain(stderr), self._plain(text))

    def state(self) -> str:
        return (self.folder / ".state/.pulumi/stacks/rec/dev.json").read_text()

    def _run_cli(self, arguments: list[str], environment: dict[str, str], stdin: str) -> tuple[int, str, str]:
        run = subprocess.run(
            ["pulumi", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return run.returncode, run.stdout, run.stderr

    def _run_here(self, arguments: list[str], environment: dict[str, str], stdin: str) -> tuple[int, str, str]:
        stdout, stderr = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["pulumi-embedded", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                try:
                    cli.main()
                    exit_code = 0
                except SystemExit as exit_:
                    exit_code = int(exit_.code or 0)
        return exit_code, stdout.getvalue(), stderr.getvalue()

    def _plain(self, text: str) -> str:
        for path in (self.folder.resolve(), self.folder):
            text = text.replace(str(path), "<project>")
        return plain(text)


class Terminal:
    """A command on the embedded engine in a terminal of 80 columns, started by a shell that ignores Ctrl-C."""

    def __init__(self, desk: Desk, arguments: list[str]) -> None:
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            command = str(Path(sys.executable).with_name("pulumi-embedded"))
            environment = {**os.environ, **ENVIRONMENT, "PULUMI_HOME": str(desk.home), "TERM": "xterm"}
            os.chdir(desk.folder)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.execve(command, [command, *arguments], environment)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def write(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def read_until(self, text: str | None) -> str:
        """Return the output up to the text, or up to the end, without styles."""
        printed = ""
        # The terminal of an ended process cannot be read.
        with contextlib.suppress(OSError):
            while text is None or text not in printed:
                printed += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(self._file, 65536).decode())
        return printed.replace("\r", "")

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


PLAIN = (
    (r"pulumi-embedded", "pulumi"),
    (r"Managed by .+|\"backend\": \".+\"", "<backend>"),
    (r"(?m)^.*using pulumi-resource-.* from \$PATH.*\n\n?", ""),
    (r"(; )?\d+ warnings?$", ""),
    (r"(?m)^@ .*\n", ""),
    (r"Diagnostics:\n  (urn:.*::)?pulumi:pulumi:Stack( \(rec-dev\)|::rec-dev):\n\n?(?=\S)", ""),
    # Neither engine promises the order of simultaneous steps, or the time of the stack's own line.
    (r"(?m)^.{2,3} *(pulumi:pulumi:Stack rec-dev|urn:pulumi:dev::rec::pulumi:pulumi:Stack::).*\n", ""),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    # Only the CLI records which variables and flags were set.
    (r"\"environment\": \{[^}]*\}", '"environment": {}'),
    (r"encryptionsalt: v1:[A-Za-z0-9+/=]+:", "encryptionsalt: v1:<salt>:"),
    (r"v1:[A-Za-z0-9+/]{16}:[A-Za-z0-9+/=]+", "<sealed>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z| \+0000 UTC)?", "<time>"),
    (r"(\d+ (?:second|minute)s? ago|\bnow\b) *", "<ago> "),
    (r"LAST UPDATE +", "LAST UPDATE "),
    (r" took \d+s", " took <t>"),
    (r"\(\d+(\.\d+)?s\)", "(<t>)"),
    (r"Duration: .*", "Duration: <t>"),
    (r"(?m)[ \t]+$", ""),
    (r"\n{2,}", "\n"),
)


def plain(text: str) -> str:
    """Return the text without times, ids, ciphertexts, trailing blanks and empty lines."""
    for pattern, replacement in PLAIN:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


ENGINES = ["recorded", *(["cli"] if shutil.which("pulumi") else [])]


@pytest.mark.parametrize("against", ENGINES)
@pytest.mark.parametrize("name", sorted(path.stem for path in COMMANDS.glob("*.json")))
def test_every_command_answers_as_the_cli(name: str, against: str, tmp_path: Path) -> None:
    """Our error can continue with the next command after the CLI's text.

    If the CLI prints its help, ours is shorter.
    """
    transcript = json.loads((COMMANDS / f"{name}.json").read_text())
    here = Desk(tmp_path / "here", "embedded", transcript)
    there = Desk(tmp_path / "there", "cli", transcript) if against == "cli" else None
    for step in transcript["steps"]:
        mine = here.run(step)
        theirs = (
            there.run(step) if there else Answer(*(step[key] for key in ("exit_code", "stdout", "stderr", "config")))
        )
        said = f"{step['command']}\n{mine.stdout}\n{mine.stderr}"
        assert mine.exit_code == theirs.exit_code, said
        assert mine.config == plain(theirs.config), said
        if "\nUsage:\n" not in theirs.stdout:
            assert _lines(mine.stdout) == shortened(_lines(theirs.stdout), step["command"]), said
            assert mine.stderr.startswith(theirs.stderr.rstrip("\n")), said


def test_the_question_shows_details_and_asks_again(tmp_path: Path) -> None:
    """In a terminal, arrow down and Enter choose the details, and Ctrl-C leaves everything unchanged."""
    transcript = json.loads((COMMANDS / "config.json").read_text())
    files = transcript["files"] | {"__main__.py": "import pulumi\n\npulumi.export('word', 'x' * 200)\n"}
    desk = Desk(tmp_path, "embedded", {"files": files})
    assert desk.run({"command": "pulumi stack init dev"}).exit_code == 0
    before = desk.state()
    terminal = Terminal(desk, ["up"])
    terminal.read_until("> no")
    terminal.write("\x1b[B\r")
    assert f'word: "{"x" * 200}"' in terminal.read_until("> no")
    terminal.write("\x03")
    assert "error: confirmation cancelled, not proceeding with the update: interrupt" in terminal.read_until(None)
    assert terminal.exit_code() == 1
    assert desk.state() == before


def _lines(text: str) -> list[str]:
    return text.strip().split("\n")


LEFT_OUT = [
    ("up --attach-debugger", "the flag --attach-debugger of `up`"),
    ("preview -d", "the flag -d of `preview`"),
    ("--tracing file:x up", "the flag --tracing"),
    ("preview --import-file=imports.json", "the flag --import-file of `preview`"),
    ("destroy --exclude-protected=true --yes", "the flag --exclude-protected of `destroy`"),
    ("stack tag ls", "the command `stack tag`"),
    ("state move urn", "the command `state move`"),
    ("plugin install resource x", "the command `plugin install`"),
    ("login file://.", "the command `login`"),
    ("up some-template", "deploying from the template 'some-template'"),
    ("stack init --secrets-provider awskms://x x", "the secrets provider 'awskms://x'"),
    ("--color raw preview", "--color raw"),
]


@pytest.mark.parametrize(("arguments", "named"), LEFT_OUT)
def test_what_only_the_cli_has_is_refused_by_name_before_anything_is_done(
    arguments: str, named: str, tmp_path: Path
) -> None:
    files = {"Pulumi.yaml": "name: rec\nruntime: python\nbackend: {url: 'file://./.state'}\n"}
    desk = Desk(tmp_path, "embedded", {"files": files})
    answer = desk.run({"command": f"pulumi {arguments}"})
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"error: {named} is not supported by the embedded engine; the Pulumi CLI does it")
    assert answer.stdout == "" and not list((desk.folder / ".state").iterdir())
