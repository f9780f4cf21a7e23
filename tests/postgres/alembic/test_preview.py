"""A preview changes nothing on the server, waits for nobody, and nobody waits for it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pulumi_alembic.database import connect
from pulumi_alembic.provider import MigrationsProvider
from tests.postgres.alembic.catalog import OBJECTS
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.waiting import LONGEST, blocker

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
TABLE = """
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x text);
INSERT INTO t (x) VALUES ('a'), ('b')
"""
UPGRADES = {
    TWO: "op.execute('ALTER TABLE t ALTER x TYPE varchar(1)'); op.execute(\"INSERT INTO t (x) VALUES ('c')\")",
    THREE: "op.execute('CREATE ROLE nobody_at_all'); op.execute('DROP TABLE t'); op.get_bind().execute(None).scalar()",
}
EVERYTHING = {
    "objects": OBJECTS,
    "rows": "SELECT id, x FROM t ORDER BY id",
    "sequences": "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
    "writes": "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd FROM pg_stat_user_tables ORDER BY 1",
    "roles": "SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'test%' ORDER BY 1",
    "migrations": "SELECT id, revision, event FROM migrations.ledger ORDER BY id",
    "version": "SELECT version_num FROM migrations.alembic_version",
    "tables": "SELECT relname FROM pg_class WHERE relnamespace = 'migrations'::regnamespace ORDER BY 1",
}


@pytest.fixture
def one(empty_target: Target) -> Target:
    """A table with rows, and two revisions to come: one that writes, one that runs Python."""
    empty_target.write(ONE, None, f"op.execute({TABLE!r})")
    empty_target.write(TWO, ONE, UPGRADES[TWO])
    empty_target.write(THREE, TWO, UPGRADES[THREE])
    empty_target.migrate(ONE)
    return empty_target


def preview(target: Target) -> dict[str, Any]:
    news = {"url": target.url, "directory": str(target.directory), "target": THREE, "__urn": "urn"}
    answer = MigrationsProvider().check({}, news)
    assert answer.failures == []
    return dict(answer.inputs)


def everything(target: Target) -> dict[str, object]:
    return {name: target.query(query) for name, query in EVERYTHING.items()}


def test_a_preview_changes_nothing(one: Target) -> None:
    before = everything(one)
    shown = preview(one)
    assert set(shown["statements"]) == {f"upgrade {TWO}", f"upgrade {THREE}"}
    assert everything(one) == before


def test_a_preview_waits_for_no_lock_of_a_table(one: Target) -> None:
    with ThreadPoolExecutor() as pool, blocker(one, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        assert "statements" in pool.submit(preview, one).result(LONGEST)


def test_nobody_waits_for_a_preview_of_a_table(one: Target) -> None:
    """Beside it the strongest lock is taken again and again by a session that does not wait at all."""
    with ThreadPoolExecutor() as pool, connect(one.url) as session:
        shown = pool.submit(preview, one)
        locked = 0
        while not shown.done():
            session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT")
            session.rollback()
            locked += 1
        assert locked and "statements" in shown.result()
