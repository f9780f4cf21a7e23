"""The embedded engine's `up`: engine or plugin is killed at a statement, and the next `up` ends in the right state.

The tests run a draw of the faults, and `make test-all` runs all of them.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests import loaded
from tests.faults.campaign import HEAD, SCENARIOS, Campaign, Ended, Fault
from tests.faults.conftest import ALL, Count, share
from tests.faults.striking import Striker, Way
from tests.postgres.alembic.waiting import until

SHARES = 8 if ALL else 1
DRAWN = 1
EVERY = 4
"""Each fault costs two runs of a whole engine, so only every fourth statement is struck."""

MORE = 14
"""Additional statements of an `up`: it reads the database, and then does the same as the command."""

UP = "up --yes --skip-preview --stack dev"
PROGRAM = """
import pulumi
from pulumi_alembic import Migrations

pulumi.export("revision", Migrations("schema", url=pulumi.Config().require("url"), directory={directory!r}).revision)
"""


class Stack:
    """A stack in a folder, whose only resource is the schema."""

    def __init__(self, folder: Path, scripts: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
        }
        (folder / ".state").mkdir(parents=True)
        (folder / "Pulumi.yaml").write_text(
            "name: faults\nruntime: {name: python, options: {virtualenv: .venv}}\nbackend: {url: file://./.state}\n"
        )
        (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
        (folder / "__main__.py").write_text(PROGRAM.format(directory=str(scripts)))
        assert self.run("stack init dev").code == 0

    @staticmethod
    def line(command: str) -> list[str | Path]:
        return [Path(sys.executable).with_name("pulumi-embedded"), "--non-interactive", *command.split()]

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a command in its own process, so that its plugins are found below it."""
        return subprocess.Popen(
            self.line(command),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> Ended:
        done = loaded.run(self.line(command), cwd=self.folder, env=self.environment, timeout=120)
        return Ended(done.returncode, done.stdout + done.stderr)

    def at(self, url: str) -> Stack:
        """Return the same stack, whose next update goes to this address."""
        assert self.run(f"config set url {url} --stack dev").code == 0
        return self


def plugins(engine: int) -> list[int]:
    """Return the dynamic providers among the processes below the engine."""
    found = []
    for child in Path(f"/proc/{engine}/task").glob("*/children"):
        with suppress(OSError):
            for pid in map(int, child.read_text().split()):
                command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                found += [pid] if re.search(r"dynamic", command) else []
                found += plugins(pid)
    return found


def survives(campaign: Campaign, stack: Stack, fault: Fault) -> str | None:
    facts = campaign.clean("upgrade")[1]
    site = campaign.site
    site.empty()
    engine: subprocess.Popen[str] | None = None
    killed: list[int] = []

    def strike(_: Way) -> bool:
        assert engine is not None
        whom = [engine.pid] if fault.kind == "SIGKILL of the engine" else plugins(engine.pid)
        killed.extend(whom)
        for pid in whom:
            os.kill(pid, signal.SIGKILL)
        return False

    server = site.database.server

    def planned(statements: list[str]) -> bool:
        return len(statements) == fault.number

    with Striker(server.host, server.port, planned, fault.moment, strike) as striker:
        engine = stack.at(site.url_by(striker.port)).start(UP)
        output, _ = engine.communicate(timeout=120)
    first = Ended(engine.returncode, output)
    if not striker.struck:
        return None
    if len(killed) != 1 or first.code != (-9 if "engine" in fault.kind else 1):
        return f"{fault}: it killed {killed}: {first}"
    again = stack.at(site.target.url).run(UP)
    if again.code != 0:
        return f"{fault}: the first run ended with {first}, the next with {again}"
    if site.facts() != facts or site.applied() != SCENARIOS["upgrade"].applied:
        return f"{fault}: {set(site.facts()) ^ set(facts)} {site.applied()} after {first} and {again}"
    if stack.run("stack output revision --stack dev").output.strip() != HEAD:
        return f"{fault}: the stack has another revision after {first} and {again}"
    until(site.deserted)
    return ""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="whose child a process is, is read from /proc")
@pytest.mark.parametrize("number", range(SHARES))
def test_an_update_converges_after_a_kill_at_any_statement(
    number: int, campaign: Campaign, scripts: Path, tmp_path: Path, count: Count
) -> None:
    statements = range(1, len(campaign.clean("upgrade")[0]) + MORE, EVERY)
    kinds = ("SIGKILL of the engine", "SIGKILL of the plugin")
    faults = [Fault("upgrade", kind, moment, n) for kind in kinds for moment in ("before", "after") for n in statements]
    stacks = (Stack(tmp_path / f"stack{n}", scripts) for n in itertools.count())
    drawn = zip(stacks, share(faults, number, SHARES), strict=False)
    count((survives(campaign, stack, fault) for stack, fault in drawn), DRAWN)
