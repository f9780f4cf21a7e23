"""`pulumi-alembic --schema NAME` is about one tenant, and without it about the database itself."""

from __future__ import annotations

import pytest

from tests.postgres.alembic.test_cli import run
from tests.postgres.alembic.test_schemas import ONE, TWO, Shops, shops

__all__ = ["shops"]


@pytest.fixture
def project(shops: Shops) -> Shops:
    """A project that the command finds."""
    (shops.target.directory.parent / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    )
    return shops


def test_a_tenant_is_planned_upgraded_and_its_history_shown(project: Shops) -> None:
    target = project.target
    assert run(target, "plan", "--schema", "shop_a").stdout.startswith(f"base → {TWO}, 2 upgrades\n")
    done = run(target, "upgrade", ONE, "--schema", "shop_a")
    assert (done.stdout, done.returncode) == (f"upgrade {ONE}\nthe schema shop_a is at {ONE}\n", 0)
    assert project.revisions == [ONE, "base", "base"] and project.tables == ["shop_a.one"]
    assert f"upgrade {ONE}" in run(target, "history", "--schema", "shop_a").stdout
    assert (
        run(target, "history").stdout == run(target, "history", "--schema", "shop_b").stdout == "the ledger is empty\n"
    )
    assert run(target, "capsule", ONE, "--schema", "shop_a").stdout.startswith(f"# {ONE}")
    refused = run(target, "plan", "--schema", "nobody")
    assert refused.returncode == 1 and 'there is no schema "nobody". As an admin: CREATE SCHEMA' in refused.stderr
    assert run(target, "plan", "--shared", "public").stderr == "error: --shared needs --schema NAME\n"


@pytest.mark.full
def test_an_edited_script_is_accepted_for_a_tenant(project: Shops) -> None:
    target = project.target
    run(target, "upgrade", ONE, "--schema", "shop_a")
    target.write(ONE, None, "op.execute('CREATE TABLE one (id bigint)')", "op.execute('DROP TABLE one')")
    assert run(target, "plan", "--schema", "shop_a").returncode == 1
    assert run(target, "accept", ONE, "--reason", "the same to us", "--schema", "shop_a").returncode == 0
    assert run(target, "plan", "--schema", "shop_a").stdout.startswith(f"{ONE} → {TWO}")


@pytest.mark.full
def test_drift_of_a_tenant_is_shown_and_accepted(project: Shops) -> None:
    target = project.target
    project.up()
    assert run(target, "drift", "--schema", "shop_a").stdout.startswith("no drift: the schema shop_a is as the update")
    project.run("ALTER TABLE shop_a.two ADD COLUMN extra int")
    shown = run(target, "drift", "--schema", "shop_a")
    assert shown.returncode == 3 and "column two.extra" in shown.stdout
    assert shown.stdout.endswith("Accept it: pulumi-alembic drift --schema shop_a --accept --reason WHY\n")
    accepted = run(target, "drift", "--schema", "shop_a", "--accept", "--reason", "an experiment")
    assert accepted.stdout == "accepted:\n  column two.extra\n"
    assert run(target, "drift", "--schema", "shop_a").returncode == 0
    project.stack.refresh()
    assert "drift" not in project.stack.outputs
    assert "an experiment" in run(target, "history", "--schema", "shop_a").stdout
    assert run(target, "drift", "--sql", "--schema", "shop_a").returncode == 1


@pytest.mark.full
def test_preserved_rows_are_listed_and_pruned_by_tenant(project: Shops) -> None:
    project.add("kept")
    project.up()
    project.run("INSERT INTO shop_a.two VALUES (1)")
    project.up(ONE)
    assert run(project.target, "kept").stdout == "no preserved rows\n"
    assert "shop_a.two" in run(project.target, "kept", "--schema", "shop_a").stdout
    assert "of shop_b.two" in run(project.target, "prune", "--all", "--yes", "--schema", "shop_b").stdout
    assert "of shop_a.two" in run(project.target, "prune", "--all", "--yes", "--schema", "shop_a").stdout
    assert run(project.target, "kept", "--schema", "shop_a").stdout == "no preserved rows\n"


@pytest.mark.full
def test_a_script_with_a_backfill_is_refused_for_tenants(project: Shops) -> None:
    project.target.write(
        "20250103_003", TWO, "from pulumi_alembic import backfill; backfill('one', set='id = 1', where='id IS NULL')"
    )
    refused = run(project.target, "upgrade", "--schema", "shop_a")
    assert refused.returncode == 1 and "a script declares a backfill, which tenants do not have" in refused.stderr
    assert project.revisions == ["base"] * 3
