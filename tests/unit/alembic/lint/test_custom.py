"""Lint rules of other distributions: found by entry points, judged like built-in rules, and named if they fail."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pulumi_alembic import LINT_API, LintFinding, LintRule, LintStatement
from pulumi_alembic.errors import LintError, PolicyError
from pulumi_alembic.migrate.planner import PlanContext
from pulumi_alembic.review import build
from pulumi_alembic.review.gates import Gates
from pulumi_alembic.review.lint import Settings, installed
from pulumi_alembic.review.plan_review import Finding, PlanReview
from pulumi_alembic.review.static_lint import lint_scripts
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, Plan, plan
from pulumi_alembic.sql.catalog import Catalog, Constraint, Relation
from pulumi_alembic.sql.effects import after, effects
from tests.conftest import PROJECT
from tests.docs.pages import steps

ENV = """
import sqlalchemy as sa
from pulumi_alembic import environment

environment.run(target_metadata=sa.MetaData(), url=lambda: 1 / 0)
"""
SCRIPT = '''"""know moods"""
from alembic import op
revision = {id!r}
down_revision = {down!r}
def upgrade():
    op.execute({sql!r})
def downgrade():
    op.execute("SELECT 1")
'''
RULES = """
from pulumi_alembic import LintFinding, LintRule

def found(statement):
    for node in statement.nodes("RangeVar"):
        yield LintFinding("names a table", (statement.name(node),))

def fails(statement):
    return [{}["nothing"]]

named = LintRule(found, why="because", api=1, severity="error")
sized = LintRule(found, why="because", api=1, severity=("info", "warning", "error"))
failing = LintRule(fails, why="because", api=1)
text = LintRule(lambda statement: ["text"], why="because", api=1)

def changes(statement):
    statement.node.relation.relname = "another"
    return []

changing = LintRule(changes, why="because", api=1)
newer = LintRule(found, why="because", api=2)
severe = LintRule(found, why="because", api=1, severity="fatal")
"""
FIRST, SECOND = "20261123_005", "20261123_006"

Install = Callable[..., None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (tmp_path / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "migrations"\n')
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution with these entry points: write the files that an installation leaves on the path."""

    def put(*names: str, rules: str = RULES) -> None:
        site = tmp_path / "site"
        about = site / "Acme_Rules-1.2.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: Acme_Rules\nVersion: 1.2\n")
        lines = "".join(f"{name} = acme_rules:{name}\n" for name in names)
        (about / "entry_points.txt").write_text(f"[pulumi_alembic.lint]\n{lines}")
        (site / "acme_rules.py").write_text(rules)
        monkeypatch.syspath_prepend(site)
        installed.installed.cache_clear()

    yield put
    sys.modules.pop("acme_rules", None)
    installed.installed.cache_clear()


def write(project: Path, sql: str, id: str = FIRST, down: str | None = None) -> None:
    (project / "versions" / f"{id}_know_moods.py").write_text(SCRIPT.format(id=id, down=down, sql=sql))


def review(project: Path, settings: Settings | None = None, catalog: Catalog | None = None) -> PlanReview:
    history = History.load(project)
    pending = plan(history, (), history.heads[0])
    return build.review_of(PlanContext(pending, history, catalog or Catalog()), settings or Settings())


def of_others(found: PlanReview) -> list[Finding]:
    everything = [
        one for revision in found.revisions for part in (*revision.statements, revision) for one in part.findings
    ]
    return [each for each in everything if each.rule == "broken-rule" or "/" in each.rule]


def check(found: PlanReview) -> None:
    Gates("up", "config set --path lint.{rule} warning").check([found], found.digest)


