"""A drop is plain if its text alone shows everything that it drops. Every other drop is examined more closely."""

import pytest

from pulumi_alembic.migrate.data_loss.plain_drops import PlainDrop, plain_drop

PLAIN = {
    "DROP TABLE t": PlainDrop("t"),
    "\nDROP TABLE app.messages": PlainDrop("app.messages"),
    "drop  table if exists a, app.b RESTRICT ;": PlainDrop("a, app.b"),
    'DROP TABLE "Odd.One"."a""; b"': PlainDrop('"Odd.One"."a""; b"'),
    "ALTER TABLE app.tasks DROP COLUMN notes": PlainDrop("app.tasks", "notes"),
    'ALTER TABLE IF EXISTS tasks DROP COLUMN IF EXISTS "No.tes" RESTRICT': PlainDrop("tasks", '"No.tes"'),
    "\nDROP INDEX app.tasks_title": PlainDrop(""),
    "DROP MATERIALIZED VIEW totals": PlainDrop(""),
    "DROP TYPE mood": PlainDrop(""),
}

NOT = [
    "DROP TABLE t CASCADE",
    "DROP TABLE t; DROP TABLE u",
    "DROP TABLE t -- and more",
    "DROP TABLE t /* ; */ CASCADE",
    "DROP TABLE a.b.c",
    'DROP TABLE U&"t"',
    "DROP TYPE mood CASCADE",
    "DROP INDEX CONCURRENTLY i",
    "DROP EXTENSION hstore",
    "DROP OWNED BY somebody",
    "DROP SCHEMA app CASCADE",
    "ALTER TABLE t DROP notes",
    "ALTER TABLE t DROP COLUMN a, DROP COLUMN b",
    "ALTER TABLE t DROP COLUMN a CASCADE",
    "ALTER TABLE ONLY t DROP COLUMN a",
    "ALTER TABLE t * DROP COLUMN a",
    "ALTER TABLE t DROP CONSTRAINT c",
    "DO $$ BEGIN DROP TABLE t; END $$",
    "TRUNCATE t",
    "DELETE FROM t",
]


@pytest.mark.parametrize("sql", PLAIN)
def test_what_a_plain_drop_takes_is_in_its_text(sql: str) -> None:
    assert plain_drop(sql) == PLAIN[sql]


@pytest.mark.parametrize("sql", NOT)
def test_all_else_is_none(sql: str) -> None:
    assert plain_drop(sql) is None
