"""What `migrations/env.py` calls: one and the same run for the `alembic` command and for a stack's update."""

from __future__ import annotations

import json
import logging
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alembic
import psycopg
import sqlalchemy as sa
from alembic import command, context
from alembic.util import CommandError

from pulumi_alembic import ledger, naming
from pulumi_alembic.database import VERSION_SCHEMA, open_session
from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.failure import revision_failed
from pulumi_alembic.history import History, Revision
from pulumi_alembic.plan import Direction
from pulumi_alembic.running import Running

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext, MigrationInfo

__all__ = ["Request", "run"]


@dataclass(frozen=True)
class Request:
    """What a caller inside Python leaves for `run` in Alembic's `config.attributes["request"]`.

    `command` is what a person repeats after a failure; `on_applied` is told each revision inside its own transaction.
    """

    url: str
    command: str
    on_applied: Callable[[str], None]


def run(target_metadata: sa.MetaData, url: Callable[[], str]) -> None:
    """Run what Alembic was asked for, one transaction per revision, each with its row in the ledger.

    `url` is asked only where Alembic was started as a command. A revision that fails is rolled back, those before it
    stay, and RevisionFailed is raised; the command prints it as Alembic prints its own errors. Offline (`--sql`) the
    statements of the revisions are printed to be read: the ledger's are not among them.
    """
    _refuse_unnamed_merge()
    if context.is_offline_mode():
        _run_offline(target_metadata)
    elif request := context.config.attributes.get("request"):
        _run_online(target_metadata, request)
    else:
        _log_to_terminal()
        try:
            typed = " ".join(["alembic", *sys.argv[1:]])
            _run_online(target_metadata, Request(url(), typed, on_applied=lambda revision: None))
        except MigrationError as error:
            raise CommandError(str(error)) from None


def _run_offline(metadata: sa.MetaData) -> None:
    context.configure(
        dialect_name="postgresql",
        # With any other paramstyle a `%` is printed twice.
        dialect_opts={"paramstyle": "named"},
        target_metadata=metadata,
        version_table_schema=VERSION_SCHEMA,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_online(metadata: sa.MetaData, request: Request) -> None:
    with closing(open_session(request.url)) as session:
        engine = sa.create_engine("postgresql+psycopg://", creator=lambda: session, poolclass=sa.StaticPool)
        with engine.connect() as connection:
            running = Running()
            _configure(connection, metadata, _recorder(session, running, request))
            running.follow(context.get_context(), engine, session)
            if connection.in_transaction():
                # Alembic would take it for the caller's, leave the commit to us, and lose every revision at the close.
                raise AssertionError("the migration's connection is in a transaction before its first revision")
            with _failures_described(running, request), context.begin_transaction():
                context.run_migrations()


def _configure(connection: sa.Connection, metadata: sa.MetaData, record: Callable[..., None]) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=VERSION_SCHEMA,
        transaction_per_migration=True,
        compare_server_default=True,
        on_version_apply=record,
        process_revision_directives=_name_by_the_rule,
    )


def _recorder(session: psycopg.Connection[Any], running: Running, request: Request) -> Callable[..., None]:
    """What Alembic calls inside the transaction of each revision, after it ran and before the commit."""
    tools = json.dumps(
        {"alembic": alembic.__version__, "sqlalchemy": sa.__version__, "python": platform.python_version()}
    )

    def record(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
        if step.is_stamp:
            return
        running.recorded(ctx)
        revision = Revision.read(Path(step.up_revision.path))  # type: ignore[union-attr]
        ledger.record(session, revision, Direction.UPGRADE if step.is_upgrade else Direction.DOWNGRADE, tools)
        request.on_applied(revision.id)

    return record


@contextmanager
def _failures_described(running: Running, request: Request) -> Iterator[None]:
    """Turn whatever a revision raises into a MigrationError that names it; SystemExit too, which would end a plugin."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if running.step is not None:
            raise revision_failed(running, error, url=request.url, command=request.command) from None
        if isinstance(error, sa.exc.DBAPIError):
            reason = " ".join(str(error.orig).split())
            raise DatabaseError(f"the migration tables: {reason}. Try again: {request.command}") from None
        raise


def _refuse_unnamed_merge() -> None:
    """`alembic merge` takes its id from the command line alone: without it, it would make a name against the rule."""
    options = context.config.cmd_opts
    if options is None or getattr(options, "cmd", (None,))[0] is not command.merge:
        return
    if options.rev_id is None or not naming.is_revision_id(options.rev_id):
        history = History.load(Path(context.script.dir))
        raise CommandError(f"a merge needs the next revision id: {history.merge_command(history.heads)}")


def _name_by_the_rule(ctx: MigrationContext, revision: Any, directives: list[MigrationScript]) -> None:
    """Give the script of `alembic revision` the next id of the naming rule; refuse any other, and an empty message."""
    options = context.config.cmd_opts
    if options is not None and "message" not in options:
        return  # `alembic check` asks what a script would hold, and writes none
    for directive in directives:
        message = directive.message or ""
        if not message.isascii() or not any(character.isalnum() for character in message):
            raise CommandError(
                "a revision needs a message in ASCII, its file is named after it: alembic revision -m 'add reminders'"
            )
        taken = History.load(Path(context.script.dir)).revisions
        expected = naming.next_revision_id(taken, date.today())
        wanted = options.rev_id if options else None
        if wanted not in (None, expected):
            raise CommandError(
                f"revision id {wanted!r} is not the next one by the rule {naming.RULE}: leave --rev-id out"
            )
        directive.rev_id = expected


def _log_to_terminal() -> None:
    """Show the progress that Alembic logs and leaves to env.py to show."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)-5.5s [%(name)s] %(message)s"))
    for name in ("alembic.runtime.migration", "alembic.autogenerate"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
