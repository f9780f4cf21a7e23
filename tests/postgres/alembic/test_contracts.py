"""Contracts that are held back, on a server: by the resource, by its commands and by `alembic` itself."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_alembic.migrate.planner import read_plan_context
from pulumi_alembic.review import build
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.scripts.phases import HOLD, Contracts
from pulumi_alembic.stack import shown
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.stack import Refused, Stack
from tests.postgres.alembic.test_cli import run

ONE, TWO, THREE, FOUR, FIVE = "20250101_001", "20250102_002", "20250103_003", "20250104_004", "20250105_005"


def contract(target: Target, id: str, down: str, upgrade: str, downgrade: str) -> None:
    script = target.write(id, down, upgrade, downgrade)
    script.write_text(script.read_text().replace("\ndef upgrade", "\nphase = 'contract'\ndef upgrade", 1))


@pytest.fixture
def renamed(empty_target: Target) -> Target:
    """Write a table, an expand that adds a column, and a contract that drops the old column. The first is applied."""
    empty_target.write(ONE, None, "op.execute('CREATE TABLE t (id int PRIMARY KEY, old text)')", "op.drop_table('t')")
    add, drop = "op.execute('ALTER TABLE t ADD COLUMN new text')", "op.execute('ALTER TABLE t DROP COLUMN new')"
    empty_target.write(TWO, ONE, add, drop)
    contract(empty_target, THREE, TWO, *(each.replace("new", "old") for each in (drop, add)))
    (empty_target.directory.parent / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    )
    empty_target.migrate(ONE)
    return empty_target


def applied_earlier(target: Target, id: str, hours: int) -> None:
    """Set the time of a revision's application back by some hours, which only the ledger's owner can do."""
    with connect(target.url) as session:
        session.execute("ALTER TABLE migrations.ledger DISABLE TRIGGER append_only")
        session.execute("GRANT UPDATE ON migrations.ledger TO CURRENT_USER")
        statement = "UPDATE migrations.ledger SET applied_at = applied_at - %s * interval '1 hour' WHERE revision = %s"
        session.execute(statement, [hours, id])
        session.commit()


def up(stack: Stack, target: Target, revision: str = THREE, **settings: Any) -> bool:
    return stack.up(target.directory, revision, **settings)


def reasons(target: Target) -> list[tuple[object, ...]]:
    return target.query(
        "SELECT revision, detail -> 'contract' ->> 'reason' FROM migrations.ledger WHERE detail ? 'contract'"
    )


def test_a_contract_is_held_until_its_time_and_then_runs(renamed: Target) -> None:
    stack = Stack(renamed.url)
    assert up(stack, renamed, contract="24h")
    assert stack.outputs["revision"] == stack.outputs["effective_target"] == TWO
    assert stack.outputs["held"] == {THREE: f"until 24h after {TWO} is applied here, or pulumi-alembic contract"}
    assert not up(stack, renamed, contract="24h")
    assert stack.inputs["plan"] == f"at {TWO}: 1 revision held"
    assert stack.inputs["held"][THREE].startswith("until 20")
    stack.refresh()
    assert not up(stack, renamed, contract="24h")
    applied_earlier(renamed, TWO, 25)
    assert up(stack, renamed, contract="24h")
    assert stack.outputs["revision"] == THREE
    assert not stack.outputs.keys() & {"effective_target", "held"}
    assert not up(stack, renamed, contract="24h")


def test_a_contract_that_is_due_since_the_preview_waits_for_the_next_update(
    renamed: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(renamed.url)
    up(stack, renamed, contract="24h")
    monkeypatch.setattr(shown, "noted_target", lambda urn: TWO)
    applied_earlier(renamed, TWO, 25)
    assert not up(stack, renamed, contract="24h", __applying=True)
    assert stack.inputs["held"] == {THREE: "for the next update"}


def test_one_update_runs_what_is_held_and_the_ledger_keeps_the_reason(
    renamed: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(renamed.url)
    up(stack, renamed, contract="hold")
    monkeypatch.setenv("PULUMI_ALEMBIC_CONTRACT", "now")
    with pytest.raises(Refused, match="give one in words"):
        up(stack, renamed, contract="hold")
    monkeypatch.setenv("PULUMI_ALEMBIC_CONTRACT", "now: the old code is gone")
    assert up(stack, renamed, contract="hold")
    assert (stack.outputs["revision"], reasons(renamed)) == (THREE, [(THREE, "the old code is gone")])


def test_production_holds_once_revisions_were_applied(renamed: Target) -> None:
    production: dict[str, Any] = {"__production": True, "lint": {"production-without-backup": "off"}}
    stack = Stack(renamed.url)
    up(stack, renamed, **production)
    assert stack.outputs["revision"] == TWO
    renamed.migrate("base")
    stack.lose()
    up(stack, renamed, **production)
    assert stack.outputs["revision"] == THREE


def test_an_expand_behind_a_held_contract_fails_in_the_preview(renamed: Target) -> None:
    renamed.write(FOUR, THREE, "op.execute('ALTER TABLE t ADD COLUMN more text')")
    with pytest.raises(Refused, match=rf"(?s){FOUR} builds on the contract {THREE}.*pulumi-alembic contract"):
        up(Stack(renamed.url), renamed, FOUR, contract="hold")
    assert renamed.query("SELECT version_num FROM migrations.alembic_version") == [(ONE,)]


def test_a_downgrade_over_what_is_held_and_over_what_ran(renamed: Target) -> None:
    stack = Stack(renamed.url)
    up(stack, renamed, contract="hold")
    up(stack, renamed, ONE, contract="hold")
    assert stack.outputs["revision"] == ONE
    up(stack, renamed, contract="with-deploy")
    assert stack.outputs["revision"] == THREE
    up(stack, renamed, ONE, contract="hold")
    assert stack.outputs["revision"] == ONE


def test_commands_by_hand_stop_before_what_the_last_update_holds(renamed: Target) -> None:
    up(Stack(renamed.url), renamed, contract="hold")
    assert renamed.alembic("upgrade", "head").splitlines()[-1] == f"{THREE} waits until pulumi-alembic contract"
    assert f"{THREE} waits until pulumi-alembic contract. Nothing was run" in renamed.alembic(
        "upgrade", THREE, check=False
    )
    by_hand = run(renamed, "upgrade")
    assert by_hand.returncode == 0
    assert by_hand.stdout == f"{THREE} waits until pulumi-alembic contract\nthe database is at {TWO}\n"
    explicit = run(renamed, "upgrade", THREE)
    assert explicit.returncode == 1 and explicit.stderr.endswith("\n  pulumi-alembic contract\n")
    assert run(renamed, "plan").stdout.startswith(f"at {TWO}: 1 revision held\n")
    assert renamed.query("SELECT version_num FROM migrations.alembic_version") == [(TWO,)]
    assert run(renamed, "contract", "--reason", "yes").returncode == 1
    done = run(renamed, "contract", "--reason", "the old code is gone")
    assert done.stdout == f"upgrade {THREE}\nthe database is at {THREE}\n", done.stderr
    assert reasons(renamed) == [(THREE, "the old code is gone")]
    assert run(renamed, "contract", "--reason", "the old code is gone").stdout == "no contract is pending\n"


def test_a_hold_stops_its_own_branch_and_the_other_goes_on(renamed: Target) -> None:
    renamed.write(FOUR, ONE, "op.execute('CREATE TABLE u ()')", "op.execute('DROP TABLE u')")
    merge = renamed.write(FIVE, THREE)
    merge.write_text(merge.read_text().replace(f"down_revision = {THREE!r}", f"down_revision = ({THREE!r}, {FOUR!r})"))
    stack = Stack(renamed.url)
    assert up(stack, renamed, FIVE, contract="hold")
    assert renamed.query("SELECT version_num FROM migrations.alembic_version ORDER BY 1") == [(TWO,), (FOUR,)]
    assert stack.outputs["held"].keys() == {THREE, FIVE}
    assert not up(stack, renamed, FIVE, contract="hold")
    assert up(stack, renamed, FIVE, contract="with-deploy")
    assert stack.outputs["revision"] == FIVE


@pytest.mark.parametrize(
    ("columns", "different"),
    [
        ("sa.Column('id', sa.Integer, primary_key=True), sa.Column('new', sa.Text)", ""),
        ("sa.Column('id', sa.Integer, primary_key=True)", "the model has no column app.t.new"),
        (
            "sa.Column('id', sa.Integer, primary_key=True), sa.Column('old', sa.Text)",
            "the model has no column app.t.new",
        ),
    ],
)
def test_models_are_compared_with_the_schema_after_held_contracts(
    renamed: Target, columns: str, different: str
) -> None:
    env = renamed.directory / "env.py"
    text = env.read_text().replace("environment.run(target_metadata=sa.MetaData()", "environment.run(target_metadata=M")
    env.write_text(
        text.replace("environment.run", f"M = sa.MetaData()\nsa.Table('t', M, {columns})\nenvironment.run", 1)
    )
    context = read_plan_context(renamed.job("head", contracts=Contracts(HOLD)), catalog=True)
    [reviewed] = build.review_of(context, Settings()).revisions
    found = [finding.message for finding in reviewed.findings if finding.rule == "models-differ"]
    assert [different in message for message in found] == ([True] if different else []), found
    renamed.migrate(TWO)
    printed = renamed.alembic("check", check=not different)
    assert f"with the schema after {THREE}, which has not run yet" in printed
    assert (different or "No new upgrade operations detected.") in printed
    assert ("only the model has a column app.t.old" in printed) == ("old" in columns)
    assert renamed.query("SELECT version_num FROM migrations.alembic_version") == [(TWO,)]
    renamed.write(FOUR, THREE, "op.execute('SELECT 1')")
    assert "Target database is not up to date." in renamed.alembic("check", check=False)


def test_a_contract_is_run_by_hand_with_the_others_where_no_update_holds_it(renamed: Target) -> None:
    renamed.alembic("upgrade", "head")
    assert renamed.query("SELECT version_num FROM migrations.alembic_version") == [(THREE,)]
