"""An update expects its own result, and nothing else: changes of others remain drift until they are repaired."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pulumi_alembic.drift import baseline, check, reader
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.reader import read
from pulumi_alembic.migrate import alembic_run
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.stack.log import Log
from pulumi_alembic.stack.plugin_errors import HalfDone
from tests.conftest import ALL, Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.stack import Stack

ONE, TWO, THREE = "20250126_001", "20250126_002", "20250126_003"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the warnings and messages that the user sees."""
    found: list[str] = []
    for kind in ("warning", "info"):
        monkeypatch.setattr(Log, kind, lambda self, text: found.append(text))
    return found


@pytest.fixture
def stack(target: Target) -> Stack:
    """A stack at the second of three revisions."""
    made = Stack(target.url)
    made.up(target.directory, TWO)
    return made


def owner(target: Target, statement: str) -> None:
    """Run a statement that somebody executes by hand."""
    with connect(target.url) as connection:
        connection.execute(statement.encode())
        connection.commit()


def drift(stack: Stack) -> dict[str, Any]:
    """Return the drift that a refresh finds."""
    stack.refresh()
    return dict(stack.outputs.get("drift", {}))


def test_an_update_leaves_printed_drift_in_the_state(stack: Stack, target: Target) -> None:
    owner(target, "CREATE TABLE app.other (id int)")
    assert stack.up(target.directory, THREE)
    assert [*stack.outputs["__drift"]] == ["table app.other"]
    assert not stack.up(target.directory, THREE)
    assert [*drift(stack)] == ["table app.other"]
    assert "__drift" not in {**stack.outputs, **stack.inputs}
    owner(target, "DROP TABLE app.other")
    assert stack.up(target.directory, THREE)
    assert not stack.outputs.keys() & {"drift", "__drift"}


def test_nothing_differs_from_what_an_update_left(stack: Stack) -> None:
    before = stack.outputs["schema_fingerprint"]
    assert drift(stack) == {}
    assert stack.outputs["schema_fingerprint"] == before


def test_what_downgrades_keep_is_no_drift(database: Database, target: Target) -> None:
    with database.connect() as admin:
        admin.execute(f'CREATE SCHEMA kept AUTHORIZATION "{database.name}_owner"'.encode())
    stack = Stack(target.url)
    stack.up(target.directory, THREE)
    owner(target, "INSERT INTO app.users (username, email, password_hash) VALUES ('ann', 'ann@example.org', 'x')")
    owner(target, "INSERT INTO app.conversations (user_id) SELECT id FROM app.users")
    stack.up(target.directory, TWO)
    [(table,)] = target.query("SELECT tablename FROM pg_tables WHERE schemaname = 'kept'")
    owner(target, f"DROP TABLE kept.{table}")  # As `pulumi-alembic prune` does.
    assert drift(stack) == {}


def test_an_update_does_not_take_drift_for_its_own(target: Target, stack: Stack, said: list[str]) -> None:
    owner(target, "CREATE TABLE app.scratch (id int); ALTER TABLE app.users ALTER COLUMN email DROP NOT NULL")
    stack.up(target.directory, THREE)
    assert "drift, 2 differences" in said[-1]
    assert list(drift(stack)) == ["column app.users.email", "table app.scratch"]
    stack.up(target.directory, ONE)
    assert list(drift(stack)) == ["column app.users.email", "table app.scratch"]
    owner(target, "DROP TABLE app.scratch; ALTER TABLE app.users ALTER COLUMN email SET NOT NULL")
    assert drift(stack) == {}


def test_drift_is_a_change_until_it_is_mended(target: Target, stack: Stack) -> None:
    owner(target, "CREATE INDEX quick ON app.tasks (title)")
    stack.refresh()
    assert stack.up(target.directory, TWO)
    assert not stack.up(target.directory, TWO)
    assert list(drift(stack)) == ["index app.quick"]
    owner(target, "DROP INDEX app.quick")
    assert drift(stack) == {}
    assert not stack.up(target.directory, TWO)


