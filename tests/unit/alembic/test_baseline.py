"""Baselines: which one a plan starts from, what the manifest and an approval record, and the content of its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pulumi_alembic.baselines.content import portable, rows
from pulumi_alembic.errors import HistoryError
from pulumi_alembic.review.plan_review import BaselineReview, PlanReview
from pulumi_alembic.scripts.baseline import Baseline
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import plan, with_baseline
from tests.unit.alembic.test_manifest import ONE, THREE, TWO, complaint, rewrite, scripts, write

__all__ = ["scripts"]


def baseline(directory: Path, revision: str, statements: str = "SELECT 1;\n") -> Baseline:
    history = History.load(directory)
    made = Baseline.of(directory, [history.revisions[id] for id in history.ancestors([revision])], statements)
    made.write()
    rewrite(directory)
    return made


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (ONE, f"base → {ONE}, starts from the baseline of {ONE} (1 revision)"),
        (TWO, f"base → {TWO}, starts from the baseline of {TWO} (2 revisions)"),
        (THREE, f"base → {THREE}, starts from the baseline of {TWO} (2 revisions), then 1 revision"),
    ],
)
def test_a_plan_starts_from_the_newest_baseline_on_its_way(scripts: Path, target: str, text: str) -> None:
    baseline(scripts, ONE)
    baseline(scripts, TWO)
    history = History.load(scripts)
    assert str(with_baseline(plan(history, (), target), history)) == text


def test_no_plan_starts_from_a_baseline_whose_revision_does_not_run(scripts: Path) -> None:
    baseline(scripts, TWO)
    history = History.load(scripts)
    steps = plan(history, (), THREE)
    held = replace(steps, steps=tuple(step for step in steps.steps if step.id != ONE))
    assert with_baseline(held, history).baseline is None
    assert with_baseline(plan(history, (ONE,), THREE), history).baseline is None


def test_the_rest_of_a_plan_begins_at_the_baseline(scripts: Path) -> None:
    write(scripts, "20250104_004", ONE)
    write(scripts, "20250105_005", (THREE, "20250104_004"))
    baseline(scripts, THREE)
    history = History.load(scripts)
    steps = with_baseline(plan(history, (), "20250105_005"), history)
    assert steps.covered == {ONE, TWO, THREE}
    assert (steps.rest.current, [step.id for step in steps.rest.steps]) == ((THREE,), ["20250104_004", "20250105_005"])
    assert [line.split()[:3] for line in steps.lines][:2] == [
        ["baseline", "of", THREE],
        ["upgrade", "20250104_004", "the"],
    ]


def test_the_manifest_has_each_baseline_behind_its_revision(scripts: Path) -> None:
    path = baseline(scripts, TWO).path
    listed = [line.split()[0] for line in (scripts / "manifest").read_text().splitlines()[1:]]
    assert listed == [f"{ONE}_script.py", f"{TWO}_script.py", f"baselines/{TWO}.sql", f"{THREE}_script.py"]
    History.load(scripts).require_manifest()
    path.write_text(path.read_text() + "--")
    assert f"baselines/{TWO}.sql was edited" in complaint(scripts)
    path.unlink()
    assert f"baselines/{TWO}.sql is gone" in complaint(scripts)
    History.load(scripts).without_baselines.require_manifest()


def test_a_baseline_of_other_scripts_is_refused(scripts: Path) -> None:
    baseline(scripts, TWO)
    script = write(scripts, ONE, None)
    script.write_text(script.read_text() + "# edited\n")
    rewrite(scripts)
    assert f"{TWO}.sql was written for other scripts than those here" in complaint(scripts)
    write(scripts, ONE, None)
    rewrite(scripts)
    History.load(scripts).require_manifest()


@pytest.mark.parametrize(
    "text", ["", "SELECT 1;", f"-- pulumi-alembic baseline 1 of {ONE}, in place of scripts with the digest v1:0\n"]
)
def test_a_file_that_is_no_baseline_is_refused(scripts: Path, text: str) -> None:
    baseline(scripts, TWO).path.write_text(text)
    with pytest.raises(HistoryError, match=f"is no baseline of {TWO}"):
        History.load(scripts)


def test_a_baseline_of_no_revision_is_refused(scripts: Path) -> None:
    made = baseline(scripts, TWO)
    made.path.rename(made.path.with_name("x.sql")).write_text(made.text.replace(TWO, "x", 1))
    with pytest.raises(HistoryError, match="baseline of a revision that no script has"):
        History.load(scripts)


def test_an_approval_is_for_this_baseline() -> None:
    plain = PlanReview("base", "r2", "upgrade")
    one, other = (replace(plain, baseline=BaselineReview("r1", checksum, ("r1",))) for checksum in ("v1:1", "v1:2"))
    assert len({plain.digest, one.digest, other.digest}) == 3
    assert PlanReview.from_json(one.to_json()) == one


DUMPED = r"""
--
-- PostgreSQL database dump
--
\restrict abc

SET statement_timeout = 0;
SET transaction_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE SCHEMA app;
CREATE SCHEMA audit;
COMMENT ON SCHEMA app IS 'app';
GRANT USAGE ON SCHEMA app TO reader;
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA app;
CREATE TABLE app."the_owner" (a text);
INSERT INTO app."the_owner" VALUES ('the_owner; -- x');
INSERT INTO app."the_owner" VALUES ('the_owner; -- x');
SELECT pg_catalog.setval('app.s', 3, true);
CREATE POLICY p ON app."the_owner" TO the_owner, reader USING ((a = 'the_owner'::text));
REVOKE ALL ON TABLE app."the_owner" FROM the_owner;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,TRUNCATE,MAINTAIN,UPDATE ON TABLE app."the_owner" TO the_owner;
REVOKE ALL ON TABLE app.read_only FROM the_owner;
GRANT SELECT ON TABLE app.read_only TO the_owner;
REVOKE ALL ON TABLE app.nothing FROM the_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE the_owner IN SCHEMA audit GRANT SELECT ON TABLES TO "log in";

\unrestrict abc
"""

PORTABLE = """
CREATE SCHEMA audit;
CREATE TABLE app."the_owner" (a text);
INSERT INTO app."the_owner" VALUES ('the_owner; -- x');
INSERT INTO app."the_owner" VALUES ('the_owner; -- x');
SELECT pg_catalog.setval('app.s', 3, true);
CREATE POLICY p ON app."the_owner" TO CURRENT_USER, reader USING ((a = 'the_owner'::text));
REVOKE DELETE ON TABLE app."the_owner" FROM CURRENT_USER;
REVOKE ALL ON TABLE app.read_only FROM CURRENT_USER;
GRANT SELECT ON TABLE app.read_only TO CURRENT_USER;
REVOKE ALL ON TABLE app.nothing FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER IN SCHEMA audit GRANT SELECT ON TABLES TO SESSION_USER;
"""


def test_a_file_has_no_role_of_its_stack_and_nothing_that_was_there_before() -> None:
    text = portable(DUMPED, ("the_owner", "log in"), {("SCHEMA", "app"), ("EXTENSION", "pgcrypto")})
    assert text.partition("SELECT pg_catalog.set_config('search_path', '', true);")[2] == PORTABLE


def test_rows_are_those_of_tables_and_the_positions_of_sequences() -> None:
    assert {name: count.total() for name, count in rows(DUMPED).items()} == {'app."the_owner"': 2, "app.s": 1}
