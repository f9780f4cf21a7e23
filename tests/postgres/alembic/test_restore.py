"""After a restore, the database equals the backup, or it is unchanged. There is no third result."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.backups.definitions import read_fingerprint
from pulumi_alembic.database.migration_lock import KEY
from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.ledger import records
from pulumi_alembic.migrate import planner
from tests import loaded
from tests.conftest import Database
from tests.postgres.alembic.backing_up import EVERYTHING, MAY_LOSE, ONE, THREE, TWO, Backing, catalog, require_clients
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect


@pytest.fixture
def backing(empty_target: Target, database: Database, tmp_path: Path) -> Backing:
    """Write three scripts, with the first applied and rows.

    A group can read the owner's objects, except for one table.
    """
    require_clients(empty_target)
    owner, group = (sql.Identifier(f"{database.name}_{role}") for role in ("owner", "migrator"))
    with database.connect() as admin:
        admin.execute(sql.SQL("SET ROLE {}").format(owner))
        for what in ("SELECT ON TABLES", "SELECT ON SEQUENCES", "EXECUTE ON FUNCTIONS"):
            grant = sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT {} TO {}")
            admin.execute(grant.format(sql.SQL(what), group))
    empty_target.write(ONE, None, f"op.get_bind().exec_driver_sql({EVERYTHING!r}.replace('%', '%%'))")
    empty_target.write(TWO, ONE, "op.execute('CREATE TABLE later (x int)')", "op.execute('DROP TABLE later')")
    empty_target.write(
        THREE,
        TWO,
        "op.execute('ALTER TABLE children DROP COLUMN tags')",
        "op.execute('ALTER TABLE children ADD tags text[]')",
    )
    empty_target.migrate(ONE)
    made = Backing(empty_target, tmp_path / "backups")
    made.execute("REVOKE ALL ON events FROM PUBLIC; REVOKE SELECT ON events FROM " + f"{database.name}_migrator")
    return made


def restore(target: Target, *arguments: str, check: bool = True, **environment: str) -> str:
    done = loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), *arguments, "--directory", target.directory],
        env={**os.environ, "DATABASE_URL": target.url, **environment},
    )
    assert (done.returncode == 0) is check, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def told(target: Target) -> list[Any]:
    with connect(target.url) as connection:
        return [(each.origin, each.target, each.what) for each in records.read(connection, None)[0]]


def test_rows_objects_grants_and_revision_are_those_of_the_backup(backing: Backing) -> None:
    rows, before = backing.rows(), catalog(backing.target)
    id = backing.up(THREE)
    backing.execute(
        "DELETE FROM children WHERE id > 5; CREATE TABLE stray (child int REFERENCES children); DROP VIEW glad; "
        "CREATE TYPE strange AS (x int); GRANT ALL ON events TO PUBLIC"
    )
    assert f"is at {ONE}" in restore(backing.target, "restore", id, "--yes")
    assert backing.rows() == rows
    assert catalog(backing.target) == before
    assert planner.read_revision(backing.target.url) == ONE
    # Sequences continue after the restored rows, and the next update runs as usual.
    backing.execute("INSERT INTO children (size) VALUES (1); INSERT INTO parents (name) VALUES ('new')")
    assert backing.target.migrate(THREE, **MAY_LOSE) == THREE


def test_the_fingerprint_is_compared_before_the_restore_is_committed(backing: Backing) -> None:
    id = backing.up(TWO)
    path = backing.folder / id / "manifest.json"
    written = json.loads(path.read_text())
    assert backing.target.query("SELECT detail ->> 'fingerprint' FROM migrations.ledger WHERE event = 'backup'") == [
        (written["fingerprint"],)
    ]
    assert written["fingerprint"] in backing.said[-1]
    assert f"the fingerprint is that of the backup: {written['fingerprint']}" in restore(
        backing.target, "restore", id, "--yes"
    )
    backing.execute("CREATE TABLE stray (x int)")
    path.write_text(json.dumps(written | {"fingerprint": "v1:another"}))
    where = ("restore", id, "--yes", "--folder", str(backing.folder))
    refused = restore(backing.target, *where, check=False)
    assert f"has the fingerprint v1:another, and what it restores has {written['fingerprint']}" in refused
    assert "Nothing was changed" in refused and "--another-fingerprint" in refused
    assert backing.target.query("SELECT to_regclass('stray') IS NOT NULL") == [(True,)]
    assert "has the fingerprint v1:another" in restore(backing.target, *where, "--another-fingerprint")
    assert backing.target.query("SELECT to_regclass('stray') IS NOT NULL") == [(False,)]


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"fingerprint": ""}, "the backup has none yet"),
        ({"server": 120000}, "it is of PostgreSQL 12, and this is "),
    ],
)
def test_where_there_is_no_fingerprint_to_compare_it_says_so(
    backing: Backing, change: dict[str, object], why: str
) -> None:
    id = backing.up(TWO)
    path = backing.folder / id / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    said = restore(backing.target, "restore", id, "--yes", "--folder", str(backing.folder))
    assert f"the fingerprint is not compared: {why}" in said
    assert planner.read_revision(backing.target.url) == ONE


DEFINED = [
    "ALTER TABLE children ADD x int",
    "ALTER TABLE children ALTER size DROP NOT NULL, ALTER feels SET DEFAULT 'sad'",
    "ALTER TABLE worded DROP CONSTRAINT worded_status_check",
    "DROP INDEX worded_open; CREATE INDEX worded_open ON worded (upper(note)) WHERE status IN ('open', 'done')",
    "COMMENT ON COLUMN worded.status IS 'another'",
    "CREATE OR REPLACE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + $1'",
    "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
]


def test_it_is_another_one_where_anything_is_defined_otherwise_but_rights(backing: Backing) -> None:
    with connect(backing.target.url) as connection:

        def read() -> str:
            found = read_fingerprint(connection, ["app", "migrations"])
            connection.execute("RESET search_path")
            return found

        first = read()
        connection.execute("GRANT ALL ON children TO PUBLIC; INSERT INTO parents (name) VALUES ('more')")
        assert read() == first
        seen = {first}
        for statement in DEFINED:
            connection.execute(statement.encode())
            seen.add(read())
        assert len(seen) == len(DEFINED) + 1


def test_the_ledger_stays_and_tells_of_it(backing: Backing) -> None:
    id = backing.up(THREE)
    restore(backing.target, "restore", id, "--yes")
    newest, *_ = told(backing.target)
    assert newest == ((THREE,), (ONE,), f"restore to {ONE}")
    assert [what for *_, what in told(backing.target)] == [
        f"restore to {ONE}",
        f"upgrade {THREE}",
        f"upgrade {TWO}",
        f"backup at {ONE}",
        f"upgrade {ONE}",
    ]
    assert backing.target.query("SELECT backup FROM migrations.ledger WHERE event = 'restored'") == [(id,)]


@pytest.mark.full
def test_another_empty_database_becomes_that_one_with_its_ledger(
    backing: Backing, make_target: Callable[[Path], Target]
) -> None:
    rows = backing.rows()
    id = backing.up(THREE)
    make_target(backing.target.directory)
    other = make_target(backing.target.directory)
    restore(other, "restore", id, "--folder", str(backing.folder))
    assert Backing(other, backing.folder).rows() == rows
    assert told(other) == [((ONE,), (ONE,), f"restore to {ONE}"), ((), (ONE,), f"upgrade {ONE}")]
    [(owner,)] = other.query(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'app'::regnamespace"
    )
    assert [(owner,)] == other.query("SELECT current_user::text")
    assert other.migrate(TWO) == TWO
    with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(other.url) as connection:
        connection.execute(f"SET ROLE {owner}".encode())
        connection.execute("DELETE FROM migrations.ledger")


def test_a_database_that_is_another_and_not_empty_is_replaced_only_when_told(
    backing: Backing, make_target: Callable[[Path], Target]
) -> None:
    rows = backing.rows()
    id = backing.up(THREE)
    make_target(backing.target.directory)
    other = make_target(backing.target.directory)
    other.migrate(TWO)
    where = ("restore", id, "--folder", str(backing.folder), "--yes")
    refused = restore(other, *where, check=False)
    assert "is not the one that backup" in refused and "it is at 20250102_002" in refused and "--replace" in refused
    assert planner.read_revision(other.url) == TWO
    restore(other, *where, "--replace")
    assert Backing(other, backing.folder).rows() == rows
    assert other.migrate(THREE, **MAY_LOSE) == THREE


def test_what_hangs_on_it_from_outside_is_not_taken_with_it(backing: Backing, database: Database) -> None:
    id = backing.up(TWO)
    with database.connect() as admin:
        owner = sql.Identifier(f"{database.name}_owner")
        admin.execute(sql.SQL("SET ROLE {}").format(owner))
        admin.execute("GRANT USAGE ON SCHEMA app TO PUBLIC; GRANT SELECT ON app.parents TO PUBLIC; RESET ROLE")
        admin.execute("CREATE SCHEMA elsewhere; CREATE VIEW elsewhere.names AS SELECT name FROM app.parents")
    refused = restore(backing.target, "restore", id, "--yes", check=False)
    assert "would take with it what is not in the backup: view elsewhere.names" in refused
    assert planner.read_revision(backing.target.url) == TWO
    with database.connect() as admin:
        admin.execute("DROP SCHEMA elsewhere CASCADE")


@pytest.mark.few("changed")
@pytest.mark.parametrize("damage", ["changed", "missing", "added", "manifest"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(backing: Backing, damage: str) -> None:
    id = backing.up(TWO)
    dump = backing.folder / id / "dump"
    largest = max(dump.glob("*.gz"), key=lambda path: path.stat().st_size)
    match damage:
        case "changed":
            content = bytearray(largest.read_bytes())
            content[len(content) // 2] ^= 1
            largest.write_bytes(content)
        case "missing":
            largest.unlink()
        case "added":
            (dump / "9999.dat.gz").touch()
        case "manifest":
            path = backing.folder / id / "manifest.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"when": "2020-01-01T00:00:00+00:00"}))
    refused = restore(backing.target, "restore", id, "--yes", check=False)
    assert ("is damaged" in refused) or (damage == "manifest" and "is not the one in the ledger" in refused)
    assert planner.read_revision(backing.target.url) == TWO
    assert damage in ("added", "manifest") or largest.name in refused


def test_nobody_is_asked_without_a_terminal_and_an_unknown_id_is_named(backing: Backing) -> None:
    id = backing.up(TWO)
    assert "stdin is not a terminal: pass --yes" in restore(backing.target, "restore", id, check=False)
    assert "the ledger has no backup nothing" in restore(backing.target, "restore", "nothing", "--yes", check=False)
    secret = ("restore", id, "--yes", "--into", "postgresql://u:hunter2@127.0.0.1:1/x")
    refused = restore(backing.target, *secret, check=False)
    assert "--into contains a password" in refused and "hunter2" not in refused
    assert planner.read_revision(backing.target.url) == TWO


@pytest.mark.full
def test_into_takes_its_password_from_the_environment(backing: Backing, make_target: Callable[[Path], Target]) -> None:
    id = backing.up(TWO)
    make_target(backing.target.directory)
    other = make_target(backing.target.directory)
    password = other.url.split("@")[0].rpartition(":")[2]
    into = other.url.replace(f":{password}@", "@")
    restore(backing.target, "restore", id, "--into", into, PGPASSWORD=password)
    assert planner.read_revision(other.url) == ONE and planner.read_revision(backing.target.url) == TWO


def test_while_another_migration_runs_it_waits(backing: Backing) -> None:
    id = backing.up(TWO)
    with psycopg.connect(backing.target.url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [KEY])
        with backing.target.running("pulumi-alembic", "restore", id, "--yes") as running:
            assert running.stderr is not None
            line = next(line for line in running.stderr if "another migration" in line)
            assert "waiting for another migration" in line
            assert planner.read_revision(backing.target.url) == TWO
            other.close()
            assert running.wait() == 0
    assert planner.read_revision(backing.target.url) == ONE


@pytest.mark.full
@pytest.mark.parametrize("moment", range(6))
def test_a_restore_that_is_killed_leaves_one_database_and_can_be_repeated(backing: Backing, moment: int) -> None:
    """The restore is killed when it reports its step.

    The last steps are those of single tables, and of the constraints.
    """
    old = backing.rows()
    id = backing.up(TWO)
    backing.execute("DELETE FROM children WHERE id % 2 = 0; REFRESH MATERIALIZED VIEW counted")
    new = backing.rows()
    steps = ["reading ", "restoring 5 tables", "table 1 of", "table 2 of", "table 4 of", "creating indexes"]
    with backing.target.running("pulumi-alembic", "restore", id, "--yes") as running:
        assert running.stderr is not None
        assert any(steps[moment] in line for line in running.stderr)
    await_no_session(backing.target)
    assert backing.rows() in (old, new)
    restore(backing.target, "restore", id, "--yes")
    assert backing.rows() == old
    assert planner.read_revision(backing.target.url) == ONE


def await_no_session(target: Target) -> None:
    deadline = time.monotonic() + 30
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND usename = session_user"
    )
    while target.query(others) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.full
def test_a_statement_that_was_done_in_what_is_gone_is_done_again(backing: Backing) -> None:
    """The ledger stays, and with it the row `done` of an update that the restore has undone."""
    update = "from pulumi_alembic import batched_update\n    batched_update('children', 'size = size + 1')"
    total = backing.target.query("SELECT sum(size) + count(*) FROM children")
    backing.target.write(TWO, ONE, f"{update}\n    op.execute('SELECT 1/0')")
    with pytest.raises(RevisionFailed, match="division by zero"):
        backing.up(TWO)
    [id] = backing.ids()
    assert backing.target.query("SELECT sum(size) FROM children") == total
    restore(backing.target, "restore", id, "--yes")
    backing.target.write(TWO, ONE, update)
    backing.target.migrate(TWO)
    assert backing.target.query("SELECT sum(size) FROM children") == total
