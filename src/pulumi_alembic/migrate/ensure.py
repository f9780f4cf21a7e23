"""`ensure`, a function for revisions: require a condition on the data that a change relies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

from pulumi_alembic.errors import AssertionFailed, MigrationError
from pulumi_alembic.sql.assertions import alone, asserted, problem

if TYPE_CHECKING:
    from pulumi_alembic.migrate.blocks.statement import Phases

__all__ = ["ensure"]


def ensure(query: str, message: str) -> None:
    """Fail the revision with `message` unless the query returns true.

    An update checks the query before it runs anything, if no earlier statement of the plan can change the answer. The
    query is always checked in the revision's transaction. A rehearsal runs it and ignores the result, because the
    tables there are empty.

    Args:
        query: one SELECT of one truth value, as SQL.
        message: what is wrong if the query is not true, for the person who corrects the data.

    Raises:
        AssertionFailed: the query returned anything but one true. The revision is rolled back.
        MigrationError: the text is not such a query, or the message is empty.

    """
    context = op.get_context()
    if wrong := problem(query, message):
        raise MigrationError(wrong)
    statement = asserted(query, message)
    if context.as_sql:
        op.execute(_text(_block(query, message)))
        return
    if recorder := context.opts.get("recorder"):
        recorder.ensure(statement)
        return
    phases: Phases = context.opts["phases"]
    rows = op.get_bind().execute(_text(statement)).fetchmany(2)
    if phases.request.observer is None and rows != [(True,)]:
        raise AssertionFailed(message)


def _text(sql: str) -> sa.TextClause:
    return sa.text(sql.replace(":", "\\:"))


def _block(query: str, message: str) -> str:
    """Return the same check as a DO block for psql, which fails with the message."""
    quoted = message.replace("'", "''").replace("%", "%%")
    mark = "$ensure$"
    while mark in query or mark in message:
        mark = f"{mark[:-1]}_$"
    return (
        f"DO {mark} BEGIN IF ({alone(query)}) IS NOT TRUE THEN "
        f"RAISE EXCEPTION '{quoted}' USING ERRCODE = 'assert_failure'; END IF; END {mark}"
    )
