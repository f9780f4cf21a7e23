"""The statements that a rehearsal refuses to send, and those that it sends."""

from __future__ import annotations

import pytest

from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.review.rehearsal.guard import refuse_shared


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
        "SELECT 1 WHERE pg_catalog.PG_RELOAD_CONF()",
        "DO $$BEGIN PERFORM pg_switch_wal(); END$$",
        "INSERT INTO t SELECT * FROM dblink('dbname=other', 'DELETE FROM t RETURNING 1') AS f (i int)",
        "SELECT pg_cancel_backend(1), \\ not SQL",
    ],
)
def test_a_call_that_reaches_outside_of_its_database_is_refused(sql: str) -> None:
    with pytest.raises(NotRehearsed, match="reaches outside of its database"):
        refuse_shared(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "COMMENT ON TABLE t IS 'ends by pg_terminate_backend'",
        "SELECT pg_notify('channel', 'of this database alone')",
        "SELECT pg_advisory_xact_lock(1)",
    ],
)
def test_what_stays_in_its_database_is_not_refused(sql: str) -> None:
    refuse_shared(sql)


@pytest.mark.parametrize("sql", ["DO $$BEGIN PERFORM f(); END$$", "CALL p()", "EXECUTE later", "NOT SQL"])
def test_outside_of_a_transaction_no_opaque_statement_is_sent(sql: str) -> None:
    refuse_shared(sql)
    with pytest.raises(NotRehearsed, match="transaction"):
        refuse_shared(sql, outside=True)