@pytest.mark.full
def test_the_example_of_the_page_is_installed_and_finds_what_the_page_shows(project: Path, tmp_path: Path) -> None:
    page = PROJECT / "docs/lint.md"
    for step in steps(page):
        if step.path.startswith("acme-rules/"):
            (tmp_path / step.path).parent.mkdir(exist_ok=True)
            (tmp_path / step.path).write_text(step.text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", tmp_path / "site", tmp_path / "acme-rules"], check=True, cwd=tmp_path)
    write(project, "CREATE TYPE mood AS ENUM ('good', 'bad')")

    def lint(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("pulumi-alembic"), "lint", *options],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    found = lint()
    assert found.stdout and found.stdout in page.read_text() and found.returncode == 0, found
    off = lint("--json", "--severity", "acme-rules/no-enum=off")
    assert (json.loads(off.stdout), off.returncode) == ([], 0)


def test_a_finding_stops_an_update_unless_the_script_gives_a_reason(project: Path, install: Install) -> None:
    install("named")
    write(project, "ALTER TABLE app.t SET (fillfactor = 50)")
    found = review(project)
    assert of_others(found) == [
        Finding("acme-rules/named", "error", "names a table: because", tables=("app.t",))  # type: ignore[arg-type]
    ]
    with pytest.raises(LintError, match=r"lint found 1 error; nothing was run:\n.*acme-rules/named: names a table"):
        check(found)
    write(project, "-- lint: allow acme-rules/named: it is meant\nALTER TABLE app.t SET (fillfactor = 50)")
    allowed = review(project)
    assert [each.excused for each in of_others(allowed)] == ["it is meant"]
    check(allowed)


def test_the_digest_covers_the_finding_and_not_its_words(project: Path, install: Install) -> None:
    write(project, "ALTER TABLE app.t SET (fillfactor = 50)")
    without = review(project).digest
    install("named")
    digest = review(project).digest
    assert digest != without
    revisions = review(project).revisions
    [finding] = revisions[0].statements[0].findings
    statement = dataclasses.replace(
        revisions[0].statements[0], findings=(dataclasses.replace(finding, message="other words"),)
    )
    worded = dataclasses.replace(
        review(project), revisions=(dataclasses.replace(revisions[0], statements=(statement,)),)
    )
    assert worded.digest == digest


def test_three_severities_go_by_the_size_of_the_table(project: Path, install: Install) -> None:
    install("sized")
    there = after("CREATE TABLE app.t ()", Catalog())
    write(project, "ALTER TABLE app.t SET (fillfactor = 50)")
    for rows, severity in ((10, "warning"), (10_000_000, "error")):
        table = dataclasses.replace(there.relations["app.t"], rows=rows, pages=1)
        found = of_others(review(project, catalog=dataclasses.replace(there, relations={"app.t": table})))
        assert [(each.severity, each.tables) for each in found] == [(severity, ("app.t",))]
    write(project, "CREATE TABLE app.u (); ALTER TABLE app.u SET (fillfactor = 50)")
    # This is about the first statement only: after it, the table is one that the revision has created.
    assert [each.severity for each in of_others(review(project))] == ["info"]
    assert Settings.parse({"acme-rules/sized": "info"}).severity("acme-rules/sized", 2) == "info"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("failing", "KeyError: 'nothing' (acme_rules.py, line 9)"),
        ("text", "TypeError: it returned str, not LintFinding"),
        ("newer", "ValueError: it is written for api=2, and this pulumi-alembic has api=1"),
        ("severe", "ValueError: severity must be error, warning, info, or three of them, not 'fatal'"),
        ("found", "TypeError: acme_rules:found is no LintRule"),
        ("missing", "AttributeError: module 'acme_rules' has no attribute 'missing'"),
    ],
)
def test_a_rule_that_fails_is_one_error_with_its_name(project: Path, install: Install, name: str, reason: str) -> None:
    install(name)
    write(project, "SELECT 1")
    write(project, "SELECT 2", SECOND, FIRST)
    [finding] = of_others(review(project))
    assert (finding.rule, finding.severity) == ("broken-rule", "error")
    assert finding.message.startswith(f"acme-rules/{name} of Acme_Rules 1.2 failed: {reason}")
    # Lint of the other revision reports it too: the rule did not examine that one either.
    [placed] = [each for each in lint_scripts(project, [SECOND], Settings()) if each.reaches("error")]
    assert placed.finding.message == finding.message
    assert not of_others(review(project, Settings.parse({f"acme-rules/{name}": "off"})))


def test_a_rule_that_changes_its_tree_changes_nobody_elses(project: Path, install: Install) -> None:
    install("changing")
    write(project, "ALTER TABLE moods DROP COLUMN name")
    [statement] = review(project).revisions[0].statements
    assert [lock.table for lock in statement.effects.locks] == ["moods"]
    assert [lock.table for lock in effects(statement.sql, None).locks] == ["moods"]


def test_a_rule_that_fails_never_stops_a_downgrade(project: Path, install: Install) -> None:
    install("failing")
    write(project, "SELECT 1")
    history = History.load(project)
    back = Plan((FIRST,), "base", Direction.DOWNGRADE, (history.revisions[FIRST],))
    found = build.review_of(PlanContext(back, history, Catalog()), Settings())
    assert [each.rule for each in of_others(found)] == ["broken-rule"]
    check(found)


def test_a_module_that_cannot_be_imported_is_named(project: Path, install: Install) -> None:
    install("named", rules="import no_such_module")
    write(project, "SELECT 1")
    [finding] = of_others(review(project))
    assert "acme-rules/named of Acme_Rules 1.2 failed: ModuleNotFoundError" in finding.message


def test_the_list_of_rules_names_the_distribution_of_each(install: Install) -> None:
    install("sized")
    line = "| `acme-rules/sized` | info / warning / error (empty / small / large table) | Acme_Rules 1.2 | because |"
    assert installed.table().splitlines()[-1] == line


def test_a_rule_of_no_distribution_is_refused_with_the_nearest(install: Install) -> None:
    install("named")
    with pytest.raises(PolicyError, match="lint has no rule 'acme-rules/name'; the nearest: acme-rules/named"):
        Settings.parse({"acme-rules/name": "off"})


def test_what_version_1_of_the_interface_has_is_not_renamed() -> None:
    """Pin the names of version 1. A change here breaks rules that users have written, and needs another LINT_API."""

    def names(kind: type) -> list[str]:
        return [field.name for field in dataclasses.fields(kind)]

    assert LINT_API == 1
    assert names(LintRule) == ["check", "why", "api", "severity"]
    assert names(LintFinding) == ["message", "tables", "suggestion"]
    assert names(LintStatement) == ["sql", "node", "catalog", "direction", "in_transaction", "created"]
    assert {"nodes", "name"} <= {*vars(LintStatement)}
    assert {"relations", "complete"} <= {*names(Catalog)}
    assert {"name", "kind", "columns", "constraints", "rows"} <= {*names(Relation)}
    assert {"name", "kind", "columns", "target"} <= {*names(Constraint)}
