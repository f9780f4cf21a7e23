"""The pages of docs/reference equal those that the program generates, and lint agrees with their examples."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from pulumi_alembic.review.lint.rules import RULES
from tests.docs.reference import COMMANDS, FOLDER, KEYS_OF_A_STACK, PAGES, VALUES, helped, written
from tests.docs.rules import EXAMPLES

STALE = "make docs-reference"

ENVIRONMENT = """from sqlalchemy import MetaData

from pulumi_alembic import environment

environment.run(MetaData(), "postgresql://nobody@localhost/nothing")
"""
SCRIPT = '''"""{doc}"""

import sqlalchemy as sa
from alembic import op
from pulumi_alembic import backfill, batched_update

revision = "{id}"
down_revision = {down}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
    op.execute("SELECT 1")
'''


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name == "commands.md" else ()) for name in PAGES]
)
def test_a_page_is_what_the_program_makes_of_it(name: str) -> None:
    assert (FOLDER / name).read_text() == written(name), STALE


def test_each_key_of_a_stack_is_described() -> None:
    keys = {key for key in KEYS_OF_A_STACK if not key.startswith("taskdb:lint.")}
    assert set(VALUES) == keys


@pytest.mark.parametrize("program", ["taskdb", "pulumi-alembic"])
def test_each_command_is_on_the_page(program: str) -> None:
    shown = helped(program)
    names = {name.split()[0] for name in COMMANDS[program]}
    listed = re.split(r"Commands:\n|COMMAND\n", shown[()])[-1].splitlines()
    indent = len(listed[0]) - len(listed[0].lstrip())
    assert {
        line.split()[0] for line in listed if line[:indent].isspace() and line[indent : indent + 1].isalpha()
    } == names
    assert all(shown[tuple(name.split())] for name in COMMANDS[program])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], set[str]]:
    """The rules that find something in each example, by the example's rule and kind."""
    project = tmp_path_factory.mktemp("examples")
    (project / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/migrations"\n')
    versions = project / "migrations/versions"
    versions.mkdir(parents=True)
    (project / "migrations/env.py").write_text(ENVIRONMENT)
    examples: dict[str, tuple[str, str]] = {}
    # A backfill is judged by the columns of its table.
    last = "20250101_000"
    table = '    op.execute("CREATE TABLE scores (id bigint PRIMARY KEY, rank integer, earned_on date)")'
    script = SCRIPT.format(doc="scores", id=last, down=None, upgrade=table)
    (versions / f"{last}_scores.py").write_text(script)
    for rule, example in EXAMPLES.items():
        for kind, code in (("bad", example.bad), ("good", example.good)):
            # Code that a comment postpones to the next revision is also a separate revision here.
            for part in [part for part in code.split("\n# in ") if part]:
                lines = part.partition(":\n")[2] if part.startswith(("the next", "a third")) else part
                id = f"20250101_{len(examples) + 1:03}"
                examples[id] = rule, kind
                script = SCRIPT.format(doc=rule, id=id, down=repr(last), upgrade=textwrap.indent(lines, "    "))
                (versions / f"{id}_example.py").write_text(script)
                last = id
    done = subprocess.run(
        [Path(sys.executable).with_name("pulumi-alembic"), "lint", "--json"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    rules: dict[tuple[str, str], set[str]] = {key: set() for key in examples.values()}
    for finding in json.loads(done.stdout):
        if finding["direction"] == "upgrade" and not finding["file"].endswith("_scores.py"):
            rules[examples[Path(finding["file"]).name[:12]]].add(finding["rule"])
    return rules


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_finds_what_its_example_shows(rule: str, found: Mapping[tuple[str, str], set[str]]) -> None:
    example = EXAMPLES[rule]
    assert example.bad or example.words
    assert not example.bad or rule in found[rule, "bad"], found[rule, "bad"]
    assert not example.good or rule not in found[rule, "good"]
