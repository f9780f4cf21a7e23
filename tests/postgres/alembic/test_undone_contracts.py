"""A contract preserves what it drops, and its downgrade restores it, unless newer values contradict it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pulumi_alembic.database.connection import open_session
from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.policy import Policy
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.test_contracts import contract
from tests.postgres.alembic.test_preserved_data import executes, kept, told
from tests.postgres.alembic.test_preserved_data import write as send
from tests.postgres.alembic.waiting import blocker, until

ONE, TWO = "20250101_001", "20250102_002"
TABLE = "CREATE TABLE t (id int PRIMARY KEY, old text, new text)"
ROWS = "INSERT INTO t SELECT n, 'v' || n, 'v' || n FROM generate_series(1, 4) n"
ADD, DROP = "ALTER TABLE t ADD COLUMN old text", "ALTER TABLE t DROP COLUMN old"


@pytest.fixture
def keeping(empty_target: Target, database: Database) -> Target:
    with database.connect() as admin:
        admin.execute(f'CREATE SCHEMA kept AUTHORIZATION "{database.name}_owner"'.encode())
    return empty_target


def contracted(target: Target, up: tuple[str, ...], *down: str, tables: str = TABLE, rows: str = ROWS) -> list[str]:
    """Bring the target over a contract, and return what the run reports of preserved rows."""
    target.write(ONE, None, executes(tables), "pass")
    contract(target, TWO, ONE, executes(*up), executes(*down))
    target.migrate(ONE)
    send(target, rows)
    said: list[str] = []
    target.migrate(TWO, on_kept=said.append)
    return said


def old_values(target: Target) -> list[Any]:
    return [value for (value,) in target.query("SELECT old FROM t ORDER BY id")]


def test_a_contract_needs_no_permission_and_its_downgrade_restores_the_values(keeping: Target) -> None:
    assert contracted(keeping, (DROP,), ADD) == [f"{TWO}: preserved 4 values of app.t.old"]
    [entry] = kept(keeping)
    assert (entry.revision, entry.restored_by) == (TWO, "downgrade")
    send(keeping, "DELETE FROM t WHERE id = 4")
    said: list[str] = []
    keeping.migrate(ONE, on_kept=said.append)
    assert said[0] == f"{TWO}: restored 3 values of app.t.old"
    assert old_values(keeping) == ["v1", "v2", "v3"]
    assert told(keeping) == ["1 value of app.t.old"]


def test_an_expand_that_drops_is_refused_as_ever(keeping: Target) -> None:
    keeping.write(ONE, None, executes(TABLE), "pass")
    keeping.write(TWO, ONE, executes(DROP), executes(ADD))
    keeping.migrate(ONE)
    send(keeping, ROWS)
    with pytest.raises(RevisionFailed, match=r"it would delete 4 values of app\.t\.old"):
        keeping.migrate(TWO)


@pytest.mark.parametrize("rows", ["TRUNCATE t", "DELETE FROM t"])
def test_rows_that_a_contract_empties_are_not_preserved(keeping: Target, rows: str) -> None:
    with pytest.raises(RevisionFailed, match=r"it would delete 4 rows of app\.t"):
        contracted(keeping, (rows,), "SELECT")


def test_values_of_a_table_without_a_key_are_refused(keeping: Target) -> None:
    with pytest.raises(RevisionFailed, match=r"(?s)4 values of app\.t\.old.*no primary key"):
        contracted(keeping, (DROP,), ADD, tables=TABLE.replace(" PRIMARY KEY", ""))


COMPUTED = {
    "in every row": (["UPDATE t SET old = new"], ["v1", "newer", None]),
    "in some rows": (["UPDATE t SET old = new WHERE new <> 'v1'"], ["v1", "newer", "v3"]),
    "by constants of a script": (["UPDATE t SET old = 'one' WHERE id = 1"], ["one", "v2", "v3"]),
    "in a block": (["DO $$ BEGIN UPDATE t SET old = new WHERE id < 3; END $$"], ["v1", "newer", "v3"]),
    "not at all, filled": (["UPDATE t SET old = ''", "ALTER TABLE t ALTER old SET NOT NULL"], ["v1", "v2", "v3"]),
    "not at all, filled where it is missing": (["UPDATE t SET old = '?' WHERE old IS NULL"], ["v1", "v2", "v3"]),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("how", COMPUTED)
def test_values_that_the_downgrade_computes_are_newer(keeping: Target, how: str) -> None:
    statements, expected = COMPUTED[how]
    contracted(keeping, (DROP,), ADD, *statements, rows=f"{ROWS}; DELETE FROM t WHERE id = 4")
    send(keeping, "UPDATE t SET new = 'newer' WHERE id = 2", "UPDATE t SET new = NULL WHERE id = 3")
    keeping.migrate(ONE)
    assert old_values(keeping) == expected
    # Nothing is lost: values that were not restored are still preserved.
    changed = sum(value != f"v{number}" for number, value in enumerate(expected, 1))
    assert [entry.rows for entry in kept(keeping)] == [changed] * (changed > 0)


MOVED = "CREATE TABLE other (id int PRIMARY KEY, name text)"


@pytest.mark.few(1)
@pytest.mark.parametrize("fill", ["INSERT INTO other SELECT id, new FROM t", "INSERT INTO other VALUES (1, 'seed')"])
def test_rows_that_the_downgrade_computes_are_newer_and_seeds_are_not(keeping: Target, fill: str) -> None:
    rows = f"{ROWS}; INSERT INTO other SELECT id, new FROM t"
    contracted(keeping, ("DROP TABLE other",), MOVED, fill, tables=f"{TABLE}; {MOVED}", rows=rows)
    send(keeping, "UPDATE t SET new = 'newer' WHERE id = 2", "DELETE FROM t WHERE id = 3")
    keeping.migrate(ONE)
    found = keeping.query("SELECT id, name FROM other ORDER BY id")
    if "SELECT" in fill:
        assert found == [(1, "v1"), (2, "newer"), (4, "v4")]
        assert told(keeping) == ["2 rows of app.other"]
    else:
        assert found == [(n, f"v{n}") for n in range(1, 5)]
        assert kept(keeping) == []


def test_the_preview_counts_what_a_contract_preserves_and_restores(keeping: Target) -> None:
    from tests.postgres.alembic.test_round_trip import preview, told

    keeping.write(ONE, None, executes(TABLE), "pass")
    contract(keeping, TWO, ONE, executes(DROP), executes(ADD))
    keeping.migrate(ONE)
    send(keeping, ROWS)
    there = preview(keeping, TWO)
    assert told(there, "keeps") == [f"{TWO}: 4 values of app.t.old"]
    assert told(there, "losses") == []
    keeping.migrate(TWO)
    assert told(preview(keeping, ONE), "puts_back") == [f"{TWO}: 4 values of app.t.old"]


_AT_A_SCHEMA = "SELECT FROM pg_locks WHERE NOT granted AND classid = 'pg_namespace'::regclass"
_AT_THE_TABLE = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 't'::regclass"
_TRIGGER = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
)
_UNTIE = ("DROP TRIGGER f ON t", "DROP FUNCTION f()")


@pytest.mark.few(1)
@pytest.mark.parametrize("before", [(), _UNTIE], ids=["drop only", "drop a trigger first"])
def test_values_are_copied_while_others_read_and_write(keeping: Target, before: tuple[str, ...]) -> None:
    """The copy waits for a session that drops the schema of preserved tables, and is at its beginning then."""
    keeping.write(ONE, None, executes(TABLE, *_TRIGGER), "pass")
    contract(keeping, TWO, ONE, executes(*before, DROP), executes(ADD))
    keeping.migrate(ONE)
    send(keeping, ROWS)
    with ThreadPoolExecutor() as pool:
        with blocker(keeping, "DROP SCHEMA kept") as dropping, open_session(keeping.url) as other:
            done = pool.submit(keeping.migrate, TWO, policy=Policy(lock_timeout=30))
            until(lambda: keeping.query(_AT_A_SCHEMA))
            other.execute("SET lock_timeout = '10ms'")
            other.execute("SELECT FROM t")
            other.execute("UPDATE t SET old = 'meanwhile' WHERE id = 2")
            other.commit()
            dropping.rollback()
        assert done.result() == TWO
    keeping.migrate(ONE)
    assert old_values(keeping) == ["v1", "meanwhile", "v3", "v4"]


MEANWHILE = {
    "nothing": ((), ["v1", "v2", "v3", "v4"]),
    "a value": (("UPDATE t SET old = 'x' WHERE id = 2",), ["v1", "x", "v3", "v4"]),
    "no value any more": (("UPDATE t SET old = NULL WHERE id = 2",), ["v1", None, "v3", "v4"]),
    "a new row": (("INSERT INTO t VALUES (5, 'v5')",), ["v1", "v2", "v3", "v4", "v5"]),
    "a row less": (("DELETE FROM t WHERE id = 1",), ["v2", "v3", "v4"]),
    "another key": (("UPDATE t SET id = 9 WHERE id = 1",), ["v2", "v3", "v4", "v1"]),
    "one less, one more": (("DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (7, 'v7')"), ["v2", "v3", "v4", "v7"]),
    "the same key again": (("DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (1, 'x')"), ["x", "v2", "v3", "v4"]),
    "every value": (("UPDATE t SET old = old || id",), ["v11", "v22", "v33", "v44"]),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("key", ["int", "app.number"])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_changes_since_the_copy_are_preserved_too(keeping: Target, meanwhile: str, key: str) -> None:
    statements, expected = MEANWHILE[meanwhile]
    keeping.write(ONE, None, executes("CREATE DOMAIN app.number AS int", TABLE.replace("int", key)), "pass")
    contract(keeping, TWO, ONE, executes("ALTER TABLE t ADD COLUMN other int", DROP), executes(ADD))
    keeping.migrate(ONE)
    send(keeping, ROWS)
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        with blocker(keeping, "; ".join(("SELECT FROM t", *statements))) as writing:
            done = pool.submit(keeping.migrate, TWO, on_kept=said.append)
            until(lambda: keeping.query(_AT_THE_TABLE))
            writing.commit()
        assert done.result() == TWO
    assert said == [f"{TWO}: preserved {sum(value is not None for value in expected)} values of app.t.old"]
    send(keeping, "ALTER TABLE t DROP COLUMN other")
    said.clear()
    keeping.migrate(ONE, on_kept=said.append)
    assert old_values(keeping) == expected
    assert told(keeping) == []
    assert said[-1].startswith(f"{TWO}: restored")


def test_a_copy_that_the_revision_does_not_need_is_dropped(keeping: Target) -> None:
    """A savepoint that the script rolls back undoes the drop, and the revision preserves nothing."""
    keeping.write(ONE, None, executes(TABLE), "pass")
    undone = "SAVEPOINT s", DROP, "ROLLBACK TO SAVEPOINT s"
    contract(keeping, TWO, ONE, executes("ALTER TABLE t ADD COLUMN other int", *undone), "pass")
    keeping.migrate(ONE)
    send(keeping, ROWS)
    with open_session(keeping.url):
        keeping.migrate(TWO)
    assert kept(keeping) == []
    assert keeping.query("SELECT FROM pg_class WHERE relnamespace = 'kept'::regnamespace") == []
