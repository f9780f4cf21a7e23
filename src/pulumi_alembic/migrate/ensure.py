"""`ensure`, for revisions: what must be true of the data that a change relies on."""

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
    """Fail the revision with `message`, unless the query returns true.

    An update checks it before anything of its plan runs, if no earlier statement of the plan can change the answer. It
    is always checked in the revision's transaction. A rehearsal runs the query, and ignores what it returns: its tables
    are empty.

    Args:
        query: one SELECT of one truth value, as SQL.
        message: what is true otherwise, for the person who corrects it.

    Raises:
        AssertionFailed: the query returned anything but one true. The revision is rolled back.
        MigrationError: it is no such query, or the message is empty.

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
    """The same for psql: it fails with the message."""
    quoted = message.replace("'", "''").replace("%", "%%")
    mark = "$ensure$"
    while mark in query or mark in message:
        mark = f"{mark[:-1]}_$"
    return (
        f"DO {mark} BEGIN IF ({alone(query)}) IS NOT TRUE THEN "
        f"RAISE EXCEPTION '{quoted}' USING ERRCODE = 'assert_failure'; END IF; END {mark}"
    )