def test_an_update_that_was_killed_is_no_drift(
    target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """The killed update applied its revisions, but could record nothing. Drift from before it remains drift."""
    owner(target, "CREATE TABLE app.scratch (id int)")

    def killed(*_: Any) -> None:
        run(*_)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        run = alembic_run.run
        patched.setattr(alembic_run, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            stack.up(target.directory, THREE)
    stack.up(target.directory, THREE)
    assert list(drift(stack)) == ["table app.scratch"]


def test_an_update_that_failed_half_way_is_no_drift(empty_target: Target) -> None:
    empty_target.write(ONE, None, "op.execute('CREATE TABLE app.one ()')", "op.execute('DROP TABLE app.one')")
    path = empty_target.write(TWO, ONE, "op.execute('CREATE TABLE app.two (); SELECT 1/0')")
    stack = Stack(empty_target.url)
    with pytest.raises(HalfDone):
        stack.up(empty_target.directory, TWO)
    assert drift(stack) == {}
    path.unlink()
    stack.up(empty_target.directory, ONE)
    assert drift(stack) == {}


def test_a_state_that_was_lost_expects_what_the_ledger_says(target: Target, stack: Stack, said: list[str]) -> None:
    owner(target, "CREATE TABLE app.scratch (id int)")
    stack.lose()
    stack.up(target.directory, TWO)
    assert list(drift(stack)) == ["table app.scratch"]


@pytest.mark.parametrize("forged", ["source = '\\x00'", "source = NULL", "checksum = 'v1:other'"])
def test_a_snapshot_that_is_forged_or_gone_hides_nothing(target: Target, stack: Stack, forged: str) -> None:
    owner(
        target,
        "ALTER TABLE migrations.ledger DISABLE TRIGGER append_only; GRANT UPDATE ON migrations.ledger TO CURRENT_USER",
    )
    owner(
        target,
        f"UPDATE migrations.ledger SET {forged} WHERE event = 'snapshot';"
        "REVOKE UPDATE ON migrations.ledger FROM CURRENT_USER",
    )
    assert drift(stack) == {}
    owner(target, "CREATE TABLE app.scratch (id int)")
    assert "cannot be told" in drift(stack)["fingerprint"][-1]


def test_a_snapshot_of_what_is_there_now_does_not_pass_for_the_expected_one(target: Target, stack: Stack) -> None:
    """An attacker writes their change into the ledger, under the digest that the stack's state names."""
    owner(
        target,
        "CREATE TABLE app.scratch (id int); ALTER TABLE migrations.ledger DISABLE TRIGGER append_only;"
        "GRANT UPDATE ON migrations.ledger TO CURRENT_USER",
    )
    with connect(target.url) as connection:
        forged = read(connection).packed()
        connection.execute("UPDATE migrations.ledger SET source = %s WHERE event = 'snapshot'", [forged])
        connection.commit()
    assert "cannot be told" in drift(stack)["fingerprint"][-1]


@pytest.mark.parametrize("what", ["UPDATE ON migrations.ledger", "INSERT (version_num) ON migrations.alembic_version"])
def test_who_may_write_the_migration_tables_is_compared(
    target: Target, stack: Stack, database: Database, what: str
) -> None:
    """A role with such a right could write false records. The repairing statement revokes the right."""
    with database.connect() as admin:
        admin.execute(f"CREATE ROLE {database.name}_sly".encode())
    try:
        owner(target, f"GRANT {what} TO {database.name}_sly, CURRENT_USER")
        found = drift(stack)
        assert all(name.startswith("privileges ") and " migrations." in name for name in found)
        assert len([name for name in found if name.endswith(f" to {database.name}_sly")]) == 1
        for lines in found.values():
            owner(target, lines[-1])
        assert drift(stack) == {}
    finally:
        with database.connect() as admin:
            owner(target, f"REVOKE ALL ON ALL TABLES IN SCHEMA migrations FROM {database.name}_sly")
            admin.execute(f"DROP ROLE {database.name}_sly".encode())


def test_the_ledger_of_the_first_update_is_no_drift(empty_target: Target) -> None:
    """An update that applies nothing creates the ledger too."""
    empty_target.write(ONE, None, "op.execute('CREATE TABLE app.one ()')")
    stack = Stack(empty_target.url)
    stack.up(empty_target.directory, "base")
    assert drift(stack) == {}


@pytest.mark.full
def test_many_differences_are_counted_right(target: Target, stack: Stack, said: list[str]) -> None:
    owner(target, ";".join(f"CREATE TABLE app.scratch_{number} (id int)" for number in range(50)))
    found = drift(stack)
    assert list(found)[-1] == "… 10 more"
    assert "drift, 50 differences" in said[-1]
    assert "… and 30 more" in said[-1]


def test_what_another_release_kept_is_not_taken_for_this_ones(target: Target, stack: Stack) -> None:
    digest = stack.outputs["schema_fingerprint"]
    stack.outputs["schema_fingerprint"] = f"v1:{digest.partition(':')[2]}"
    assert "another release of this program kept it" in drift(stack)["fingerprint"][-1]
    assert stack.up(target.directory, TWO)
    assert stack.outputs["schema_fingerprint"] == digest
    assert drift(stack) == {}


@pytest.mark.full
def test_after_an_upgrade_of_the_server_it_says_what_may_be_no_drift(
    target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """Another version alone is no drift.

    If there is drift, the user is informed of the version until the drift is accepted.
    """

    def upgraded(*arguments: Any) -> Snapshot:
        items = read(*arguments).items
        return Snapshot(tuple(Item("server", "99") if item.kind == "server" else item for item in items))

    monkeypatch.setattr(check, "read", upgraded)
    assert drift(stack) == {}
    owner(target, "CREATE TABLE app.scratch (id int)")
    assert list(drift(stack)) == ["table app.scratch"]
    assert "is 99, which may print in other words what is the same" in said[-1]


def test_a_revision_moved_by_hand_is_told_as_that(empty_target: Target, said: list[str]) -> None:
    """Drift cannot be separated from the changes of the revision until the database is back at the stack's revision."""
    empty_target.write(ONE, None, "op.execute('CREATE TABLE app.one ()')", "op.execute('DROP TABLE app.one')")
    empty_target.write(TWO, ONE, "op.execute('CREATE TABLE app.two ()')", "op.execute('DROP TABLE app.two')")
    stack = Stack(empty_target.url)
    stack.up(empty_target.directory, ONE)
    empty_target.alembic("upgrade", TWO)
    assert drift(stack) == {}
    assert stack.outputs["revision"] == TWO
    owner(empty_target, "CREATE TABLE app.scratch (id int)")
    stack.up(empty_target.directory, ONE)
    assert list(drift(stack)) == ["table app.scratch"]


@pytest.mark.full
def test_what_other_resources_of_the_stack_change_is_no_drift(
    target: Target, stack: Stack, database: Database, said: list[str]
) -> None:
    """The user is informed of it. Tables never belong to these resources."""
    with database.connect() as admin:
        admin.execute(f"ALTER ROLE {database.name}_migrator SET work_mem = '64MB'".encode())
    owner(target, "CREATE TABLE app.scratch (id int)")
    assert stack.up(target.directory, TWO, infrastructure="other")
    assert any(f"setting work_mem of role {database.name}_migrator" in each for each in said)
    assert list(drift(stack)) == ["table app.scratch"]


@pytest.mark.full
def test_rows_positions_statistics_and_partitions_are_no_drift(empty_target: Target) -> None:
    sql = "CREATE TABLE app.logs (id serial, at date) PARTITION BY RANGE (at); CREATE INDEX ON app.logs (at)"
    empty_target.write(ONE, None, f"op.execute({sql!r})")
    stack = Stack(empty_target.url)
    stack.up(empty_target.directory, ONE)
    owner(
        empty_target,
        "CREATE TABLE app.logs_2025 PARTITION OF app.logs FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');"
        "ALTER TABLE app.logs_2025 ADD CHECK (id > 0); CREATE INDEX ON app.logs_2025 (id);"
        "INSERT INTO app.logs (at) SELECT '2025-05-05' FROM generate_series(1, 50); ANALYZE app.logs;"
        "ALTER TABLE app.logs ALTER COLUMN at SET STATISTICS 500; SELECT setval('app.logs_id_seq', 999)",
    )
    assert drift(stack) == {}


@pytest.mark.full
def test_a_name_that_the_server_gave_is_no_drift(target: Target, stack: Stack) -> None:
    owner(target, "ALTER TABLE app.users RENAME CONSTRAINT users_email_key TO users_email_key1")
    assert drift(stack) == {}
    owner(target, "ALTER TABLE app.users RENAME CONSTRAINT users_email_key1 TO one_mail_each")
    assert list(drift(stack)) == ["constraint app.users.users_email_key"]


@pytest.mark.full
def test_other_databases_and_roles_of_the_server_are_no_drift(stack: Stack, database: Database) -> None:
    with database.connect() as admin:
        admin.execute(f"CREATE ROLE {database.name}_other LOGIN; GRANT {database.name}_other TO CURRENT_USER".encode())
        admin.execute(f"ALTER ROLE {database.name}_other SET work_mem = '1MB'".encode())
        try:
            assert drift(stack) == {}
        finally:
            admin.execute(f"DROP ROLE {database.name}_other".encode())


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100 if ALL else 3))
def test_a_clean_walk_raises_no_alarm(target: Target, seed: int) -> None:
    """Random updates, downgrades and refreshes without a change by hand."""
    dice = random.Random(seed)
    stack = Stack(target.url)
    stack.up(target.directory, dice.choice([ONE, TWO, THREE]))
    for _ in range(8):
        if dice.random() < 0.6:
            stack.up(target.directory, dice.choice(["base", ONE, TWO, THREE]), allow_data_loss=[ONE, TWO, THREE])
        assert drift(stack) == {}


def test_no_transaction_is_open_while_snapshots_are_computed(
    stack: Stack, target: Target, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watched(owner: Any, name: str) -> None:
        computed = getattr(owner, name)

        def computing(*values: Any) -> Any:
            with database.connect() as admin:
                [(count,)] = admin.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in transaction%%'",
                    [database.name],
                ).fetchall()
            seen.append(name)
            assert count == 0, f"{name} computes in a transaction"
            return computed(*values)

        monkeypatch.setattr(owner, name, computing)

    for owner_, name in (
        (Snapshot, "unpack"), (Snapshot, "packed"), (check, "difference"), (baseline, "difference"),
        (reader, "_snapshot"), (Catalog, "of"),
    ):  # fmt: skip
        watched(owner_, name)
    owner(target, "CREATE TABLE app.notes ()")
    assert "table app.notes" in drift(stack)
    stack.up(target.directory, THREE)
    assert {*seen} == {"unpack", "packed", "difference", "_snapshot", "of"}
