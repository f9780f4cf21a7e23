"""The commands of docs/journey.md, unchanged: from a developer's database to production and back, on three servers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.project import ENGINES
from tests.acceptance.test_environments import Stacks, authority, clusters, stacks
from tests.conftest import PROJECT
from tests.docs.pages import Step, difference, shows, steps
from tests.docs.reader import as_shown, rewritten

__all__ = ["authority", "clusters", "stacks"]

pytestmark = pytest.mark.full

PAGE = PROJECT / "docs" / "journey.md"
FIXED, REMINDERS, INDEX = "20250126_003", "20260101_001", "20260101_002"

_PSQL = re.compile(r'psql "\$\((?P<url>.+?)\)" (?P<how>-c|-f) (?P<what>.+)')
_DIGEST = re.compile(r"\bv2:[0-9a-f]{32}(?:-[0-9a-f]{4}){6}")
_REFUSED = re.compile(r"^ +error: |^ +warning: drift, ", re.M)


class Traveller:
    """Types the commands of the page. `told` has each with its output, in the page's form."""

    def __init__(self, stacks: Stacks) -> None:
        self.stacks = stacks
        self.engine = stacks["dev"].engine
        self.folder = stacks["dev"].folder
        self.told: list[str] = []
        self.printed: list[tuple[Step, str]] = []
        self.exported: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.app_url = ""

    def follow(self, steps: Iterable[Step]) -> str:
        """Follow the steps of a section, and return all output.

        A command that the page shows as refused must be refused.
        """
        begun = len(self.told)
        for step in steps:
            if step.path:
                (self.folder / step.path).write_text(step.text)
            elif found := _PSQL.fullmatch(step.command):
                self.psql(found)
            elif found := re.fullmatch(r"export (\w+)=\$\((.+)\)", step.command):
                self.exported[found[1]] = self.types(found[2]).strip()
            else:
                refused = bool(_REFUSED.search("\n".join(step.shown)))
                printed = self.types(step.command, fails=refused)
                self.told.append(f"$ {step.command}\n{printed}")
                self.printed.append((step, as_shown(printed, self.folder)))
        return "\n".join(self.told[begun:])

    def types(self, line: str, *, fails: bool = False) -> str:
        """Run one command, with the engine of this test, and the last digest that was printed for the stack."""
        named = re.search(r"--stack (\w+)|(staging) |pull-request", line)
        stack = "prod" if named is None else named[1] or "staging"
        line = line.replace("pulumi-embedded", ENGINES[self.engine]).replace(
            "--engine embedded", f"--engine {self.engine}"
        )
        line = _DIGEST.sub(lambda shown: self.digests[stack], line)
        done = self.stacks[stack].run("bash", "-c", line, **self.exported)
        assert (done.exit_code != 0) is fails and "Traceback" not in done.text, f"$ {line}\n{done.text}"
        self.digests |= dict.fromkeys([stack], _DIGEST.findall(done.text)[-1]) if _DIGEST.search(done.text) else {}
        return done.stdout if "stack output" in line else done.text

    def psql(self, command: re.Match[str]) -> None:
        """Run a psql command, even on machines without psql."""
        [what] = shlex.split(command["what"])
        statements = what if command["how"] == "-c" else (self.folder / what).read_text()
        with psycopg.connect(self.types(command["url"]).strip(), autocommit=True) as connection:
            connection.execute(statements.encode())

    def revision(self, stack: str) -> str:
        return str(self.stacks[stack].outputs()["revision"])

    def reminders(self) -> int:
        """Return how many reminders the application reads on prod."""
        with psycopg.connect(self.stacks["prod"].outputs()["app_url"]) as application:
            [[number]] = application.execute("SELECT count(*) FROM app.reminders").fetchall()
        return int(number)


def begun(traveller: Traveller, _: str) -> None:
    assert [traveller.revision(stack) for stack in traveller.stacks] == [REMINDERS, FIXED, FIXED]


def reviewed(traveller: Traveller, printed: str) -> None:
    assert "<!-- pulumi-alembic-report-staging -->" in printed and FIXED in printed and REMINDERS in printed
    assert traveller.revision("staging") == FIXED


def promoted(traveller: Traveller, printed: str) -> None:
    assert "has not run it" in printed and "PULUMI_ALEMBIC_APPROVE=" in printed and "proven by staging" in printed
    assert traveller.revision("prod") == REMINDERS and traveller.reminders() == 12


def repaired(traveller: Traveller, printed: str) -> None:
    assert "DROP INDEX app.quick" in printed


def back(traveller: Traveller, printed: str) -> None:
    assert "12 rows of app.reminders" in printed and traveller.reminders() == 12
    assert (traveller.revision("prod"), traveller.revision("staging")) == (REMINDERS, REMINDERS)


def unproven(traveller: Traveller, printed: str) -> None:
    assert traveller.revision("prod") == traveller.revision("staging") == INDEX
    assert "applied unproven: reminders are late, incident 4711" in " ".join(printed.split())
    *before, last = printed.split("$ pulumi-embedded preview --stack prod")
    told = f"{INDEX} ran here before the stack staging proved it"
    assert told in before[-1] and told not in last
    traveller.app_url = traveller.stacks["prod"].outputs()["app_url"]


def turned_over(traveller: Traveller, _: str) -> None:
    """The previously exported login is retired, and the other one works."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(traveller.app_url)
    assert traveller.reminders() == 12


CHECKS: Mapping[str, Callable[[Traveller, str], None]] = {
    "# A change travels to production and back": begun,
    "## The pull request": reviewed,
    "## To staging, and from there to prod": promoted,
    "## Drift, found and repaired": repaired,
    "## Back, on prod alone": back,
    "## What cannot wait": unproven,
    "## A new password for the application": turned_over,
}


@pytest.mark.timeout(900)
def test_the_page_can_be_followed_as_it_stands(stacks: Stacks, tmp_path: Path) -> None:
    traveller = Traveller(stacks)
    shutil.copytree(PROJECT / ".ci", traveller.folder / ".ci")
    sections = {heading: list(group) for heading, group in groupby(steps(PAGE), key=lambda step: step.heading)}
    assert [*sections] == [*CHECKS]
    try:
        for heading, check in CHECKS.items():
            check(traveller, traveller.follow(sections[heading]))
    finally:
        (tmp_path / "journey.txt").write_text("\n".join(traveller.told))
        if any((traveller.folder / ".state/.pulumi/stacks/taskdb").glob("pr-12.json")):
            stacks["staging"].run("taskdb", "pull-request", "down", "12", "--engine", traveller.engine)
    if traveller.engine != "embedded":
        return
    if os.environ.get("TASKDB_DOCS") == "print":
        PAGE.write_text(rewritten(PAGE.read_text(), traveller.printed))
        return
    others = [difference(step.shown, printed) for step, printed in traveller.printed if not shows(step, printed)]
    assert not others, "\n\n".join(others)
