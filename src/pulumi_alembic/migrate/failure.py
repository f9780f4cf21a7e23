"""Turn an exception of a revision into a message: what failed, on which statement, and which command to run next."""

from __future__ import annotations

import shlex
import traceback
from contextlib import suppress
from pathlib import Path

import psycopg
import sqlalchemy.exc

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import Aborted, connect, read_heads
from pulumi_alembic.database.retry import caught, connection_lost, server_error
from pulumi_alembic.errors import AssertionFailed, DatabaseError, DataLoss, MigrationError, RevisionFailed
from pulumi_alembic.migrate.data_loss.settings import ALLOW_DATA_LOSS
from pulumi_alembic.migrate.step_follower import Running
from pulumi_alembic.output.redact import redact
from pulumi_alembic.scripts.plan import Direction, revision_text
from pulumi_alembic.sql.outside_transaction import own_constants

__all__ = ["revision_failed"]

STATEMENT_LINES = 12
CLASSES_OF_SERVER = ("53", "58")
"""SQLSTATE classes of insufficient resources and system errors: the script is not at fault."""


def revision_failed(
    running: Running, error: BaseException, *, url: str, command: str, waited: str = ""
) -> MigrationError:
    """Return the error to raise in place of `error`, which ended the running step.

    The database is read again over a new connection, so that the message reports its actual revision. Possible secrets
    are left out: bound parameters, values in the detail of an error, the literal after PASSWORD.

    Args:
        running: the step that failed.
        error: what it raised.
        url: the database.
        command: the command to repeat.
        waited: whom it waited for, if it waited too long for a lock.

    Returns:
        RevisionFailed with the database's revision, or DatabaseError if the database does not answer any more.

    """
    step = running.step
    assert step is not None  # noqa: S101 - callers handle an error outside of a revision themselves
    script = Path(step.revision.path)
    direction = Direction.of(is_upgrade=step.is_upgrade)
    first = caught(error, running.aborted)
    happened = [*_place(error, script), *_cause(error, script)] if first is None else _first_cause(first, error, script)
    failed = "\n".join(
        [f"revision {step.revision.revision} failed on {direction}: {'/'.join(script.parts[-3:])}"]
        + [f"  {line}" for line in (*happened, *([waited] if waited else []))]
    )
    try:
        with connect(url) as connection:
            revision = revision_text(read_heads(connection))
    except DatabaseError as unreachable:
        return DatabaseError(f"{failed}\n{unreachable}\nOnce it answers, run this again:\n  {command}")
    if running.committed:
        ended = "its own commits stay, the rest was rolled back"
        advice = "Revert by hand what was committed, or let the script expect it (IF NOT EXISTS)"
    elif running.outside:
        ended = "the next run completes its statements outside a transaction, the rest was rolled back"
        advice = "Fix the cause"
    else:
        ended = "rolled back"
        reason = first.error if first else error
        advice = "Fix the cause" if _of_server(reason) else "Correct the script"
    if isinstance(error, FileNotFoundError) and error.filename and not running.committed:
        name = Path(str(error.filename)).name
        advice = f"Check out the commit that has the file: git log --all --oneline -- {shlex.quote('*' + name)}"
    if waited and not running.committed:
        advice = "Let the sessions that block it end"
    again = "then run"
    if isinstance(error, AssertionFailed):
        advice = "Correct the data"
    if isinstance(error, DataLoss):
        advice, again = "Save what is needed", "then delete the rest"
        command = f"{ALLOW_DATA_LOSS}={running.name} {command}"
    return RevisionFailed(
        f"{failed}\n  {ended}; the database is at {revision}\n  {advice}, {again}:\n  {command}",
        revision,
        first.error if first else error,
    )


def _of_server(error: BaseException) -> bool:
    server = server_error(error)
    short = server is not None and (server.sqlstate or "").startswith(CLASSES_OF_SERVER)
    return short or connection_lost(error)


def _first_cause(first: Aborted, error: BaseException, script: Path) -> list[str]:
    line = first.line_of(str(script))
    server = server_error(error)
    continued = "the script caught this error, which had aborted the transaction, and continued"
    if server is None or server.sqlstate != psycopg.errors.InFailedSqlTransaction.sqlstate:
        continued += f"; then {_server_said(server)[0] if server else f'{type(error).__name__}: {error}'}"
    place = [f"line {line}"] if line else []
    return [*place, *_statement(first.statement, script), *_server_said(first.error), continued]


def _cause(error: BaseException, script: Path) -> list[str]:
    if isinstance(error, MigrationError):
        return [str(error)]
    if isinstance(error, sqlalchemy.exc.StatementError):
        return [*_statement(error.statement or "", script), *_server_said(error.orig)]
    if isinstance(error, psycopg.Error):
        return _server_said(error)
    return [f"{type(error).__name__}: {error}"]


def _source(script: Path) -> str:
    # A stored script of the ledger is not a file on disk.
    with suppress(OSError):
        return script.read_text(errors="replace")
    return ""


def _server_said(error: BaseException | None) -> list[str]:
    if not isinstance(error, psycopg.Error):
        return [f"{type(error).__name__}: {error}"]
    if error.sqlstate is None:
        return [f"{'the connection was lost' if connection_lost(error) else type(error).__name__}: {error}"]
    diagnostics = error.diag
    lines = [f"PostgreSQL: {server_message.primary(error)} ({error.sqlstate})"]
    if detail := server_message.detail(error):
        lines.append(f"detail: {detail}")
    lines += [f"hint: {diagnostics.message_hint}"] if diagnostics.message_hint else []
    return lines


def _place(error: BaseException, script: Path) -> list[str]:
    """Return the line of the script that was running, or nothing if the commit failed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(script)]
    return [f"line {lines[-1]}"] if lines else []


def _statement(text: str, script: Path) -> list[str]:
    lines = redact(own_constants(text.strip(), _source(script))).splitlines()
    return _indented("statement: ", [*lines[:STATEMENT_LINES], "…"] if len(lines) > STATEMENT_LINES else lines)


def _indented(title: str, lines: list[str]) -> list[str]:
    return [(title if number == 0 else " " * len(title)) + line for number, line in enumerate(lines)]
