"""Ctrl-C during any command ends it without a traceback, and the operation can be repeated.

`make test-all` interrupts each command at 100 moments instead of one.
"""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskdb.local.binaries import Binaries
from tests.acceptance.project import Project
from tests.acceptance.template import Template
from tests.conftest import ALL

SEED = 8
STRIKES = 100 if ALL else 1
COMMANDS = (
    "pulumi-alembic history",
    "pulumi-alembic plan",
    "pulumi-alembic upgrade",
    "pulumi-alembic lint",
    "pulumi-alembic drift",
    "pulumi-alembic manifest",
    "pulumi-alembic kept",
    "pulumi-alembic backups",
    "alembic current",
    "alembic history",
    "alembic upgrade head",
    "alembic check",
    "taskdb stack",
    "taskdb server status",
    "taskdb run preview",
    "pulumi-embedded stack",
    "pulumi-embedded config",
    "pulumi-embedded preview",
    "pulumi-embedded up --yes",
    "pulumi-embedded refresh --yes",
)
# Python reports an interruption before it runs a line of this project: of its own start, and of Alembic's.
OURS = re.compile(r'File ".*/(?:pulumi_alembic|pulumi_embedded|taskdb|migrations/versions)/')


@pytest.fixture(scope="module")
def live(run_folder: Path, binaries: Binaries) -> Iterator[Project]:
    """A deployed stack on the embedded engine."""
    with Template.of(run_folder, binaries, "embedded").copied() as project:
        project.environment["PULUMI_STACK"] = project.stack
        yield project
        if ALL:
            project.up()
            project.succeed("preview", "--expect-no-changes")


def run(project: Project, command: str, after: float | None) -> tuple[int, str, float]:
    """Run a command, interrupt all its processes as a terminal does, and return exit code, text and seconds."""
    begun = time.monotonic()
    with subprocess.Popen(
        command.split(),
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    ) as running:
        try:
            printed, _ = running.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGINT)
            printed, _ = running.communicate(timeout=60)
    return running.returncode, printed, time.monotonic() - begun


@pytest.mark.few("pulumi-alembic history", "taskdb stack")
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_leaves_no_traceback(
    live: Project, command: str, record_property: Callable[[str, object], None]
) -> None:
    code, printed, seconds = run(live, command, None)
    assert code in (0, 1, 3) and "Traceback" not in printed, printed
    moments = random.Random(f"{SEED} {command}")
    struck = 0
    for _ in range(STRIKES):
        code, printed, _ = run(live, command, moments.uniform(0, seconds))
        struck += code not in (0, 3)
        assert "Traceback" not in printed or not OURS.search(printed), printed
    record_property("seed", SEED)
    record_property("struck", f"{struck} of {STRIKES}")
    print(f"{command}: seed {SEED}, {STRIKES} moments in {seconds:.2f} s, {struck} ended by it")
